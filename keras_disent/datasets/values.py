"""Turn arrays of any numbers into rows of bytes: the one rule of pixel values.

| Values | Bytes |
|---|---|
| uint8 | as they are; 0 and 1 only are refused |
| bool | 0 and 255 |
| uint16 | divided by 257, so that 65,535 is 255; refused if nothing is above 385 |
| floats from 0 to 1 | times 255 |
| any numbers, with `pixel_range=(low, high)` | low is 0, high is 255, values outside are clipped |

Everything else is refused in a line that says what to pass.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.callers import outside
from keras_disent._utils.checks import ROUNDING
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.layout import blocks_of, channels_last, holds_pictures, numbered
from keras_disent.datasets.stored.rows import Stream

AS_THEY_ARE = (0, 255)
"""`pixel_range` of bytes that stay as they are, even if they are nearly black."""
BLACK = 385
"""Highest number of 16 bits that becomes 0 or 1."""
_FIRST = 1000  # images in which bytes are looked at

Range = tuple[float, float]


class Scale(NamedTuple):
    """A linear map of numbers to bytes: `low` is 0, `high` is 255; numbers outside are clipped."""

    low: float
    high: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return uint8 of the same shape, rounded to the nearest byte."""
        wide = values.dtype.kind != "f" and values.dtype.itemsize > 2
        floats = values.astype(np.float64 if wide else np.result_type(values.dtype, np.float32))
        if self.low:
            floats -= floats.dtype.type(self.low)
        floats *= floats.dtype.type(255 / (self.high - self.low))
        np.clip(floats, 0, 255, out=floats)
        return np.rint(floats, out=floats).astype(np.uint8)

    def checked(self, image: np.ndarray, pixel_range: Range | None) -> np.ndarray:
        """Convert one image; raise a ValueError if its values are out of range."""
        _check_block(image[None], 0, pixel_range)
        return self(image)


def check_range(pixel_range: Any) -> Range | None:
    """Check `pixel_range`: two finite numbers, the lower one first, or None.

    Raises:
        ValueError: It is anything else.
    """
    if pixel_range is None:
        return None
    try:
        low, high = (float(end) for end in pixel_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            "`pixel_range` is the value of black and the value of white, such as (0, 4095). "
            f"Got {pixel_range!r}."
        )
    return low, high


def rows_of_bytes(
    images: Any, data_format: str | None = None, pixel_range: Range | None = None
) -> Any:
    """Return images as rows of bytes `(n, height, width, channels)`.

    Arrays in memory are converted, in blocks of 4 MB. Arrays on the disk (memory maps, HDF5, Zarr)
    are read once in such blocks to check their values, and stay where they are: their rows are
    converted when they are read.

    Args:
        images: An array or tensor of any library, `(n, height, width, channels)` or
            `(n, height, width)`, an object with a shape and dtype that returns rows for slices, or
            a list of Pillow images.
        data_format: `"channels_first"` for `(n, channels, height, width)`.
        pixel_range: Values of black and of white.

    Returns:
        A uint8 array or a reader of rows, which has a shape and dtype, and returns rows for an
        array of indices.

    Raises:
        TypeError: The dtype has no rule, and `pixel_range` is not set.
        ValueError: The layout is wrong, or there are no pixels; values are NaN or out of range.
    """
    pixel_range = check_range(pixel_range)
    if holds_pictures(images):
        from keras_disent.datasets.pictures import decode_list  # it needs this module

        images, data_format = decode_list(list(images), pixel_range), "channels_last"
        pixel_range = AS_THEY_ARE if pixel_range else None
    rows = channels_last(images, data_format)
    scale = _scale_of(rows, pixel_range)
    if scale is None:
        return rows
    if isinstance(rows, np.ndarray) and not isinstance(rows, np.memmap):
        target = np.empty(rows.shape, np.uint8)
        _convert(blocks_of(rows), scale, pixel_range, target, len(rows))
        return target
    if pixel_range is None or np.dtype(rows.dtype).kind == "f":
        _convert(blocks_of(rows), scale, pixel_range, None, len(rows), "Checking images")
    return Converted(rows, scale)


def write_bytes(
    target: np.ndarray,
    source: Any,
    data_format: str | None,
    pixel_range: Range | None,
    description: str,
) -> None:
    """Write images as bytes into an array, in blocks, with a progress bar.

    Args:
        target: uint8 `(n, height, width, channels)`.
        source: Rows as for `rows_of_bytes`, or a `Stream`.
        data_format, pixel_range: See `rows_of_bytes`.
        description: Text in front of the progress bar.

    Raises:
        TypeError, ValueError: See `rows_of_bytes`.
    """
    blocks: Iterable[tuple[int, np.ndarray]]
    if isinstance(source, Stream):
        blocks = numbered(channels_last(block, data_format) for block in source.blocks)
        scale = scale_of_dtype(source.dtype, pixel_range)
    else:
        rows = channels_last(source, data_format)
        blocks, scale = blocks_of(rows), _scale_of(rows, pixel_range)
    _convert(blocks, scale or Scale(0, 255), pixel_range, target, len(target), description)


def to_bytes(values: np.ndarray, pixel_range: Range | None = None) -> np.ndarray:
    """Convert one image of numbers to bytes, by the same rule.

    Raises:
        TypeError, ValueError: See `rows_of_bytes`.
    """
    scale = scale_of_dtype(values.dtype, check_range(pixel_range))
    return values if scale is None else scale.checked(values, pixel_range)


