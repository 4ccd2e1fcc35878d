import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from support.golden_values import CASES, NEW, OLD, expected, inputs

from keras_disent.metrics.modularity import area_under_curve, explicitness, modularity


@pytest.mark.parametrize("case", CASES)
def test_modularity_of_the_reference(case):
    codes, factors, *_ = inputs(case)
    # Bins are those of NumPy 1, constant latents are treated as scikit-learn 1 does.
    software = OLD if case.startswith("d14_") else NEW
    reference = expected(case, "modularity", software)["modularity_score"]
    if case.startswith("d16_"):
        # One of three factors does not vary. The reference divides by 3 - 1, here it is 2 - 1.
        reference = 1 - 2 * (1 - reference)
    assert modularity(codes, factors) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize("software", [OLD, NEW])
@pytest.mark.parametrize("case", [c for c in CASES if not c.startswith(("d07_", "d16_"))])
def test_explicitness_of_the_reference(case, software):
    codes, factors, test_codes, test_factors = inputs(case)
    reference = expected(case, "explicitness", software)
    result = explicitness(codes, factors, test=(test_codes, test_factors))
    assert float(result) == result.test
    assert result.test == pytest.approx(reference["explicitness_score_test"], abs=5e-4)
    assert result.train == pytest.approx(reference["explicitness_score_train"], abs=5e-4)
    np.testing.assert_allclose(result.per_factor_test, reference["per_factor_test"], atol=5e-4)
    np.testing.assert_allclose(result.per_factor_train, reference["per_factor_train"], atol=5e-4)


def test_explicitness_is_that_of_converged_regressions():
    codes, factors, test_codes, test_factors = inputs("d13_vae_small")
    result = explicitness(codes, factors, test=(test_codes, test_factors))
    mean, deviation = codes.mean(axis=0, dtype=float), codes.std(axis=0, dtype=float)
    for k in range(factors.shape[1]):
        model = LogisticRegression(tol=1e-8, max_iter=10_000)
        model.fit((codes - mean) / deviation, factors[:, k])
        scores = model.predict_proba((test_codes - mean) / deviation)
        area = roc_auc_score(np.eye(scores.shape[1])[test_factors[:, k]], scores)
        assert result.per_factor_test[k] == pytest.approx(area, abs=2e-5)


def test_area_under_curve_counts_ties_half():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=500)
    scores = rng.integers(6, size=(500, 4)) / 6
    classes = np.array([0, 1, 2, 3])
    expected = roc_auc_score(labels[:, None] == classes, scores)
    assert area_under_curve(scores, labels, classes) == pytest.approx(expected, abs=1e-12)


def test_modularity_by_hand():
    factors = np.indices((4, 4, 4)).reshape(3, -1).T
    a, b, _ = factors.T
    # One factor; two factors equally; no factor at all.
    codes = np.column_stack([a, 4 * a + b, np.full(64, 1.7)])
    assert modularity(codes, factors, bins=16) == pytest.approx((1 + 0.5 + 0) / 3)
    assert modularity(factors, factors) == 1
    assert modularity(np.zeros((64, 1)), factors) == 0


def test_modularity_of_one_latent_can_be_full():
    factors = np.indices((4, 4)).reshape(2, -1).T
    assert modularity(factors[:, :1], factors) == 1
    assert modularity(factors[:, [0, 0, 0]], factors) == 1


def test_a_factor_without_variation_changes_nothing():
    factors = np.indices((4, 4)).reshape(2, -1).T
    codes = factors @ [[4, 1, 0], [1, 0, 0]]
    wider = np.insert(factors, 1, 9, axis=1)
    assert modularity(codes, wider) == modularity(codes, factors) == pytest.approx(1 / 3)


def test_order_sign_scale_and_names_change_nothing():
    codes, factors, test_codes, test_factors = inputs("d03_noisy")
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(codes)), rng.permutation(8)
    # Powers of two keep the rounding of codes as it was.
    scale = (rng.choice([-1, 1], 8) * 2.0 ** rng.integers(-9, 9, 8)).astype("float32")
    names = 3 * rng.permutation(8) - 7
    other = (codes * scale)[rows][:, columns], names[factors[rows]]
    assert modularity(*other) == pytest.approx(modularity(codes, factors), abs=1e-3)
    test = (test_codes * scale)[:, columns], names[test_factors]
    plain = explicitness(codes, factors, test=(test_codes, test_factors))
    changed = explicitness(*other, test=test)
    assert changed.test == pytest.approx(plain.test, abs=1e-6)
    assert changed.train == pytest.approx(plain.train, abs=1e-6)


