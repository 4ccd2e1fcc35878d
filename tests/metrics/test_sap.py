import numpy as np
import pytest
from sklearn.svm import LinearSVC
from support.golden_values import CASES, NEW, OLD, expected, inputs

from keras_disent.metrics.sap import sap, sap_matrix

# The liblinear of either generation has not converged on the badly scaled case.
DISCRETE = [name for name in CASES if CASES[name]["svm"] and not name.startswith(("d09_", "d16_"))]


def arrays(case):
    codes, factors, test_codes, test_factors = inputs(case)
    if CASES[case]["svm"] == "sub:1500:1000":
        codes, factors, test_codes, test_factors = (
            codes[:1500], factors[:1500], test_codes[:1000], test_factors[:1000],
        )  # fmt: skip
    return codes, factors, (test_codes, test_factors)


@pytest.mark.parametrize("software", [OLD, NEW])
@pytest.mark.parametrize("case", DISCRETE)
def test_discrete_values_of_the_reference(case, software):
    codes, factors, test = arrays(case)
    reference = expected(case, "sap_discrete", software)
    assert sap(codes, factors, test=test) == pytest.approx(reference["SAP_score"], abs=1e-3)
    matrix = sap_matrix(codes, factors, test=test)
    np.testing.assert_allclose(matrix, reference["score_matrix"], atol=0.005)


@pytest.mark.parametrize("case", CASES)
def test_continuous_values_of_the_reference(case):
    codes, factors, *_ = inputs(case)
    reference = np.array(expected(case, "sap_continuous", NEW)["score_matrix"], float)
    reference = reference[:, ~np.isnan(reference).any(axis=0)]
    matrix = sap_matrix(codes, factors, continuous=True)
    np.testing.assert_allclose(matrix, reference, rtol=0, atol=1e-9)
    gaps = np.diff(np.sort(reference, axis=0)[-2:], axis=0).mean()
    assert sap(codes, factors, continuous=True) == pytest.approx(gaps, abs=1e-9)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, 0), (0.05, 0), (1, 30), (40, 100), (-3, 2), (1e-6, 1.7)]
)
@pytest.mark.parametrize("values", [2, 3, 12])
def test_it_is_the_optimum_that_liblinear_converges_to(values, scale, offset):
    rng = np.random.default_rng(values)
    factors = np.sort(rng.integers(values, size=(2, 600, 1)) ** 2, axis=0)  # unequal classes
    codes = scale * (factors / values + rng.normal(0, 1, factors.shape)) + offset
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000)
    machine.fit(codes[0], factors[0, :, 0])
    accuracy = np.mean(machine.predict(codes[1]) == factors[1, :, 0])
    matrix = sap_matrix(codes[0], factors[0], test=(codes[1], factors[1]))
    assert matrix.item() == pytest.approx(accuracy, abs=1.01 / 600)


def test_constant_latent_gets_the_frequency_of_the_commonest_value():
    codes = np.array([[0.0, 1.7]] * 10)
    factors = np.array([[3] * 2 + [5] * 6 + [9] * 2]).T
    test = codes[:4], np.array([[5], [9], [9], [9]])
    np.testing.assert_allclose(sap_matrix(codes, factors, test=test), 0.25)
    assert sap(codes, factors, test=test) == 0
    np.testing.assert_array_equal(sap_matrix(codes, factors, continuous=True), 0)
    noise = 1e-15 * np.arange(20).reshape(10, 2)
    np.testing.assert_allclose(sap_matrix(codes + noise, factors, test=test), 0.25)


def test_equal_decision_values_share_the_hit():
    factors = np.array([[0, 1, 2] * 20]).T
    matrix = sap_matrix(np.zeros((60, 1)), factors, test=(np.zeros((60, 1)), factors))
    assert matrix.item() == pytest.approx(1 / 3)


def test_closed_form_of_the_continuous_score():
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(300, 2))
    codes = np.column_stack([factors @ [1, 2], rng.normal(size=300), -factors[:, 0]])
    expected = np.corrcoef(codes.T, factors.T)[:3, 3:] ** 2
    matrix = sap_matrix(codes, factors, continuous=True)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    np.testing.assert_allclose(sap_matrix(1e6 * codes + 3, factors, continuous=True), matrix)


@pytest.mark.parametrize("continuous", [False, True])
def test_order_and_sign_change_nothing(continuous):
    codes, factors, test_codes, test_factors = inputs("d13_vae_small")
    score = sap(codes, factors, continuous=continuous, test=(test_codes, test_factors))
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(codes)), rng.permutation(10)
    signs = rng.choice([-1, 1], 10).astype("float32")
    other = sap(
        (codes * signs)[rows][:, columns],
        factors[rows],
        continuous=continuous,
        test=((test_codes * signs)[:, columns], test_factors),
    )
    assert other == pytest.approx(score, abs=1e-9)


def test_names_of_values_change_nothing_in_the_discrete_score():
    codes, factors, test_codes, test_factors = inputs("d10_tiny")
    names = np.array([40, -7, 3])
    plain = sap_matrix(codes, factors, test=(test_codes, test_factors))
    renamed = sap_matrix(codes, names[factors], test=(test_codes, names[test_factors]))
    np.testing.assert_allclose(renamed, plain, atol=1e-12)


def test_duplicated_latents_score_0():
    codes, factors, *_ = inputs("d03_noisy")
    twice = np.hstack([codes, codes])
    assert sap(twice, factors) == 0
    assert sap(twice, factors, continuous=True) == pytest.approx(0, abs=1e-12)


def test_factors_that_do_not_vary_are_skipped():
    codes, factors, test_codes, test_factors = inputs("d16_single_valued_factor")
    for continuous in (False, True):
        options = {"continuous": continuous}
        score = sap(codes, factors, test=(test_codes, test_factors), **options)
        varying = [0, 2]
        test = test_codes, test_factors[:, varying]
        assert score == sap(codes, factors[:, varying], test=test, **options)


def test_values_unseen_in_training_are_misses():
    codes, factors = np.array([[0.0], [9.0]] * 20), np.array([[0], [1]] * 20)
    test = np.array([[0.0], [9.0], [9.0], [0.0]]), np.array([[0], [1], [2], [-1]])
    assert sap_matrix(codes, factors, test=test).item() == 0.5


def test_more_noise_never_scores_higher():
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(4000, 3))
    noise = rng.normal(size=(4000, 3))
    for continuous in (False, True):
        ladder = [sap(factors + s * noise, factors, continuous=continuous) for s in (0, 0.5, 1, 4)]
        assert ladder == sorted(ladder, reverse=True)
        assert ladder[0] > 0.5
        assert ladder[-1] < 0.15


def test_bad_input():
    codes, factors, *_ = inputs("d10_tiny")
    with pytest.raises(ValueError, match=r"at least 2 latents. Got 1"):
        sap(codes[:, :1], factors)
    with pytest.raises(ValueError, match=r"SAP needs a factor with more than one value"):
        sap(codes, 0 * factors)
    with pytest.raises(ValueError, match=r"Got 4 samples for 5 values of factor 0"):
        sap(codes[:4], factors[:4, 1:2], test=(codes[:5], np.arange(5)[:, None]))
    with pytest.raises(ValueError, match=r"`codes` must be finite"):
        sap(np.where(codes == codes[3, 1], np.inf, codes), factors)
