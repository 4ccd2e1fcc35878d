"""Checks of arguments. Each error message states the rule, then the actual value."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from keras_disent._utils.arrays import to_numpy

ROUNDING = 1e-4  # tolerance for floats outside of [0, 1]
CHUNK = 1 << 24  # maximum number of values checked at once, to bound the memory of copies


def image_shape(shape: Any) -> tuple[int, int, int]:
    """Check the shape of an image, `(height, width, channels)`: three positive integers.

    Raises:
        ValueError: The shape is anything else.
    """
    try:
        height, width, channels = (int(side) for side in shape)
    except (TypeError, ValueError):
        height = width = channels = 0
    if min(height, width, channels) < 1 or any(int(s) != s for s in shape):
        hint = f": for gray images {(*shape, 1)}" if np.shape(shape) == (2,) else ""
        raise ValueError(f"`image_shape` is (height, width, channels){hint}. Got {shape!r}.")
    return height, width, channels


def check_integer(name: str, value: Any, at_least: int) -> int:
    """Check that an argument is an integer of at least `at_least`.

    Args:
        name: Name of the argument in the error message.
        value: Its value.
        at_least: Smallest valid value.

    Raises:
        ValueError: The value is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"`{name}` must be an integer of at least {at_least}. Got {value!r}.")
    return int(value)


MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image: that of the largest picture that is read."""


def check_pixels(name: str, size: tuple[int, int] | None) -> None:
    """Check that images of a size, `(height, width)`, are no larger than any picture.

    Raises:
        ValueError: They are.
    """
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"`{name}` needs images of at most {MAX_PIXELS:,} pixels. Got {size[0]} x {size[1]}."
        )


def check_index(name: str, value: Any, size: int) -> int:
    """Check that an argument is an index of one of `size` things.

    Raises:
        ValueError: The value is not an integer from 0 to `size` - 1.
    """
    if check_integer(name, value, 0) >= size:
        raise ValueError(f"`{name}` is an index from 0 to {size - 1}. Got {value}.")
    return int(value)


def batch_form(images: Any, shape: tuple[int, int, int], name: str) -> None:
    """Check the shape and dtype of a batch of images.

    Args:
        images: Array, or tensor of any backend.
        shape: Required shape of an image, `(height, width, channels)`.
        name: Name of the argument in the error message.

    Raises:
        ValueError: The images do not have this shape, or the dtype is neither uint8 nor float.
    """
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise ValueError(
            f"`{name}` must be an array of images (n, height, width, channels). "
            f"Got {type(images).__name__}."
        )
    actual = tuple(images.shape)
    fits = len(actual) == 4 and all(
        side is None or side == expected for side, expected in zip(actual[1:], shape, strict=True)
    )
    if not fits:
        hint = _shape_hint(actual[1:], tuple(shape))
        raise ValueError(
            f"`{name}` must have shape (n, {', '.join(map(str, shape))}), as the model's "
            f"`image_shape`. Got {actual}{hint}."
        )
    dtype = str(getattr(images.dtype, "name", images.dtype)).removeprefix("torch.")
    if dtype != "uint8" and "float" not in dtype:
        raise ValueError(f"`{name}` must be uint8 in 0..255 or floats in [0, 1]. Got {dtype}.")


def _shape_hint(actual: tuple[Any, ...], shape: tuple[Any, ...]) -> str:
    """Return how to make images of one shape those of another, where that is plain."""
    if actual == shape[:2]:
        return " (add the channel axis: images[..., None])"
    if actual == (shape[2], *shape[:2]):
        return " (channels first: move the axis by numpy.moveaxis(images, 1, -1))"
    if actual == shape[1:]:
        return " (one image is a batch of one: images[None])"
    return ""


def images(
    images: Any, shape: tuple[int, int, int], name: str = "images", refuse_bits: bool = True
) -> None:
    """Check the shape, dtype and values of a nonempty array of images.

    Floats must be finite and in [0, 1], with a small tolerance. uint8 values of only 0 and 1
    indicate binary images, which would appear nearly black.

    Args:
        images: Array, or tensor of any backend.
        shape: Required shape of an image, `(height, width, channels)`.
        name: Name of the argument in the error message.
        refuse_bits: Whether uint8 values of only 0 and 1 raise an error instead of a warning.

    Raises:
        ValueError: The images are invalid.

    Warns:
        UserWarning: The uint8 values are only 0 and 1, and `refuse_bits` is False.
    """
    batch_form(images, shape, name)
    if images.shape[0] == 0:
        raise ValueError(f"`{name}` must hold at least one image. Got none.")
    is_uint8, highest = "float" not in str(images.dtype), 0.0
    rows = max(1, CHUNK // int(np.prod(shape)))
    for start in range(0, images.shape[0], rows):
        chunk = to_numpy(images[start : start + rows])
        if is_uint8:
            highest = max(highest, float(chunk.max()))
            if highest > 1:
                return
            continue
        chunk = np.asarray(chunk, dtype="float32")
        low, high = float(chunk.min()), float(chunk.max())
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"`{name}` must not hold NaN. Got one at or after image {start}.")
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ValueError(
                f"`{name}` as floats must lie in [0, 1] (or pass uint8 in 0..255). "
                f"Got values from {low:g} to {high:g}."
            )
    if highest == 1:
        text = (
            f"`{name}` as uint8 must use the range 0..255. Got bytes 0 and 1 only, which would be "
            f"nearly black: pass 255 * {name}, or {name}.astype('float32')."
        )
        if refuse_bits:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)


def is_array(x: Any) -> bool:
    """Return whether `x` is an array or tensor, not a stream of batches."""
    return hasattr(x, "shape") and hasattr(x, "dtype")
