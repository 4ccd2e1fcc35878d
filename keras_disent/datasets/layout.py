"""Arrays of any library and layout as rows of images with the channels last, read in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from keras_disent._utils.arrays import to_numpy
from keras_disent.datasets.stored.rows import SlicedRows

BLOCK = 2**22  # bytes of an array that are read at once
CHANNELS = (1, 2, 3, 4)  # gray, gray with alpha, color, color with alpha
DATA_FORMATS = ("channels_last", "channels_first")


def channels_last(images: Any, data_format: str | None) -> Any:
    """Return images of any library as rows with the channels last; nothing is converted.

    Raises:
        TypeError: The images are not one array.
        ValueError: The layout is wrong, or there are no pixels.
    """
    rows = _as_rows(images)
    if data_format not in (None, *DATA_FORMATS):
        raise ValueError(
            f"`data_format` is {' or '.join(map(repr, DATA_FORMATS))}. Got {data_format!r}."
        )
    shape = tuple(rows.shape)
    if len(shape) not in (3, 4):
        raise ValueError(
            "`images` needs the shape (n, height, width, channels) or (n, height, width). "
            f"Got {shape}."
        )
    if math.prod(shape) == 0:
        raise ValueError(f"`images` needs at least one pixel. Got shape {shape}.")
    if len(shape) == 3 and data_format is None and shape[2] in CHANNELS and shape[1] >= 8:
        raise ValueError(
            f"`images` needs the shape (n, height, width, channels). Got {shape}, which looks like "
            "one image: pass images[None] (or data_format='channels_last' if it is right)."
        )
    if data_format == "channels_first":
        if len(shape) == 3:
            raise ValueError(f"Channels first need four axes. Got shape {shape}.")
        return np.moveaxis(rows, 1, -1) if isinstance(rows, np.ndarray) else ChannelsFirst(rows)
    if (
        len(shape) == 4
        and data_format is None
        and shape[1] in CHANNELS
        and shape[3] not in CHANNELS
    ):
        raise ValueError(
            f"`images` needs the channels last, (n, height, width, channels). Got {shape}, which "
            f"looks like {shape[1]} channels first: pass data_format='channels_first' (or "
            "'channels_last' if it is right)."
        )
    return rows


def _as_rows(images: Any) -> Any:
    """Return a NumPy array, or an object that returns rows for an array of indices."""
    package = type(images).__module__.partition(".")[0]
    if isinstance(images, np.ma.MaskedArray):
        raise TypeError(
            "`images` needs a value in every pixel: pass images.filled(0) of a masked array."
        )
    if isinstance(images, np.ndarray) and images.dtype != object:
        return images
    if is_tensor(images):
        return to_numpy(images)
    if package in ("h5py", "zarr") and hasattr(images, "shape"):
        return SlicedRows(images)
    if isinstance(images, bytes) or package == "PIL":
        raise TypeError(
            "`images` needs an array. Got one picture: pass from_examples([picture]), or read it "
            "with read_image(picture)."
        )
    if hasattr(images, "image_shape"):
        raise TypeError(
            f"`images` needs an array. Got {type(images).__name__}, which is a data set already: "
            "pass images.images(range(len(images)))."
        )
    if isinstance(images, str) or hasattr(images, "__fspath__"):
        raise TypeError(
            f"`images` needs an array. Got {images!r:.80}: pass open_file({images!r:.80}), or "
            "open_folder(...) for a folder of pictures."
        )
    if package == "polars":
        images = images.to_list()
    is_sequence = isinstance(images, (list, tuple, np.ndarray)) or package == "pandas"
    if is_sequence and len(images):
        images = [to_numpy(image) if is_tensor(image) else image for image in images]
        if isinstance(images[0], (str, bytes)) or hasattr(images[0], "__fspath__"):
            raise TypeError(
                "`images` needs an array. Got names of files: pass from_examples(images)."
            )
    elif not hasattr(images, "shape") and not is_sequence:
        raise TypeError(
            f"`images` needs an array. Got {type(images).__name__}: pass from_examples(images) for "
            "a data set of another library."
        )
    if hasattr(images, "dtype") and hasattr(images, "shape") and not hasattr(images, "__array__"):
        return images
    try:
        array = np.asarray(images)
    except ValueError:  # a list of arrays of different shapes
        array = np.empty(0, object)
    if array.dtype == object:
        raise TypeError(
            "`images` needs one array of images of equal shape. Got objects, or images of "
            "different shapes: pass from_examples(images, image_size=64), or open their folder "
            "with `open_folder`."
        )
    return array


def holds_pictures(images: Any) -> bool:
    """Return whether `images` is a list or column with Pillow images."""
    package = type(images).__module__.partition(".")[0]
    is_objects = isinstance(images, np.ndarray) and images.dtype == object and images.ndim == 1
    is_column = package in ("pandas", "polars") or is_objects
    if not isinstance(images, (list, tuple)) and not (is_column and len(images)):
        return False
    return any(isinstance(image, Image.Image) for image in images)


class ChannelsFirst:
    """Rows `(n, channels, height, width)`, turned when they are read."""

    def __init__(self, rows: Any):
        self.rows = rows
        n, channels, height, width = rows.shape
        self.shape, self.dtype = (n, height, width, channels), np.dtype(rows.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.asarray(self.rows[indices]), 1, -1)


def is_tensor(values: Any) -> bool:
    """Return whether `values` is a tensor of PyTorch, TensorFlow or JAX."""
    package = type(values).__module__.partition(".")[0]
    return package in ("torch", "tensorflow", "jax", "jaxlib") and hasattr(values, "shape")


def image_shape_of(rows: Any) -> tuple[int, int, int]:
    """Return `(height, width, channels)` of images with or without a channel axis."""
    _, height, width, *channels = rows.shape
    return height, width, (channels[0] if channels else 1)


def blocks_of(rows: Any, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
    """Yield consecutive blocks of rows, with the number of the first row.

    A block has about `size` bytes, or one chunk of rows if that is larger.
    """
    row = max(1, math.prod(rows.shape[1:]) * np.dtype(rows.dtype).itemsize)
    depth = getattr(rows, "depth", 1)
    step = depth * max(1, size // (row * depth))
    for start in range(0, rows.shape[0], step):
        stop = min(start + step, rows.shape[0])
        is_array = isinstance(rows, np.ndarray)
        yield start, np.asarray(rows[start:stop] if is_array else rows[np.arange(start, stop)])


def numbered(blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of rows with the number of their first row."""
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)
