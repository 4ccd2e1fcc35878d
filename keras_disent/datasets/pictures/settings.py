"""How a picture becomes an image: size, channels, fit, background, and values of gray."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import ImageColor

from keras_disent._utils.checks import check_integer
from keras_disent._utils.registry import lookup
from keras_disent.datasets.values import Range, check_range

FITS = {"crop": 0, "pad": 0, "stretch": 0}


@dataclasses.dataclass(frozen=True)
class PictureSettings:
    """How a picture becomes an image of a data set.

    Attributes:
        image_size: Side of a square image in pixels, or `(height, width)`. None keeps the size of
            the picture.
        channels: 3 for color, 1 for gray.
        crop: Side of the central square that is cut out first, in pixels.
        fit: How pictures get another shape: "crop" to their center, "pad" with the background, or
            "stretch".
        background: Color behind transparent parts and around padded pictures: a name, "#rrggbb",
            or three integers from 0 to 255.
        pixel_range: Values of black and of white of gray pictures and of color of 16 bits, such as
            `(0, 4095)` for 12 bits in 16, with or without an alpha channel; of color of 8 bits, if
            the range lies within 0 to 255; and of all channels of arrays. Palettes, pictures of one
            bit, CMYK and Lab have their own colors. Of gray PNG files with 2 or 4 bits, white is
            255.

    Raises:
        ValueError: A setting is invalid.

    >>> PictureSettings(image_size=32).channels
    3
    """

    image_size: int | tuple[int, int] | None = 64
    channels: int = 3
    crop: int | None = None
    fit: str = "crop"
    background: str | tuple[int, int, int] = "white"
    pixel_range: Range | None = None

    def __post_init__(self) -> None:
        is_integer = isinstance(self.channels, int | np.integer)
        if not is_integer or self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise ValueError(f"`channels` is 1 (gray) or 3 (color). Got {self.channels!r}.")
        if self.crop is not None:
            check_integer("crop", self.crop, at_least=1)
        for side in self.size or ():
            check_integer("image_size", side, at_least=1)
        lookup(self.fit, FITS, "fit")
        object.__setattr__(self, "background", color_bytes(self.background))
        object.__setattr__(self, "pixel_range", check_range(self.pixel_range))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images; None if they depend on the picture."""
        size = self.crop if self.image_size is None else self.image_size
        if isinstance(size, tuple | list) and len(size) == 2:
            return size[0], size[1]
        return None if size is None else (size, size)

    def shared(self) -> dict[str, Any]:
        """Return what models and data sets keep as `pictures`: all but the shape of an image."""
        names = ("crop", "fit", "background", "pixel_range")
        values = {name: getattr(self, name) for name in names}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def color_bytes(color: Any) -> tuple[int, int, int]:
    """Return a color as three bytes.

    Raises:
        ValueError: It is no color.
    """
    try:
        values = ImageColor.getrgb(color) if isinstance(color, str) else tuple(color)
    except (TypeError, ValueError):
        values = ()
    are_integers = all(
        isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values
    )
    if not are_integers or len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise ValueError(
            "`background` is the name of a color, '#rrggbb', or three integers from 0 to 255, "
            f"without transparency. Got {color!r}."
        )
    return int(values[0]), int(values[1]), int(values[2])
