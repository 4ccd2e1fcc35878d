"""Estimate how long scores take, before they are computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from keras_disent.metrics._predictors.boosting import BoostedTrees
from keras_disent.metrics.catalog import METRICS
from keras_disent.metrics.encoding import TIMED, CodeCache, Encoder, GroundTruth
from keras_disent.metrics.sampling import has_pool

VALUES = 113  # of the factors that `Metric.seconds` is for, those of dSprites
PROBE = 0.025  # seconds that `slowness` takes on the machine that `Metric.seconds` is for
EXACT = 20  # times slower: trees of scikit-learn
COARSE = 3  # times faster: trees for resamples

# Numbers of images that metrics of an encoder draw, from their settings and the sizes of the
# factors with more than one value.
_DRAWN: dict[str, Callable[[Mapping[str, Any], list[int]], int]] = {
    "beta_vae_score": lambda s, sizes: (
        2 * s["batch_size"] * (s["train_points"] + s["eval_points"])
    ),
    "factor_vae_score": lambda s, sizes: (
        s["variance_samples"] + s["batch_size"] * (s["train_votes"] + s["eval_votes"])
    ),
    "z_max": lambda s, sizes: (
        s["variance_samples"]
        + (s["train_votes"] + s["eval_votes"]) * sum(min(s["batch_size"], n) for n in sizes)
        // max(1, len(sizes))
    ),
    "fairness": lambda s, sizes: (
        s["train_samples"] + sum(sizes) * (len(sizes) - 1) * s["test_samples"]
    ),
    "strong_downstream": lambda s, sizes: (
        (s["train_samples"] + s["test_samples"]) * (1 + s["n_repeats"] * len(sizes))
    ),
}


def duration(seconds: float) -> str:
    """Return a rough duration in words.

    >>> [duration(t) for t in (0.4, 43.2, 272, 9000)]
    ['about 1 s', 'about 43 s', 'about 5 min', 'about 2.5 h']
    """
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def seconds_of(
    settings_by_name: Mapping[str, Mapping[str, Any]],
    samples: int,
    latents: int,
    values: int,
    n_resamples: int = 0,
    slowness: float = 1.0,
) -> dict[str, float]:
    """Estimate the seconds that each score takes on one core.

    Args:
        settings_by_name: Settings of the scores.
        samples: Number of samples.
        latents: Number of latents.
        values: Number of values of all factors together.
        n_resamples: Number of resamples of each score of arrays.
        slowness: Of this machine, as `slowness()` measures it.
    """
    size = (0.4 + 0.6 * samples / 10_000) * latents / 10 * values / VALUES
    found = {}
    for name, settings in settings_by_name.items():
        metric, predictor = METRICS[name], settings.get("predictor")
        seconds = metric.seconds * size * slowness * (EXACT if predictor == "exact_boosting" else 1)
        if metric.takes != "encoder":
            seconds *= 1 + n_resamples / (COARSE if predictor == "boosting" else 1)
        found[name] = seconds
    return found


def in_parallel(seconds: Iterable[float], n_jobs: int) -> float:
    """Return the time of several scores side by side."""
    seconds = [0.0, *seconds]
    return max(sum(seconds) / n_jobs, max(seconds))


class Work:
    """What `evaluate` has to do.

    Args:
        data: Ground-truth data set.
        settings_by_name: Settings of the scores.
        n_samples, n_test_samples: As in `evaluate`.

    Attributes:
        images: Number of images that will be encoded, an estimate.
        values: Number of values of all factors together.
    """

    def __init__(
        self,
        data: GroundTruth,
        settings_by_name: Mapping[str, Mapping[str, Any]],
        n_samples: int,
        n_test_samples: int,
    ) -> None:
        self.data, self.settings_by_name = data, settings_by_name
        self.sizes = [int(size) for size in getattr(data, "factor_sizes", ()) if size > 1]
        self.values = sum(self.sizes)
        sample = 0
        for name in settings_by_name:
            if METRICS[name].takes != "encoder":
                tested = "test" in METRICS[name].arguments
                sample = max(sample, n_samples + n_test_samples * tested)
        pool = drawn = 0
        for name, settings in settings_by_name.items():
            if METRICS[name].takes != "encoder":
                continue
            if (
                "pool" in settings
                and not settings["legacy_stream"]
                and has_pool(data, settings["batch_size"], settings["pool"])
            ):
                pool = max(pool, settings["pool"])
            else:
                drawn += _DRAWN[name](settings, self.sizes)
        if pool == n_samples + n_test_samples and not getattr(data, "stochastic", False):
            sample, pool = max(sample, pool), 0  # the same images
        images = sample + pool + drawn
        self.images = images if getattr(data, "stochastic", False) else min(images, len(data))

    def estimate(self, encoder: Encoder, n_jobs: int, n_resamples: int = 0) -> str:
        """Measure the encoder, and return an estimate of the time in one line.

        Args:
            encoder: As in `evaluate`.
            n_jobs: Number of scores of arrays computed in parallel.
            n_resamples: Number of resamples of each of them.
        """
        cache = CodeCache(encoder, self.data)
        indices = np.arange(min(TIMED, len(self.data)))
        latents = cache.draw(indices).shape[1]  # compiles, too
        start = time.perf_counter()
        cache.draw(indices)
        encoding = (time.perf_counter() - start) / len(indices) * self.images
        settings = self.settings_by_name
        seconds = seconds_of(settings, 10_000, latents, self.values, n_resamples, slowness())
        of_arrays = {name for name in settings if METRICS[name].takes != "encoder"}
        side_by_side = in_parallel((seconds[name] for name in of_arrays), n_jobs)
        others = sum(seconds[name] for name in settings if name not in of_arrays)
        return summary(
            encoding + side_by_side + others, len(settings), n_resamples, images=self.images
        )


def summary(seconds: float, scores: int, n_resamples: int = 0, images: int = 0) -> str:
    """Return an estimate in one line.

    >>> summary(43.2, 9, images=15_000)
    'about 43 s: 9 scores, 15,000 images encoded'
    >>> summary(272, 1, n_resamples=200)
    'about 5 min: 1 score, 200 resamples of each'
    """
    parts = [f"{scores} score{'s' * (scores > 1)}"]
    if n_resamples:
        parts.append(f"{n_resamples} resamples of each")
    if images:
        parts.append(f"{images:,} images encoded")
    return f"{duration(seconds)}: {', '.join(parts)}"


def slowness() -> float:
    """Measure how much slower this machine is now than the one that `Metric.seconds` is for."""
    rng = np.random.default_rng(0)
    codes, labels = rng.normal(size=(1_000, 10)), rng.integers(40, size=1_000)
    start = time.perf_counter()
    BoostedTrees(rounds=1, bins=100).fit(codes, labels)
    return (time.perf_counter() - start) / PROBE
