"""Pictures as arrays: the rule of `values`, then a Pillow image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from keras_disent.datasets.pictures.deep import bytes_of
from keras_disent.datasets.values import Range


def from_array(name: str, pixels: np.ndarray, pixel_range: Range | None) -> Image.Image:
    """Return an array as a Pillow image of 8 bits.

    Args:
        name: Name for messages.
        pixels: `(height, width)`, or with 1 to 4 channels last: gray, gray with alpha, color, or
            color with alpha.
        pixel_range: Values of black and of white; of alpha, those of transparent and opaque.

    Raises:
        TypeError: The shape or the dtype has no rule.
        UnreadablePicture: Values are out of range.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise TypeError(
            "A picture as an array is (height, width), or has 1 to 4 channels last. "
            f"Got shape {pixels.shape}."
        )
    try:
        values = np.ascontiguousarray(bytes_of(name, pixels, pixel_range))
    except TypeError as error:
        raise TypeError(str(error).replace("`images` needs", "A picture needs")) from None
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
