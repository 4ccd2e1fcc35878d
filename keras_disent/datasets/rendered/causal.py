"""Base class of causal data sets: factors, concepts, mechanisms, interventions, images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import check_indices

_IMAGE_SIZES = (64, 32, 96)
_CHUNK = 32  # images drawn at once, so that their layers fit into the processor's cache

Color = tuple[int, int, int]


class Causal(GroundTruth):
    """Base class of causal data sets.

    Independent factors determine concepts, and images show the concepts. A concept is either the
    value of a factor, or the result of a mechanism: a function of other concepts and factors. A
    subclass declares concepts and mechanisms, and yields the layers of its images.

    An image of the grid is rendered when it is first read, and kept as uint8 until the process
    ends, because training reads images faster than they can be rendered. All instances of the
    same class and image size share these images.

    Args:
        image_size: Height and width in pixels: 64, 32, or 96, the published size.

    Attributes:
        concept_names: Name of each concept; causes come before their effects.
        concept_limits: Lowest and highest value of each concept in `do` and `render`.
        concept_shift: Values that `labels` subtracts from the concepts.
        concept_scale: Values by which `labels` then divides.
        mechanisms: `{effect: (causes, function)}`. The function takes one `(n,)` float64 array
            per cause, which is a concept or a factor, and returns the `(n,)` values of the
            effect.

    Raises:
        ValueError: `image_size` is not supported.
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
        """Causal graph, int8 `(concepts, concepts)`: `[i, j]` is 1 if i causes j."""
        rows = [
            [cause in self.mechanisms.get(effect, ((),))[0] for effect in self.concept_names]
            for cause in self.concept_names
        ]
        return np.array(rows, np.int8)

    def concepts(self, indices: ArrayLike) -> np.ndarray:
        """Return the concepts at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            float64 `(n, concepts)`, in the units that the class documents.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        return self.do(indices, {})

    def do(self, indices: ArrayLike, interventions: Mapping[str, ArrayLike]) -> np.ndarray:
        """Return the concepts at some indices after interventions on some concepts.

        The mechanism of an intervened concept is replaced by its new value. Its descendants are
        computed from this value and the factors of the index; all other concepts stay the same.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.
            interventions: `{concept: value}` or `{concept: (n,) values}`, within
                `concept_limits`.

        Returns:
            float64 `(n, concepts)`.

        Raises:
            TypeError: A value is not a number; see also `check_indices`.
            ValueError: A concept is unknown; a value is not finite or out of its limits; or there
                is not one value per index. See also `check_indices`.
            IndexError: See `check_indices`.
        """
        factors = self.factors(indices)
        new_values = {}
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
            new_values[name] = np.broadcast_to(column, len(factors))
        values = {
            name: steps[column].astype(np.float64)
            for (name, steps), column in zip(self.factor_values.items(), factors.T, strict=True)
        }
        for name in self.concept_names:
            if name in new_values:
                values[name] = new_values[name]
            elif name in self.mechanisms:
                causes, mechanism = self.mechanisms[name]
                values[name] = mechanism(*(values[cause] for cause in causes))
        return np.stack([values[name] for name in self.concept_names], axis=1)

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """Return the concepts at some indices, shifted and scaled to about -1 to 1.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            float32 `(n, concepts)`: `(concepts - concept_shift) / concept_scale`.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        shift, scale = np.array(self.concept_shift), np.array(self.concept_scale)
        return ((self.concepts(indices) - shift) / scale).astype(np.float32)

    def published_test_indices(self) -> np.ndarray:
        """Return the indices of the published test images.

        The published generator iterates over the grid in the order of the indices. From index 4
        on, images at a regular interval are test images; all others are training images.

        Returns:
            `(n,)` int64, ascending.
        """
        return np.arange(4, len(self), self._test_every, dtype=np.int64)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at some indices: `render(concepts(indices))`, rendered only once.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        images, is_rendered = _image_cache(type(self), self.image_size)
        missing = np.unique(checked[~is_rendered[checked]])
        for first in range(0, len(missing), _CHUNK):
            part = missing[first : first + _CHUNK]
            images[part] = self.render(self.concepts(part))
            is_rendered[part] = True  # set last, because another thread may be reading
        return images[checked]

    def render(self, concepts: ArrayLike) -> np.ndarray:
        """Render images of concepts, also of values that the mechanisms never produce.

        Args:
            concepts: `(n, concepts)` numbers, such as the result of `do`.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError: The concepts are not numbers.
            ValueError: The number of columns is wrong, or a value is not finite or out of its
                `concept_limits`.
        """
        array = np.asarray(concepts)
        width = len(self.concept_names)
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(
                f"`concepts` needs one row per image and {width} columns "
                f"({', '.join(self.concept_names)}). Got shape {array.shape}."
            )
        columns = [
            self._check_values("concepts", name, column)
            for name, column in zip(self.concept_names, array.T, strict=True)
        ]
        images = np.empty((len(array), *self.image_shape), np.uint8)
        for first in range(0, len(array), _CHUNK):
            part = slice(first, first + _CHUNK)
            self._paint(dict(zip(self.concept_names, columns, strict=True)), part, images[part])
        return images

    @abstractmethod
    def _layers(
        self, values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, pixel: float
    ) -> Iterator[tuple[Color, np.ndarray]]:
        """Yield the layers of the images from front to back, in units of the scene.

        Args:
            values: float64 `(n, 1, 1)` for each concept.
            x: Horizontal pixel centers, float32 `(1, 1, size)`, from left to right.
            y: Vertical pixel centers, float32 `(1, size, 1)`, from top to bottom; values grow
                upwards.
            pixel: Side of a pixel.

        Yields:
            A color, and the fraction of every pixel that the layer covers: float32, broadcast to
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
        colors, fractions = [], []
        for color, coverage in self._layers(columns, x, y, pixel):
            fraction = visible * coverage
            visible -= fraction
            colors.append(color)
            fractions.append(fraction)
        # The fractions of a pixel sum to 1, so adding 0.5 rounds instead of truncating.
        palette = np.array([*colors, self._background], np.float32).T + 0.5
        weights = np.stack([*fractions, visible], axis=1).reshape(len(out), -1, size * size)
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


def to_float32(values: np.ndarray) -> np.ndarray:
    """Convert to float32, which is precise enough for rendering and twice as fast."""
    return values.astype(np.float32)


def inside(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Return the covered fraction of every pixel, from the signed distance to an outline."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def between(center: np.ndarray, low: ArrayLike, high: ArrayLike, pixel: float) -> np.ndarray:
    """Return the exact fraction of every pixel between two values of one coordinate."""
    half = pixel / 2
    overlap = np.minimum(center + half, high) - np.maximum(center - half, low)
    return np.clip(overlap / pixel, 0, 1).astype(np.float32)


def disc(x: np.ndarray, y: np.ndarray, radius: ArrayLike, pixel: float) -> np.ndarray:
    """Return the covered fraction of every pixel; `x` and `y` are relative to the disc's center."""
    return inside(np.sqrt(x * x + y * y) - radius, pixel)


@cache
def _image_cache(cls: type[Causal], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Allocate all images of a data set, and a mask of the rendered ones."""
    data = cls(size)
    return np.empty((len(data), *data.image_shape), np.uint8), np.zeros(len(data), bool)
