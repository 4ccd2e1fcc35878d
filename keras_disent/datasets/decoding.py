"""Decode pictures into the cache, in several threads, and tell of all that cannot be used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.progress import progress_bar
from keras_disent._utils.texts import printable
from keras_disent.datasets.pictures import decode
from keras_disent.datasets.pictures.opening import UnreadablePicture, without_warnings
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.stored.cache import ENDING, cache_folder, cached_rows
from keras_disent.datasets.stored.rows import SelectedRows
from keras_disent.datasets.values import BLACK, check_dark

_PART = 16  # pictures that a thread decodes at once
_RULES = 2  # version of the rules of decoding: pictures cached under others are decoded again
_UNREADABLE, _OTHER_SIZE = 1, 2  # marks in the cache of pictures that are left out
_REASONS = {_UNREADABLE: "unreadable", _OTHER_SIZE: "another size"}


class UnusablePictures(ValueError):
    """Pictures that cannot be read or have different sizes; the message names ten of them.

    Attributes:
        reasons: What is wrong with each, `{name: reason}`.
    """

    def __init__(self, reasons: Mapping[str, str], count: int):
        self.reasons = dict(reasons)
        first = [f"'{printable(name)}': {why}" for name, why in list(reasons.items())[:10]]
        rest = len(reasons) - 10
        more = f"; and {rest} more, which `keras-disent data check` lists" if rest > 0 else ""
        super().__init__(
            f"{len(reasons)} of {count} pictures cannot be used: {'; '.join(first)}{more}. "
            "on_error='skip' leaves them out."
        )


class Picture(NamedTuple):
    """A picture to decode.

    Attributes:
        source: Path, or a function that returns the bytes of the file.
        name: Name for messages and in `files`.
        page: Number of its page.
    """

    source: Path | Callable[[], bytes]
    name: str
    page: int = 0


def decode_pictures(
    key: str,
    pictures: Sequence[Picture],
    identity: Any,
    settings: PictureSettings,
    skip: bool = False,
) -> tuple[Any, dict[int, str], int]:
    """Decode pictures into the cache, in several threads, with a progress bar.

    Args:
        key: Start of the name in the cache. Older entries with these settings are deleted.
        pictures: The pictures.
        identity: Any object whose `repr` changes when a picture changes.
        settings: How to decode them.
        skip: Whether to leave out pictures that cannot be read.

    Returns:
        uint8 rows `(n, height, width, channels)`, read from a memory map; the pictures that were
        left out, `{number: reason}`; and the highest number of 16 bits, 0 if there is none.

    Raises:
        UnusablePictures: Pictures cannot be read, are too small for `crop`, or have different
            sizes.
    """
    shape = _shape(pictures, settings)
    key = f"{key}-{short_hash(repr((settings, skip)))}"
    name = f"{key}-{short_hash(repr((_RULES, identity)))}"
    failures: dict[int, str] = {}
    other_sizes: set[int] = set()
    deep: dict[int, float] = {}  # highest number of pictures of 16 bits
    numbers = range(len(pictures))
    parts = [numbers[start : start + _PART] for start in range(0, len(numbers), _PART)]

    def decoded(number: int) -> np.ndarray | None:
        picture = pictures[number]
        source = picture.source if isinstance(picture.source, Path) else picture.source()
        highest: list[float] = []
        try:
            image = decode(source, settings, picture.name, picture.page, highest=highest)
        except UnreadablePicture as error:
            failures[number] = error.reason
        except OSError as error:
            failures[number] = error.strerror or str(error)
        else:
            if highest:
                deep[number] = highest[0]
            if image.shape == shape:
                return image
            other_sizes.add(number)
            failures[number] = (
                f"it has {image.shape[1]} x {image.shape[0]} pixels, others {shape[1]} x "
                f"{shape[0]}: pass image_size"
            )
        return None

    def write_part(rows: np.ndarray, part: range) -> None:
        for number in part:
            image = decoded(number)
            if image is not None:
                rows[number] = image.reshape(-1)

    def write(rows: np.ndarray) -> None:
        # Behind the last row are a byte for each picture, 1 for those that are left out, and the
        # highest number of 16 bits.
        with (
            without_warnings(),  # once, not for each picture
            ThreadPoolExecutor(os.cpu_count()) as pool,
            progress_bar("Reading pictures") as advance,
        ):
            results: Any = pool.map(partial(write_part, rows), parts)
            with closing(results):  # an interrupt cancels those that wait
                for part, _ in zip(parts, results, strict=True):
                    advance(part.stop, len(pictures))
        if failures and not (skip and len(failures) < len(pictures)):
            raise UnusablePictures(
                {pictures[number].name: failures[number] for number in sorted(failures)},
                len(pictures),
            )
        highest = int(max(deep.values(), default=0))
        if highest <= BLACK and deep:  # others are only warned about
            first = printable(pictures[min(deep)].name)
            check_dark([highest], f"Pictures of 16 bits, such as '{first}', have")
        marks = np.zeros((len(rows) - len(pictures)) * size, np.uint8)
        for number in failures:
            marks[number] = _OTHER_SIZE if number in other_sizes else _UNREADABLE
        marks[len(pictures) : len(pictures) + 2] = divmod(highest, 256)
        rows[len(pictures) :] = marks.reshape(-1, size)

    size = int(np.prod(shape))
    extra = -(-(len(pictures) + 2) // size)
    rows = cached_rows(name, (len(pictures) + extra, size), "uint8", write)
    for old in cache_folder().glob(f"{key}-*{ENDING}"):  # of these pictures as they were
        if old.name != f"{name}{ENDING}":
            old.unlink(missing_ok=True)
    marks = np.asarray(rows[len(pictures) :]).reshape(-1)
    reasons = marks[: len(pictures)]
    broken = {int(number): _REASONS[reasons[number]] for number in np.flatnonzero(reasons)}
    images: Any = rows[: len(pictures)].reshape(-1, *shape)
    if broken:
        images = SelectedRows(images, np.flatnonzero(reasons == 0))
    high, low = marks[len(pictures) : len(pictures) + 2].tolist()
    return images, broken, 256 * high + low


def _shape(pictures: Sequence[Picture], settings: PictureSettings) -> tuple[int, int, int]:
    """Return the shape of the images: that of the first picture that can be read."""
    if settings.size:
        return (*settings.size, settings.channels)
    for picture in pictures:
        source = picture.source if isinstance(picture.source, Path) else picture.source()
        try:
            shape = decode(source, settings, picture.name, picture.page, highest=[]).shape
        except (UnreadablePicture, OSError):
            continue
        return shape[0], shape[1], shape[2]
    return 1, 1, settings.channels  # none can be read, which decoding them tells


def short_hash(text: str) -> str:
    """Return twelve digits that tell texts apart."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
