"""Grids of factors whose images show concepts, some of which cause others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import check_indices

_IMAGE_SIZES = (64, 32, 96)
_CHUNK = 32  # images drawn at once: their layers stay in the processor's cache

Color = tuple[int, int, int]


class Causal(GroundTruth):
    """Independent factors, the concepts they set in motion, and images of the concepts.

    A concept is either a factor's own value or the result of a mechanism: a function of other
    concepts and of factors. A subclass declares both, and yields the layers of its pictures.

    An image of the grid is drawn when it is first asked for and kept as uint8 until the process
    ends, shared by all instances of one class and size: training needs far more images a second
    than can be drawn.

    Args:
        image_size: 64, 32, or 96, the published size.

    Attributes:
        concept_names: one name per concept; causes come before their effects.
        concept_limits: lowest and highest value of every concept that `do` and `render` take.
        concept_shift: what `labels` subtracts from every concept.
        concept_scale: what `labels` then divides by.
        mechanisms: `{effect: (causes, function)}`; the function takes one `(n,)` float64 array
            per cause, a concept or a factor, and returns the effect's `(n,)` values.

    Raises:
        ValueError: an image size that is not there.
    """

    concept_names: tuple[str, ...]
    concept_limits: Mapping[str, tuple[float, float]]
    concept_shift: tuple[float, ...]
    concept_scale: tuple[float, ...]
    mechanisms: Mapping[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]]

    _frame: tuple[float, float, float]  # left edge, lower edge and side of the picture
    _background: Color
    _test_every: int

    def __init__(self, image_size: int = 64):
        if image_size not in _IMAGE_SIZES:
            raise ValueError(f"`image_size` needs to be one of {_IMAGE_SIZES}. Got {image_size!r}.")
        self.image_size = image_size
        self.image_shape = (image_size, image_size, 3)

    @property
    def graph(self) -> np.ndarray:
        """int8 `(concepts, concepts)`: 1 at `[i, j]` if concept i is a cause of concept j."""
        rows = [
            [cause in self.mechanisms.get(effect, ((),))[0] for effect in self.concept_names]
            for cause in self.concept_names
        ]
        return np.array(rows, np.int8)

    def concepts(self, indices: ArrayLike) -> np.ndarray:
        """Concepts at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            float64 `(n, concepts)`, in the units that the class names.

        Raises:
            TypeError, ValueError, IndexError: see `check_indices`.
        """
        return self.do(indices, {})

    def do(self, indices: ArrayLike, interventions: Mapping[str, ArrayLike]) -> np.ndarray:
        """Concepts at some indices after some of them were set from outside.

        A set concept no longer listens to its causes. The mechanisms of its descendants run
        again, with the factors of the index; all other concepts stay as they are.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.
            interventions: `{concept: value}`, or `(n,)` values, within `concept_limits`.

        Returns:
            float64 `(n, concepts)`.

        Raises:
            TypeError: a value is not a number; see also `check_indices`.
            ValueError: an unknown concept, a value that is not finite or out of its limits, or
                values that are not one per index; see also `check_indices`.
            IndexError: see `check_indices`.
        """
        factors = self.factors(indices)
        given = {}
        for name, value in interventions.items():
            if name not in self.concept_names:
                raise ValueError(
                    f"`interventions` needs names from {', '.join(self.concept_names)}. "
                    f"Got {name!r}."
                )
            column = self._check_values("interventions", name, np.asarray(value))
            if column.shape not in ((), (len(factors),)):
                raise ValueError(
                    f"`interventions` needs one value for '{name}', or one per index. "
                    f"Got shape {column.shape} for {len(factors)} indices."
                )
            given[name] = np.broadcast_to(column, len(factors))
        values = {
            name: steps[column].astype(np.float64)
            for (name, steps), column in zip(self.factor_values.items(), factors.T, strict=True)
        }
        for name in self.concept_names:
            if name in given:
                values[name] = given[name]
            elif name in self.mechanisms:
                causes, mechanism = self.mechanisms[name]
                values[name] = mechanism(*(values[cause] for cause in causes))
        return np.stack([values[name] for name in self.concept_names], axis=1)

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """Concepts at some indices, shifted and scaled to about -1 to 1.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            float32 `(n, concepts)`: `(concepts - concept_shift) / concept_scale`.

        Raises:
            TypeError, ValueError, IndexError: see `check_indices`.
        """
        shift, scale = np.array(self.concept_shift), np.array(self.concept_scale)
        return ((self.concepts(indices) - shift) / scale).astype(np.float32)

    def published_test_indices(self) -> np.ndarray:
        """Indices of the images that the published generator keeps for testing.

        It counts through the grid in the order of the indices, so that every `n`-th image, first
        the one at index 4, is a test image. All others are training images.

        Returns:
            `(n,)` int64, ascending.
        """
        return np.arange(4, len(self), self._test_every, dtype=np.int64)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Images at some indices: `render(concepts(indices))`, drawn only once.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError, ValueError, IndexError: see `check_indices`.
        """
        checked = check_indices(indices, len(self))
        images, drawn = _kept(type(self), self.image_size)
        missing = np.unique(checked[~drawn[checked]])
        for first in range(0, len(missing), _CHUNK):
            part = missing[first : first + _CHUNK]
            images[part] = self.render(self.concepts(part))
            drawn[part] = True  # only now: another thread may be reading
        return images[checked]

    def render(self, concepts: ArrayLike) -> np.ndarray:
        """Images of any concepts, whether or not their mechanisms would allow them.

        Args:
            concepts: `(n, concepts)` numbers, such as `do` returns.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError: the concepts are not numbers.
            ValueError: a column is missing or too much, or a value is not finite or out of its
                `concept_limits`.
        """
        given = np.asarray(concepts)
        width = len(self.concept_names)
        if given.ndim != 2 or given.shape[1] != width:
            raise ValueError(
                f"`concepts` needs one row per image and {width} columns "
                f"({', '.join(self.concept_names)}). Got shape {given.shape}."
            )
        columns = [
            self._check_values("concepts", name, column)
            for name, column in zip(self.concept_names, given.T, strict=True)
        ]
        images = np.empty((len(given), *self.image_shape), np.uint8)
        for first in range(0, len(given), _CHUNK):
            part = slice(first, first + _CHUNK)
            self._paint(dict(zip(self.concept_names, columns, strict=True)), part, images[part])
        return images

    @abstractmethod
    def _layers(
        self, values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, pixel: float
    ) -> Iterator[tuple[Color, np.ndarray]]:
        """The picture's layers from front to back, in the units of its frame.

        Args:
            values: float64 `(n, 1, 1)` per concept.
            x: float32 `(1, 1, size)`, the pixel centers to the right.
            y: float32 `(1, size, 1)`, the pixel centers upwards; the first is the uppermost.
            pixel: side of a pixel.

        Yields:
            A color, and the share of every pixel that it covers: float32, to be broadcast to
            `(n, size, size)`.
        """

    def _paint(self, values: dict[str, np.ndarray], part: slice, out: np.ndarray) -> None:
        left, low, side = self._frame
        size = self.image_size
        pixel = side / size
        centers = (pixel * (np.arange(size) + 0.5)).astype(np.float32)
        x, y = left + centers[None, None, :], low + centers[None, ::-1, None]
        columns = {name: column[part, None, None] for name, column in values.items()}
        visible = np.ones((len(out), size, size), np.float32)
        colors, shares = [], []
        for color, cover in self._layers(columns, x, y, pixel):
            share = visible * cover
            visible -= share
            colors.append(color)
            shares.append(share)
        # The shares of a pixel sum to 1, so this half rounds instead of cutting off.
        palette = np.array([*colors, self._background], np.float32).T + 0.5
        weights = np.stack([*shares, visible], axis=1).reshape(len(out), -1, size * size)
        out[...] = (palette @ weights).reshape(-1, 3, size, size).transpose(0, 2, 3, 1)

    def _check_values(self, argument: str, name: str, values: np.ndarray) -> np.ndarray:
        if values.size and values.dtype.kind not in "iuf":
            raise TypeError(f"`{argument}` needs numbers for '{name}'. Got {values.dtype}.")
        low, high = self.concept_limits[name]
        wrong = values[~(np.isfinite(values) & (values >= low) & (values <= high))]
        if wrong.size:
            raise ValueError(
                f"`{argument}` needs finite values from {low:g} to {high:g} for '{name}'. "
                f"Got {wrong.flat[0]}."
            )
        return values.astype(np.float64)


def single(values: np.ndarray) -> np.ndarray:
    """Float32: enough for a drawing, and twice as fast."""
    return values.astype(np.float32)


def inside(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Share of every pixel inside an outline, from its center's signed distance to it."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def between(place: np.ndarray, low: ArrayLike, high: ArrayLike, pixel: float) -> np.ndarray:
    """Share of every pixel between two values of one coordinate, exactly."""
    half = pixel / 2
    inner = np.minimum(place + half, high) - np.maximum(place - half, low)
    return np.clip(inner / pixel, 0, 1).astype(np.float32)


def disc(x: np.ndarray, y: np.ndarray, radius: ArrayLike, pixel: float) -> np.ndarray:
    """Share of every pixel within a radius; `x` and `y` are relative to the center."""
    return inside(np.sqrt(x * x + y * y) - radius, pixel)


@cache
def _kept(kind: type[Causal], size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images of one data set, to be filled in, and which of them are there."""
    data = kind(size)
    return np.empty((len(data), *data.image_shape), np.uint8), np.zeros(len(data), bool)
