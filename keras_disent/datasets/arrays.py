"""Data sets of images in an array: without labels, with labels, or as a grid of factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.labels import MISSING, read_columns
from keras_disent.datasets.layout import image_shape_of
from keras_disent.datasets.source import ImageSource, check_indices
from keras_disent.datasets.values import AS_THEY_ARE, rows_of_bytes


class Images(ImageSource):
    """Unlabeled images.

    Args:
        images: `(n, height, width, channels)` or `(n, height, width)`: uint8; bool; uint16, which
            is divided by 257; or floats from 0 to 1. An array or tensor of any library, or an
            object with a shape and dtype that returns rows for an array of indices. Memory maps,
            and arrays of h5py and Zarr, stay on the disk; their values are checked once. A list of
            Pillow images is decoded as `read_image` does, in gray if the first one is gray.
        name: Name of the data set in messages and tables.
        data_format: `"channels_first"` for images `(n, channels, height, width)`, as PyTorch has
            them.
        pixel_range: Values of black and of white, such as `(-1, 1)` or `(0, 4095)`, for numbers of
            any dtype. Values outside become black or white.

    Raises:
        TypeError: The dtype has no rule of its own, and `pixel_range` is not set.
        ValueError: The rank is wrong, or the channels come first; there are no images or pixels;
            floats are NaN or out of range; or uint8 values are only 0 and 1 (in the first 1,000
            images).

    Warns:
        UserWarning: 16-bit images have no value above 4,095, so that they are nearly black. Without
            one above 385, all bytes would be 0 or 1, and they are refused.

    >>> data = Images(np.zeros((10, 8, 8)))
    >>> len(data), data.image_shape, data.images([3, 4]).dtype
    (10, (8, 8, 1), dtype('uint8'))
    """

    def __init__(
        self,
        images: Any,
        name: str = "images",
        *,
        data_format: str | None = None,
        pixel_range: tuple[float, float] | None = None,
    ):
        self.name = name
        self._rows = rows_of_bytes(images, data_format, pixel_range)
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
        steps: Steps of the factors, `(n, factors)` integers from 0; -1 for a missing value.
        values: For each factor's name an array with one value per step.
        name: Name of the data set in messages and tables.
        kinds: Kind of each factor; by default derived from the values.
        pixel_range: See `Images`.
    """

    def __init__(
        self,
        images: Any,
        steps: np.ndarray,
        values: Mapping[str, np.ndarray],
        name: str = "images",
        *,
        kinds: tuple[str, ...] | None = None,
        pixel_range: tuple[float, float] | None = None,
    ):
        super().__init__(images, name, pixel_range=pixel_range)
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
            rows are in the order of the grid. They are the attribute `order`.
        kinds: Kind of each factor; by default derived from the values.
        pixel_range: See `Images`.

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
        pixel_range: tuple[float, float] | None = None,
    ):
        self._rows = rows_of_bytes(images, pixel_range=pixel_range)
        self.name = name
        self.image_shape = image_shape_of(self._rows)
        self._values = dict(values)
        self.order = rows
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
        rows = self._rows[checked if self.order is None else self.order[checked]]
        return np.asarray(rows).reshape(-1, *self.image_shape)


