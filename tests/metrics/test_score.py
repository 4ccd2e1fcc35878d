"""`score`: many scores of codes and factors, with intervals of all their numbers."""

import re
import sys

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent._utils import progress
from keras_disent.metrics import predictors
from keras_disent.metrics.catalog import Metric
from keras_disent.metrics.predictors import fit_predictor

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(400, 3))
CODES = FACTORS[:, [1, 0, 2]] + 0.3 * RNG.normal(size=(400, 3))
FAST = ["mig", "sap", "modularity", "irs", "mcc", "explicitness", "infomec", "unsupervised"]


def quiet(*args, **options):
    return metrics.score(*args, **{"verbose": 0, **options})


def test_scores_are_those_of_the_functions():
    scores = quiet(CODES, FACTORS, [*FAST, "dci"], seed=3)
    for name in scores:
        metric = metrics.METRICS[name]
        arrays = (CODES,) if metric.takes == "codes" else (CODES, FACTORS)
        seed = {"seed": 3} if "seed" in metric.settings else {}
        assert scores[name] == float(metric.function(*arrays, **seed)), name
    assert not scores.failures
    settings = scores.settings["explicitness"]
    assert (settings["n_samples"], settings["n_test_samples"], settings["seed"]) == (267, 133, 3)
    assert settings["factors_used"] == [0, 1, 2]
    assert {"numpy", "keras-disent"} <= set(settings["versions"])


def test_scores_share_the_trees_that_they_fit_to_the_same_codes(monkeypatch):
    fits = []

    def count(*fit):
        fits.append(fit)
        return fit_predictor(*fit)

    monkeypatch.setattr(predictors, "fit_predictor", count)
    codes, factors = CODES[:90], FACTORS[:90]
    names = ["dci", "dci_es", "downstream", "unified", "reduced_downstream"]
    scores = quiet(codes, factors, names, n_jobs=1)
    shared, downstream, reduced = 3, 3, 9  # all latents; 10 samples; one latent less
    assert len(fits) == shared + downstream + reduced
    for name in names:
        assert scores[name] == float(metrics.METRICS[name].function(codes, factors, n_jobs=2)), name


def test_one_score_that_cannot_be_had_costs_no_other():
    names = ["mig", "beta_vae_score", "rmig", "dcimig"]
    with pytest.warns(UserWarning, match="has no score") as heard:
        scores = quiet(CODES, FACTORS[:, :1], names)
    assert list(scores) == ["mig"]
    assert scores.failures["dcimig"].startswith("DCIMIG compares the two best factors")
    assert "use `metrics.evaluate` with an encoder" in scores.failures["beta_vae_score"]
    assert "pass their `log_variances`" in scores.failures["rmig"]
    assert {str(warning.message).split()[0] for warning in heard} == {
        "'beta_vae_score'",
        "'rmig'",
        "'dcimig'",
    }
    assert {warning.filename for warning in heard} == {__file__}
    with pytest.raises(KeyError, match="compares the two best factors"):
        scores["dcimig"]


def test_groups_of_metrics_are_those_that_arrays_allow():
    few, few_factors = CODES[:60], FACTORS[:60]
    standard = quiet(few, few_factors)
    assert set(standard) == {
        name for name in metrics.STANDARD if metrics.METRICS[name].takes in ("arrays", "codes")
    }
    assert list(quiet(few)) == ["unsupervised"]
    assert set(quiet(few, None, "all")) == set(metrics.LABEL_FREE)
    posterior = quiet(few, few_factors, ["rmig", "mig"], log_variances=np.full_like(few, -5))
    assert posterior["rmig"] == metrics.rmig(few, np.full_like(few, -5), few_factors)


def test_every_number_has_an_interval():
    scores = quiet(CODES, FACTORS, FAST, interval=0.9, n_resamples=8, seed=5)
    for name in FAST:
        main, result = scores.intervals[name], scores.results[name]
        assert main.low <= main.high
        fields = result.numbers() if isinstance(result, metrics.Result) else {}
        for field, value in fields.items():
            low, high = result.intervals[field]
            assert np.shape(low) == np.shape(high) == np.shape(value)
            assert np.all(np.asarray(low) <= high)
    expected = metrics.bootstrap(metrics.mig, CODES, FACTORS, level=0.9, n_resamples=8, seed=5)
    assert scores.intervals["mig"] == expected
    irs = scores.results["irs"]
    assert irs.intervals["score"] == scores.intervals["irs"]
    assert list(irs.to_frame("per_latent")) == ["value", "low", "high"]


