"""Pictures of more than 8 bits: their numbers as bytes, by the rule of `values`."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from PIL import Image

from keras_disent.datasets.pictures.opening import FORMATS, UnreadablePicture
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.values import to_bytes

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_PHOTOMETRIC = 262  # tag of TIFF: 0 says that 0 is white


def deep_color(picture: Image.Image, page: int) -> np.ndarray | None:
    """Return the numbers of a picture of 16 bits of which Pillow keeps 8, else None.

    Pillow keeps one byte of each number. Read in the other order, the file gives the other one.

    Returns:
        uint16 `(height, width, bands)`: gray or color, and alpha.
    """
    tiles: Any = getattr(picture, "tile", ())
    modes = {args[0] if isinstance(args, tuple) and args else args for *_, args in tiles}
    mode = modes.pop() if len(modes) == 1 else ""
    color, _, order = str(mode).partition(";16")
    if mode != "LA;16B" and (color not in ("RGB", "RGBA") or order not in ("B", "L", "N")):
        return None
    twin: Any = Image.open(io.BytesIO(picture.fp.getvalue()), formats=FORMATS)  # type: ignore[attr-defined]
    twin.seek(page)
    is_big = order == "B" or (order == "N" and sys.byteorder == "big")
    other = "RGBA" if color == "LA" else f"{color};16{'L' if is_big else 'B'}"
    make = getattr(type(tiles[0]), "_make", tuple)
    args = [other if isinstance(tile[3], str) else (other, *tile[3][1:]) for tile in tiles]
    twin.tile = [make((*tile[:3], read)) for tile, read in zip(tiles, args, strict=True)]
    twin.load()
    low = np.asarray(twin)
    if color == "LA":  # all four bytes of gray and alpha
        return np.ascontiguousarray(low).view(">u2").astype(np.uint16)
    picture.load()
    return np.asarray(picture).astype(np.uint16) << 8 | low


def replace_numbers(picture: Image.Image, numbers: np.ndarray, settings: PictureSettings) -> None:
    """Replace the bytes of a picture by those of its numbers of 16 bits."""
    colors = 3 if numbers.shape[2] > 2 else 1
    color = to_bytes(numbers[..., :colors], settings.pixel_range)
    pixels = np.repeat(color, 3 // colors, axis=2)
    if numbers.shape[2] > colors:
        pixels = np.concatenate([pixels, to_bytes(numbers[..., colors:])], axis=2)
    picture.paste(Image.fromarray(pixels))
    key = picture.info.pop("transparency", None)
    if isinstance(key, tuple):
        shown = (numbers != np.array(key)).any(axis=2)
        picture.putalpha(Image.fromarray(np.where(shown, 255, 0).astype(np.uint8)))


def shallow(
    name: str, picture: Image.Image, settings: PictureSettings, format: str | None
) -> Image.Image:
    """Return a gray picture of 16 bits, integers or floats as bytes; keep its alpha channel."""
    alpha = picture.getchannel("A") if picture.mode == "LA" else None
    values = np.asarray(picture if alpha is None else picture.getchannel("L"))
    key = picture.info.get("transparency")
    if picture.mode == "I" and settings.pixel_range is None:
        if format != "PNG":
            raise UnreadablePicture(
                name,
                f"its integers of 32 bits go from {values.min()} to {values.max()}: pass "
                "pixel_range=(black, white)",
            )
        values = values.astype(np.uint16)  # Pillow opens a PNG of 16 bits so, in some versions
    try:
        pixels = to_bytes(values, settings.pixel_range)
    except ValueError as error:
        text = str(error).removeprefix("`images` needs ").replace(", first in image 0", "")
        raise UnreadablePicture(
            name, f"it needs {text.replace(' in image 0', '')}".rstrip(".")
        ) from None
    if format == "TIFF" and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        pixels = 255 - pixels
    gray = Image.fromarray(pixels)
    if alpha is not None:
        gray.putalpha(alpha)
    elif isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray
