"""Views of data sets: transformed images, fewer labels, concatenation.

A view is a data set and copies nothing but indices, so views can be nested. See also `grids` and
`parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.pixels import hash_uniforms
from keras_disent.datasets.source import ImageSource, check_indices, training_labels


class View(ImageSource):
    """Base class of views: everything is delegated to another data set unless overridden."""

    def __init__(self, data: ImageSource):
        self.data = data
        self.name = data.name
        self.image_shape = data.image_shape
        self.factor_names = data.factor_names
        self.factor_sizes = data.factor_sizes
        self.stochastic = data.stochastic
        self.pictures = data.pictures

    def __len__(self) -> int:
        return len(self.data)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return self.data.factor_values

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return self.data.factor_kinds

    def _base_indices(self, indices: ArrayLike) -> np.ndarray:
        """Convert indices of this view to indices of its base data set."""
        return check_indices(indices, len(self))

    def images(self, indices: ArrayLike) -> np.ndarray:
        return self.data.images(self._base_indices(indices))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return self.data.observations(self._base_indices(indices), rng)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        return self.data.factors(self._base_indices(indices))

    def labels(self, indices: ArrayLike) -> np.ndarray:
        return self.data.labels(self._base_indices(indices))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.data.sample(n, rng)


class TransformedImages(View):
    """A data set with transformed images; `transform_images` creates it."""

    def __init__(self, data: ImageSource, transform: Any):
        super().__init__(data)
        self.transform = transform
        self.image_shape = transform.shape(data.image_shape)
        self.uniforms = transform.uniforms(data.image_shape)
        self.stochastic = data.stochastic or self.uniforms is not None

    def images(self, indices: ArrayLike) -> np.ndarray:
        checked = check_indices(indices, len(self))
        uniforms = None if self.uniforms is None else hash_uniforms(checked, self.uniforms)
        return self.transform(self.data.images(checked), uniforms)

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        images = self.data.observations(indices, rng)
        uniforms = None if self.uniforms is None else rng.random((len(images), *self.uniforms))
        return self.transform(images, uniforms)


class TransformedGrid(TransformedImages, GroundTruth):
    """A ground-truth data set with transformed images; `transform_images` creates it."""

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


def transform_images(
    data: ImageSource, transform: Any, name: str | None = None
) -> TransformedImages:
    """Apply a transform to all images of a data set, when they are read.

    Args:
        data: Any data set. If it is a `GroundTruth`, so is the result.
        transform: A transform from `keras_disent.datasets.pixels`, or an object with the same
            methods.
        name: Name of the result; by default that of the data set.

    Raises:
        ValueError: The transform does not support images of this shape.

    >>> from keras_disent.datasets import Sprites, pixels
    >>> noisy = transform_images(Sprites(), pixels.NoisyBackground())
    >>> noisy.image_shape, noisy.stochastic, noisy.factor_sizes
    ((64, 64, 3), True, (3, 6, 40, 32, 32))
    """
    kind = TransformedGrid if isinstance(data, GroundTruth) else TransformedImages
    view = kind(data, transform)
    view.name = name or data.name
    return view


class Labels(View):
    """A data set with the labels of some factors only; see `ImageSource.only`."""

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
        return training_labels(self, self.factors(indices))


class Concatenation(ImageSource):
    """Concatenate data sets. Labels are kept if all parts have the same factors.

    Args:
        parts: Data sets whose images have the same shape.

    Raises:
        ValueError: There are no parts, or the image shapes differ.

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
                "`parts` needs images of the same shape (see `resized`, `with_channels`). "
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
        return self._gather(indices, empty, lambda part, rows: part.images(rows))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        empty = np.empty((0, *self.image_shape), np.uint8)
        return self._gather(indices, empty, lambda part, rows: part.observations(rows, rng))

    def factors(self, indices: ArrayLike) -> np.ndarray:
        if not self.factor_names:
            return super().factors(indices)
        empty = np.empty((0, len(self.factor_names)), np.int64)
        return self._gather(indices, empty, lambda part, rows: part.factors(rows))

    def _gather(self, indices: ArrayLike, empty: np.ndarray, read: Any) -> np.ndarray:
        """Read rows from each part; `empty` has the dtype and the shape of a row."""
        checked = check_indices(indices, len(self))
        numbers = np.searchsorted(self._ends, checked, "right")
        values = np.empty((len(checked), *empty.shape[1:]), empty.dtype)
        for number in np.unique(numbers):
            mask = numbers == number
            part = self.parts[number]
            values[mask] = read(part, checked[mask] - (self._ends[number] - len(part)))
        return values


def factor_columns(data: ImageSource, names: Sequence[str]) -> list[int]:
    """Return the column of each named factor in the factors of a data set.

    Raises:
        ValueError: A name is unknown or listed twice, or there is none.
    """
    unknown = [name for name in names if name not in data.factor_names]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"'{data.name}' needs different names from "
            f"{', '.join(data.factor_names) or 'its factors, but it has none'}. "
            f"Got {', '.join(map(repr, names)) or 'none'}."
        )
    return [data.factor_names.index(name) for name in names]
