import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from support.golden_values import FOLDER, NEW, OLD, stage

from keras_disent.metrics._predictors.logistic import fit_softmax


def clusters(classes, samples=1500, features=6, seed=0):
    """Overlapping classes: one direction orders them, another has half of them apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=samples)
    centers = np.zeros((classes, features))
    centers[:, 0], centers[:, 1] = np.linspace(-2, 2, classes), np.arange(classes) % 2
    return centers[labels] + rng.normal(0, 0.7, (samples, features)), labels


def objective(model, features, labels, penalty=1.0):
    if len(model.classes) == 2:
        penalty *= 2
    probability = model.predict_proba(features)
    own = probability[np.arange(len(labels)), np.searchsorted(model.classes, labels)]
    return penalty / 2 * np.sum(model.coefficients**2) - np.log(own).sum()


def gradient(model, features, labels, penalty=1.0):
    if len(model.classes) == 2:
        penalty *= 2
    error = model.predict_proba(features) - (labels[:, None] == model.classes)
    slopes = error.T @ (features - features.mean(axis=0)) + penalty * model.coefficients
    return slopes, error.sum(axis=0)


@pytest.mark.parametrize("classes", [3, 7, 16, 40])
def test_it_is_the_optimum_that_scikit_learn_converges_to(classes):
    features, labels = clusters(classes)
    expected = LogisticRegression(tol=1e-9, max_iter=10_000).fit(features, labels)
    model = fit_softmax(features, labels, tolerance=1e-5)
    np.testing.assert_allclose(model.coefficients, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercepts, expected.intercept_, atol=1e-4)
    np.testing.assert_allclose(
        model.predict_proba(features), expected.predict_proba(features), atol=1e-5
    )
    assert np.mean(model.predict(features) == expected.predict(features)) > 0.999


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_two_classes_have_the_penalty_of_one_logit(penalty):
    features, labels = clusters(2, samples=200)
    labels = np.where(labels == 1, 5, -3)
    expected = LogisticRegression(C=1 / penalty, tol=1e-9).fit(features, labels)
    model = fit_softmax(features, labels, penalty=penalty, tolerance=1e-6)
    np.testing.assert_allclose(np.diff(model.coefficients, axis=0), expected.coef_, atol=1e-5)
    np.testing.assert_allclose(np.diff(model.intercepts), expected.intercept_, atol=1e-5)
    np.testing.assert_array_equal(model.predict(features), expected.predict(features))


@pytest.mark.parametrize("classes", [4, 24])
def test_tolerance_bounds_the_objective(classes):
    features, labels = clusters(classes)
    best = objective(fit_softmax(features, labels, tolerance=1e-7), features, labels)
    for tolerance in (1.0, 0.1, 0.01):
        model = fit_softmax(features, labels, tolerance=tolerance)
        assert -1e-6 < objective(model, features, labels) - best < 2 * tolerance**2


@pytest.mark.parametrize("classes", [2, 6, 30])
def test_badly_scaled_features_do_not_hinder_it(classes):
    features, labels = clusters(classes)
    features = features * np.logspace(-3, 3, 6) + [0, 10, -1e4, 0, 1e5, 3]
    model = fit_softmax(features, labels, tolerance=1e-4)
    by_slope, by_intercept = gradient(model, features, labels)
    assert np.abs(by_slope / features.std(axis=0)).max() < 0.01
    assert np.abs(by_intercept).max() < 0.01


@pytest.mark.parametrize(("classes", "scale"), [(3, 1000.0), (14, 30.0)])
def test_separable_classes_reach_the_optimum_too(classes, scale):
    labels = np.arange(60 * classes) % classes
    features = scale * np.column_stack([labels - classes / 2, np.cos(7.0 * np.arange(len(labels)))])
    model = fit_softmax(features, labels, tolerance=1e-4)
    by_slope, by_intercept = gradient(model, features, labels)
    assert np.abs(by_slope).max() < 1e-3 * scale
    assert np.abs(by_intercept).max() < 1e-3
    np.testing.assert_array_equal(model.predict(features), labels)


def test_heavy_tails_reach_the_optimum_too():
    features, labels = clusters(12)
    features = features + 0.1 * np.random.default_rng(1).standard_cauchy(features.shape)
    model = fit_softmax(features, labels, tolerance=1e-4)
    exact = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(features, labels)
    np.testing.assert_allclose(model.coefficients, exact.coef_, atol=1e-3)


def test_dead_duplicated_and_rare():
    features, labels = clusters(5, samples=400)
    labels[0] = 99
    features = np.column_stack([features, features[:, 0], np.full(400, 1.7), np.zeros(400)])
    model = fit_softmax(features, labels, tolerance=1e-6)
    assert model.classes.tolist() == [0, 1, 2, 3, 4, 99]
    np.testing.assert_allclose(model.coefficients[:, 6], model.coefficients[:, 0], atol=1e-6)
    np.testing.assert_allclose(model.coefficients[:, 7:], 0, atol=1e-6)
    nothing = fit_softmax(np.zeros((8, 1)), [1, 1, 1, 1, 1, 1, 2, 2], tolerance=1e-6)
    np.testing.assert_allclose(nothing.predict_proba([[0.0]]), [[0.75, 0.25]], atol=1e-6)


def test_order_of_samples_features_and_classes_changes_nothing():
    features, labels = clusters(20)
    plain = fit_softmax(features, labels)
    rng = np.random.default_rng(3)
    rows, columns, names = rng.permutation(1500), rng.permutation(6), rng.permutation(20)
    other = fit_softmax(-features[rows][:, columns], names[labels[rows]])
    np.testing.assert_allclose(
        other.predict_proba(-features[:, columns])[:, names],
        plain.predict_proba(features),
        atol=1e-8,
    )


@pytest.mark.parametrize("case", ["b1_clean", "b2_noisy", "b3_binary_two_factors"])
def test_accuracies_of_the_reference(case):
    data = np.load(FOLDER / "stage" / f"beta_vae_{case}.npz")
    model = fit_softmax(data["train_points"], data["train_labels"])
    for software in (OLD, NEW):
        for solver in ("default", "multinomial_lbfgs_converged"):
            expected = stage("beta_vae")[software]["cases"][case][solver]["result"]
            for part in ("train", "eval"):
                predicted = model.predict(data[f"{part}_points"])
                accuracy = np.mean(predicted == data[f"{part}_labels"])
                assert accuracy == pytest.approx(expected[f"{part}_accuracy"], abs=0.005)


def test_bad_input():
    features, labels = clusters(3, samples=10)
    with pytest.raises(ValueError, match=r"one label per row.*Got shape \(9,\)"):
        fit_softmax(features, labels[1:])
    with pytest.raises(ValueError, match=r"at least 2 classes. Got 1"):
        fit_softmax(features, np.zeros(10))
    with pytest.raises(ValueError, match=r"`penalty` must be more than 0. Got 0"):
        fit_softmax(features, labels, penalty=0)
    with pytest.raises(ValueError, match=r"`tolerance` must be more than 0. Got nan"):
        fit_softmax(features, labels, tolerance=np.nan)
    with pytest.raises(ValueError, match=r"`features` must be finite. Got 1 NaN"):
        fit_softmax(np.where(np.arange(60).reshape(10, 6) == 7, np.nan, features), labels)
