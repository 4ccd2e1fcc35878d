"""Boosted trees: agreement with scikit-learn, and invariances."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from support.golden_values import inputs

from keras_disent.metrics._predictors import trees
from keras_disent.metrics._predictors.boosting import BoostedTrees


def coarse(classes, seed=0, samples=2000):
    """Noisy codes of 16 values."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=samples)
    codes = [2 * (labels == i % classes) + rng.normal(0, 1.5, samples) for i in range(3)]
    return np.clip(np.round(np.stack(codes, 1) * 15 / 8), -7, 8), labels


def fine(samples=1500, factor=1):
    codes, factors, test_codes, _ = inputs("d03_noisy")
    return codes[:samples], factors[:samples, factor], test_codes


@pytest.mark.parametrize("seed", range(4))
def test_importance_equals_that_of_scikit_learn_where_nothing_is_tied(seed):
    codes, labels = coarse(2, seed)
    first, second = (
        GradientBoostingClassifier(n_estimators=20, random_state=i).fit(codes, labels)
        for i in range(2)
    )
    np.testing.assert_allclose(  # so there are no ties
        first.feature_importances_, second.feature_importances_, atol=1e-12
    )
    trees = BoostedTrees(rounds=20).fit(codes, labels)
    np.testing.assert_allclose(trees.feature_importances_, first.feature_importances_, atol=1e-12)
    probes = codes + np.random.default_rng(1).normal(size=codes.shape)
    np.testing.assert_allclose(trees.predict_proba(probes), first.predict_proba(probes), atol=1e-12)
    assert np.array_equal(trees.predict(probes), first.predict(probes))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("values", ["few", "many"])
def test_probabilities_equal_those_of_scikit_learn(classes, values):
    codes, labels = coarse(classes, samples=1000)
    if values == "many":  # but not so many samples that they are put into bins
        codes = codes + np.random.default_rng(2).normal(size=codes.shape)
    reference = GradientBoostingClassifier(random_state=0).fit(codes, labels * 10 - 7)
    trees = BoostedTrees().fit(codes, labels * 10 - 7)
    # Tied cuts divide these samples equally, and their importance is shared.
    np.testing.assert_allclose(
        trees.predict_proba(codes), reference.predict_proba(codes), atol=1e-9
    )
    np.testing.assert_allclose(
        trees.feature_importances_, reference.feature_importances_, atol=0.01
    )
    assert np.array_equal(trees.classes_, reference.classes_)


def test_binned_codes_are_close_to_scikit_learn():
    codes, labels, test_codes = fine()
    reference = GradientBoostingClassifier(random_state=0).fit(codes, labels)
    trees = BoostedTrees().fit(codes, labels)
    np.testing.assert_allclose(
        trees.feature_importances_, reference.feature_importances_, atol=0.01
    )
    assert np.mean(trees.fitted_ == reference.predict(codes)) > 0.98
    assert np.mean(trees.predict(test_codes) == reference.predict(test_codes)) > 0.95


def test_more_samples_than_fit_into_16_bits():
    codes, labels = coarse(3, samples=70_000)
    reference = GradientBoostingClassifier(n_estimators=2, random_state=0).fit(codes, labels)
    trees = BoostedTrees(rounds=2).fit(codes, labels)
    np.testing.assert_allclose(
        trees.predict_proba(codes), reference.predict_proba(codes), atol=1e-9
    )
    np.testing.assert_allclose(
        trees.feature_importances_, reference.feature_importances_, atol=1e-9
    )


def test_latents_of_few_and_of_many_values_together():
    codes, labels, _ = fine()
    codes = np.hstack([codes, np.round(codes[:, :2])])
    reference = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(codes, labels)
    trees = BoostedTrees(rounds=20).fit(codes, labels)
    np.testing.assert_allclose(
        trees.feature_importances_, reference.feature_importances_, atol=0.01
    )


def unchanged(one, other, order=slice(None), ties=False):
    np.testing.assert_allclose(one[0][order], other[0], atol=0.002 if ties else 1e-12)
    assert np.mean(one[1] != other[1]) <= (0.01 if ties else 0)


@pytest.mark.parametrize("case", ["binned", "not binned", "rounded", "tiny"])
def test_invariances(case):
    samples = {"binned": 1200, "not binned": 600, "rounded": 1200, "tiny": 50}[case]
    codes, labels, test_codes = fine(samples)
    if case == "rounded":
        codes, test_codes = codes.round(1), test_codes.round(1)

    def outcome(codes, labels, test_codes):
        model = BoostedTrees(rounds=40).fit(codes, labels)
        return model.feature_importances_, model.predict(test_codes)

    plain = outcome(codes, labels, test_codes)
    rows = np.random.default_rng(0).permutation(samples)
    unchanged(plain, outcome(codes[rows], labels[rows], test_codes))
    latents = np.arange(codes.shape[1])[::-1]
    unchanged(plain, outcome(codes[:, latents], labels, test_codes[:, latents]), latents)
    signs = np.where(latents % 2, -1, 1).astype(codes.dtype)
    # Of two cuts of one latent that are equally good, the lower is taken.
    unchanged(plain, outcome(codes * signs, labels, test_codes * signs), ties=case == "binned")
    scales = np.float32(2.0) ** (latents - 4)
    unchanged(plain, outcome(codes * scales, labels, test_codes * scales))
    names = np.array([30, -5, 8, 1])
    importance, predictions = outcome(codes, names[labels], test_codes)
    unchanged((plain[0], names[plain[1]]), (importance, predictions))


