"""Draw random factors for metrics, as NumPy does or as the reference implementation does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.encoding import GroundTruth

LEGACY_BATCH = 16  # samples that the reference draws per call, which determines its stream

Random = np.random.Generator | np.random.RandomState


def generator(seed: int, legacy_stream: bool) -> Random:
    """Return the random generator of a metric; its type decides how factors are drawn."""
    return np.random.RandomState(seed) if legacy_stream else np.random.default_rng(seed)


def legacy_factors(
    sizes: Sequence[int], n: int, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Draw `(n, factors)` as the reference does, with one call per column.

    >>> legacy_factors((3, 5), 4, np.random.RandomState(0)).T
    array([[0, 1, 0, 1],
           [3, 2, 4, 0]])
    """
    return np.stack([random.randint(size, size=n) for size in sizes], axis=1).astype(np.int64)


def factors_of(data: GroundTruth, n: int, random: Random) -> NDArray[np.int64]:
    """Draw `(n, factors)` in one call."""
    if isinstance(random, np.random.RandomState):
        return legacy_factors(data.factor_sizes, n, random)
    return data.sample_factors(n, random)


def sample_factors(data: GroundTruth, n: int, random: Random) -> NDArray[np.int64]:
    """Draw `(n, factors)` as a sample for metrics of arrays; the reference draws in batches."""
    if isinstance(random, np.random.Generator):
        return data.sample_factors(n, random)
    batches = [min(LEGACY_BATCH, n - start) for start in range(0, n, LEGACY_BATCH)]
    return np.concatenate([legacy_factors(data.factor_sizes, m, random) for m in batches])


def groups(
    data: GroundTruth, number: int, shape: tuple[int, ...], random: Random
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw groups of images, and one varying factor for each group.

    Args:
        data: Ground-truth data set.
        number: Number of groups.
        shape: Shape of a group of images.
        random: Random generator.

    Returns:
        The number of the factor of each group, `(number,)`, and the factors of the images,
        `(number, *shape, factors)`.
    """
    candidates = np.flatnonzero(np.asarray(data.factor_sizes) > 1)
    width = len(data.factor_sizes)
    if isinstance(random, np.random.Generator):
        labels = random.choice(candidates, number)
        factors: Any = data.sample_factors(number * int(np.prod(shape)), random)
        return labels, factors.reshape(number, *shape, width)
    *copies, last = shape
    labels, factors = np.empty(number, np.int64), np.empty((number, *shape, width), np.int64)
    for i in range(number):
        labels[i] = candidates[random.randint(len(candidates))]
        for j in np.ndindex(*copies):
            factors[i, *j] = legacy_factors(data.factor_sizes, last, random)
    return labels, factors
