"""Write figures, images and animations to files: the one place that does."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from keras_disent._utils.files import atomic_write
from keras_disent.plots.pictures import _floats, mosaic

FIGURES = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
ANIMATIONS = {".gif": "gif", ".webp": "webp"}
IMAGES = {**FIGURES, ".gif": "gif", ".bmp": "bmp", ".tif": "tiff", ".tiff": "tiff"}


def as_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    return _encoded(figure, "png")


def _encoded(figure: Figure, format: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=format, dpi=figure.dpi)
    return stream.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically, create its folder if needed, and return the path.

    Args:
        figure: Figure.
        path: File, whose ending is the format: .png, .webp or .jpg.

    Raises:
        ValueError: For another ending.
    """
    format = _format(path, FIGURES)
    return _write(path, _encoded(figure, format))


def save_image(image: Any, path: str | Path) -> Path:
    """Write an image, or a row of images, as a picture file, and return the path.

    Args:
        image: Image (h, w, c), or images (n, h, w, c): uint8, or floats in [0, 1].
        path: File, whose ending is the format: .png, .webp, .jpg, .gif, .bmp or .tif.

    Raises:
        ValueError: For another ending, or an array of another shape.

    >>> import tempfile
    >>> save_image(np.zeros((8, 8, 1)), Path(tempfile.mkdtemp()) / "black.png").name
    'black.png'
    """
    format = _format(path, IMAGES)
    pixels = _pixels(image)
    if pixels.ndim == 4:
        pixels = mosaic(pixels[None])
    stream = io.BytesIO()
    _pillow(pixels).save(stream, format, quality=95)
    return _write(path, stream.getvalue())


def save_animation(images: Any, path: str | Path, *, seconds: float = 3.0) -> Path:
    """Write images as an animation that runs forever, and return the path.

    Args:
        images: Images (n, h, w, c): uint8, or floats in [0, 1].
        path: File, whose ending is the format: .gif or .webp.
        seconds: Duration of one round.

    Raises:
        ValueError: For another ending, an array of another shape, or a duration that is no number
            above 0.

    >>> import tempfile
    >>> frames = np.random.default_rng(0).random((3, 8, 8, 3))
    >>> save_animation(frames, Path(tempfile.mkdtemp()) / "noise.gif").name
    'noise.gif'
    """
    format = _format(path, ANIMATIONS)
    if not 0 < seconds < math.inf:
        raise ValueError(f"`seconds` is a number above 0. Got {seconds!r}.")
    pixels = _pixels(images)
    if pixels.ndim != 4 or len(pixels) == 0:
        raise ValueError(f"An animation needs images (n, h, w, c). Got shape {pixels.shape}.")
    frames = [_pillow(frame) for frame in pixels]
    if format == "gif":  # one palette for all frames, so that still parts stay still
        palette = _pillow(np.concatenate(list(pixels))).quantize(255)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    stream = io.BytesIO()
    frames[0].save(
        stream,
        format,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * seconds / len(frames)),
        loop=0,
        quality=90,
    )
    return _write(path, stream.getvalue())


def check_image_path(path: str | Path) -> None:
    """Raise a ValueError if `save_image` cannot write a file, by its ending."""
    _format(path, IMAGES)


def is_animation(path: str | Path) -> bool:
    """Return whether the ending of a file is that of a format of animations."""
    return Path(path).suffix.lower() in ANIMATIONS


def _format(path: str | Path, formats: Mapping[str, str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise ValueError(f"The ending of {str(path)!r} must be one of {', '.join(formats)}.")
    return formats[suffix]


def _pixels(images: Any) -> np.ndarray:
    """Return one or several images, bytes or floats in [0, 1], as floats in [0, 1]."""
    pixels = _floats(images)
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            f"Images are (h, w, c) or (n, h, w, c) with 1 or 3 channels. Got shape {pixels.shape}."
        )
    return pixels


def _pillow(pixels: np.ndarray) -> Image.Image:
    """Return an image (h, w, c), floats in [0, 1], as a Pillow image in color."""
    colors = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return Image.fromarray(np.rint(255 * np.clip(colors, 0, 1)).astype("uint8"))


def _write(path: str | Path, content: bytes) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path
