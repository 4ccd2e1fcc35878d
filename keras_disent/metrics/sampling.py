"""Draw random factors and groups of images for metrics.

On a grid, they are drawn as NumPy does, or as the reference implementation does; without one, from
the images that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.checks import why_no_grid
from keras_disent.metrics.encoding import Codes, Encoder, GroundTruth, cached, codes_by_index

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


def draw_pool(data: GroundTruth, n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw indices of `n` different images, or of all if there are fewer; `(images,)`.

    Where an index shows another image each time (`data.stochastic`), they are drawn with
    replacement, on a grid by its factors.
    """
    if getattr(data, "stochastic", False) and hasattr(data, "sample_factors"):
        return data.indices(data.sample_factors(n, random))
    return np.asarray(random.choice(len(data), min(len(data), n), replace=False))


def has_pool(data: GroundTruth, batch_size: int, pool: int) -> bool:
    """Return whether groups of `batch_size` images are drawn from a pool of encoded images.

    They are not where the data are no larger, nor where a factor has so many values that the pool
    holds fewer than `batch_size` images of each.
    """
    kinds = getattr(data, "factor_kinds", ("",) * len(data.factor_sizes))
    sizes = [
        size for size, kind in zip(data.factor_sizes, kinds, strict=True) if kind != "continuous"
    ]
    is_larger = len(data) > pool or getattr(data, "stochastic", False)
    return is_larger and batch_size * max(sizes, default=0) <= pool


def is_pooled(data: GroundTruth, settings: Mapping[str, Any]) -> bool:
    """Return whether a metric with these settings draws its groups from a pool."""
    return (
        "pool" in settings
        and not settings["legacy_stream"]
        and has_pool(data, settings["batch_size"], settings["pool"])
    )


def encoded_groups(
    encoder: Encoder,
    data: GroundTruth,
    name: str,
    random: Random,
    *,
    batch_size: int,
    planned: int,
    pool: int,
) -> tuple[GridGroups | ImageGroups, Callable[[NDArray[np.int64]], Codes]]:
    """Return a sampler of groups of images that share one factor, and a function to their codes.

    Args:
        encoder, data: As in `evaluate`.
        name: Name of the metric for messages.
        random: Random generator. The stream of the reference has no pool.
        batch_size: Number of images in a group that share the factor.
        planned: Total number of images that will be drawn.
        pool: Number of images that are encoded, once each, where `has_pool`; else each group is
            of newly drawn images. The data are encoded as a whole if they are no larger.
    """
    if isinstance(random, np.random.Generator) and has_pool(data, batch_size, pool):
        images = draw_pool(data, pool, random)
        sampler = group_sampler(data, name, random, pool=images)
        codes = cached(encoder, data).codes(images)
        return sampler, lambda places: codes.take(places, axis=0)
    sampler = group_sampler(data, name, random)
    return sampler, codes_by_index(encoder, data, max(planned, pool))


def group_sampler(
    data: GroundTruth,
    name: str,
    random: Random,
    *,
    others: bool = False,
    pool: NDArray[np.int64] | None = None,
) -> GridGroups | ImageGroups:
    """Return a sampler of groups of images that share one factor, or all factors but one.

    Args:
        data: Labeled data set. On a grid, the factors of a group are drawn independently. Without
            one, groups are drawn from the images that exist.
        name: Name of the metric for messages.
        random: Random generator.
        others: Whether images share all factors but one.
        pool: Indices of the images that groups are drawn from, even on a grid. The sampler returns
            their places in the pool.

    Raises:
        ValueError: For a legacy stream or a lack of images that share factors, without a grid.
    """
    if pool is None and hasattr(data, "sample_factors"):
        return GridGroups(data, random, others)
    return ImageGroups(data, name, random, others, pool)


