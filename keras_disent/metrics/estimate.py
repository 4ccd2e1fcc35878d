"""Estimate how long scores take, before they are computed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from keras_disent._utils import progress
from keras_disent.metrics._predictors.boosting import BoostedTrees
from keras_disent.metrics.catalog import METRICS
from keras_disent.metrics.encoding import Encoder, GroundTruth
from keras_disent.metrics.sampling import is_pooled

VALUES = 113  # of the factors that `Metric.seconds` is for, those of dSprites
PROBE = 0.016  # seconds that `slowness` takes on the machine that `Metric.seconds` is for
TREES = 9.0  # seconds that the trees take which several scores share, within `Metric.seconds`
EXACT = 20  # times slower: trees of scikit-learn
COARSE = 3  # times faster: trees for resamples
LATENTS = 10  # of an encoder that does not tell
LONG = 10.0  # seconds from which work is announced

# Numbers of images that metrics of an encoder draw, from their settings and the sizes of the
# factors with more than one value.
_N_IMAGES: dict[str, Callable[[Mapping[str, Any], list[int]], int]] = {
    "beta_vae_score": lambda s, sizes: 2 * s["batch_size"] * (s["train_points"] + s["eval_points"]),
    "factor_vae_score": lambda s, sizes: (
        s["variance_samples"] + s["batch_size"] * (s["train_votes"] + s["eval_votes"])
    ),
    "z_max": lambda s, sizes: (
        s["variance_samples"]
        + (s["train_votes"] + s["eval_votes"])
        * sum(min(s["batch_size"], n) for n in sizes)
        // max(1, len(sizes))
    ),
    "fairness": lambda s, sizes: (
        s["train_samples"] + sum(sizes) * (len(sizes) - 1) * s["test_samples"]
    ),
    "strong_downstream": lambda s, sizes: (
        (s["train_samples"] + s["test_samples"]) * (1 + s["n_repeats"] * len(sizes))
    ),
}


def seconds_of(
    settings_by_name: Mapping[str, Mapping[str, Any]],
    samples: int,
    latents: int,
    values: int,
    n_resamples: int = 0,
) -> dict[str, float]:
    """Estimate the seconds that each score takes on one core, on a machine of slowness 1.

    Args:
        settings_by_name: Settings of the scores.
        samples: Number of samples.
        latents: Number of latents.
        values: Number of values of all factors together.
        n_resamples: Number of resamples of each score of arrays.
    """
    size = (0.4 + 0.6 * samples / 10_000) * latents / 10 * values / VALUES
    seconds_by_name: dict[str, float] = {}
    shared: set[str] = set()  # predictors that an earlier score has fitted
    for name, settings in settings_by_name.items():
        metric, predictor = METRICS[name], settings.get("predictor", "boosting")
        seconds = metric.seconds
        if metric.trees and not n_resamples:
            seconds -= TREES * (predictor in shared)
            shared.add(predictor)
        seconds *= size * (EXACT if predictor == "exact_boosting" else 1)
        if metric.takes != "encoder":
            seconds *= 1 + n_resamples / (COARSE if settings.get("predictor") == "boosting" else 1)
        seconds_by_name[name] = seconds
    return seconds_by_name


def in_parallel(seconds: Mapping[str, float], n_jobs: int) -> float:
    """Return the time of several scores by name side by side."""
    alone = [duration for name, duration in seconds.items() if not METRICS[name].in_parallel]
    return max(sum(seconds.values()) / n_jobs, *alone, 0.0)


class Work:
    """What `evaluate` has to do.

    Args:
        encoder, data, n_samples, n_test_samples: As in `evaluate`.
        settings_by_name: Settings of the scores.

    Attributes:
        images: Number of images that will be encoded, an estimate.
        values: Number of values of all factors together.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: GroundTruth,
        settings_by_name: Mapping[str, Mapping[str, Any]],
        n_samples: int,
        n_test_samples: int,
    ) -> None:
        self.settings_by_name, self.n_samples = settings_by_name, n_samples
        self.latents = int(getattr(encoder, "latent_dim", LATENTS))
        self.sizes = [int(size) for size in getattr(data, "factor_sizes", ()) if size > 1]
        self.values = sum(self.sizes)
        sample = 0
        for name in settings_by_name:
            if METRICS[name].takes != "encoder":
                tested = "test" in METRICS[name].arguments
                sample = max(sample, n_samples + n_test_samples * tested)
        pool = unpooled = 0
        for name, settings in settings_by_name.items():
            if METRICS[name].takes != "encoder":
                continue
            if is_pooled(data, settings):
                pool = max(pool, settings["pool"])
            else:
                unpooled += _N_IMAGES[name](settings, self.sizes)
        if pool == n_samples + n_test_samples and not getattr(data, "stochastic", False):
            sample, pool = max(sample, pool), 0  # the same images
        images = sample + pool + unpooled
        self.images = images if getattr(data, "stochastic", False) else min(images, len(data))

    def seconds(self, names: Iterable[str], n_resamples: int = 0) -> dict[str, float]:
        """Return `seconds_of` some of the scores."""
        settings = {name: self.settings_by_name[name] for name in names}
        return seconds_of(settings, self.n_samples, self.latents, self.values, n_resamples)

    def estimate(
        self, seconds_per_image: float, n_jobs: int, n_resamples: int = 0
    ) -> tuple[float, str]:
        """Return an estimate of the time, and what is done in it, in one line.

        Args:
            seconds_per_image: Time to encode an image.
            n_jobs: Number of scores of arrays, or of predictors, computed in parallel.
            n_resamples: Number of resamples of each of them.
        """
        seconds = self.seconds(self.settings_by_name, n_resamples)
        side_by_side = {
            name: duration
            for name, duration in seconds.items()
            if METRICS[name].takes != "encoder" or METRICS[name].in_parallel
        }
        others = sum(seconds.values()) - sum(side_by_side.values())
        total = seconds_per_image * self.images
        total += slowness() * (in_parallel(side_by_side, n_jobs) + others)
        return total, summary(total, len(seconds), n_resamples, self.images)


