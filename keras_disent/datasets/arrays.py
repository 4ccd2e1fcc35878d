"""Data sets of images in an array: without labels, with labels, or as a grid of factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.checks import ROUNDING
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource, check_indices

MAX_ORDINAL_VALUES = 20
"""A factor with non-integer values is continuous if it has more different values than this."""

NUMBER_KINDS = ("continuous", "ordinal", "circular")


class Images(ImageSource):
    """Unlabeled images.

    Args:
        images: `(n, height, width, channels)` or `(n, height, width)`: uint8, or floats from 0
            to 1, which are converted to uint8. An object that has this shape and dtype uint8 and
            returns rows for an array of indices, such as a memory map, works too.
        name: Name of the data set in messages and tables.

    Raises:
        TypeError: The dtype is neither uint8 nor float.
        ValueError: The rank is wrong; there are no images or pixels; floats are NaN or out of
            range; or uint8 values are only 0 and 1 (in the first 1,000 images).

    >>> data = Images(np.zeros((10, 8, 8)))
    >>> len(data), data.image_shape, data.images([3, 4]).dtype
    (10, (8, 8, 1), dtype('uint8'))
    """

    def __init__(self, images: Any, name: str = "images"):
        self.name = name
        self._rows = check_pixels(images)
        self.image_shape = image_shape_of(self._rows)

    def __len__(self) -> int:
        return self._rows.shape[0]

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return a copy of the images at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, height, width, channels)`.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        rows = self._rows[check_indices(indices, len(self))]
        return np.asarray(rows).reshape(-1, *self.image_shape)


class LabeledImages(Images):
    """Images with labels, in any combinations of factors; `labeled` creates them.

    Args:
        images: See `Images`.
        steps: Steps of the factors, `(n, factors)` integers from 0.
        values: For each factor's name an array with one value per step.
        name: Name of the data set in messages and tables.
        kinds: Kind of each factor; by default derived from the values.
    """

    def __init__(
        self,
        images: Any,
        steps: np.ndarray,
        values: Mapping[str, np.ndarray],
        name: str = "images",
        *,
        kinds: tuple[str, ...] | None = None,
    ):
        super().__init__(images, name)
        self._steps = steps
        self._values = dict(values)
        self._kinds = kinds
        self.factor_names = tuple(values)
        self.factor_sizes = tuple(len(v) for v in values.values())

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return dict(self._values)

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return super().factor_kinds if self._kinds is None else self._kinds

    def factors(self, indices: ArrayLike) -> np.ndarray:
        """Return the steps of all factors at some indices, int64 `(n, factors)`."""
        return self._steps[check_indices(indices, len(self))].astype(np.int64)


class ImageGrid(GroundTruth):
    """A grid of factors whose images are the rows of an array; `labeled` creates it.

    Args:
        images: See `Images`.
        values: For each factor's name an array with one value per step. The last factor changes
            fastest.
        name: Name of the data set in messages and tables.
        rows: `(n,)` integers, the row of `images` for each index of the grid; by default the
            rows are in the order of the grid.
        kinds: Kind of each factor; by default derived from the values.

    Raises:
        ValueError: The numbers of rows and of combinations differ.

    >>> grid = ImageGrid(np.zeros((6, 8, 8)), {"side": np.array(["l", "r"]), "x": np.arange(3)})
    >>> grid.factor_sizes, grid.factor_kinds, len(grid)
    ((2, 3), ('categorical', 'ordinal'), 6)
    """

    def __init__(
        self,
        images: Any,
        values: Mapping[str, np.ndarray],
        name: str = "images",
        *,
        rows: np.ndarray | None = None,
        kinds: tuple[str, ...] | None = None,
    ):
        self._rows = check_pixels(images)
        self.name = name
        self.image_shape = image_shape_of(self._rows)
        self._values = dict(values)
        self._order = rows
        self._kinds = kinds
        self.factor_names = tuple(values)
        self.factor_sizes = tuple(len(v) for v in values.values())
        count = self._rows.shape[0] if rows is None else len(rows)
        if count != math.prod(self.factor_sizes):
            raise ValueError(
                f"A grid of {' x '.join(map(str, self.factor_sizes))} steps needs "
                f"{math.prod(self.factor_sizes)} images. Got {count}."
            )

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return dict(self._values)

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return super().factor_kinds if self._kinds is None else self._kinds

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return a copy of the images at some indices, uint8 `(n, height, width, channels)`."""
        checked = check_indices(indices, len(self))
        rows = self._rows[checked if self._order is None else self._order[checked]]
        return np.asarray(rows).reshape(-1, *self.image_shape)


