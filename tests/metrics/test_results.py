"""Results as text, in notebooks, as data frames, and in LaTeX."""

import copy
import dataclasses
import pickle
from html.parser import HTMLParser

import numpy as np
import pytest
from support.commands import python

from keras_disent import metrics
from keras_disent.metrics import Comparison, Interval

pandas = pytest.importorskip("pandas")

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(200, 3))
CODES = FACTORS + 0.3 * RNG.normal(size=(200, 3))
TABLE = dict(zip(("size", "x_1", "angle & tilt"), FACTORS.T, strict=True))
LATENTS = dict(zip("abc", CODES.T, strict=True))


def score(*args, **options):
    return metrics.score(*args, **{"verbose": False, **options})


def with_intervals():
    return score(LATENTS, TABLE, ["mig", "irs"], interval=0.9, n_resamples=5)


def test_results_are_frozen_and_travel():
    result = metrics.irs(LATENTS, TABLE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 1.0
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert repr(other) == repr(result)
        assert other.factor_names == result.factor_names
        np.testing.assert_array_equal(other.matrix, result.matrix)


def test_a_repr_has_one_line_with_all_fields():
    result = metrics.irs(CODES, FACTORS)
    text = repr(result)
    assert "\n" not in text
    assert text.startswith(f"IRS(score={round(result.score, 4)}, matrix=<float64 (3, 3)>, ")
    assert text.endswith("active=(0, 1, 2), factors_used=(0, 1, 2))")
    assert repr(Interval(0.25, 0.5)) == "Interval(low=0.25, high=0.5)"
    scores = score(CODES, FACTORS, ["mig"])
    assert repr(scores) == str(scores) == f"mig  {scores['mig']:8.4f}"


def test_frames_of_numbers_and_of_fields():
    result = metrics.dci(LATENTS, TABLE)
    frame = result.to_frame()
    assert list(frame.columns) == ["value"]
    assert frame.loc["completeness", "value"] == result.completeness
    matrix = result.to_frame("importance")
    assert (list(matrix.index), list(matrix.columns)) == (list("abc"), list(TABLE))
    assert matrix.loc["b", "x_1"] == result.importance[1, 1]
    explicit = metrics.explicitness(CODES, FACTORS).to_frame("per_factor_test")
    assert list(explicit.index) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"Unknown field 'factors'\. Choose from: completeness"):
        result.to_frame("factors")


def test_every_metric_of_arrays_has_frames_of_all_fields():
    quick = {"downstream": {"sizes": (50,)}, "unified": {"matrices": ("accuracy",)}}
    slow = {"dci", "dci_es", "reduced_downstream"}
    names = {n for n, m in metrics.METRICS.items() if m.takes != "encoder"} - slow
    scores = score(
        LATENTS,
        TABLE,
        {name: quick.get(name, {}) for name in names},
        log_variances=np.full_like(CODES, -4),
    )
    assert set(scores) == names
    for result in scores.results.values():
        if not isinstance(result, metrics.Result):
            continue
        assert len(result.to_frame()) >= 1
        assert result._repr_html_().startswith("<table>")
        for field, value in result.numbers().items():
            frame = result.to_frame(field)
            np.testing.assert_array_equal(frame.to_numpy().squeeze(), np.squeeze(value))
            assert result.to_latex(field).count(r"\\") == len(frame) + 1


def test_frames_of_scores():
    scores = with_intervals()
    frame = scores.to_frame()
    assert list(frame.columns) == ["value", "low", "high"]
    assert frame.loc["mig"].tolist() == [scores["mig"], *scores.intervals["mig"]]
    every = scores.to_frame("all")
    assert list(every.index) == ["mig", "irs.score"]
    assert scores.to_frame("irs").equals(scores.results["irs"].to_frame())
    per_latent = scores.results["irs"].to_frame("per_latent")
    assert list(per_latent.index) == list("abc")
    assert (per_latent["low"] <= per_latent["high"]).all()
    with pytest.raises(ValueError, match=r"Unknown part 'dci'\. Choose from: all, irs, mig"):
        scores.to_frame("dci")


def test_a_score_that_failed_has_a_row_without_a_number():
    with pytest.warns(UserWarning, match="'rmig' has no score"):
        scores = score(CODES, FACTORS, ["mig", "rmig"])
    assert scores.to_frame()["value"].isna().tolist() == [False, True]
    assert "rmig & - " not in scores.to_latex()
    assert r"rmig & $-$ \\" in scores.to_latex()
    assert "pass their" in scores._repr_html_()


def test_latex():
    scores = with_intervals()
    low, high = scores.intervals["mig"]
    assert scores.to_latex(digits=2).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r" & value \\",
        r"\midrule",
        rf"mig & {scores['mig']:.2f} [{low:.2f}, {high:.2f}] \\",
        rf"irs & {scores['irs']:.2f} "
        rf"[{scores.intervals['irs'].low:.2f}, {scores.intervals['irs'].high:.2f}] \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    text = scores.results["irs"].to_latex("matrix")
    assert r" & size & x\_1 & angle \& tilt \\" in text
    assert text.startswith(r"\begin{tabular}{lrrr}")
    assert Interval(-0.5, 1.0).to_latex(digits=1).splitlines()[4] == r"0 & $-$0.5 & 1.0 \\"


def test_html_is_well_formed_and_escaped():
    class Cells(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.texts = [], []

        def handle_starttag(self, tag, attrs):
            self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.texts.append(data)

    for result in (with_intervals(), metrics.irs(CODES, FACTORS), Interval(0.0, 1.0)):
        parser = Cells()
        parser.feed(result._repr_html_())
        assert not parser.open
        assert parser.texts
    odd = metrics.Scores({"<b>": 0.5}, {"<b>": {}}, failures={})
    assert "&lt;b&gt;" in odd._repr_html_()
    assert "<b>" not in odd._repr_html_()


def test_scores_of_several_codes_side_by_side():
    noise = RNG.normal(size=CODES.shape)
    rows = {"codes": with_intervals(), "noise": score(noise, FACTORS, ["irs", "mcc"])}
    comparison = Comparison(rows)
    frame = comparison.to_frame()
    assert list(frame.index) == ["codes", "noise"]
    assert list(frame.columns) == [
        "mig",
        "mig_low",
        "mig_high",
        "irs",
        "irs_low",
        "irs_high",
        "mcc",
    ]
    assert frame.loc["noise", "mcc"] == rows["noise"]["mcc"]
    assert np.isnan(frame.loc["noise", "mig"])
    assert np.isnan(frame.loc["noise", "irs_low"])
    assert comparison.to_latex().splitlines()[2] == r" & mig & irs & mcc \\"
    assert repr(comparison).splitlines()[0].split() == ["mig", "irs", "mcc"]
    assert comparison["noise"]["mcc"] == rows["noise"]["mcc"]
    for wrong, got in (({}, "none"), ({"a": 0.5}, "others for 'a'")):
        with pytest.raises(ValueError, match=f"`Scores` for at least one name. Got {got}"):
            Comparison(wrong)


def test_without_pandas_one_line_says_what_to_install():
    code = """
from keras_disent.metrics import Interval
print(Interval(0.0, 1.0).to_latex())
Interval(0.0, 1.0).to_frame()
"""
    status, out, last = python(code, hidden=("pandas",))
    assert status == 1
    assert out.startswith(r"\begin{tabular}")
    assert last == "ImportError: `to_frame` needs pandas: pip install 'keras-disent[studies]'."
