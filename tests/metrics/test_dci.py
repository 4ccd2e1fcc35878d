"""DCI: agreement with the reference, and values for codes with known answers."""

import numpy as np
import pytest
from support.golden_values import CASES, NEW, OLD, expected, inputs, stage

from keras_disent.metrics.dci import completeness, dci, disentanglement
from keras_disent.metrics.dci_es import dci_es

GOLDEN = [
    case for case, about in CASES.items() if about["gbt"] and "raises" not in expected(case, "dci")
]
QUICK = {
    "boosting": ("d01_identity", "d04_two_per_dim", "d05_duplicated", "d10_tiny"),
    "exact_boosting": ("d10_tiny",),
}
SCORES = ("disentanglement", "completeness", "informativeness_train", "informativeness_test")


def golden_inputs(case):
    """Return training and test arrays of the sizes of the reference."""
    codes, factors, test_codes, test_factors = inputs(case)
    if CASES[case]["gbt"] is True:
        return (codes, factors), (test_codes, test_factors)
    _, train, test, *columns = CASES[case]["gbt"].split(":")
    columns = [int(i) for i in columns[0].split(",")] if columns else slice(None)
    train, test = int(train), int(test)
    return (
        (codes[:train], factors[:train, columns]),
        (test_codes[:test], test_factors[:test, columns]),
    )


@pytest.mark.parametrize(
    ("predictor", "case"),
    [
        pytest.param(predictor, case, marks=[] if case in QUICK[predictor] else [pytest.mark.slow])
        for predictor in ("boosting", "exact_boosting")
        for case in GOLDEN
    ],
)
def test_reference(predictor, case):
    train, test = golden_inputs(case)
    result = dci(*train, test=test, predictor=predictor)
    assert result.predictor == predictor
    for software in (NEW, OLD):
        reference = expected(case, "dci", software)
        for name in SCORES:
            # Predictions of the faster trees differ more than their scores.
            within = 0.02 if name.startswith("informativeness") else 0.01
            assert getattr(result, name) == pytest.approx(reference[name], abs=within), name


@pytest.mark.parametrize("software", [NEW, OLD])
@pytest.mark.parametrize("case", GOLDEN)
def test_aggregation_of_the_importance_of_the_reference(case, software):
    reference = expected(case, "dci", software)
    matrix = np.array(reference["importance_matrix"])
    for function, name, parts in (
        (disentanglement, "disentanglement", "disentanglement_per_code"),
        (completeness, "completeness", "completeness_per_factor"),
    ):
        score, each = function(matrix)
        assert score == pytest.approx(reference[name], abs=1e-12)
        np.testing.assert_allclose(each, reference[parts], atol=1e-12)


def test_aggregation_in_closed_form():
    def entropy(*p):
        return -sum(x * np.log(x) for x in p)

    matrix = [[3, 1, 0], [0, 2, 2]]
    score, each = disentanglement(matrix)
    rows = 1 - np.array([entropy(0.75, 0.25), entropy(0.5, 0.5)]) / np.log(3)
    np.testing.assert_allclose(each, rows, atol=1e-9)
    assert score == pytest.approx(rows.mean(), abs=1e-9)
    score, each = completeness(matrix)
    columns = 1 - np.array([0, entropy(1 / 3, 2 / 3), 0]) / np.log(2)
    np.testing.assert_allclose(each, columns, atol=1e-9)
    assert score == pytest.approx(np.average(columns, weights=[3, 3, 2]), abs=1e-9)


def test_aggregation_of_nothing_is_zero():
    for function in (disentanglement, completeness):
        score, each = function(np.zeros((3, 2)))
        assert score == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(each, 0, atol=1e-12)


@pytest.mark.parametrize("function", [disentanglement, completeness])
def test_aggregation_of_bad_matrices(function):
    with pytest.raises(ValueError, match="at least 2"):
        function(np.ones((1, 1)))
    with pytest.raises(ValueError, match="Got 1 axes"):
        function(np.ones(3))
    with pytest.raises(ValueError, match="finite importance of at least 0"):
        function([[1, -1], [1, 1]])
    with pytest.raises(ValueError, match="finite importance of at least 0"):
        function([[1, np.nan], [1, 1]])