def labeled(
    images: Any,
    labels: Mapping[str, ArrayLike],
    name: str = "images",
    *,
    kinds: Mapping[str, str] | None = None,
) -> LabeledImages | ImageGrid:
    """Create a data set from images and one label per factor.

    The steps of a factor are its different values in sorted order. The kind of a factor is
    "constant" if it has a single value, "categorical" for texts and "ordinal" for numbers. It is
    "continuous" (real numbers, which scores do not treat as classes) if the factor has more than
    20 different values and some are not integers. In a grid of several factors, floats are
    ordinal.

    Args:
        images: See `Images`.
        labels: For each factor's name an array `(n,)` of numbers or texts.
        name: Name of the data set in messages and tables.
        kinds: Kinds of some factors, instead of the above: "continuous", "ordinal", "circular"
            or "categorical" for numbers, "categorical" for texts.

    Returns:
        `ImageGrid`, which is a `GroundTruth`, if every combination of factors has exactly one
        image; otherwise `LabeledImages`.

    Raises:
        ValueError: There is no factor, or not one label per image; a label is not finite; or
            `kinds` has an unknown factor or a kind that is invalid for its labels.

    >>> data = labeled(np.zeros((4, 8, 8)), {"side": ["r", "l", "r", "l"], "x": [5, 5, 9, 9]})
    >>> type(data).__name__, data.factors([0]), data.factor_values["x"]
    ('ImageGrid', array([[0, 0]]), array([5, 9]))
    >>> data = labeled(np.zeros((99, 8, 8)), {"angle": np.linspace(0, 1, 99), "n": [1] * 99})
    >>> data.factor_kinds, data.factor_sizes
    (('continuous', 'constant'), (99, 1))
    """
    pixels = check_pixels(images)
    if not labels:
        raise ValueError("`labels` needs at least one factor. Got none.")
    values, columns = {}, []
    for factor, column in labels.items():
        array = np.asarray(column)
        if array.shape != (pixels.shape[0],):
            raise ValueError(
                f"'{factor}' needs one label for each of the {pixels.shape[0]} images. "
                f"Got shape {array.shape}."
            )
        if array.dtype.kind not in "biufU":
            raise ValueError(f"'{factor}' needs numbers, without NaN, or texts as labels.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(
                f"'{factor}' needs numbers, without NaN and infinity, or texts as labels. "
                f"Got {array[~np.isfinite(array)][0]}."
            )
        values[factor], column_steps = np.unique(array, return_inverse=True)
        columns.append(column_steps)
    steps = np.stack(columns, axis=1).astype(np.int64)
    rows = grid_rows(steps, [len(v) for v in values.values()])
    floats_are_steps = rows is not None and sum(len(v) > 1 for v in values.values()) > 1
    all_kinds = _kinds(values, kinds or {}, floats_are_steps)
    if rows is not None:
        return ImageGrid(pixels, values, name, rows=rows, kinds=all_kinds)
    return LabeledImages(pixels, steps, values, name, kinds=all_kinds)


def with_labels(
    images: Any,
    labels: Mapping[str, ArrayLike] | None,
    name: str,
    kinds: Mapping[str, str] | None,
) -> Images | LabeledImages | ImageGrid:
    """Create a data set from images and optional labels.

    Raises:
        ValueError: `kinds` is set, but there are no labels. See also `labeled`.
    """
    if labels:
        return labeled(images, labels, name, kinds=kinds)
    if kinds:
        raise ValueError(
            f"`kinds` needs factors, but '{name}' has no labels. Got {', '.join(kinds)}."
        )
    return Images(images, name)


