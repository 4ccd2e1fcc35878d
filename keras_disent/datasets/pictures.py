"""Decode pictures: the one place where a picture file becomes pixels.

Folders, the server and the command line all come here, so that a model is used on the same pixels
that it was trained on. The rules:

- PNG, JPEG, BMP, WebP, GIF and TIFF are recognized by their content. No other format is opened.
- Deep pictures follow the rule of `values`: 16 bits are divided by 257, gray floats are 0 to 1, and
  `pixel_range` sets other values of black and white, as integers of 32 bits need. A TIFF file may
  say that its 0 is white.
- Transparent parts show the `background`.
- The EXIF orientation is applied. Color profiles, CMYK and Lab are converted to sRGB
  (perceptually); a broken profile counts as sRGB.
- A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is at least twice the size of the
  image, as thumbnails of Pillow are, which takes half the time. A Pillow image whose pixels have
  been read is larger, so that its result differs a little.
- Animations show their first frame. A truncated picture is refused, and a PNG whose checksums
  differ. The other formats have none.
"""

from __future__ import annotations

import ctypes
import dataclasses
import io
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageFile, ImageOps, UnidentifiedImageError, _imaging

from keras_disent._utils.checks import check_integer
from keras_disent._utils.registry import lookup
from keras_disent._utils.texts import printable
from keras_disent.datasets.values import Range, check_range, to_bytes

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 178_956_970
"""Largest picture that is unpacked, width x height; Pillow's own limit."""

FITS = {"crop": 0, "pad": 0, "stretch": 0}
_LANCZOS = Image.Resampling.LANCZOS
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

_PHOTOMETRIC = 262  # tag of TIFF: 0 says that 0 is white
_GAP = 3.0  # pictures are averaged to this many times the size before they are resampled

Source = str | PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray


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
            or three bytes.
        pixel_range: Values of black and of white of gray pictures and of color of 16 bits, such as
            `(0, 4095)` for 12 bits in 16, with or without an alpha channel. Color of 8 bits,
            palettes and pictures of one bit have their own colors.

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
        if self.channels not in (1, 3):
            raise ValueError(f"`channels` is 1 (gray) or 3 (color). Got {self.channels!r}.")
        if self.crop is not None:
            check_integer("crop", self.crop, at_least=1)
        for side in self.size or ():
            check_integer("image_size", side, at_least=1)
        lookup(self.fit, FITS, "fit")
        object.__setattr__(self, "background", _color(self.background))
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
        kept = ("crop", "fit", "background", "pixel_range")
        values = {name: getattr(self, name) for name in kept}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


class UnreadablePicture(ValueError):
    """A picture that cannot be decoded.

    Attributes:
        reason: What is wrong with it, without its name.
    """

    def __init__(self, name: str, reason: str):
        self.reason = reason
        what = f"'{printable(name)}'" if name else "this"
        super().__init__(f"Cannot read {what} as a picture: {reason}.")