def data(noise=0.0, samples=600, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.integers((3, 4, 5), size=(samples, 3))
    return factors + rng.normal(0, noise, factors.shape), factors


def test_perfect_codes():
    result = dci(*data(0.01))
    for name in SCORES:
        assert getattr(result, name) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(result.importance, np.eye(3), atol=1e-6)
    assert float(result) == result.disentanglement


def test_uninformative_codes():
    result = dci(np.random.default_rng(1).normal(size=(600, 6)), data()[1])
    assert result.disentanglement == pytest.approx(0, abs=0.02)
    assert result.completeness == pytest.approx(0, abs=0.02)
    assert result.informativeness_test == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5]), abs=0.05)


def test_more_noise_never_scores_higher():
    ladder = [dci(*data(noise)) for noise in (0.01, 0.3, 1, 3)]
    for name in SCORES:
        values = [getattr(result, name) for result in ladder]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]


def test_a_constant_latent_only_changes_the_unit_of_completeness():
    codes, factors = data(0.3)
    plain = dci(codes, factors)
    dead = dci(np.insert(codes, 1, 0.1, axis=1), factors)
    assert dead.disentanglement == pytest.approx(plain.disentanglement, abs=1e-9)
    assert dead.informativeness_test == plain.informativeness_test
    spread = (1 - plain.completeness) * np.log(3) / np.log(4)
    assert dead.completeness == pytest.approx(1 - spread, abs=1e-9)
    assert np.array_equal(dead.importance[1], np.zeros(3))


def test_a_duplicated_latent_halves_its_importance():
    codes, factors = data(0.01)
    result = dci(np.hstack([codes, -codes]), factors)
    assert result.disentanglement == pytest.approx(1, abs=1e-6)
    assert result.completeness == pytest.approx(1 - np.log(2) / np.log(6), abs=1e-6)


def test_constant_codes():
    result = dci(np.ones((300, 2)), data(samples=300)[1])
    assert not result.importance.any()
    assert result.disentanglement == pytest.approx(0, abs=1e-12)
    assert result.completeness == pytest.approx(0, abs=1e-12)


def test_a_factor_with_a_single_value_is_skipped_and_named():
    codes, factors = data(0.1, samples=300)
    result = dci(codes, np.insert(factors, 1, 7, axis=1))
    assert result.factors_used == (0, 2, 3)
    assert result.importance.shape == (3, 3)
    assert float(result) == float(dci(codes, factors))
    case = "d16_single_valued_factor"
    codes, factors, *test = inputs(case)
    assert dci(codes, factors, test=test).factors_used == (0, 2)