def test_constant_and_duplicated_latents_in_explicitness():
    codes, factors, test_codes, test_factors = inputs("d07_constant")  # 5 and 6 are constant
    result = explicitness(codes, factors, test=(test_codes, test_factors))
    alive = explicitness(codes[:, :5], factors, test=(test_codes[:, :5], test_factors))
    assert result.test == pytest.approx(alive.test, abs=1e-6)
    # A latent that varies in the test samples only does not matter either.
    test_codes = test_codes.copy()
    test_codes[:, 5:] = np.random.default_rng(0).normal(size=(len(test_codes), 2))
    moved = explicitness(codes, factors, test=(test_codes, test_factors))
    assert moved.test == pytest.approx(result.test, abs=1e-9)
    twice = explicitness(codes[:, [0, 1, 2, 3, 4] * 2], factors)
    assert twice.test == pytest.approx(explicitness(codes[:, :5], factors).test, abs=0.002)


def test_explicitness_of_everything_and_of_nothing():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(2000, 2))
    assert float(explicitness(factors, factors)) == pytest.approx(1, abs=1e-3)
    assert float(explicitness(np.full((2000, 3), 1.7), factors)) == 0.5
    assert float(explicitness(rng.normal(size=(2000, 3)), factors)) == pytest.approx(0.5, abs=0.05)


def test_more_noise_is_never_more_explicit():
    rng = np.random.default_rng(0)
    factors, noise = rng.integers(4, size=(2000, 2)), rng.normal(size=(2000, 2))
    ladder = [float(explicitness(factors + s * noise, factors)) for s in (0, 0.5, 1, 4)]
    assert ladder == sorted(ladder, reverse=True)


def test_factors_that_do_not_vary_are_skipped_and_named():
    codes, factors, test_codes, test_factors = inputs("d16_single_valued_factor")
    result = explicitness(codes, factors, test=(test_codes, test_factors))
    assert result.factors_used == (0, 2)
    assert result.per_factor_test.shape == result.per_factor_train.shape == (2,)
    fewer = explicitness(codes, factors[:, [0, 2]], test=(test_codes, test_factors[:, [0, 2]]))
    assert result.test == fewer.test


def test_values_that_only_one_split_has_do_not_count():
    codes, factors, test_codes, test_factors = inputs("d10_tiny")
    rows = test_factors[:, 1] != 1
    test = test_codes[rows], test_factors[rows]
    result = explicitness(codes, factors[:, 1:2], test=(test[0], test[1][:, 1:2]))
    assert 0.5 < result.test <= 1
    unseen = np.where(np.arange(len(rows)) < 2, 7, test_factors[:, 1])[:, None]
    assert 0.5 < explicitness(codes, factors[:, 1:2], test=(test_codes, unseen)).test <= 1


def test_the_split_is_that_of_the_seed():
    codes, factors, *_ = inputs("d03_noisy")
    first, again, other = (explicitness(codes, factors, seed=seed) for seed in (0, 0, 1))
    assert first.test == again.test != other.test


def test_bad_input():
    codes, factors, *_ = inputs("d10_tiny")
    with pytest.raises(ValueError, match=r"at least 2 of them must vary. Got 1 that varies of 2"):
        modularity(codes, factors[:, [0]] * [1, 0])
    with pytest.raises(ValueError, match=r"Modularity needs a factor with more than one value"):
        modularity(codes, 0 * factors)
    with pytest.raises(ValueError, match=r"`bins` must be an integer of at least 2. Got 1"):
        modularity(codes, factors, bins=1)
    with pytest.raises(ValueError, match=r"Explicitness needs a factor with more than one value"):
        explicitness(codes, 0 * factors)
    with pytest.raises(ValueError, match=r"Got \[5\] of factor 0"):
        explicitness(codes, factors, test=(codes, 0 * factors + 5))
    with pytest.raises(ValueError, match=r"Got \[8, 9\] of factor 1"):
        explicitness(codes, factors, test=(codes, factors * [1, 0, 1] + [0, 8, 0] + (factors > 0)))
    with pytest.raises(ValueError, match=r"Got 4 samples for 5 values of factor 0"):
        explicitness(codes[:4], factors[:4, 1:2], test=(codes[:5], np.arange(5)[:, None]))
