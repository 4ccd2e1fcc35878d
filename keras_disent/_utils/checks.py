"""What comes in is checked before any work is done. Each error states the rule, then what came."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from keras_disent._utils.arrays import to_numpy

ROUNDING = 1e-4  # by which floats may lie outside of [0, 1]
CHUNK = 1 << 24  # values looked at in one go: checking never needs a second copy of the data


def image_shape(shape: Any) -> tuple[int, int, int]:
    """Check the shape of one image: three positive whole numbers.

    Raises:
        ValueError: for anything else.
    """
    try:
        height, width, channels = (int(side) for side in shape)
    except (TypeError, ValueError):
        height = width = channels = 0
    if min(height, width, channels) < 1 or any(int(s) != s for s in shape):
        raise ValueError(f"`image_shape` is (height, width, channels). Got {shape!r}.")
    return height, width, channels


def check_integer(name: str, value: Any, at_least: int) -> int:
    """Check a whole number with a lower bound.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"`{name}` is a whole number of at least {at_least}. Got {value!r}.")
    return int(value)


def batch_form(images: Any, shape: tuple[int, int, int], name: str) -> None:
    """Check shape and dtype of a batch of images: an array or tensor of any backend.

    Raises:
        ValueError: if a row is not an image of `shape`, or the dtype is neither uint8 nor float.
    """
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise ValueError(
            f"`{name}` must be an array of images (n, height, width, channels). "
            f"Got {type(images).__name__}."
        )
    got = tuple(images.shape)
    fits = len(got) == 4 and all(g is None or g == s for g, s in zip(got[1:], shape, strict=True))
    if not fits:
        hint = " (add the channel axis: images[..., None])" if got[1:] == shape[:2] else ""
        raise ValueError(
            f"`{name}` must have shape (n, {', '.join(map(str, shape))}), as the model's "
            f"`image_shape`. Got {got}{hint}."
        )
    dtype = str(getattr(images.dtype, "name", images.dtype)).removeprefix("torch.")
    if dtype != "uint8" and "float" not in dtype:
        raise ValueError(f"`{name}` must be uint8 in 0..255 or floats in [0, 1]. Got {dtype}.")


def images(
    images: Any, shape: tuple[int, int, int], name: str = "images", refuse_bits: bool = True
) -> None:
    """Check an array of images whole: form, not empty, and values.

    Floats are finite and in [0, 1], but for rounding. Bytes that are all 0 and 1, and not all 0,
    are black and white images that would be taken for black ones.

    Args:
        refuse_bits: whether such bytes are refused; else a warning tells of them.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    batch_form(images, shape, name)
    if images.shape[0] == 0:
        raise ValueError(f"`{name}` must hold at least one image. Got none.")
    bytes_given, highest = "float" not in str(images.dtype), 0.0
    rows = max(1, CHUNK // int(np.prod(shape)))
    for start in range(0, images.shape[0], rows):
        chunk = to_numpy(images[start : start + rows])
        if bytes_given:
            highest = max(highest, float(chunk.max()))
            if highest > 1:
                return
            continue
        chunk = np.asarray(chunk, dtype="float32")
        low, high = float(chunk.min()), float(chunk.max())
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"`{name}` must not hold NaN. Got one among images {start} onwards.")
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
