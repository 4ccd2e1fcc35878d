"""Weak supervision: pairs and groups of images that share some of their factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_disent._utils import html
from keras_disent._utils.checks import check_integer
from keras_disent.datasets import preview
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource

if TYPE_CHECKING:
    from keras_disent.engine.batches import Batches


class Groups(ABC):
    """Base class of samplers of image groups and their weak labels.

    Args:
        data: Any `GroundTruth`.
        labels: Whether `draw` and `batches` also return the weak labels.

    Attributes:
        size: Number of images per group.

    Raises:
        TypeError: The data set is not a grid, so some combinations of factors have no image.
    """

    size = 2

    def __init__(self, data: GroundTruth, *, labels: bool = False):
        if not isinstance(data, GroundTruth):
            got = f" {preview.describe(data)}" if isinstance(data, ImageSource) else ""
            raise TypeError(
                "Groups need a GroundTruth, with one image of every combination of factors. "
                f"Got {type(data).__name__}{got}."
            )
        self.data = data
        self.with_labels = labels

    def __repr__(self) -> str:
        """Return the kind of the groups, and what the data set is."""
        return f"<{type(self).__name__} of {preview.describe(self.data)}>"

    def _repr_html_(self) -> str:
        """Return a line about the groups, and a column of images for each of ten."""
        rng = np.random.default_rng(0)
        factors, _ = self.sample(10, rng)
        images = self.data.observe(factors.reshape(10 * self.size, -1), rng)
        columns = images.reshape(10, self.size, *self.data.image_shape).swapaxes(0, 1)
        alt = f"10 groups of {self.size} images"
        return html.paragraph(repr(self)[1:-1]) + preview.grid_as_html(columns, alt)

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample factors, int64 `(n, size, factors)`, and labels, one row per group."""

    def draw(self, n: int, rng: np.random.Generator) -> Any:
        """Sample `n` groups of images.

        Returns:
            uint8 `(n, size, height, width, channels)`; with `labels` a tuple of these images and
            their labels.
        """
        factors, labels = self.sample(n, rng)
        images = self.data.observe(factors.reshape(n * self.size, -1), rng)
        images = images.reshape(n, self.size, *self.data.image_shape)
        return (images, labels) if self.with_labels else images

    def batches(self, batch_size: int = 64, *, seed: int = 0, steps: int | None = None) -> Batches:
        """Create batches of groups for `fit`.

        Args:
            batch_size: Number of groups per batch.
            seed: Random seed of the batches, at least 0.
            steps: Number of batches per epoch; by default as many as show `len(data)` groups.

        Returns:
            `keras_disent.engine.batches.Batches`.
        """
        from keras_disent.engine.batches import Batches

        batches = Batches(self.draw, len(self.data), batch_size, seed=seed, steps=steps)
        batches.pictures = self.data.pictures
        return batches

    def _columns(self, names: Sequence[str] | None) -> np.ndarray:
        """Return the columns of some factors; by default of all that are not constant."""
        options = self.data.factor_names
        if names is None:
            return np.flatnonzero(np.array(self.data.factor_sizes) > 1)
        unknown = [name for name in names if name not in options]
        if isinstance(names, str) or unknown or not len(names) or len(set(names)) < len(names):
            raise ValueError(
                f"Factors need a list of different names from {', '.join(options)}. Got {names!r}."
            )
        return np.array([options.index(name) for name in names])


