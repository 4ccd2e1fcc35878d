"""Upright pictures in sRGB or gray, without transparency and color profiles."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from keras_disent.datasets.pictures.deep import needs_scale, shallow
from keras_disent.datasets.pictures.settings import PictureSettings, color_bytes
from keras_disent.datasets.values import Range, to_bytes


def flat(
    name: str, picture: Image.Image, settings: PictureSettings, highest: list[float]
) -> Image.Image:
    """Return an upright picture of mode RGB or L, in sRGB, without transparency.

    Args:
        name: Name for messages.
        picture: Decoded picture; it is turned in place.
        settings: How to convert it.
        highest: List to which the highest number of 16 bits is added.
    """
    profile, pixel_range = picture.info.get("icc_profile"), settings.pixel_range
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "La":  # gray, with alpha in it, which nothing else can be made of
        picture = picture.convert("LA")
    if needs_scale(picture, settings):
        picture = shallow(name, picture, settings, highest)
    elif pixel_range and picture.mode in ("RGB", "RGBA") and _are_bytes(pixel_range):
        picture = _scaled(picture, pixel_range)
    if profile or picture.mode in ("CMYK", "LAB"):
        picture = _in_srgb(picture, profile)
    target = "RGB" if settings.channels == 3 else "L"
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*color_bytes(settings.background), 255))
        picture = Image.alpha_composite(canvas, layer).convert("RGB")
    return picture if picture.mode == target else picture.convert(target)


def _are_bytes(pixel_range: Range) -> bool:
    """Return whether a range can be that of color of 8 bits, beside deeper pictures of a folder."""
    return pixel_range[0] >= 0 and pixel_range[1] <= 255


def _scaled(picture: Image.Image, pixel_range: Range) -> Image.Image:
    """Return a color picture of 8 bits with other values of black and of white."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    levels = np.arange(256, dtype=np.uint8)
    table = to_bytes(levels, pixel_range).tolist() * 3
    return picture.point(table + levels.tolist() if picture.mode == "RGBA" else table)


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture of any color space to sRGB; keep its alpha channel."""
    alpha = picture.getchannel("A") if picture.mode in ("RGBA", "LA", "PA") else None
    if alpha is None and picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
    if picture.mode in ("P", "PA", "RGBA", "RGBX"):
        picture = picture.convert("RGB")
    elif picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    try:
        if profile or picture.mode == "LAB":
            transform = _transform(profile, picture.mode)
            picture = ImageCms.applyTransform(picture, transform) or picture
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass  # a broken profile, or one of another color space
    if picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGB")
    if alpha is not None:
        picture = picture.convert("RGBA")
        picture.putalpha(alpha)
    return picture


@lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str) -> Any:
    """Return the conversion of a profile, or of Lab, to sRGB."""
    source: Any = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
    # A table of 33 grays is far off in the dark, if the profile is linear.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, srgb, mode, "RGB", flags=flags)
