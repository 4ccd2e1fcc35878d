"""A sample without a value of a factor is left out of that factor's scores, and only of those."""

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent.metrics import downstream, evaluate
from keras_disent.metrics.catalog import METRICS

N, N_TEST = 600, 300


def samples(n, seed):
    """Return codes `(n, 3)` and factors `(n, 2)`, floats: a class of 4, and a number."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(4, size=n), rng.normal(size=n)], axis=1)
    noise = rng.normal(scale=0.3, size=(n, 2))
    codes = np.column_stack([factors + noise, rng.normal(size=n)])
    return codes, factors


@pytest.fixture(scope="module")
def arrays():
    """Codes, factors with gaps in the second column, and the rows without a gap.

    The outermost codes have a value, so that their bins are those of all samples.
    """
    codes, factors = samples(N, 0)
    kept = np.random.default_rng(1).random(N) > 0.4
    kept[codes.argmin(axis=0)] = kept[codes.argmax(axis=0)] = True
    factors[~kept, 1] = np.nan
    return codes, factors, kept


def test_scores_by_factor_are_those_of_the_samples_that_have_a_value(arrays):
    codes, factors, kept = arrays
    test = samples(N_TEST, 2)
    for name, settings in {
        "mig": {},
        "sap": {"test": test},
        "sap of classes": {"test": (test[0], np.round(test[1])), "continuous": False},
        "mcc": {},
    }.items():
        function = getattr(metrics, name.partition(" ")[0])
        numbers = np.round(factors) if "classes" in name else factors
        if name == "mcc":
            parts = [
                metrics.correlation.absolute_correlations(codes, numbers[:, :1]),
                metrics.correlation.absolute_correlations(codes[kept], numbers[kept, 1:]),
            ]
            gaps = np.ma.masked_invalid(numbers)
            np.testing.assert_allclose(function(codes, gaps).matrix, np.hstack(parts))
            continue
        scores = []
        for column, rows in ((0, slice(None)), (1, kept)):
            own = dict(settings)
            if "test" in own:
                own["test"] = own["test"][0], own["test"][1][:, [column]]
            scores.append(function(codes[rows], numbers[rows][:, [column]], **own))
        assert function(codes, numbers, **settings) == pytest.approx(np.mean(scores)), name


def test_predictors_are_fitted_and_tested_on_the_samples_that_have_a_value(arrays):
    codes, factors, kept = arrays
    test_codes, test_factors = samples(N_TEST, 2)
    gaps = test_factors.copy()
    gaps[::3, 1] = np.nan
    result = metrics.dci(codes, factors, test=(test_codes, gaps))
    has_test = ~np.isnan(gaps[:, 1])
    # A copy of the first factor stands in for the second one's partner.
    own = metrics.dci(
        codes[kept], factors[kept], test=(test_codes[has_test], test_factors[has_test])
    )
    np.testing.assert_allclose(result.importance[:, 1], own.importance[:, 1])
    tasks = downstream(codes, factors, test=(test_codes, gaps), sizes=(N,))
    alone = downstream(
        codes[kept], factors[kept], test=(test_codes[has_test], test_factors[has_test]), sizes=(N,)
    )
    assert tasks.test_accuracy[0, 1] == alone.test_accuracy[0, 1]
    assert tasks.train_accuracy[0, 1] == alone.train_accuracy[0, 1]


@pytest.mark.parametrize("name", sorted(n for n, m in METRICS.items() if m.takes == "arrays"))
def test_all_metrics_of_arrays_bear_gaps(arrays, name):
    codes, factors, _ = arrays
    metric = METRICS[name]
    whole_codes, whole = samples(N, 0)
    codes, whole_codes = codes[:, :2], whole_codes[:, :2]  # noise has arbitrary scores
    settings = {"continuous": [1]} if "continuous" in metric.arguments else {}
    gaps = np.ma.masked_invalid if name == "mcc" else np.asarray
    score = float(metric.function(codes, gaps(factors), **settings))
    assert score == pytest.approx(float(metric.function(whole_codes, whole, **settings)), abs=0.15)
    classes = np.where(np.isnan(factors), np.nan, np.clip(np.round(factors), -2, 3))
    assert np.isfinite(float(metric.function(codes, gaps(classes))))


@pytest.mark.parametrize("name", ["rmig", "jemmig"])
def test_metrics_of_posteriors_are_unbiased_by_gaps(arrays, name):
    codes, factors, kept = arrays
    function = getattr(metrics, name)
    log_variances = np.full(codes.shape, -2.0)
    classes = np.where(np.isnan(factors), np.nan, np.clip(np.round(factors), -2, 2))
    parts = [
        float(function(codes[rows], log_variances[rows], classes[rows][:, [column]]))
        for column, rows in ((0, slice(None)), (1, kept))
    ]
    assert float(function(codes, log_variances, classes)) == pytest.approx(np.mean(parts))


def test_a_factor_without_any_value_is_skipped(arrays):
    codes, factors, _ = arrays
    empty = np.column_stack([factors[:, 0], np.full(N, np.nan)])
    assert metrics.mig(codes, empty, continuous=False) == metrics.mig(codes, factors[:, :1])


class Partly:
    """Labeled data: the second factor is unknown for every third image."""

    name = "partly"
    factor_names, factor_sizes = ("kind", "size"), (4, 5)
    image_shape = (1, 1, 1)

    def __len__(self):
        return 900

    def factors(self, indices):
        indices = np.asarray(indices)
        steps = np.stack([indices % 4, indices // 4 % 5], axis=1)
        steps[indices % 3 == 0, 1] = -1
        return steps

    def images(self, indices):
        return np.asarray(indices, np.int64).reshape(-1, 1, 1, 1)


def test_evaluate_counts_the_images_without_a_value():
    def encode(images):
        indices = images.reshape(-1)
        return np.stack([indices % 4, indices // 4 % 5, indices % 7], axis=1).astype(float)

    scores = evaluate(encode, Partly(), ["mig", "dci", "mcc"], n_samples=600, n_test_samples=300)
    assert scores["mig"] == pytest.approx(1, abs=0.03)
    assert float(scores["dci"]) > 0.95
    assert float(scores["mcc"]) == pytest.approx(1)
    settings = scores.settings["mig"]
    steps = Partly().factors(range(900))
    assert list(settings["n_without_value"]) == ["size"]
    assert 150 < settings["n_without_value"]["size"] < 250 < (steps < 0).sum()


def test_infinite_values_are_still_refused():
    with pytest.raises(ValueError, match="finite"):
        metrics.mig(np.zeros((3, 2)), np.array([[0.0], [np.inf], [1.0]]))
    with pytest.raises(ValueError, match="`codes` must be finite"):
        metrics.mig(np.array([[0.0, np.nan]] * 3), np.arange(3)[:, None])
