"""Continuous factors, alone and with label factors."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from support.numbered_images import Table, numbered

from keras_disent.metrics import (
    METRICS,
    dci,
    discretize,
    downstream,
    evaluate,
    explicitness,
    infomec,
    irs,
    mcc,
    mig,
    sap,
    sap_matrix,
)
from keras_disent.metrics._predictors.boosting import BoostedRegression

RNG = np.random.default_rng(0)
N = 600
ANGLE, SIZE, SHAPE = RNG.uniform(0, 90, N), RNG.uniform(0.5, 2, N), RNG.integers(4, size=N)
FACTORS = np.column_stack([ANGLE, SHAPE, SIZE])
INFORMATIVE = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0)
NOISE = RNG.normal(size=(N, 3))
QUICK = ("dcimig", "mig", "mig_sup", "modularity", "explicitness", "infomec", "irs", "sap")


def binned():
    """The factors with bins in place of numbers."""
    bins = discretize(FACTORS, 20)
    return np.where([True, False, True], bins, FACTORS).astype(int)


@pytest.mark.parametrize("name", ["mig", "mig_sup", "dcimig", "modularity", "irs"])
def test_histograms_see_bins_of_equal_width(name):
    codes = INFORMATIVE + 0.3 * NOISE
    function = METRICS[name].function
    assert float(function(codes, FACTORS)) == float(function(codes, binned()))
    assert float(function(codes, FACTORS, continuous=[0, 2])) == float(function(codes, binned()))


@pytest.mark.parametrize("name", ["rmig", "jemmig"])
def test_posteriors_see_bins_of_equal_width(name):
    function = METRICS[name].function
    scores = [float(function(INFORMATIVE, NOISE - 4, factors)) for factors in (FACTORS, binned())]
    assert scores[0] == scores[1]


def test_columns_without_fractions_are_labels_unless_named():
    labels = np.column_stack([np.round(ANGLE), SHAPE])
    assert mig(INFORMATIVE, labels) == mig(INFORMATIVE, labels, continuous=False)
    assert mig(INFORMATIVE, labels, continuous=[0]) > mig(INFORMATIVE, labels) + 0.1
    assert mig(INFORMATIVE, labels, continuous=True) == mig(INFORMATIVE, labels, continuous=[0, 1])
    with pytest.raises(ValueError, match=r"^factor 0 must hold whole numbers .* Got \d+\.\d"):
        mig(INFORMATIVE, FACTORS, continuous=False)
    with pytest.raises(ValueError, match=r"column numbers of `factors` from 0 to 2. Got 3"):
        mig(INFORMATIVE, FACTORS, continuous=[3])


def test_codes_that_are_the_factors_and_codes_of_noise():
    for name in QUICK:
        function = METRICS[name].function
        good, bad = (float(function(codes, FACTORS)) for codes in (INFORMATIVE, NOISE))
        assert good > bad + 0.1, name
    assert mig(INFORMATIVE, FACTORS) > 0.85
    assert mig(NOISE, FACTORS) < 0.05
    assert infomec(INFORMATIVE, FACTORS).explicitness > 0.9
    assert infomec(NOISE, FACTORS).explicitness < 0.1
    assert explicitness(NOISE, FACTORS).test == pytest.approx(0.5, abs=0.1)
    assert irs(INFORMATIVE, FACTORS).parents == (0, 1, 2)


def test_sap_mixes_correlations_and_classifiers():
    codes = INFORMATIVE + 0.3 * NOISE
    matrix = sap_matrix(codes, FACTORS, seed=3)
    for column in (0, 2):
        expected = [np.corrcoef(code, FACTORS[:, column])[0, 1] ** 2 for code in codes.T]
        np.testing.assert_allclose(matrix[:, column], expected)
    np.testing.assert_array_equal(matrix[:, 1:2], sap_matrix(codes, FACTORS[:, 1:2], seed=3))
    assert sap(codes, FACTORS, seed=3) == pytest.approx(
        np.mean(np.diff(np.sort(matrix, axis=0)[-2:], axis=0))
    )


def test_explicitness_of_infomec_is_that_of_linear_regression():
    codes = INFORMATIVE + 0.5 * NOISE
    train, test = slice(400), slice(400, N)
    real = FACTORS[:, [0, 2]]
    result = infomec(codes[train], real[train], test=(codes[test], real[test]))
    shares = []
    for factor in real.T:
        model = LinearRegression().fit(codes[train], factor[train])
        error = np.sum((factor[test] - model.predict(codes[test])) ** 2)
        shares.append(1 - error / np.sum((factor[test] - factor[train].mean()) ** 2))
    assert result.explicitness == pytest.approx(np.mean(shares))


def test_boosted_regression_is_that_of_scikit_learn():
    codes = (INFORMATIVE + 0.5 * NOISE).astype("float32")
    values = 3 * codes[:, 0] + np.sin(4 * codes[:, 2]) + 0.1 * NOISE[:, 0]
    trees = BoostedRegression().fit(codes[:400], values[:400])
    reference = GradientBoostingRegressor(random_state=0).fit(codes[:400], values[:400])
    np.testing.assert_allclose(trees.fitted_, reference.predict(codes[:400]), atol=1e-6)
    # There, ties between cuts that divide the training samples equally are random.
    assert np.mean(np.abs(trees.predict(codes) - reference.predict(codes)) > 1e-6) < 0.02
    np.testing.assert_allclose(trees.fitted_, trees.predict(codes[:400]))
    np.testing.assert_allclose(
        trees.feature_importances_, reference.feature_importances_, atol=0.01
    )
    *_, last = trees.staged_predict(codes)
    np.testing.assert_array_equal(last, trees.predict(codes))
    scaled = BoostedRegression().fit(codes[:400], 1e6 * values[:400] - 5)
    np.testing.assert_allclose(scaled.feature_importances_, trees.feature_importances_)
    for wrong, message in ((values[:9], "shape"), (np.ones(N), "must vary")):
        with pytest.raises(ValueError, match=message):
            BoostedRegression().fit(codes, wrong)


def test_dci_and_downstream_have_regressors():
    train, test = (INFORMATIVE[:400], FACTORS[:400]), (INFORMATIVE[400:], FACTORS[400:])
    result = dci(*train, test=test)
    assert float(result) > 0.95
    assert result.informativeness_test > 0.95
    exact = dci(*train, test=test, predictor="exact_boosting")
    assert float(result) == pytest.approx(float(exact), abs=0.02)
    assert dci(NOISE[:400], FACTORS[:400], test=(NOISE[400:], FACTORS[400:])).disentanglement < 0.2
    for predictor in ("boosting", "logistic"):
        tasks = downstream(*train, test=test, predictor=predictor, sizes=(400,))
        assert tasks.test_accuracy[0, [0, 2]].min() > 0.95
    judges = NOISE[400:], FACTORS[400:]
    noise = downstream(NOISE[:400], FACTORS[:400], test=judges, sizes=(400,))
    assert noise.test_accuracy[0, 0] == 0  # R² would be below
    single = dci(
        train[0][:, [0, 2]], train[1][:, [0, 2]], test=(test[0][:, [0, 2]], test[1][:, [0, 2]])
    )
    model = BoostedRegression().fit(train[0][:, [0, 2]], ANGLE[:400])
    other = BoostedRegression().fit(train[0][:, [0, 2]], SIZE[:400])
    expected = [
        r2_score(values, fitted.predict(test[0][:, [0, 2]]))
        for values, fitted in ((ANGLE[400:], model), (SIZE[400:], other))
    ]
    assert single.informativeness_test == pytest.approx(np.mean(expected))


def test_evaluate_reads_continuous_factors_from_the_data():
    data = numbered({"angle": ANGLE, "shape": SHAPE, "size": SIZE})
    names = ["mig", "sap", "dci", "mcc"]
    scores = evaluate(Table(INFORMATIVE), data, names, n_samples=400, n_test_samples=200)
    settings = scores.settings
    assert settings["mig"]["continuous"] == ["angle", "size"]
    assert settings["mig"]["continuous_as"]["size"] == "20 bins of equal width"
    assert settings["sap"]["continuous_as"]["angle"] == "squared correlation"
    assert settings["dci"]["continuous_as"]["angle"] == "regression trees, R²"
    assert (settings["sap"]["n_samples"], settings["sap"]["n_test_samples"]) == (400, 200)
    indices = np.random.default_rng(0).choice(N, N, replace=False)[:400]
    assert scores["mig"] == mig(INFORMATIVE[indices].astype("f4"), FACTORS[indices])
    correlations = mcc(INFORMATIVE[indices].astype("f4"), FACTORS[indices])
    assert scores["mcc"] == pytest.approx(float(correlations))
    # The settings reproduce the score, and the caller's choice takes precedence.
    again = {
        "mig": {"continuous": settings["mig"]["continuous"]},
        "dcimig": {"continuous": ["size"]},
    }
    scores = evaluate(Table(INFORMATIVE), data, again, n_samples=400)
    assert scores["mig"] == mig(INFORMATIVE[indices].astype("f4"), FACTORS[indices])
    assert list(scores.settings["dcimig"]["continuous_as"]) == ["size"]
    with pytest.raises(ValueError, match=r"names out of angle, shape, size. Got \['x'\]"):
        evaluate(Table(INFORMATIVE), data, {"mig": {"continuous": ["x"]}})


def test_every_metric_of_arrays_takes_continuous_factors():
    data = numbered({"angle": ANGLE[:150], "shape": SHAPE[:150], "size": SIZE[:150]})
    names = [name for name, m in METRICS.items() if not m.grid and m.takes != "encoder"]
    scores = evaluate(Table(INFORMATIVE), data, names)
    assert list(scores) == names
    assert np.isfinite(list(scores.values())).all()
    for name in names:
        if METRICS[name].takes != "codes":
            assert set(scores.settings[name]["continuous_as"]) == {"angle", "size"}