class GridGroups:
    """Groups of images of a grid; see `group_sampler`.

    Attributes:
        candidates: Numbers of the factors with more than one value.
    """

    def __init__(self, data: GroundTruth, random: Random, others: bool) -> None:
        self.data, self.random, self.others = data, random, others
        self.candidates = np.flatnonzero(np.asarray(data.factor_sizes) > 1)

    def images(self, n: int) -> NDArray[np.int64]:
        """Draw indices of images, `(n,)`."""
        return self.data.indices(factors_of(self.data, n, self.random))

    def groups(
        self, number: int, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw groups of images, each with one factor that its images share (or do not share).

        Args:
            number: Number of groups.
            shape: Shape of a group; images share along its first axis.

        Returns:
            The number of the factor of each group, `(number,)`, and the indices of the images,
            `(number, *shape)`.
        """
        labels, factors = self._draw(number, shape)
        group = np.arange(number)
        if self.others:
            varied = factors[group, ..., labels]
            factors[:] = factors[:, :1]
            factors[group, ..., labels] = varied
        else:
            factors[group, ..., labels] = factors[group, :1, ..., labels]
        indices = self.data.indices(factors.reshape(-1, factors.shape[-1]))
        return labels, indices.reshape(number, *shape)

    def _draw(
        self, number: int, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw independent factors `(number, *shape, factors)`."""
        random, width = self.random, len(self.data.factor_sizes)
        if isinstance(random, np.random.Generator):
            labels = random.choice(self.candidates, number)
            factors: Any = self.data.sample_factors(number * int(np.prod(shape)), random)
            return labels, factors.reshape(number, *shape, width)
        *copies, last = shape
        labels = np.empty(number, np.int64)
        factors = np.empty((number, *shape, width), np.int64)
        for i in range(number):
            labels[i] = self.candidates[random.randint(len(self.candidates))]
            for j in np.ndindex(*copies):
                factors[i, *j] = legacy_factors(self.data.factor_sizes, last, random)
        return labels, factors


class ImageGroups:
    """Groups of the images of a pool, or of all that exist; see `group_sampler`.

    The first image of a group is drawn from all images that share factors with another one, the
    others from the images that share them with the first. Images that lack a value of the factors
    in question are left out, and so are continuous factors, whose values are not shared.

    Attributes:
        candidates: Numbers of the factors for which there are groups.
    """

    def __init__(
        self,
        data: GroundTruth,
        name: str,
        random: Random,
        others: bool,
        pool: NDArray[np.int64] | None = None,
    ) -> None:
        if not isinstance(random, np.random.Generator):
            raise ValueError(f"{name!r} with `legacy_stream` needs a grid. {why_no_grid(data)}")
        pool = np.arange(len(data)) if pool is None else pool
        self.size, self.random = len(pool), random
        steps = np.asarray(data.factors(pool))
        kinds = getattr(data, "factor_kinds", ("",) * steps.shape[1])
        self._pools = {}
        for factor in np.flatnonzero(np.asarray(data.factor_sizes) > 1).tolist():
            if kinds[factor] == "continuous":
                continue
            shared = np.delete(steps, factor, axis=1) if others else steps[:, [factor]]
            rows = np.flatnonzero((shared >= 0).all(axis=1) & (steps[:, factor] >= 0))
            sharing = _pool(rows, shared[rows], steps[rows, factor] if others else rows)
            if len(sharing[0]):
                self._pools[factor] = sharing
        self.candidates = np.array([*self._pools], np.int64)
        if len(self.candidates) < (1 if hasattr(data, "sample_factors") else 2):
            what = "all factors but one" if others else "one factor"
            names = [str(data.factor_names[factor]) for factor in self.candidates]
            raise ValueError(
                f"{name!r} needs images that share {what}, for two factors. Got such images for "
                f"{', '.join(names) or 'none'} of {', '.join(data.factor_names)}."
            )

    def images(self, n: int) -> NDArray[np.int64]:
        """Draw indices of images, `(n,)`."""
        return self.random.integers(self.size, size=n)

    def groups(
        self, number: int, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw groups of images; see `GridGroups.groups`."""
        labels = self.random.choice(self.candidates, number)
        indices = np.empty((number, *shape), np.int64)
        for factor, (rows, starts) in self._pools.items():
            groups = np.flatnonzero(labels == factor)
            if not len(groups):
                continue
            first = self.random.integers(len(rows), size=(len(groups), 1, *shape[1:]))
            numbers = np.searchsorted(starts, first, "right")
            low, high = starts[numbers - 1], starts[numbers]
            others = self.random.integers(low, high, (len(groups), shape[0] - 1, *shape[1:]))
            indices[groups] = rows[np.concatenate([first, others], axis=1)]
        return labels, indices


def _pool(
    rows: NDArray[np.int64], shared: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort rows into groups of equal `shared` values, with at least two values of `own`.

    Returns:
        The rows, group by group, and the start of each group, with the end of the last one.

    >>> _pool(np.arange(5), np.array([[7], [3], [7], [3], [1]]), np.array([0, 1, 2, 1, 0]))
    (array([0, 2]), array([0, 2]))
    """
    if not len(rows):
        return rows, np.zeros(1, np.int64)
    _, group = np.unique(shared, axis=0, return_inverse=True)
    group = group.reshape(-1)  # NumPy 2.0 keeps an axis
    pairs = np.unique(np.stack([group, own], axis=1), axis=0)
    has_pair = np.bincount(pairs[:, 0])[group] > 1
    rows, group = rows[has_pair], group[has_pair]
    order = np.argsort(group, kind="stable")
    counts = np.unique(group, return_counts=True)[1]
    return rows[order], np.concatenate([[0], np.cumsum(counts)])