class Converted:
    """Rows of numbers that become bytes when they are read.

    Args:
        rows: Array, or reader of rows for an array of indices.
        scale: The map to bytes.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, rows: Any, scale: Scale):
        self.rows, self.scale = rows, scale
        self.shape = tuple(rows.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.scale(np.asarray(self.rows[indices]))


def _scale_of(rows: Any, pixel_range: Range | None) -> Scale | None:
    """Return the map of rows to bytes; None for bytes as they are, which are checked."""
    scale = scale_of_dtype(rows.dtype, pixel_range)
    if scale is None and pixel_range is None:
        _check_bytes(rows)
    return scale


def scale_of_dtype(dtype: Any, pixel_range: Range | None) -> Scale | None:
    """Return the map of numbers to bytes; None for bytes as they are.

    Raises:
        TypeError: The dtype has no rule, and `pixel_range` is not set.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind not in "biuf":
        raise TypeError(f"`images` needs numbers. Got {dtype}.")
    if pixel_range is not None:
        return None if (dtype, pixel_range) == (np.uint8, AS_THEY_ARE) else Scale(*pixel_range)
    if dtype == np.uint8:
        return None
    if dtype == np.bool_:
        return Scale(0, 1)
    if dtype == np.uint16:
        return Scale(0, 65_535)
    if dtype.kind == "f":
        return Scale(0, 1)
    raise TypeError(
        f"`images` needs uint8, uint16, bool, or floats from 0 to 1. Got {dtype}: pass "
        "pixel_range=(black, white), such as (0, 255)."
    )


def _check_bytes(rows: Any) -> None:
    highest = 0
    for start, block in blocks_of(rows):
        highest = max(highest, int(block.max()))
        if highest > 1 or start + len(block) >= _FIRST:
            break
    if highest == 1:
        raise ValueError(
            "`images` as uint8 needs the range 0..255. Got bytes 0 and 1 only, which would be "
            "nearly black: pass pixel_range=(0, 1), or (0, 255) if they are right."
        )


def _convert(
    blocks: Iterable[tuple[int, np.ndarray]],
    scale: Scale,
    pixel_range: Range | None,
    target: np.ndarray | None,
    total: int,
    description: str = "Converting images",
) -> None:
    """Check the values of blocks of rows, and write them to `target` as bytes."""
    highest, dtype = -math.inf, None
    with progress_bar(description) as advance:
        for start, block in blocks:
            highest = max(highest, _check_block(block, start, pixel_range)[1])
            dtype = block.dtype
            if target is not None:
                target[start : start + len(block)] = scale(block)
            advance(start + len(block), total)
    _check_dark(dtype, highest, pixel_range)


def _check_block(block: np.ndarray, start: int, pixel_range: Range | None) -> Range:
    """Check the values of a block of rows; return the lowest and the highest one."""
    lowest, highest = float(block.min()), float(block.max())
    if block.dtype.kind != "f":
        return lowest, highest
    allowed = (-math.inf, math.inf) if pixel_range else (-ROUNDING, 1 + ROUNDING)
    # An infinite value has no byte, whatever the range.
    if math.isfinite(lowest + highest) and allowed[0] <= lowest and highest <= allowed[1]:
        return lowest, highest
    axes = tuple(range(1, block.ndim))
    fits = np.isfinite(block)
    rule = "finite floats, without NaN" if pixel_range else "floats from 0 to 1, without NaN"
    got = f"values from {lowest} to {highest}"
    if not fits.all():
        row = start + int(np.flatnonzero(~fits.all(axis=axes))[0])
        raise ValueError(f"`images` needs {rule}. Got {got}, first in image {row}.")
    fits = (block >= allowed[0]) & (block <= allowed[1])
    row = start + int(np.flatnonzero(~fits.all(axis=axes))[0])
    raise ValueError(f"`images` needs {rule}. Got {got} in image {row}{_cure(lowest, highest)}.")


def _cure(lowest: float, highest: float) -> str:
    """Return the range that values probably have, as what to pass."""
    for low, high in ((-1, 1), (0, 255), (0, 4095), (0, 65_535)):
        if low - ROUNDING <= lowest and highest <= high + ROUNDING:
            return f": pass pixel_range=({low}, {high})"
    return ": pass pixel_range=(black, white)"


def _check_dark(dtype: np.dtype | None, highest: float, pixel_range: Range | None) -> None:
    """Check the highest number of images of 16 bits; see `check_dark`."""
    if pixel_range is None and dtype is not None and dtype.newbyteorder("=") == np.uint16:
        check_dark([highest])


def check_dark(highest: list[float], what: str = "`images` of 16 bits have") -> None:
    """Refuse 16-bit images whose bytes would be 0 and 1 only, and warn of 10 or 12 bits.

    Args:
        highest: Highest numbers of images of 16 bits.
        what: Subject of the message, with its verb.

    Raises:
        ValueError: Their bytes are 0 and 1 only; images of zeros alone are accepted.

    Warns:
        UserWarning: There is no number above 4,095.
    """
    white = max(highest, default=0)
    if not 0 < white < 4096:
        return
    end = next(end for end in (1, 255, 1023, 4095) if white <= end)
    text = (
        f"{what} no value above {white:.0f} of 65,535, which is nearly black: pass "
        f"pixel_range=(0, {end}) if that is white"
    )
    if white <= BLACK:
        raise ValueError(f"{text}, or (0, 65535) if it is right.")
    warnings.warn(f"{text}.", UserWarning, stacklevel=outside())


def note_dark(values: np.ndarray, pixel_range: Range | None, highest: list[float]) -> None:
    """Add the highest number of an image of 16 bits to a list, for `check_dark`."""
    if pixel_range is None and values.dtype.newbyteorder("=") == np.uint16:
        highest.append(float(values.max()))
