"""Pictures of more than 8 bits: their numbers as bytes, by the rule of `values`."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from PIL import Image

from keras_disent.datasets.pictures.opening import DECODED, FORMATS, UnreadablePicture
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.pictures.tiff import Tags, plane_files, tags_of
from keras_disent.datasets.values import Range, note_dark, to_bytes

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_COLORS = ("RGB", "RGBX", "RGBA", "RGBa")  # raw modes of Pillow; "a" is multiplied into the colors


def deep_color(name: str, picture: Image.Image, pixel_range: Range | None) -> np.ndarray | None:
    """Return the numbers of a picture of 16 bits of which Pillow keeps 8, else None.

    Pillow keeps one byte of each number. Read in the other order, the file gives the other one.

    Returns:
        uint16 `(height, width, bands)`: gray or color, and alpha.

    Raises:
        UnreadablePicture: Pillow has decoded the picture before; or `pixel_range` is set, and
            alpha is multiplied into the colors.
    """
    tiles: Any = getattr(picture, "tile", ())
    raws = {args[0] if isinstance(args, tuple) and args else args for *_, args in tiles}
    raw = str(raws.pop()) if len(raws) == 1 else ""
    kind, _, order = raw.partition(";16")
    tags = tags_of(picture)
    is_deep = picture.mode in ("RGB", "RGBA") and tags.bits == 16
    is_multiplied = kind == "RGBa"
    if is_deep and tags.planes and tiles:
        files, is_multiplied = plane_files(picture)
        planes = [np.asarray(Image.open(io.BytesIO(file), formats=FORMATS)) for file in files]
        numbers = np.stack(planes, axis=2).astype(np.uint16)
    elif raw == "LA;16B":  # all four bytes of gray and alpha
        pixels = np.ascontiguousarray(_read(picture, tiles, "RGBA"))
        numbers = pixels.view(">u2").astype(np.uint16)
        picture.load()  # its EXIF data may come last
    elif kind in _COLORS and order in ("B", "L", "N"):
        is_big = order == "B" or (order == "N" and sys.byteorder == "big")
        read = f"{'RGBA' if is_multiplied else kind};16"
        low = _read(picture, tiles, f"{read}{'L' if is_big else 'B'}")
        high = _read(picture, tiles, read + order) if is_multiplied else None
        picture.load()
        high = np.asarray(picture) if high is None else high
        numbers = high.astype(np.uint16) << 8 | low
    elif is_deep and not tiles and (tags.planes or pixel_range or np.asarray(picture).max() <= 1):
        raise UnreadablePicture(name, DECODED)
    else:
        return None
    if not is_multiplied:
        return numbers
    if pixel_range:
        raise UnreadablePicture(
            name,
            "its alpha channel is multiplied into its colors (ExtraSamples 1), so that "
            "`pixel_range` cannot apply: save it without, or leave pixel_range out",
        )
    alpha = np.maximum(numbers[..., 3:], 1).astype(np.float64)
    numbers[..., :3] = np.minimum(np.rint(numbers[..., :3] * (65_535 / alpha)), 65_535)
    return numbers


def _read(picture: Any, tiles: Any, raw: str) -> np.ndarray:
    """Return the bytes of a page of a picture, read as another raw mode of Pillow."""
    twin: Any = Image.open(io.BytesIO(picture.fp.getvalue()), formats=FORMATS)
    twin.seek(picture.tell())
    make = getattr(type(tiles[0]), "_make", tuple)
    args = [raw if isinstance(tile[3], str) else (raw, *tile[3][1:]) for tile in tiles]
    twin.tile = [make((*tile[:3], read)) for tile, read in zip(tiles, args, strict=True)]
    twin.load()
    return np.asarray(twin)


def picture_of_numbers(
    picture: Image.Image, numbers: np.ndarray, pixel_range: Range | None, highest: list[float]
) -> Image.Image:
    """Return numbers of 16 bits as a picture of 8 bits, with the profile of the first picture."""
    colors = 3 if numbers.shape[2] > 2 else 1
    note_dark(numbers[..., :colors], pixel_range, highest)
    color = to_bytes(numbers[..., :colors], pixel_range)
    pixels = np.repeat(color, 3 // colors, axis=2)
    if numbers.shape[2] > colors:
        pixels = np.concatenate([pixels, to_bytes(numbers[..., colors:])], axis=2)
    made = Image.fromarray(pixels)
    made.info = dict(picture.info)
    made.format = picture.format
    key = made.info.pop("transparency", None)
    if isinstance(key, tuple):
        shown = (numbers != np.array(key)).any(axis=2)
        made.putalpha(Image.fromarray(np.where(shown, 255, 0).astype(np.uint8)))
    return made


def needs_scale(picture: Image.Image, settings: PictureSettings) -> bool:
    """Return whether gray numbers of a picture are not its bytes."""
    is_gray = picture.mode in ("L", "LA")
    return picture.mode in DEEP_MODES or (
        is_gray and (settings.pixel_range is not None or tags_of(picture).is_signed)
    )


def shallow(
    name: str, picture: Image.Image, settings: PictureSettings, highest: list[float]
) -> Image.Image:
    """Return a gray picture of 16 bits, integers or floats as bytes; keep its alpha channel."""
    alpha = picture.getchannel("A") if picture.mode == "LA" else None
    values = np.asarray(picture if alpha is None else picture.getchannel("L"))
    key = picture.info.get("transparency")
    tags = tags_of(picture)
    if tags.white_is_zero and picture.mode in ("L", "LA"):  # as Pillow has it is black
        values = 255 - values
    values = _as_stored(values, picture, tags)
    if settings.pixel_range is None and values.dtype.name in ("int8", "int16", "int32", "uint32"):
        bits = 8 * values.dtype.itemsize
        sign = " with a sign" if bits < 32 else ""
        raise UnreadablePicture(
            name,
            f"its integers of {bits} bits{sign} go from {values.min()} to {values.max()}: pass "
            "pixel_range=(black, white)",
        )
    note_dark(values, settings.pixel_range, highest)
    pixels = bytes_of(name, values, settings.pixel_range)
    gray = Image.fromarray(255 - pixels if tags.white_is_zero else pixels)
    if alpha is not None:
        gray.putalpha(alpha)
    elif isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray


def _as_stored(values: np.ndarray, picture: Image.Image, tags: Tags) -> np.ndarray:
    """Return numbers of the dtype that the file has, which Pillow may have changed."""
    if picture.mode == "I":
        if picture.format == "PNG":
            return values.astype(np.uint16)  # some versions open a PNG of 16 bits so
        if tags.bits == 32 and not tags.is_signed:
            return values.view(np.uint32)
        return values.astype(np.int16) if tags.bits == 16 else values
    return values.view(np.int8) if picture.mode in ("L", "LA") and tags.is_signed else values


def bytes_of(name: str, values: np.ndarray, pixel_range: Range | None) -> np.ndarray:
    """Return numbers as bytes; a range that is wrong names the picture."""
    try:
        return to_bytes(values, pixel_range)
    except ValueError as error:
        text = str(error).removeprefix("`images` needs ").replace(", first in image 0", "")
        raise UnreadablePicture(
            name, f"it needs {text.replace(' in image 0', '')}".rstrip(".")
        ) from None
