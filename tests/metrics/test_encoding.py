"""Codes by index: encoded once, in chunks that are drawn ahead, and shared by scores."""

import threading
import time

import numpy as np
import pytest
from support.toy import Toy, standard

from keras_disent import metrics
from keras_disent.metrics import encoding
from keras_disent.metrics.encoding import CodeCache, codes_by_index
from keras_disent.metrics.votes import factor_vae_score

LARGE = (8, 9, 10, 11, 12)  # 95,040 images, more than a pool


class Counted:
    """An encoder of images of any `Toy` that counts images."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return images.reshape(len(images), -1) / 12.0


def test_codes_are_kept_by_index():
    data, encoder = Toy(LARGE), Counted()
    cache = CodeCache(encoder, data)
    rng = np.random.default_rng(0)
    indices = rng.integers(len(data), size=700)
    first = cache.codes(indices)
    np.testing.assert_array_equal(first, data.factors(indices) / 12.0)
    assert encoder.seen == len(np.unique(indices))
    more = np.concatenate([indices[::-1], np.arange(5)])
    np.testing.assert_array_equal(cache.codes(more), data.factors(more) / 12.0)
    assert encoder.seen == len(np.unique(more))


def test_a_cache_has_a_limit(monkeypatch):
    monkeypatch.setattr(encoding, "GRID_LIMIT", 500)
    data, encoder = Toy(LARGE), Counted()
    cache = CodeCache(encoder, data)
    for size, seen in ((400, 400), (200, 600), (200, 800)):  # the last ones are not kept
        start = 0 if size == 400 else 10_000
        cache.codes(np.arange(start, start + size))
        assert encoder.seen == seen


def test_the_next_chunk_is_drawn_while_one_is_encoded():
    """Two chunks wait for each other: without a thread, neither would come."""
    entered = threading.Event()
    drawing = []

    class Data(Toy):
        def images(self, indices):
            drawing.append(threading.get_ident())
            if len(drawing) == 3:
                entered.set()
            return super().images(indices)

    def encoder(images):
        if not entered.is_set() and len(drawing) >= 2:
            assert entered.wait(20)  # the third chunk is drawn while the second is encoded
        return images.reshape(len(images), -1)

    data, indices = Data(LARGE), np.arange(3 * encoding.CHUNK)
    codes = codes_by_index(encoder, data, 1)(indices)
    np.testing.assert_array_equal(codes, data.factors(indices))
    assert entered.is_set()
    assert threading.get_ident() not in drawing


def test_an_error_while_drawing_ends_the_encoding():
    class Broken(Toy):
        def images(self, indices):
            if indices[0] > 1000:
                raise OSError("The disk is gone.")
            return super().images(indices)

    with pytest.raises(OSError, match="The disk is gone"):
        codes_by_index(Counted(), Broken(LARGE), 1)(np.arange(10_000))


def test_scores_share_the_images_of_one_sample():
    data, encoder, told = Toy(LARGE), Counted(), []
    names = ["beta_vae_score", "factor_vae_score", "mig", "explicitness"]
    scores = metrics.evaluate(encoder, data, names, progress=lambda *call: told.append(call))
    assert encoder.seen == data.served == 15_000
    assert [done for _, done, _ in told] == [1, 2, 3, 4]
    for name in names[:2]:
        assert scores.settings[name]["drawn_from"] == "15,000 images"
        assert scores.settings[name]["pool"] == 15_000
        low, high = scores.intervals[name]
        assert low <= scores[name] <= high
    assert scores["factor_vae_score"] == float(factor_vae_score(Counted(), data))


def test_reference_counts():
    data, encoder = Toy(LARGE), Counted()
    scores = metrics.evaluate(encoder, data, ["factor_vae_score"], reference=True)
    settings = scores.settings["factor_vae_score"]
    assert (settings["train_votes"], settings["eval_votes"], settings["pool"]) == (10_000, 5_000, 0)
    assert "drawn_from" not in settings
    assert encoder.seen == len(data)  # more votes than images: each is encoded once
    few = {"factor_vae_score": {"eval_votes": 7}}
    scores = metrics.evaluate(encoder, data, few, legacy_stream=True)
    settings = scores.settings["factor_vae_score"]
    assert (settings["train_votes"], settings["eval_votes"], settings["pool"]) == (10_000, 7, 0)


def test_a_pool_changes_no_expectation():
    data = Toy(LARGE)
    weights = np.eye(5) + 0.4 * np.random.default_rng(0).normal(size=(5, 5))

    def mixed(images):
        return (images.reshape(-1, 5) / np.array(LARGE) - 0.5) @ weights

    for score, few in (
        (metrics.factor_vae_score, {"train_votes": 3000, "eval_votes": 3000}),
        (metrics.beta_vae_score, {"batch_size": 4, "train_points": 3000, "eval_points": 3000}),
    ):
        pooled, grid = (
            np.mean([float(score(mixed, data, pool=pool, seed=seed, **few)) for seed in range(3)])
            for pool in (15_000, 0)
        )
        assert 0.3 < grid < 0.97
        assert pooled == pytest.approx(grid, abs=0.03)


def test_a_pool_of_too_few_images_of_a_value_is_not_used():
    data, encoder = Toy((300, 5, 4, 3)), Counted()
    few = {"variance_samples": 100, "train_votes": 20, "eval_votes": 20}
    scores = metrics.evaluate(encoder, data, {"factor_vae_score": {"pool": 3000, **few}})
    assert "drawn_from" not in scores.settings["factor_vae_score"]
    assert 2000 < encoder.seen <= 100 + 40 * 64  # newly drawn images, some of them twice


def test_an_estimate_comes_while_images_are_encoded(capsys):
    def slow(images):
        time.sleep(0.05)
        return standard(images)

    metrics.evaluate(slow, Toy(), ["mig"], n_samples=700)
    assert "Scoring takes" not in capsys.readouterr().err  # short work says nothing

    def slower(images):
        time.sleep(0.4)
        return images.reshape(len(images), -1) / 12.0

    metrics.evaluate(slower, Toy(LARGE), ["mig"], n_samples=9_000)
    text = capsys.readouterr().err
    assert text.startswith("Scoring takes about ")
    assert "s: 1 score, 9,000 images encoded." in text.splitlines()[0]
    metrics.evaluate(slower, Toy(LARGE), ["mig"], n_samples=9_000, verbose=0)
    assert capsys.readouterr().err == ""


def test_processes_give_the_numbers_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(200, 2))
    codes = factors + 0.3 * rng.normal(size=(200, 2))
    options = {"interval": 0.9, "n_resamples": 3, "verbose": 0, "n_jobs": 2}
    threads = metrics.score(codes, factors, ["mig", "modularity"], **options)
    monkeypatch.setitem(metrics.bootstrap.__globals__, "PROCESSES", 0.0)  # seconds of work
    processes = metrics.score(codes, factors, ["mig", "modularity"], **options)
    assert dict(threads) == dict(processes)
    assert threads.intervals == processes.intervals


def test_resamples_have_coarser_trees():
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(600, 2))
    codes = factors + rng.normal(size=(600, 2))
    exact, coarse = (
        metrics.dci(codes, factors, predictor=name) for name in ("boosting", "coarse_boosting")
    )
    assert float(exact) != float(coarse)
    assert float(exact) == pytest.approx(float(coarse), abs=0.05)
    scores = metrics.score(codes, factors, ["dci"], interval=0.9, n_resamples=3, verbose=0)
    assert scores["dci"] == float(exact)
    again = {"dci": {"predictor": "coarse_boosting"}}
    spread = metrics.score(codes, factors, again, interval=0.9, n_resamples=3, verbose=0)
    widths = [np.ptp(result.intervals["dci"]) for result in (scores, spread)]
    assert widths[0] == pytest.approx(widths[1])
