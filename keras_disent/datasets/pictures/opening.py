"""Open picture files of any source safely and quietly, and say what is wrong with one."""

from __future__ import annotations

import ctypes
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError, _imaging

from keras_disent._utils.texts import printable
from keras_disent.datasets.pictures.tiff import is_tiff, kind_of_tiff, repair, tags_of

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 178_956_970
"""Largest picture that is unpacked, width x height; Pillow's own limit."""
DECODED = "Pillow has decoded it, and changed its numbers: pass its path or bytes instead"
Source = str | PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray


class UnreadablePicture(ValueError):
    """A picture that cannot be decoded.

    Attributes:
        reason: What is wrong with it, without its name.
    """

    def __init__(self, name: str, reason: str):
        self.reason = reason
        what = f"'{printable(name)}'" if name else "this"
        super().__init__(f"Cannot read {what} as a picture: {reason}.")


def count_pages(source: Source, name: str | None = None) -> int:
    """Return the number of pages of a TIFF file, by its content; 1 for other pictures.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadablePicture: It is no picture.
    """
    if isinstance(source, (str, PathLike)):
        with open(source, "rb") as file:
            if not is_tiff(file.read(4)):
                return 1
    try:
        with without_warnings(), open_picture(source, "", MAX_PIXELS) as picture:
            return getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    except FileNotFoundError:
        raise
    except Exception as error:
        raise UnreadablePicture(name or name_of(source), reason_of(error)) from error


def open_picture(source: Any, name: str, max_pixels: int, page: int = 0) -> Image.Image:
    """Open a page of a picture without decoding it; a Pillow image is copied, and stays open.

    Args:
        source: Path, bytes of a picture file, open binary file, or Pillow image, of which the
            frame is taken that it shows.
        name: Name for messages.
        max_pixels: Largest picture that is unpacked, width x height.
        page: Number of the page of a TIFF file.
    """
    if isinstance(source, ImageFile.ImageFile) and source.tile and source.fp is not None:
        place = source.fp.tell()  # nothing has been decoded yet: begin from the file
        source.fp.seek(0)
        content = source.fp.read()
        source.fp.seek(place)
        return open_picture(content, name, max_pixels, source.tell())
    if isinstance(source, Image.Image):
        check_size(name, source, max_pixels)
        copy: Any = source.copy()
        copy.format = source.format
        copy.tags = tags_of(source)  # how its numbers were stored
        if copy.tags.is_misread:
            raise UnreadablePicture(name, DECODED)
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
    content = bytes(source)
    picture = _open(content, name)
    check_size(name, picture, max_pixels)
    if picture.format == "PNG":
        # Pillow decodes a PNG with broken data as far as it goes, so checksums are compared first.
        picture.verify()
        picture = _open(content, name)
        _scale_key(picture)
    if page:
        picture.seek(page)
    repair(picture)
    return picture


def _open(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        if not is_tiff(content):
            raise
        raise UnreadablePicture(name, kind_of_tiff(content)) from error


def _scale_key(picture: Any) -> None:
    """Scale the transparent gray value of 2 or 4 bits as Pillow scales the pixels."""
    raw = str(picture.tile[0][3]) if picture.tile else ""
    factor = {"L;2": 85, "L;4": 17}.get(raw)
    if factor and isinstance(picture.info.get("transparency"), int):
        picture.info["transparency"] *= factor


def check_size(name: str, picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise UnreadablePicture(
            name,
            f"it claims {picture.width:,} x {picture.height:,} pixels, more than {max_pixels:,} "
            "in all",
        )


class _Quiet:
    """Options of the whole process while any thread decodes: silent, and whole pictures only."""

    lock = threading.Lock()
    users = 0
    truncated = False
    saved: Any = None
    handler: Any = None


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow and libtiff from telling about odd contents: what matters is an error here."""
    with _Quiet.lock:
        _Quiet.users += 1
        if _Quiet.users == 1:
            _Quiet.truncated = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False  # half a picture is none
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
                ImageFile.LOAD_TRUNCATED_IMAGES = _Quiet.truncated
                _Quiet.saved.__exit__(None, None, None)
                _set_libtiff_handler(_Quiet.handler)


def _set_libtiff_handler(handler: int | None) -> int | None:
    """Set the function that prints errors of libtiff to stderr; return the one before."""
    setter = _libtiff_setter()
    previous: int | None = setter(handler) if setter else None
    return previous


@cache
def _libtiff_setter() -> Any:
    try:
        function = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):  # Pillow without libtiff, or one that hides it
        return None
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return function


def name_of(source: Source) -> str:
    if isinstance(source, (str, PathLike)):
        return fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name or "")


def reason_of(error: Exception) -> str:
    """Return one line on an error of Pillow."""
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        limit = min(2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS), MAX_PIXELS)
        return f"it claims more than {limit:,} pixels, twice PIL.Image.MAX_IMAGE_PIXELS"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:200]