def _kinds(
    values: Mapping[str, np.ndarray], kinds: Mapping[str, str], floats_are_steps: bool
) -> tuple[str, ...]:
    """Return the kind of each factor; see `labeled`."""
    for factor, kind in kinds.items():
        if factor not in values:
            raise ValueError(f"`kinds` needs names from {', '.join(values)}. Got {factor!r}.")
        is_text = values[factor].dtype.kind == "U"
        options = ("categorical",) if is_text else (*NUMBER_KINDS, "categorical")
        if kind not in options:
            raise ValueError(
                f"'{factor}' holds {'texts' if is_text else 'numbers'}, so its kind is "
                f"{' or '.join(options)}. Got {kind!r}."
            )

    def kind_of(factor: str, array: np.ndarray) -> str:
        if len(array) == 1:
            return "constant"
        if factor in kinds:
            return kinds[factor]
        if array.dtype.kind == "U":
            return "categorical"
        is_real = len(array) > MAX_ORDINAL_VALUES and bool((array != np.round(array)).any())
        return "continuous" if is_real and not floats_are_steps else "ordinal"

    return tuple(kind_of(factor, array) for factor, array in values.items())


def grid_rows(steps: np.ndarray, sizes: Sequence[int]) -> np.ndarray | None:
    """Return the row of each index of a grid.

    Args:
        steps: `(n, factors)` integers, each from 0 to its factor's size - 1.
        sizes: Number of steps of each factor; the last factor changes fastest.

    Returns:
        `(n,)` int64, or None unless each combination occurs exactly once.

    >>> grid_rows(np.array([[0, 1], [0, 0], [1, 1], [1, 0]]), (2, 2))
    array([1, 0, 3, 2])
    """
    if len(steps) != math.prod(sizes):
        return None
    index = np.ravel_multi_index(tuple(steps.T), tuple(sizes))
    rows = np.full(len(steps), -1, np.int64)
    rows[index] = np.arange(len(steps))
    return None if (rows < 0).any() else rows


def check_pixels(images: Any) -> Any:
    """Check images and convert floats to uint8; row readers are returned unchanged.

    Raises:
        TypeError, ValueError: See `Images`.
    """
    is_reader = hasattr(images, "dtype") and not hasattr(images, "__array__")
    pixels = images if is_reader else np.asanyarray(images)
    if len(pixels.shape) not in (3, 4):
        raise ValueError(
            "`images` needs the shape (n, height, width, channels) or (n, height, width). "
            f"Got {tuple(pixels.shape)}."
        )
    if math.prod(pixels.shape) == 0:
        raise ValueError(f"`images` needs at least one pixel. Got shape {tuple(pixels.shape)}.")
    if pixels.dtype == np.uint8:
        first = np.asarray(pixels[np.arange(min(1000, pixels.shape[0]))])
        if first.max() == 1:
            raise ValueError(
                "`images` as uint8 needs the range 0..255. Got bytes 0 and 1 only, which would be "
                "nearly black: pass 255 * images, or images.astype('float32')."
            )
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise TypeError(f"`images` needs uint8, or floats from 0 to 1. Got {pixels.dtype}.")
    pixels = np.asarray(pixels)
    lowest, highest = pixels.min(), pixels.max()
    if not (lowest >= -ROUNDING and highest <= 1 + ROUNDING):  # also true for NaN
        raise ValueError(
            "`images` needs floats from 0 to 1, without NaN. "
            f"Got values from {lowest} to {highest}."
        )
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def image_shape_of(rows: Any) -> tuple[int, int, int]:
    """Return `(height, width, channels)` of images with or without a channel axis."""
    _, height, width, *channels = rows.shape
    return height, width, (channels[0] if channels else 1)