def labeled(
    images: Any,
    labels: Any,
    name: str = "images",
    *,
    kinds: Mapping[str, str] | None = None,
    data_format: str | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> LabeledImages | ImageGrid:
    """Create a data set from images and one label per factor.

    The steps of a factor are its different values in sorted order, or in the order of the
    categories of pandas, Polars (Enum) or PyArrow. The kind of a factor is "constant" if it has a
    single value, "categorical" for texts and truth values, and "ordinal" for numbers, dates and
    ordered categories. It is "continuous" (real numbers, which scores do not treat as classes) if
    the factor has more than 20 different values and some are not integers. In a grid of several
    factors, floats are ordinal.

    Texts are compared without blanks at their ends, in the composed form of Unicode.

    Images may lack a value: None, NaN, NaT or a blank text. The step of such an image is -1, and
    scores of this factor leave it out.

    Args:
        images: See `Images`.
        labels: For each factor's name `(n,)` numbers, texts, truth values or dates. Or a table of
            pandas, Polars or PyArrow, whose columns are the factors. Intervals and periods of
            pandas are ordinal. Lists of texts are tags: each tag becomes a factor of its own, such
            as "tags=red"; [] is an image without tags, and None one whose tags are missing.
        name: Name of the data set in messages and tables.
        kinds: Kinds of some factors, instead of the above: "continuous", "ordinal", "circular"
            or "categorical" for numbers and dates, "categorical" for texts, "multilabel" for texts
            that hold several tags, separated by ";", "," or "|"; ";" alone is no tag.
        data_format: See `Images`.
        pixel_range: See `Images`.

    Returns:
        `ImageGrid`, which is a `GroundTruth`, if every combination of factors has exactly one
        image; otherwise `LabeledImages`.

    Raises:
        TypeError: The images have no rule (see `Images`), or `labels` is no table.
        ValueError: There is no factor, or not one label per image; a label is infinite or of
            another type than the others; or `kinds` has an unknown factor or a kind that is
            invalid for its labels.

    >>> data = labeled(np.zeros((4, 8, 8)), {"side": ["r", "l", "r", "l"], "x": [5, 5, 9, 9]})
    >>> type(data).__name__, data.factors([0]), data.factor_values["x"]
    ('ImageGrid', array([[0, 0]]), array([5, 9]))
    >>> data = labeled(np.zeros((99, 8, 8)), {"angle": np.linspace(0, 1, 99), "n": [1] * 99})
    >>> data.factor_kinds, data.factor_sizes
    (('continuous', 'constant'), (99, 1))
    >>> data = labeled(np.zeros((3, 8, 8)), {"eyes": ["blue", None, "brown"]})
    >>> data.factors([0, 1, 2]).T, data.gaps
    (array([[ 0, -1,  1]]), {'eyes': 1})
    """
    pixels = rows_of_bytes(images, data_format, pixel_range)
    columns = read_columns(labels, pixels.shape[0], kinds)
    values = {factor: column.values for factor, column in columns.items()}
    steps = np.stack([column.steps for column in columns.values()], axis=1).astype(np.int64)
    rows = grid_rows(steps, [len(v) for v in values.values()])
    floats_are_steps = rows is not None and sum(len(v) > 1 for v in values.values()) > 1
    unnamed = "ordinal" if floats_are_steps else "continuous"
    all_kinds = tuple(column.kind or unnamed for column in columns.values())
    options: dict[str, Any] = {"kinds": all_kinds, "pixel_range": AS_THEY_ARE}
    if rows is not None:
        return ImageGrid(pixels, values, name, rows=rows, **options)
    return LabeledImages(pixels, steps, values, name, **options)


def with_labels(
    images: Any,
    labels: Any,
    name: str,
    kinds: Mapping[str, str] | None,
    *,
    data_format: str | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> Images | LabeledImages | ImageGrid:
    """Create a data set from images and optional labels.

    Raises:
        ValueError: `kinds` is set, but there are no labels. See also `labeled`.
    """
    options: dict[str, Any] = {"data_format": data_format, "pixel_range": pixel_range}
    if labels is not None and len(labels):
        return labeled(images, labels, name, kinds=kinds, **options)
    if kinds:
        raise ValueError(
            f"`kinds` needs factors, but '{name}' has no labels. Got {', '.join(kinds)}."
        )
    return Images(images, name, **options)


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
    if len(steps) != math.prod(sizes) or (steps == MISSING).any():
        return None
    index = np.ravel_multi_index(tuple(steps.T), tuple(sizes))
    rows = np.full(len(steps), -1, np.int64)
    rows[index] = np.arange(len(steps))
    return None if (rows < 0).any() else rows
