"""Scores of codes that come batch by batch."""

import re

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent.metrics import StreamingScores

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(3, size=(240, 3))
CODES = FACTORS + 0.2 * RNG.normal(size=(240, 3))


def fed(stream, codes=CODES, factors=FACTORS, convert=lambda x: x, size=100):
    for start in range(0, len(codes), size):
        rows = slice(start, start + size)
        stream.update(convert(codes[rows]), convert(factors[rows]))
    return stream


def test_the_scores_are_those_of_all_batches():
    stream = fed(StreamingScores(["mig", "explicitness"], interval=0.9, n_resamples=3, seed=2))
    scores = stream.compute()
    expected = metrics.score(
        CODES, FACTORS, ["mig", "explicitness"], interval=0.9, n_resamples=3, seed=2, verbose=False
    )
    assert dict(scores) == dict(expected)
    assert scores.intervals == expected.intervals
    assert dict(stream.compute()) == dict(scores)  # it may go on
    fed(stream)
    assert len(stream) == 480
    twice = metrics.mig(np.tile(CODES, (2, 1)), np.tile(FACTORS, (2, 1)))
    assert stream.compute()["mig"] == twice


def test_reset_forgets_all_samples_and_columns():
    stream = fed(StreamingScores(["mig"]))
    stream.reset()
    assert len(stream) == 0
    with pytest.raises(ValueError, match=r"call `update` first\. Got none\."):
        stream.compute()
    fed(stream, CODES[:, :2], FACTORS)
    assert stream.compute()["mig"] == metrics.mig(CODES[:, :2], FACTORS)


def test_batches_of_pytorch_may_reuse_their_memory():
    torch = pytest.importorskip("torch")
    buffer, stream = torch.empty(80, 3, dtype=torch.float64), StreamingScores(["mig"])
    for start in range(0, 240, 80):
        buffer.copy_(torch.tensor(CODES[start : start + 80]))
        stream.update(buffer, torch.tensor(FACTORS[start : start + 80]))
    assert stream.compute()["mig"] == metrics.mig(CODES, FACTORS)


def test_names_and_missing_values_are_kept():
    pandas = pytest.importorskip("pandas")
    gaps = np.where(RNG.random(FACTORS.shape) < 0.1, np.nan, FACTORS)

    def frame(x):
        return pandas.DataFrame(x, columns=["a", "b", "c"])

    result = fed(StreamingScores(["mcc"]), factors=gaps, convert=frame).compute().results["mcc"]
    assert result.factor_names == result.latent_names == ("a", "b", "c")
    expected = metrics.mcc(CODES, np.ma.masked_invalid(gaps))
    assert float(result) == float(expected)
    masked = fed(StreamingScores(["mig"]), factors=np.ma.masked_invalid(gaps)).compute()
    assert masked["mig"] == metrics.mig(CODES, gaps)


def test_posteriors_and_codes_alone():
    stream = StreamingScores(["rmig"])
    stream.update(CODES, FACTORS, log_variances=np.full_like(CODES, -4))
    assert stream.compute()["rmig"] == metrics.rmig(CODES, np.full_like(CODES, -4), FACTORS)
    alone = StreamingScores(["unsupervised"])
    alone.update(CODES)
    assert alone.compute()["unsupervised"] == float(metrics.unsupervised_scores(CODES))


@pytest.mark.parametrize(
    ("batch", "rule"),
    [
        ((CODES, FACTORS[:9]), "equal numbers of rows. Got 240 of `codes`, 9 of `factors`."),
        ((CODES[:, :2], FACTORS), "{'codes': 3, 'factors': 3}. Got {'codes': 2, 'factors': 3}."),
        ((CODES,), "{'codes': 3, 'factors': 3}. Got {'codes': 3}."),
        ((CODES[0], FACTORS[0]), "`codes` must have two axes, (samples, columns). Got shape (3,)."),
    ],
)
def test_a_batch_that_does_not_fit_is_not_added(batch, rule):
    stream = fed(StreamingScores(["mig"]))
    with pytest.raises(ValueError, match=re.escape(rule)):
        stream.update(*batch)
    assert len(stream) == 240
    assert stream.compute()["mig"] == metrics.mig(CODES, FACTORS)


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"metrics": ["mgi"]}, ValueError, "Unknown metric 'mgi'"),
        ({"metrics": {"mig": {"bin": 2}}}, ValueError, "'mig' has no setting 'bin'"),
        ({"interval": 95}, ValueError, "between 0 and 1. Got 95"),
        (
            {"interval": 0.9, "n_resamples": 1},
            ValueError,
            "`n_resamples` must be an integer of at least 2",
        ),
        ({"intervals": 0.9}, TypeError, "unexpected keyword argument 'intervals'"),
        ({"codes": CODES}, TypeError, "`codes` is an argument of `update`."),
    ],
)
def test_options_are_checked_at_once(options, error, rule):
    with pytest.raises(error, match=re.escape(rule)):
        StreamingScores(**options)