@pytest.mark.parametrize("samples", [600, 1200])
@pytest.mark.parametrize("sign", [1, -1])
def test_copies_of_a_latent_share_its_importance(samples, sign):
    codes, labels, _ = fine(samples)
    codes = codes[:, :4]
    once = BoostedTrees(rounds=20).fit(codes, labels)
    twice = BoostedTrees(rounds=20).fit(np.hstack([codes, sign * codes[:, [1]]]), labels)
    first, second = twice.feature_importances_[[1, 4]]
    # If codes are binned, only the latent that is cut is searched value by value at its new ends.
    assert first == pytest.approx(second, abs=1e-12 if samples == 600 else 0.01)
    assert first + second == pytest.approx(once.feature_importances_[1], abs=0.003)
    assert np.array_equal(once.fitted_, twice.fitted_)


def test_constant_latents_have_no_importance():
    codes, labels, _ = fine(400)
    codes = codes.copy()
    codes[:, [0, 2]] = 0.7, -3
    importance = BoostedTrees(rounds=5).fit(codes, labels).feature_importances_
    assert np.array_equal(importance[[0, 2]], [0, 0])
    assert importance.sum() == pytest.approx(1)


def test_constant_latents_predict_the_most_frequent_label():
    labels = np.array([4, 4, 1, 4, 9])
    model = BoostedTrees(rounds=3).fit(np.full((5, 2), 1.7), labels)
    assert np.array_equal(model.feature_importances_, [0, 0])
    assert np.array_equal(model.predict([[0.0, 5.0]]), [4])
    np.testing.assert_allclose(model.predict_proba([[0, 0]]), [[0.2, 0.6, 0.2]])


def test_a_cut_without_gain_can_prepare_one_with():
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    labels = codes[:, 0] ^ codes[:, 1]
    assert np.array_equal(BoostedTrees(rounds=5).fit(codes, labels).predict(codes), labels)


@pytest.mark.parametrize("values", ["repeated", "distinct"])
def test_cuts_by_sample_are_those_by_bin(values):
    codes, labels = coarse(5, samples=300)
    if values == "distinct":
        codes = codes + np.random.default_rng(2).normal(size=codes.shape)
    residuals = (labels == np.arange(5)[:, None]) - np.random.default_rng(3).uniform(size=(5, 1))
    residuals += np.random.default_rng(4).normal(size=residuals.shape)  # so that nothing is tied
    columns = trees.SortedCodes.of(codes, 255)
    one, other = (
        trees.grow(residuals, columns._replace(by_value=by_value)) for by_value in (True, False)
    )
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_classes_are_grown_in_blocks_of_any_size(monkeypatch):
    codes, labels = coarse(40)
    one_block = BoostedTrees(rounds=5).fit(codes, labels)
    monkeypatch.setattr(trees, "BLOCK", 1000)
    blocks = BoostedTrees(rounds=5).fit(codes, labels)
    np.testing.assert_allclose(
        one_block.predict_proba(codes), blocks.predict_proba(codes), atol=1e-12
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_staged_predictions_agree_with_predict(classes):
    codes, labels = coarse(classes, samples=500)
    model = BoostedTrees(rounds=12).fit(codes, labels)
    stages = list(model.staged_predict(codes))
    assert len(stages) == 12
    assert np.array_equal(stages[4], BoostedTrees(rounds=5).fit(codes, labels).predict(codes))
    assert np.array_equal(stages[-1], model.predict(codes))
    assert np.array_equal(stages[-1], model.fitted_)
    chances = model.predict_proba(codes)
    assert chances.shape == (500, classes)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert np.array_equal(model.classes_[chances.argmax(axis=1)], model.fitted_)


def test_bad_input():
    codes, labels = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        BoostedTrees().fit(codes, np.ones(4))
    with pytest.raises(ValueError, match=r"must have shape \(4,\). Got \(3,\)"):
        BoostedTrees().fit(codes, labels[:3])
    with pytest.raises(ValueError, match="finite"):
        BoostedTrees().fit(codes + np.nan, labels)
    with pytest.raises(ValueError, match="`rounds` must be an integer of at least 1"):
        BoostedTrees(rounds=0)
    with pytest.raises(ValueError, match="`bins` must be an integer of at least 2"):
        BoostedTrees(bins=1)
    with pytest.raises(ValueError, match="must have 2 latents, as in training"):
        BoostedTrees(rounds=1).fit(codes, labels).predict(np.zeros((1, 3)))
