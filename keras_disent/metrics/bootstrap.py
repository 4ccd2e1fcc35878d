"""Bootstrap confidence intervals of scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent.metrics.checks import check_at_least


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval."""

    low: float
    high: float


def check_level(level: float) -> None:
    """Raise ValueError unless `level` lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"`interval` is a confidence level between 0 and 1. Got {level}.")


def bootstrap(
    function: Callable[..., Any],
    *arrays: ArrayLike,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
    n_jobs: int = 1,
    test: tuple[ArrayLike, ...] | None = None,
    **settings: Any,
) -> Interval:
    """Estimate a confidence interval of a score by resampling its samples with replacement.

    The interval is the spread of the resampled scores, centered on the score of the original
    arrays. (The resampled scores have another center: repeated samples look like information.)
    Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapters 10 and 13.

    Args:
        function: Metric of arrays, or any function from `arrays` to a score.
        arrays: Arrays with one row per sample, such as codes and factors.
        level: Confidence level: the proportion of such intervals that contain the score of
            unlimited samples.
        n_resamples: Number of resamples.
        seed: Random seed of the resamples.
        n_jobs: Number of scores computed in parallel, in threads.
        test: Arrays for the argument `test` of the metric, resampled likewise.
        settings: Other arguments of the metric.

    Raises:
        ValueError: For a level outside (0, 1), fewer than two resamples, or an error of the metric.

    Example:
        >>> from keras_disent.metrics import mig
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(4, size=(500, 2))
        >>> codes = factors + rng.normal(scale=0.3, size=(500, 2))
        >>> low, high = bootstrap(mig, codes, factors, n_resamples=50)
        >>> low < mig(codes, factors) < high
        True
    """
    check_level(level)
    check_at_least(2, n_resamples=n_resamples)
    from joblib import Parallel, delayed

    rows = [to_numpy(array) for array in arrays]  # masks are kept
    test_rows = None if test is None else [to_numpy(array) for array in test]

    def score(rng: np.random.Generator | None) -> float:
        def resample(group: list[Any]) -> list[Any]:
            if rng is None:
                return group
            indices = rng.integers(len(group[0]), size=len(group[0]))
            return [array[indices] for array in group]

        test_set = {} if test_rows is None else {"test": tuple(resample(test_rows))}
        return float(function(*resample(rows), **test_set, **settings))

    generators = [None, *np.random.default_rng(seed).spawn(n_resamples)]
    scores = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(score)(rng) for rng in generators)
    estimate, spread = scores[0], np.asarray(scores[1:])
    low, high = np.quantile(spread - spread.mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate + low), float(estimate + high))


def accuracy_interval(accuracy: float, points: int, level: float) -> Interval:
    """Return the bootstrap interval of an accuracy over `points` test points, in closed form.

    >>> low, high = accuracy_interval(0.9, 1000, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.881, 0.918)
    """
    from scipy.stats import binom

    check_level(level)
    low, high = binom.ppf([(1 - level) / 2, (1 + level) / 2], points, accuracy) / points
    return Interval(float(low), float(high))