def test_intervals_shrink_with_samples():
    widths = []
    for n in (100, 400):
        interval = quiet(CODES[:n], FACTORS[:n], ["mcc"], interval=0.9, n_resamples=50)
        low, high = interval.intervals["mcc"]
        widths.append(high - low)
    assert widths[1] < 0.8 * widths[0]


def test_resampled_training_samples_are_never_test_samples(monkeypatch):
    shared = []

    def probe(codes, factors, *, test=None, seed=0):
        if test is not None:
            shared.append(np.intersect1d(codes[:, 0], test[0][:, 0]).size)
        return float(codes[:, 0].mean())

    monkeypatch.setitem(metrics.METRICS, "probe", Metric(probe, takes="arrays"))
    scores = quiet(CODES, FACTORS, ["probe"], interval=0.5, n_resamples=5)
    assert shared == [0] * 5
    assert scores["probe"] == CODES[:, 0].mean()


def test_fields_of_other_factors_than_those_of_the_score_have_no_interval():
    factors = FACTORS.copy()
    factors[1:, 2] = 0  # in a third of the resamples, it does not vary
    scores = quiet(CODES, factors, ["irs"], interval=0.9, n_resamples=20)
    result = scores.results["irs"]
    assert result.factors_used == (0, 1, 2)
    assert "score" in result.intervals
    assert "matrix" not in result.intervals


def test_a_score_without_an_interval_says_why():
    codes = np.concatenate([CODES, CODES[:, :1]], axis=1)  # the total correlation is infinite
    with pytest.warns(UserWarning, match="no interval: An interval needs finite scores"):
        scores = quiet(codes, None, ["unsupervised"], interval=0.9, n_resamples=3)
    assert scores["unsupervised"] == np.inf
    assert "finite" in scores.settings["unsupervised"]["interval_error"]
    assert "mutual_information" in scores.results["unsupervised"].intervals


def test_names_of_columns_are_kept():
    factors = dict(zip(("size", "x", "one"), [*FACTORS.T[:2], np.ones(400)], strict=True))
    codes = dict(zip("abc", CODES.T, strict=True))
    scores = quiet(codes, factors, {"mig": {}, "mcc": {}, "irs": {"continuous": ["x"]}})
    assert scores.settings["mig"]["factors_used"] == ["size", "x"]
    assert scores.settings["mig"]["factors_skipped"] == ["one"]
    assert scores.settings["irs"]["continuous"] == ["x"]
    assert scores.results["mcc"].labels("matrix") == (("a", "b", "c"), ("size", "x"))
    assert scores.results["irs"].labels("matrix") == (("a", "b", "c"), ("size", "x"))


def test_continuous_factors_and_missing_values():
    real = FACTORS + 0.25 * RNG.normal(size=FACTORS.shape)
    real[:40, 1] = np.nan
    scores = quiet(CODES, real, ["mig", "mcc"], continuous=True)
    assert scores["mig"] == metrics.mig(CODES, real, continuous=True)
    assert scores["mcc"] == float(metrics.mcc(CODES, np.ma.masked_invalid(real)))
    assert scores.settings["mig"]["n_without_value"] == {1: 40}
    by_number = quiet(CODES, FACTORS, ["mig"], continuous=[2])
    assert by_number["mig"] == metrics.mig(CODES, FACTORS, continuous=[2])
    assert by_number.settings["mig"]["continuous_as"] == {2: "20 bins of equal width"}


def test_test_samples_are_used():
    test = CODES[:100], FACTORS[:100]
    scores = quiet(CODES[100:], FACTORS[100:], ["explicitness"], test=test, interval=0.9)
    assert scores["explicitness"] == float(
        metrics.explicitness(CODES[100:], FACTORS[100:], test=test)
    )
    settings = scores.settings["explicitness"]
    assert (settings["n_samples"], settings["n_test_samples"]) == (300, 100)


def test_a_factor_that_numbers_the_samples_is_told():
    factors = np.column_stack([FACTORS, np.arange(400)])
    with pytest.warns(UserWarning, match="Factor 3 has a value of its own for 400 of 400 samples"):
        quiet(CODES, factors, ["mig"])