@pytest.mark.parametrize("predictor", ["boosting", "exact_boosting"])
def test_jobs_do_not_change_the_result(predictor):
    codes, factors = data(0.5, samples=150)
    one, two = (dci(codes, factors, predictor=predictor, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert np.array_equal(one.importance, two.importance)
    assert one.scalars() == two.scalars()


def test_without_test_arrays_the_seed_determines_the_split():
    codes, factors = data(0.5, samples=200)
    one, same, other = (dci(codes, factors, seed=seed) for seed in (1, 1, 2))
    assert one.scalars() == same.scalars()
    assert one.scalars() != other.scalars()


@pytest.mark.parametrize("metric", [dci, dci_es])
def test_bad_input(metric):
    codes, factors = data(samples=30)
    with pytest.raises(ValueError, match=r"at least 2 latents and 2 factors.*Got 1 and 3"):
        metric(codes[:, :1], factors)
    with pytest.raises(ValueError, match=r"at least 2 latents and 2 factors.*Got 3 and 1"):
        metric(codes, factors * [0, 1, 0])
    with pytest.raises(ValueError, match="factor with more than one value"):
        metric(codes, factors * 0)
    with pytest.raises(ValueError, match="one row per code"):
        metric(codes, factors[:-1])
    with pytest.raises(ValueError, match="finite"):
        metric(codes + np.inf, factors)
    with pytest.raises(ValueError, match="`n_jobs` must be an integer of at least 1"):
        metric(codes, factors, n_jobs=0)
    with pytest.raises(ValueError, match="needs 3 latents and 3 factors"):
        metric(codes, factors, test=(codes[:, :2], factors))


def test_unknown_predictor():
    with pytest.raises(ValueError, match="Unknown predictor 'lasso'"):
        dci(*data(samples=30), predictor="lasso")


def test_explicitness_of_perfect_codes():
    result = dci_es(*data(0.01))
    assert float(result) == result.explicitness == pytest.approx(1, abs=1e-9)
    assert result.size == 1
    assert result.disentanglement == pytest.approx(1, abs=1e-6)
    assert not result.losses.any()


def test_explicitness_of_uninformative_codes():
    codes = np.random.default_rng(1).normal(size=(600, 6))
    result = dci_es(codes, data()[1])
    assert result.explicitness < -0.8
    assert result.size == 0.5
    assert dci_es(codes * 0, data()[1]).explicitness == pytest.approx(-1)


def test_explicitness_is_the_area_below_the_curve_of_losses():
    codes, factors = data(0.8)
    train, test = (codes[:300], factors[:300]), (codes[300:], factors[300:])
    result = dci_es(*train, test=test)
    same = dci(*train, test=test)
    assert result.informativeness == pytest.approx(same.informativeness_test)
    assert result.disentanglement == same.disentanglement
    assert result.completeness == same.completeness
    assert np.all(np.diff(result.losses, axis=1) <= 0)
    counts = [np.bincount(labels).max() for labels in test[1].T]
    np.testing.assert_allclose(result.baselines, 1 - np.array(counts) / 300)
    assert np.all(result.losses <= result.baselines[:, None])
    steps = np.diff(np.log(result.capacities))
    areas = (result.losses[:, 1:] + result.losses[:, :-1]) / 2 @ steps
    triangles = result.baselines * np.log(100) / 2
    np.testing.assert_allclose(result.explicitness_per_factor, 1 - areas / triangles)
    assert result.explicitness == pytest.approx(np.mean(1 - areas / triangles))


def test_explicitness_falls_with_noise_and_with_rotation():
    ladder = [dci_es(*data(noise, 400)).explicitness for noise in (0.01, 0.3, 1, 3)]
    assert ladder == sorted(ladder, reverse=True)
    codes, factors = data(0.2)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotated = dci_es((codes - codes.mean(0)) / codes.std(0) @ rotation, factors)
    assert rotated.explicitness < dci_es(codes, factors).explicitness - 0.05


def test_explicitness_needs_two_values_in_the_test_samples():
    codes, factors = data(samples=60)
    with pytest.raises(ValueError, match=r"at least 2 values of each factor.*Got 1 of factor 1"):
        dci_es(codes, factors, test=(codes, factors * [1, 0, 1]))


def toy(samples, rng):
    """Draw as the reference does: 16 samples at a time, factor by factor; encode."""
    sizes = np.array([3, 6, 8, 5])
    batches = []
    for start in range(0, samples, 16):
        number = min(16, samples - start)
        batches.append(np.stack([rng.randint(size, size=number) for size in sizes], axis=1))
    factors = np.concatenate(batches)
    weights = np.diag([1, 1, 1, -1.0, 0, 0])[:4]
    weights[:, 4] = 0.3, 0.3, -0.3, 0.1
    weights[[0, 1, 2, 3], [1, 2, 3, 0]] = 0.1, -0.2, 0.1, 0.2
    hidden = (factors - (sizes - 1) / 2) / sizes @ weights
    hidden[:, 5] = 0.01 * np.sin(37 * factors.sum(axis=1))
    return np.tanh(1.5 * hidden), factors


@pytest.mark.parametrize("software", [NEW, OLD])
def test_end_to_end_with_the_samples_of_the_reference(software):
    rng = np.random.RandomState(0)
    train, test = toy(400, rng), toy(300, rng)
    result = dci(*train, test=test)
    reference = stage("e2e_clean")[software]["results"]["dci"]
    for name in SCORES:
        assert getattr(result, name) == pytest.approx(reference[name], abs=0.01), name