class ChangedPairs(Groups):
    """Sample pairs of images that differ in k factors.

    The other factors are equal (Locatello et al. 2020, "Weakly-supervised ...").

    Args:
        data: A `GroundTruth` with at least two factors that are not constant.
        changed: Number k of factors that differ. None samples k for each pair, uniformly from 1
            to one less than the number of `factors`.
        factors: Names of the factors that may differ; by default all that are not constant.
        labels: Whether to also return, for each factor, whether it differs.

    Raises:
        TypeError: The data set is not a grid.
        ValueError: `changed` exceeds the number of factors that may differ, or a factor is
            unknown or constant.

    >>> from keras_disent.datasets import Sprites
    >>> pairs = ChangedPairs(Sprites(32), changed=1, labels=True)
    >>> images, differs = pairs.draw(10, np.random.default_rng(0))
    >>> images.shape, differs.sum(axis=1)
    ((10, 2, 32, 32, 1), array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]))
    """

    def __init__(
        self,
        data: GroundTruth,
        changed: int | None = 1,
        *,
        factors: Sequence[str] | None = None,
        labels: bool = False,
    ):
        super().__init__(data, labels=labels)
        self._candidates = self._columns(factors)
        constant = [data.factor_names[c] for c in self._candidates if data.factor_sizes[c] == 1]
        if constant:
            raise ValueError(f"Factors that change need at least two steps. Got '{constant[0]}'.")
        count = len(self._candidates)
        if changed is None and count < 2:
            raise ValueError(
                f"`changed=None` needs at least two factors that may change. Got {count}."
            )
        if changed is not None and check_integer("changed", changed, at_least=1) > count:
            raise ValueError(
                f"`changed` is at most {count}, the number of factors that may change. "
                f"Got {changed}."
            )
        self.changed = changed

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample factors `(n, 2, factors)`, and 1 where they differ, int8 `(n, factors)`."""
        first = self.data.sample_factors(n, rng)
        count = len(self._candidates)
        k = rng.integers(1, count, size=(n, 1)) if self.changed is None else self.changed
        rank = rng.random((n, count)).argsort(axis=1).argsort(axis=1)
        differs = np.zeros(first.shape, bool)
        differs[:, self._candidates] = rank < k
        sizes = np.array(self.data.factor_sizes)
        # An offset of 1 to size - 1, modulo the size: all other steps are equally likely.
        offset = rng.integers(1, np.maximum(sizes, 2), size=first.shape)
        second = np.where(differs, (first + offset) % sizes, first)
        return np.stack([first, second], axis=1), differs.astype(np.int8)


class MatchedGroups(Groups):
    """Sample groups of images that share some factors.

    The other factors are independent (Shu et al. 2020, "match").

    Args:
        data: Any `GroundTruth`.
        shared: Names of the factors that all images of a group share. None shares one random
            factor per group.
        size: Number of images per group.
        labels: Whether to also return, for each factor, whether it is shared.

    Raises:
        TypeError: The data set is not a grid.
        ValueError: A factor is unknown, or `size` is below 2.

    >>> from keras_disent.datasets import Sprites
    >>> groups = MatchedGroups(Sprites(32), ["shape", "scale"], size=4)
    >>> groups.draw(10, np.random.default_rng(0)).shape
    (10, 4, 32, 32, 1)
    """

    def __init__(
        self,
        data: GroundTruth,
        shared: Sequence[str] | None = None,
        *,
        size: int = 2,
        labels: bool = False,
    ):
        super().__init__(data, labels=labels)
        self._shared = self._columns(shared)
        self._share_random = shared is None
        self.size = check_integer("size", size, at_least=2)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample factors `(n, size, factors)`, and 1 for shared ones, int8 `(n, factors)`."""
        count = len(self.data.factor_names)
        factors = self.data.sample_factors(n * self.size, rng).reshape(n, self.size, count)
        shared = np.zeros((n, count), np.int8)
        if self._share_random:
            shared[np.arange(n), rng.choice(self._shared, n)] = 1
        else:
            shared[:, self._shared] = 1
        return np.where(shared[:, None], factors[:, :1], factors), shared


class RankedPairs(Groups):
    """Sample independent pairs of images, and which of the two has the higher steps.

    This is the "rank" pairing of Shu et al. (2020).

    Args:
        data: Any `GroundTruth`.
        factors: Names of the ordinal factors to compare; by default all ordinal factors.

    Raises:
        TypeError: The data set is not a grid.
        ValueError: A factor is unknown or not ordinal.

    >>> from keras_disent.datasets import Sprites
    >>> pairs = RankedPairs(Sprites(32), ["scale", "position_x"])
    >>> images, higher = pairs.draw(10, np.random.default_rng(0))
    >>> images.shape, higher.shape
    ((10, 2, 32, 32, 1), (10, 2))
    """

    def __init__(self, data: GroundTruth, factors: Sequence[str] | None = None):
        super().__init__(data, labels=True)
        kinds = data.factor_kinds
        if factors is None:
            factors = [n for n, k in zip(data.factor_names, kinds, strict=True) if k == "ordinal"]
        self._compared = self._columns(factors)
        for column in self._compared:
            if kinds[column] != "ordinal":
                raise ValueError(
                    "Ranked pairs need ordinal factors. "
                    f"Got '{data.factor_names[column]}', which is {kinds[column]}."
                )

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample factors `(n, 2, factors)` and labels int8 `(n, compared factors)`.

        A label is 1 if the step of the first image is at least that of the second.
        """
        factors = self.data.sample_factors(2 * n, rng).reshape(n, 2, -1)
        compared = factors[:, :, self._compared]
        return factors, (compared[:, 0] >= compared[:, 1]).astype(np.int8)