def test_an_estimate_comes_before_the_work(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(progress, "FIRST", 600.0)

    def probe(codes, factors, *, bins=3):
        calls.append(capsys.readouterr().err)
        return 0.5

    def seconds(resamples):
        monkeypatch.setitem(metrics.METRICS, "probe", Metric(probe, takes="arrays", seconds=900))
        metrics.score(CODES, FACTORS, ["probe"], interval=0.9, n_resamples=resamples, n_jobs=1)
        text = rf"Scoring takes about (.*): 1 score, {resamples} resamples of each\.\n"
        words = re.fullmatch(text, calls[0])[1].split()
        assert set(calls[1:]) == {""}
        calls.clear()
        scale = {"s": 1, "min": 60, "h": 3600}
        pairs = zip(words[::2], words[1::2], strict=True)
        return sum(int(number) * scale[unit] for number, unit in pairs)

    assert 5 < seconds(100) / seconds(10) < 20  # 101 / 11 on a machine that is equally fast
    for settings in ({"seconds": 900, "verbose": 0}, {"seconds": 0.001, "verbose": 2}):
        metric = Metric(probe, takes="arrays", seconds=settings["seconds"])
        monkeypatch.setitem(metrics.METRICS, "probe", metric)
        metrics.score(CODES, FACTORS, ["probe"], verbose=settings["verbose"])
    assert calls == [""] * 2  # silent, or short


@pytest.mark.parametrize(
    ("arguments", "options", "rule"),
    [
        ((CODES, FACTORS[:90]), {}, "`factors` needs one row per code. Got 90 rows for 400 codes."),
        ((CODES[0], FACTORS), {}, "`codes` must have two axes, (samples, latents). Got shape (3,)"),
        ((CODES, FACTORS[:, 0]), {}, "Got shape (400,). Pass one column as `factors[:, None]`."),
        ((CODES, FACTORS, ["mgi"]), {}, "Unknown metric 'mgi'. Choose from: active_units"),
        ((CODES, FACTORS, {"mig": {"bin": 3}}), {}, "'mig' has no setting 'bin'. Choose from: b"),
        ((CODES, FACTORS, []), {}, "`metrics` must name at least one."),
        ((CODES, None, ["mig"]), {}, "'mig' has no score: it compares codes with factors: pass"),
        ((CODES, None), {"continuous": True}, "`test` and `continuous` need `factors`. Got none."),
        ((CODES, FACTORS), {"interval": 95}, "between 0 and 1. Got 95"),
        (
            (CODES, FACTORS),
            {"interval": 0.9, "n_resamples": 1},
            "`n_resamples` must be an integer of at least 2",
        ),
        ((CODES, FACTORS), {"n_jobs": 0}, "`n_jobs` must be an integer of at least 1. Got 0."),
        ((CODES, FACTORS), {"continuous": ["y"]}, "names out of 0, 1, 2. Got ['y']."),
        (
            (CODES, FACTORS),
            {"log_variances": CODES[:, :2]},
            "`log_variances` must have the shape of `codes`. Got (400, 2) for (400, 3).",
        ),
        (
            (CODES, FACTORS),
            {"test": (CODES[:, :2], FACTORS)},
            "`test` needs 3 latents and 3 factors, as those to train on. Got 2 and 3.",
        ),
        (
            (CODES, {"x": FACTORS[:, 0] * 0 + 1.5}),
            {"continuous": False},
            "factor 'x' must hold whole numbers unless it is named in `continuous`. Got 1.5.",
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(monkeypatch, arguments, options, rule):
    module = sys.modules["keras_disent.metrics.score"]  # not the function
    monkeypatch.setattr(module, "compute", None)
    with pytest.raises(ValueError, match=re.escape(rule)):
        quiet(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "`seed` must be an integer of at least 0. Got -1"),
        ({"seed": 0.5}, "`seed` must be an integer of at least 0. Got 0.5"),
        ({"n_jobs": 1.5}, "`n_jobs` must be an integer of at least 1. Got 1.5"),
        ({"interval": "95 %"}, "`interval` is a confidence level between 0 and 1. Got '95 %'"),
        (
            {"interval": 0.9, "n_resamples": 9.5},
            "`n_resamples` must be an integer of at least 2. Got 9.5",
        ),
    ],
)
def test_counts_are_integers_and_levels_numbers(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        metrics.score(CODES, FACTORS, ["mig"], **options)
    with pytest.raises(ValueError, match=r"`bins` must be an integer of at least 2. Got 2.5"):
        metrics.mig(CODES, FACTORS, bins=2.5)
