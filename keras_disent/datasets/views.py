"""The same data seen differently: other pixels, fewer labels, one set after another.

Views compose: each is a data set, and nothing is copied but indices. See also `grids` and `parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.pixels import hash_uniforms
from keras_disent.datasets.source import ImageSource, check_indices


class View(ImageSource):
    """A data set that says of itself what another one says; subclasses change one thing."""

    def __init__(self, data: ImageSource):
        self.data = data
        self.name = data.name
        self.image_shape = data.image_shape
        self.factor_names = data.factor_names
        self.factor_sizes = data.factor_sizes
        self.stochastic = data.stochastic

    def __len__(self) -> int:
        return len(self.data)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return self.data.factor_values

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return self.data.factor_kinds

    def _original(self, indices: ArrayLike) -> np.ndarray:
        """Where an index lies in the data set below."""
        return check_indices(indices, len(self))

    def images(self, indices: ArrayLike) -> np.ndarray:
        return self.data.images(self._original(indices))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return self.data.observations(self._original(indices), rng)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        return self.data.factors(self._original(indices))

    def labels(self, indices: ArrayLike) -> np.ndarray:
        return self.data.labels(self._original(indices))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.data.sample(n, rng)


class TransformedImages(View):
    """The same data with other pixels. Made by `transform_images`."""

    def __init__(self, data: ImageSource, change: Any):
        super().__init__(data)
        self.change = change
        self.image_shape = change.shape(data.image_shape)
        self.uniforms = change.uniforms(data.image_shape)
        self.stochastic = data.stochastic or self.uniforms is not None

    def images(self, indices: ArrayLike) -> np.ndarray:
        checked = check_indices(indices, len(self))
        random = None if self.uniforms is None else hash_uniforms(checked, self.uniforms)
        return self.change(self.data.images(checked), random)

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        images = self.data.observations(indices, rng)
        random = None if self.uniforms is None else rng.random((len(images), *self.uniforms))
        return self.change(images, random)


class TransformedGrid(TransformedImages, GroundTruth):
    """A ground-truth data set with other pixels. Made by `transform_images`."""

    data: GroundTruth

    def indices(self, factors: ArrayLike) -> np.ndarray:
        return self.data.indices(factors)

    def sample_factors(
        self,
        n: int,
        rng: np.random.Generator,
        fixed: Mapping[str, ArrayLike] | None = None,
    ) -> np.ndarray:
        return self.data.sample_factors(n, rng, fixed)


def transform_images(data: ImageSource, change: Any, name: str | None = None) -> TransformedImages:
    """The same data with other pixels.

    Args:
        data: any data set; a `GroundTruth` gives a `GroundTruth`.
        change: out of `keras_disent.datasets.pixels`, or an object like those there.
        name: of the result; by default the data set's.

    Raises:
        ValueError: the change is not for images of this shape.

    >>> from keras_disent.datasets import Sprites, pixels
    >>> noisy = transform_images(Sprites(), pixels.NoisyBackground())
    >>> noisy.image_shape, noisy.stochastic, noisy.factor_sizes
    ((64, 64, 3), True, (3, 6, 40, 32, 32))
    """
    view = (TransformedGrid if isinstance(data, GroundTruth) else TransformedImages)(data, change)
    view.name = name or data.name
    return view


class Labels(View):
    """The same images with some of the labels.

    Raises:
        ValueError: an unknown name, or none.
    """

    def __init__(self, data: ImageSource, names: Sequence[str]):
        super().__init__(data)
        self._columns = factor_columns(data, names)
        self.factor_names = tuple(names)
        self.factor_sizes = tuple(data.factor_sizes[c] for c in self._columns)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return {name: self.data.factor_values[name] for name in self.factor_names}

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return tuple(self.data.factor_kinds[c] for c in self._columns)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        return self.data.factors(indices)[:, self._columns]

    def labels(self, indices: ArrayLike) -> np.ndarray:
        return self.factors(indices).astype(np.int32)


class Concatenation(ImageSource):
    """Several data sets, one after the other. Labels stay if all have the same factors.

    Args:
        parts: data sets with images of one shape.

    Raises:
        ValueError: no parts, or images of different shapes.

    >>> from keras_disent.datasets import Images, Sprites
    >>> both = Concatenation([Sprites(), Images(np.zeros((10, 64, 64)))])
    >>> len(both), both.images([737_279, 737_280]).shape, both.factor_names
    (737290, (2, 64, 64, 1), ())
    """

    def __init__(self, parts: Sequence[ImageSource]):
        self.parts = tuple(parts)
        if not self.parts:
            raise ValueError("`parts` needs at least one data set. Got none.")
        shapes = list(dict.fromkeys(part.image_shape for part in self.parts))
        if len(shapes) > 1:
            raise ValueError(
                "`parts` needs images of one shape (see `resized`, `with_channels`). "
                f"Got {' and '.join(map(str, shapes))}."
            )
        first = self.parts[0]
        self.name = " + ".join(part.name for part in self.parts)
        self.image_shape = shapes[0]
        self.stochastic = any(part.stochastic for part in self.parts)
        same = all(
            part.factor_names == first.factor_names
            and all(map(np.array_equal, part.factor_values.values(), first.factor_values.values()))
            for part in self.parts
        )
        if same:
            self.factor_names, self.factor_sizes = first.factor_names, first.factor_sizes
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return self.parts[0].factor_values if self.factor_names else {}

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return self.parts[0].factor_kinds if self.factor_names else ()

    def images(self, indices: ArrayLike) -> np.ndarray:
        empty = np.empty((0, *self.image_shape), np.uint8)
        return self._gathered(indices, empty, lambda part, own: part.images(own))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        empty = np.empty((0, *self.image_shape), np.uint8)
        return self._gathered(indices, empty, lambda part, own: part.observations(own, rng))

    def factors(self, indices: ArrayLike) -> np.ndarray:
        if not self.factor_names:
            return super().factors(indices)
        empty = np.empty((0, len(self.factor_names)), np.int64)
        return self._gathered(indices, empty, lambda part, own: part.factors(own))

    def _gathered(self, indices: ArrayLike, empty: np.ndarray, read: Any) -> np.ndarray:
        checked = check_indices(indices, len(self))
        owner = np.searchsorted(self._ends, checked, "right")
        found = np.empty((len(checked), *empty.shape[1:]), empty.dtype)
        for number in np.unique(owner):
            mine = owner == number
            part = self.parts[number]
            found[mine] = read(part, checked[mine] - (self._ends[number] - len(part)))
        return found


def factor_columns(data: ImageSource, names: Sequence[str]) -> list[int]:
    """Where some factors are among those of a data set.

    Raises:
        ValueError: no name, an unknown one, or one twice.
    """
    unknown = [name for name in names if name not in data.factor_names]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"'{data.name}' needs different names out of "
            f"{', '.join(data.factor_names) or 'its factors, of which it has none'}. "
            f"Got {', '.join(map(repr, names)) or 'none'}."
        )
    return [data.factor_names.index(name) for name in names]