def decode(
    source: Source,
    settings: PictureSettings,
    name: str | None = None,
    page: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode a picture, and crop and resize it.

    Args:
        source: Path, bytes of a picture file, open binary file, or Pillow image.
        settings: How to convert it.
        name: Name for messages; by default the path.
        page: Number of the page of a TIFF file.
        max_pixels: Largest picture that is unpacked, width x height.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadablePicture: The picture cannot be decoded, or is too small for `crop`.

    >>> image = Image.new("LA", (90, 60), (0, 0))
    >>> decode(image, PictureSettings(image_size=8, channels=1))[0, 0]
    array([255], dtype=uint8)
    """
    name = name or _name(source)
    try:
        with _without_warnings(), _opened(source, name, max_pixels) as opened:
            if page:
                opened.seek(page)
            if settings.size and settings.crop is None:
                opened.draft(None, (2 * settings.size[1], 2 * settings.size[0]))
            numbers = _deep_color(opened, page)
            opened.load()
            if numbers is not None:
                _replace(opened, numbers, settings)
            return _fitted(name, _flat(name, opened, settings), settings)
    except (FileNotFoundError, TypeError, UnreadablePicture):
        raise
    except Exception as error:  # Pillow raises many kinds of errors on broken files
        raise UnreadablePicture(name, _reason(error)) from error


def count_pages(source: Source, name: str | None = None) -> int:
    """Return the number of pages of a TIFF file; 1 for other pictures.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadablePicture: It is no picture.
    """
    try:
        with _without_warnings(), _opened(source, "", MAX_PIXELS) as picture:
            return getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    except FileNotFoundError:
        raise
    except Exception as error:
        raise UnreadablePicture(name or _name(source), _reason(error)) from error


def read_image(
    source: Source | list[Source] | tuple[Source, ...],
    *,
    like: Any = None,
    image_size: int | tuple[int, int] | Literal["like"] | None = "like",
    channels: int | None = None,
    crop: int | None = None,
    fit: str | None = None,
    background: str | tuple[int, int, int] | None = None,
    pixel_range: Range | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read one's own picture as an image for a model, as training read its pictures.

    Args:
        source: Path, bytes of a picture file, open binary file, Pillow image, or array (height,
            width), if there are channels with 1, 3 or 4 of them last; or a list of these.
        like: Model or data set that gives the size, the channels and what else is not set: its
            `image_shape`, and its `pictures`, if it was made from picture files.
        image_size: See `PictureSettings`; by default that of `like`, or 64.
        channels, crop, fit, background, pixel_range: See `PictureSettings`; by default those of
            `like`.
        max_pixels: Largest picture that is unpacked, width x height.

    Returns:
        uint8 `(height, width, channels)`; for a list `(n, height, width, channels)`.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: `source` is no picture, or `like` has no shape of images.
        ValueError: A setting is invalid; the list is empty; or a picture cannot be decoded
            (`UnreadablePicture`).

    >>> from keras_disent.datasets import Sprites
    >>> read_image(Image.new("RGB", (90, 60)), like=Sprites(32)).shape
    (32, 32, 1)
    """
    given: dict[str, Any] = {
        "channels": channels,
        "crop": crop,
        "fit": fit,
        "background": background,
        "pixel_range": pixel_range,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    shape = getattr(like, "image_shape", None)
    if like is not None and shape is None:
        raise TypeError(f"`like` needs to be a model or a data set. Got {type(like).__name__}.")
    found = getattr(like, "pictures", None) or {}
    settings = {**found, **settings}
    if shape is not None:
        settings.setdefault("channels", shape[2])
    if image_size == "like":
        image_size = 64 if shape is None else (shape[0], shape[1])
    chosen = PictureSettings(image_size=image_size, **settings)
    if not isinstance(source, (list, tuple)):
        return decode(source, chosen, max_pixels=max_pixels)
    images = [decode(one, chosen, max_pixels=max_pixels) for one in source]
    shapes = list(dict.fromkeys(image.shape for image in images))
    if len(shapes) != 1:
        got = " and ".join(map(str, shapes[:2])) or "no picture"
        raise ValueError(f"Pictures of one size are needed: pass image_size. Got {got}.")
    return np.stack(images)


class _Quiet:
    """Silence Pillow while any thread decodes: warnings and libtiff belong to the whole process."""

    lock = threading.Lock()
    users = 0
    saved: Any = None
    handler: Any = None


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow and libtiff from telling about odd contents: what matters is an error here."""
    with _Quiet.lock:
        _Quiet.users += 1
        if _Quiet.users == 1:
            _Quiet.saved = warnings.catch_warnings()
            _Quiet.saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.|keras_disent\.datasets\.pictures")
            _Quiet.handler = _set_libtiff_handler(None)
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.users -= 1
            if not _Quiet.users:
                _Quiet.saved.__exit__(None, None, None)
                _set_libtiff_handler(_Quiet.handler)


def _set_libtiff_handler(handler: int | None) -> int | None:
    """Set the function that prints errors of libtiff to stderr; return the one before."""
    try:
        function = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):  # Pillow without libtiff, or one that hides it
        return None
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    previous: int | None = function(handler)
    return previous


def _center(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    whole = (image.height, image.width) == (height, width)
    return image if whole else image.crop((left, top, left + width, top + height))


def resize(
    image: Image.Image, size: tuple[int, int], fit: str = "crop", color: Any = 0
) -> Image.Image:
    """Resize an image to a height and a width (Lanczos).

    Args:
        image: Any Pillow image.
        size: Height and width in pixels.
        fit: See `PictureSettings`.
        color: Background of "pad" in the mode of the image.
    """
    height, width = size
    if fit == "pad" and (image.height, image.width) != size:
        # `ImageOps.pad` leaves nothing of a picture that is far longer than wide.
        scale = min(width / image.width, height / image.height)
        wide, tall = (max(1, round(side * scale)) for side in image.size)
        canvas = Image.new(image.mode, (width, height), color)
        place = round((width - wide) / 2), round((height - tall) / 2)
        canvas.paste(image.resize((wide, tall), _LANCZOS), place)
        return canvas
    if fit == "crop":
        # Crop first: a resize with a crop box would also use pixels outside the box.
        tall = min(image.height, max(1, round(image.width * height / width)))
        wide = min(image.width, max(1, round(image.height * width / height)))
        image = _center(image, tall, wide)
    return image.resize((width, height), _LANCZOS, reducing_gap=_GAP)


def _fitted(name: str, picture: Image.Image, settings: PictureSettings) -> np.ndarray:
    crop, size = settings.crop, settings.size
    if crop is not None:
        if min(picture.size) < crop:
            raise UnreadablePicture(
                name,
                f"`crop` cuts {crop} pixels out of it, and it has {picture.width} x "
                f"{picture.height}",
            )
        picture = _center(picture, crop, crop)
    if size is not None:
        gray = settings.channels == 1
        color: Any = _gray(settings.background) if gray else settings.background
        picture = resize(picture, size, settings.fit, color)
    return np.asarray(picture).reshape(picture.height, picture.width, settings.channels)


def _opened(source: Any, name: str, max_pixels: int) -> Image.Image:
    """Open a picture without decoding it; a Pillow image is copied, so that it stays open."""
    if isinstance(source, ImageFile.ImageFile) and source.tile and source.fp is not None:
        place = source.fp.tell()  # nothing has been decoded yet: begin from the file
        source.fp.seek(0)
        content = source.fp.read()
        source.fp.seek(place)
        return _opened(content, name, max_pixels)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        _check_size(name, source, max_pixels)
        copy = source.copy()
        copy.format = source.format
        return copy
    if isinstance(source, (str, PathLike)):
        source = Path(source).read_bytes()  # from a path, Pillow maps some files, and not upright
    elif hasattr(source, "read"):
        source = source.read()
    if isinstance(source, (bytes, bytearray)) and not source:
        raise UnreadablePicture(name, "it is empty")
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise TypeError(
            "A picture is a path, bytes of a file, an open binary file, a Pillow image or an "
            f"array. Got {type(source).__name__}."
        )
    file = io.BytesIO(source)
    picture = Image.open(file, formats=FORMATS)
    _check_size(name, picture, max_pixels)
    if picture.format != "PNG":
        return picture
    # Pillow decodes a PNG with broken data as far as it goes, so checksums are compared first.
    picture.verify()
    return Image.open(file, formats=FORMATS)


def _from_array(pixels: np.ndarray) -> Image.Image:
    """Return an array as a Pillow image; gray values stay as they are until `pixel_range`."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise TypeError(
            "A picture as an array is (height, width), or has 1, 3 or 4 channels last. "
            f"Got shape {pixels.shape}."
        )
    if pixels.ndim == 2 and pixels.dtype.kind == "f":
        return Image.fromarray(pixels.astype(np.float32))
    return Image.fromarray(to_bytes(pixels) if pixels.ndim == 3 else pixels)


def _check_size(name: str, picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise UnreadablePicture(
            name,
            f"it claims {picture.width:,} x {picture.height:,} pixels, more than {max_pixels:,} "
            "in all",
        )


def _flat(name: str, picture: Image.Image, settings: PictureSettings) -> Image.Image:
    """Return an upright picture of mode RGB or L, in sRGB, without transparency."""
    profile, format = picture.info.get("icc_profile"), picture.format
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode in _DEEP or (picture.mode in ("L", "LA") and settings.pixel_range):
        picture = _shallow(name, picture, settings, format)
    elif profile or picture.mode in ("CMYK", "LAB"):
        picture = _in_srgb(picture, profile)
    target = "RGB" if settings.channels == 3 else "L"
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*_color(settings.background), 255))
        picture = Image.alpha_composite(canvas, layer).convert("RGB")
    return picture if picture.mode == target else picture.convert(target)


def _deep_color(picture: Image.Image, page: int) -> np.ndarray | None:
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


def _replace(picture: Image.Image, numbers: np.ndarray, settings: PictureSettings) -> None:
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


def _shallow(
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
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _color(color: Any) -> tuple[int, int, int]:
    """Return a color as three bytes.

    Raises:
        ValueError: It is no color.
    """
    try:
        values = ImageColor.getrgb(color)[:3] if isinstance(color, str) else tuple(color)
        red, green, blue = (int(value) for value in values)
    except (TypeError, ValueError):
        red = green = blue = -1
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(
            f"`background` is the name of a color, '#rrggbb' or three bytes. Got {color!r}."
        )
    return red, green, blue


def _gray(color: Any) -> int:
    return int(Image.new("RGB", (1, 1), _color(color)).convert("L").getpixel((0, 0)))  # type: ignore[arg-type]


def _name(source: Source) -> str:
    if isinstance(source, (str, PathLike)):
        return fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name or "")


def _reason(error: Exception) -> str:
    """Return one line on an error of Pillow."""
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more than {MAX_PIXELS:,} pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:200]