class Plan:
    """Announce the time that scores take, as soon as the speed of the encoder is known.

    Args:
        estimate: Function from the seconds per image to the seconds of the whole, and a line.

    Attributes:
        encoded: Number of images encoded so far.
    """

    def __init__(self, estimate: Callable[[float], tuple[float, str]]) -> None:
        self.estimate, self.encoded, self.announced = estimate, 0, False
        self._last: float | None = None

    def count(self, images: int, verbose: progress.Verbose) -> None:
        """Count a chunk of encoded images. The first one may have been compiled for."""
        now = time.perf_counter()
        if self._last is not None:
            self.announce((now - self._last) / images, verbose)
        self._last = now
        self.encoded += images

    def announce(self, seconds_per_image: float, verbose: progress.Verbose) -> None:
        """Print the estimate, once."""
        if not self.announced:
            self.announced = True
            announce(*self.estimate(seconds_per_image), verbose)


def announce(seconds: float, text: str, verbose: progress.Verbose) -> None:
    """Print an estimate on the standard error stream if the work is long."""
    shown = progress.default if verbose == "auto" else verbose
    if shown and seconds >= LONG:
        print(f"Scoring takes {text}.", file=sys.stderr, flush=True)


def summary(seconds: float, scores: int, n_resamples: int = 0, images: int = 0) -> str:
    """Return an estimate in one line.

    >>> summary(43.2, 9, images=15_000)
    'about 43 s: 9 scores, 15,000 images encoded'
    >>> summary(272, 1, n_resamples=200)
    'about 4 min 32 s: 1 score, 200 resamples of each'
    """
    parts = [f"{scores} score{'s' * (scores > 1)}"]
    if n_resamples:
        parts.append(f"{n_resamples} resamples of each")
    if images:
        parts.append(f"{images:,} images encoded")
    return f"about {progress.duration(max(seconds, 1))}: {', '.join(parts)}"


def slowness() -> float:
    """Measure how much slower this machine is now than the one that `Metric.seconds` is for."""
    rng = np.random.default_rng(0)
    codes, labels = rng.normal(size=(1_000, 10)), rng.integers(40, size=1_000)
    start = time.perf_counter()
    BoostedTrees(rounds=1, bins=100).fit(codes, labels)
    return (time.perf_counter() - start) / PROBE
