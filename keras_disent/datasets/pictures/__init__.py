"""Decode pictures: the one place where a picture file becomes pixels.

Folders, the server and the command line all come here, so that a model is used on the same pixels
that it was trained on. The rules:

- PNG, JPEG, BMP, WebP, GIF and TIFF are recognized by their content. No other format is opened.
- Deep pictures follow the rule of `values`: 16 bits are divided by 257, gray floats are 0 to 1, and
  `pixel_range` sets other values of black and white, as integers with a sign or of 32 bits need. A
  TIFF file may say that its 0 is white. One of a kind that Pillow misreads is repaired or refused.
- Transparent parts show the `background`.
- The EXIF orientation is applied. Color profiles, CMYK and Lab are converted to sRGB
  (perceptually); a broken profile counts as sRGB.
- A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is the size of the image, or at least
  twice as large, as thumbnails of Pillow are, which takes half the time. A Pillow image whose
  pixels have been read is larger, so that its result differs a little.
- Animations show their first frame; a Pillow image shows the frame that it is at.
- A truncated picture is refused, and a PNG whose checksums differ. The other formats have none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from keras_disent._utils.texts import printable
from keras_disent.datasets.pictures.arrays import from_array
from keras_disent.datasets.pictures.colors import flat
from keras_disent.datasets.pictures.deep import DEEP_MODES, deep_color, picture_of_numbers
from keras_disent.datasets.pictures.opening import (
    MAX_PIXELS,
    Source,
    UnreadablePicture,
    name_of,
    open_picture,
    reason_of,
    without_warnings,
)
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.pictures.shapes import fitted
from keras_disent.datasets.values import Range, check_dark, note_dark

_ORIENTATION = 0x0112  # tag of EXIF
_QUARTER_TURNS = (5, 6, 7, 8)


def decode(
    source: Source,
    settings: PictureSettings,
    name: str | None = None,
    page: int = 0,
    max_pixels: int = MAX_PIXELS,
    highest: list[float] | None = None,
) -> np.ndarray:
    """Decode a picture, and crop and resize it.

    Args:
        source: Path, bytes of a picture file, open binary file, or Pillow image.
        settings: How to convert it.
        name: Name for messages; by default the path.
        page: Number of the page of a TIFF file.
        max_pixels: Largest picture that is unpacked, width x height.
        highest: List to which the highest number of a picture of 16 bits is added, to check many
            of them with `check_dark`; by default this one is checked.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadablePicture: The picture cannot be decoded, or is too small for `crop`.
        ValueError: It has 16 bits, and is nearly black.

    >>> from PIL import Image
    >>> image = Image.new("LA", (90, 60), (0, 0))
    >>> decode(image, PictureSettings(image_size=8, channels=1))[0, 0]
    array([255], dtype=uint8)
    """
    name = name or name_of(source)
    numbers_16: list[float] = [] if highest is None else highest
    try:
        with without_warnings():
            image = _decode(source, settings, name, page, max_pixels, numbers_16)
    except (FileNotFoundError, TypeError, UnreadablePicture):
        raise
    except Exception as error:  # Pillow raises many kinds of errors on broken files
        raise UnreadablePicture(name, reason_of(error)) from error
    if highest is None:
        what = f"'{printable(name)}' has" if name else "A picture of 16 bits has"
        check_dark(numbers_16, what)
    return image


def _decode(
    source: Any,
    settings: PictureSettings,
    name: str,
    page: int,
    max_pixels: int,
    highest: list[float],
) -> np.ndarray:
    if isinstance(source, np.ndarray):
        note_dark(source, settings.pixel_range, highest)
        source = from_array(name, source, settings.pixel_range)
        settings = dataclasses.replace(settings, pixel_range=None)
    with open_picture(source, name, max_pixels, page) as opened:
        if settings.size and settings.crop is None and opened.format in ("JPEG", "MPO"):
            height, width = settings.size
            if opened.getexif().get(_ORIENTATION) in _QUARTER_TURNS:
                height, width = width, height
            exact = opened.size in [(n * width, n * height) for n in (2, 4, 8)]
            opened.draft(None, (width, height) if exact else (2 * width, 2 * height))
        numbers = deep_color(name, opened, settings.pixel_range)
        if numbers is None:
            opened.load()
            return fitted(name, flat(name, opened, settings, highest), settings)
        picture = picture_of_numbers(opened, numbers, settings.pixel_range, highest)
    settings = dataclasses.replace(settings, pixel_range=None)
    return fitted(name, flat(name, picture, settings, highest), settings)


def decode_list(images: Sequence[Any], pixel_range: Range | None) -> np.ndarray:
    """Decode Pillow images and arrays of equal size, gray if the first one is gray.

    Returns:
        uint8 `(n, height, width, channels)`.

    Raises:
        TypeError: They have different sizes.
        ValueError: Values are out of range, or nearly black.
    """
    settings = PictureSettings(None, channels_of(images[0]), pixel_range=pixel_range)
    highest: list[float] = []
    rows = [
        decode(image, settings, f"image {i}", 0, MAX_PIXELS, highest)
        for i, image in enumerate(images)
    ]
    if len({row.shape for row in rows}) > 1:
        raise TypeError(
            "`images` needs pictures of equal size: pass from_examples(images, image_size=64)."
        )
    check_dark(highest)
    return np.stack(rows)


def channels_of(image: Image.Image | np.ndarray) -> int:
    """Return the number of channels of an image without its alpha: 1 if it is gray."""
    if isinstance(image, Image.Image):
        return 1 if image.mode in ("1", "L", "LA", "La", *DEEP_MODES) else 3
    return 3 if np.ndim(image) == 3 and np.shape(image)[2] > 2 else 1


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
            width), if there are channels with 1 to 4 of them last; or a list of these.
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
        ValueError: A setting is invalid; the list is empty; a picture cannot be decoded
            (`UnreadablePicture`); or the pictures have 16 bits, and all bytes would be 0 or 1.

    Warns:
        UserWarning: Pictures of 16 bits have no value above 4,095, so that they are nearly black.

    >>> from PIL import Image
    >>> from keras_disent.datasets import Sprites
    >>> read_image(Image.new("RGB", (90, 60)), like=Sprites(32)).shape
    (32, 32, 1)
    """
    options: dict[str, Any] = {
        "channels": channels,
        "crop": crop,
        "fit": fit,
        "background": background,
        "pixel_range": pixel_range,
    }
    settings = {name: value for name, value in options.items() if value is not None}
    shape = getattr(like, "image_shape", None)
    if like is not None and shape is None:
        raise TypeError(f"`like` needs to be a model or a data set. Got {type(like).__name__}.")
    defaults = getattr(like, "pictures", None) or {}
    settings = {**defaults, **settings}
    if shape is not None:
        settings.setdefault("channels", shape[2])
    if image_size == "like":
        image_size = 64 if shape is None else (shape[0], shape[1])
    picture_settings = PictureSettings(image_size=image_size, **settings)
    if not isinstance(source, (list, tuple)):
        return decode(source, picture_settings, max_pixels=max_pixels)
    highest: list[float] = []
    images = [
        decode(one, picture_settings, max_pixels=max_pixels, highest=highest) for one in source
    ]
    check_dark(highest, "Pictures of 16 bits have")
    shapes = list(dict.fromkeys(image.shape for image in images))
    if len(shapes) != 1:
        got = " and ".join(map(str, shapes[:2])) or "no picture"
        raise ValueError(f"Pictures of one size are needed: pass image_size. Got {got}.")
    return np.stack(images)
