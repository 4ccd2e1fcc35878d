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
from keras_disent.datasets.values import to_bytes

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 178_956_970
"""Largest picture that is unpacked, width x height; Pillow's own limit."""
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
    """Return the number of pages of a TIFF file; 1 for other pictures.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadablePicture: It is no picture.
    """
    try:
        with without_warnings(), open_picture(source, "", MAX_PIXELS) as picture:
            return getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    except FileNotFoundError:
        raise
    except Exception as error:
        raise UnreadablePicture(name or name_of(source), reason_of(error)) from error


def open_picture(source: Any, name: str, max_pixels: int) -> Image.Image:
    """Open a picture without decoding it; a Pillow image is copied, so that it stays open."""
    if isinstance(source, ImageFile.ImageFile) and source.tile and source.fp is not None:
        place = source.fp.tell()  # nothing has been decoded yet: begin from the file
        source.fp.seek(0)
        content = source.fp.read()
        source.fp.seek(place)
        return open_picture(content, name, max_pixels)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        check_size(name, source, max_pixels)
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
    check_size(name, picture, max_pixels)
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


def check_size(name: str, picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise UnreadablePicture(
            name,
            f"it claims {picture.width:,} x {picture.height:,} pixels, more than {max_pixels:,} "
            "in all",
        )


class _Quiet:
    """Silence Pillow while any thread decodes: warnings and libtiff belong to the whole process."""

    lock = threading.Lock()
    users = 0
    saved: Any = None
    handler: Any = None


@contextmanager
def without_warnings() -> Iterator[None]:
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
        return f"it claims more than {MAX_PIXELS:,} pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:200]
