"""Weak supervision: images in pairs and groups that are known to share some of their factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent.datasets.ground_truth import GroundTruth

if TYPE_CHECKING:
    from keras_disent.engine.batches import Batches


class Groups(ABC):
    """Draws groups of images of a ground-truth data set, and what is known of them.

    Args:
        data: a `GroundTruth`.
        labels: whether `draw`, and with it `batches`, also give the labels.

    Attributes:
        size: images of a group.

    Raises:
        TypeError: the data set is no grid, so not every combination of factors can be drawn.
    """

    size = 2

    def __init__(self, data: GroundTruth, *, labels: bool = False):
        if not isinstance(data, GroundTruth):
            raise TypeError(
                "Groups need a GroundTruth, a grid of factors. "
                f"Got {type(data).__name__} '{getattr(data, 'name', '')}'."
            )
        self.data = data
        self.with_labels = labels

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw factors, int64 `(n, size, factors)`, and labels, one row per group."""

    def draw(self, n: int, rng: np.random.Generator) -> Any:
        """Draw groups of images, uint8 `(n, size, height, width, channels)`, for `batches`.

        Returns:
            the images, or with `labels` a tuple of images and labels.
        """
        factors, labels = self.sample(n, rng)
        images = self.data.observe(factors.reshape(n * self.size, -1), rng)
        images = images.reshape(n, self.size, *self.data.image_shape)
        return (images, labels) if self.with_labels else images

    def batches(self, batch_size: int = 64, *, seed: int = 0, steps: int | None = None) -> Batches:
        """Batches of groups for `fit`; see `keras_disent.engine.batches.Batches`."""
        from keras_disent.engine.batches import Batches

        return Batches(self.draw, len(self.data), batch_size, seed=seed, steps=steps)

    def _columns(self, names: Sequence[str] | None) -> np.ndarray:
        """Columns of some factors; by default of all that vary."""
        known = self.data.factor_names
        if names is None:
            return np.flatnonzero(np.array(self.data.factor_sizes) > 1)
        wrong = [name for name in names if name not in known]
        if isinstance(names, str) or wrong or not len(names) or len(set(names)) < len(names):
            raise ValueError(
                f"Factors are a list of different names out of {', '.join(known)}. Got {names!r}."
            )
        return np.array([known.index(name) for name in names])


class ChangedPairs(Groups):
    """Pairs that agree in all factors but k (Locatello et al. 2020, "Weakly-supervised ...").

    Args:
        data: a `GroundTruth` with at least two factors that vary.
        changed: k, how many factors differ; None draws it anew for each pair, uniform from 1 to
            one less than the number of factors that may change.
        factors: the factors that may change; by default all that vary.
        labels: whether to give, for each factor, whether it differs.

    Raises:
        TypeError: no grid.
        ValueError: k is more than the factors that may change, or a factor is unknown or constant.

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
        self._may = self._columns(factors)
        constant = [data.factor_names[c] for c in self._may if data.factor_sizes[c] == 1]
        if constant:
            raise ValueError(f"Factors that change need at least two steps. Got '{constant[0]}'.")
        most = len(self._may)
        if changed is None and most < 2:
            raise ValueError(
                f"Drawing how many factors change needs at least two that may. Got {most}."
            )
        if changed is not None and check_integer("changed", changed, at_least=1) > most:
            raise ValueError(f"`changed` is at most {most}, the factors that may. Got {changed}.")
        self.changed = changed

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw factors `(n, 2, factors)`, and which of them differ, bool `(n, factors)`."""
        first = self.data.sample_factors(n, rng)
        count = len(self._may)
        k = rng.integers(1, count, size=(n, 1)) if self.changed is None else self.changed
        rank = rng.random((n, count)).argsort(axis=1).argsort(axis=1)
        differs = np.zeros(first.shape, bool)
        differs[:, self._may] = rank < k
        sizes = np.array(self.data.factor_sizes)
        # 1 to size - 1 steps onwards, around the end: every other step is as likely, never the same
        onwards = rng.integers(1, np.maximum(sizes, 2), size=first.shape)
        second = np.where(differs, (first + onwards) % sizes, first)
        return np.stack([first, second], axis=1), differs.astype(np.int8)


class MatchedGroups(Groups):
    """Groups that share some factors; the others are independent (Shu et al. 2020, "match").

    Args:
        data: a `GroundTruth`.
        shared: names of the factors that all images of a group share; None shares one factor,
            drawn anew for each group.
        size: images of a group.
        labels: whether to give, for each factor, whether it is shared.

    Raises:
        TypeError: no grid.
        ValueError: an unknown factor, or less than two images.

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
        self._one = shared is None
        self.size = check_integer("size", size, at_least=2)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw factors `(n, size, factors)`, and which are shared, int8 `(n, factors)`."""
        count = len(self.data.factor_names)
        factors = self.data.sample_factors(n * self.size, rng).reshape(n, self.size, count)
        shared = np.zeros((n, count), np.int8)
        if self._one:
            shared[np.arange(n), rng.choice(self._shared, n)] = 1
        else:
            shared[:, self._shared] = 1
        return np.where(shared[:, None], factors[:, :1], factors), shared


class RankedPairs(Groups):
    """Independent pairs, with which of the two has the higher step (Shu et al. 2020, "rank").

    Args:
        data: a `GroundTruth`.
        factors: the ordinal factors that are compared; by default all of them.

    Raises:
        TypeError: no grid.
        ValueError: an unknown factor, or one whose steps have no order.

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
        """Draw factors `(n, 2, factors)`, and 1 where the first's step is at least the second's.

        The labels are int8 `(n, compared factors)`.
        """
        factors = self.data.sample_factors(2 * n, rng).reshape(n, 2, -1)
        compared = factors[:, :, self._compared]
        return factors, (compared[:, 0] >= compared[:, 1]).astype(np.int8)
