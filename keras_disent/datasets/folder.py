"""Open a folder of pictures; decoded pictures are cached, labels come from a table."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import with_labels
from keras_disent.datasets.pixels import middle_square
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.stored.cache import cache_folder, cached_rows

LABELS = "labels.csv"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_BATCH = 256  # maximum number of decoded images in memory


def open_folder(
    path: str | PathLike[str],
    *,
    image_size: int | None = 64,
    channels: int = 3,
    crop: int | None = None,
    kinds: Mapping[str, str] | None = None,
) -> ImageSource:
    """Open a folder of png, jpg, jpeg, bmp and webp files as a data set.

    Images are sorted by path, rotated upright (EXIF orientation), cropped to their central square
    and resized. The result is cached until a file is added, removed or changed.

    An optional table `labels.csv` in the folder has a column `file` with paths relative to the
    folder, and a column of numbers or texts for each factor. If every combination of factors
    occurs exactly once, the data set is a `GroundTruth`.

    Args:
        path: Folder, searched with all its subfolders.
        image_size: Height and width in pixels. With None, images keep their size, which must be
            the same for all.
        channels: 3 for color, 1 for gray.
        crop: Side of the central square in pixels; by default the shorter side of the image.
        kinds: Kinds of some factors, such as `{"age": "continuous"}`; see `labeled`.

    Returns:
        `Images`, `LabeledImages` or `ImageGrid`.

    Raises:
        NotADirectoryError: The path is not a folder.
        ValueError: The folder has no images; an image cannot be read or has the wrong size; the
            table is malformed; or `image_size`, `channels`, `crop` or `kinds` is invalid.
        OSError: The cache cannot be written to.

    >>> import tempfile
    >>> folder, os.environ["KERAS_DISENT_CACHE"] = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> Image.new("RGB", (90, 60), "red").save(f"{folder}/a.png")
    >>> data = open_folder(folder, image_size=32)
    >>> data.image_shape, data.images([0])[0, 0, 0]
    ((32, 32, 3), array([255,   0,   0], dtype=uint8))
    >>> del os.environ["KERAS_DISENT_CACHE"]
    """
    if channels not in (1, 3):
        raise ValueError(f"`channels` is 1 (gray) or 3 (color). Got {channels!r}.")
    for name, value in (("image_size", image_size), ("crop", crop)):
        if value is not None:
            check_integer(name, value, at_least=1)
    folder = Path(path)
    if not folder.is_dir():
        raise NotADirectoryError(f"`path` needs to be a folder. Got '{folder}'.")
    files = sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
    )
    if not files:
        raise ValueError(
            f"`path` needs at least one {', '.join(s[1:] for s in SUFFIXES)} file. "
            f"Got none in '{folder}'."
        )
    names = [file.relative_to(folder).as_posix() for file in files]
    labels = _read_labels(folder / LABELS, names) if (folder / LABELS).is_file() else None
    rows = decode_pictures(
        f"folder-{_short_hash(str(folder.resolve()))}",
        [(file.read_bytes, str(file)) for file in files],
        [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files],
        image_size=image_size,
        channels=channels,
        crop=crop,
    )
    return with_labels(rows, labels, folder.resolve().name, kinds)


def decode_pictures(
    key: str,
    sources: Sequence[tuple[Callable[[], bytes], str]],
    identity: Any,
    *,
    image_size: int | None,
    channels: int,
    crop: int | None,
) -> np.ndarray:
    """Decode pictures into the cache, in several threads, with a progress bar.

    Args:
        key: Prefix of the name in the cache. Older entries with this prefix are deleted.
        sources: For each picture, a function that reads its bytes and its name for messages.
        identity: Any object whose `repr` changes when a picture changes.
        image_size, channels, crop: See `open_folder`.

    Returns:
        uint8 `(n, height, width, channels)`, a read-only memory map.

    Raises:
        ValueError: A picture cannot be read, is too small for `crop`, or has a different size.
    """
    settings = (image_size, channels, crop)
    key = f"{key}-{_short_hash(repr(settings))}"
    height, width = (image_size, image_size) if image_size else _original_size(sources[0], crop)

    def decode(source: tuple[Callable[[], bytes], str]) -> np.ndarray:
        image = open_picture(*source, channels)
        if crop is not None and min(image.size) < crop:
            raise ValueError(
                f"`crop` cuts {crop} pixels out of each image. "
                f"Got {image.width} x {image.height} in '{source[1]}'."
            )
        if image_size or crop:
            image = middle_square(image, image_size or crop or 0, crop)
        elif image.size != (width, height):
            raise ValueError(
                f"Images of different sizes need `image_size`. Got {image.width} x "
                f"{image.height} in '{source[1]}' after {width} x {height}."
            )
        return np.asarray(image).reshape(height, width, channels)

    def write(rows: np.ndarray) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool, progress_bar("Reading images") as advance:
            for start in range(0, len(sources), _BATCH):
                part = sources[start : start + _BATCH]
                for row, image in enumerate(pool.map(decode, part), start):
                    rows[row] = image
                advance(start + len(part), len(sources))

    name = f"{key}-{_short_hash(repr(identity))}"
    rows = cached_rows(name, (len(sources), height, width, channels), "uint8", write)
    for old in cache_folder().glob(f"{key}-*.npy"):
        if old.stem != name:
            old.unlink(missing_ok=True)
    return rows


def open_picture(read: Callable[[], bytes], name: str, channels: int) -> Image.Image:
    """Decode a picture, rotate it upright and convert it to color or gray.

    Raises:
        ValueError: The file cannot be read as an image.
    """
    try:
        with Image.open(io.BytesIO(read())) as image:
            return ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot read '{name}' as an image: {error}") from error


def _original_size(source: tuple[Callable[[], bytes], str], crop: int | None) -> tuple[int, int]:
    if crop is not None:
        return crop, crop
    image = open_picture(*source, channels=1)
    return image.height, image.width


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read_labels(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the labels of all files, in the order of `names`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' needs to be a table in UTF-8. Got: {error}") from error
    header = [name.strip() for name in header]
    factors = [name for name in header if name != "file"]
    if header.count("file") != 1 or not all(factors) or not factors:
        raise ValueError(
            f"'{path}' needs a column `file` and at least one column with the name of a factor. "
            f"Got {', '.join(map(repr, header)) or 'an empty file'}."
        )
    if len(set(factors)) < len(factors):
        raise ValueError(f"'{path}' needs different names of factors. Got {', '.join(factors)}.")
    files, labels = set(names), {}
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"'{path}' needs {len(header)} cells a row. Row {line}: {len(row)}.")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        image = cells.pop("file").replace(os.sep, "/")
        if image not in files:
            raise ValueError(f"'{path}' names a missing image: '{image}' in row {line}.")
        if image in labels:
            raise ValueError(f"'{path}' needs one row per image. Row {line} repeats '{image}'.")
        empty = [name for name, cell in cells.items() if not cell]
        if empty:
            raise ValueError(f"'{path}' needs a value in every cell. Row {line}: no '{empty[0]}'.")
        labels[image] = cells
    missing = [name for name in names if name not in labels]
    if missing:
        raise ValueError(
            f"'{path}' needs one row per image. {len(missing)} of {len(names)} have none, "
            f"first '{missing[0]}'."
        )
    return {name: _parse([labels[file][name] for file in names]) for name in factors}


def _parse(texts: list[str]) -> np.ndarray:
    """Convert texts to integers if possible, else to floats if possible."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(text) for text in texts])
        except (ValueError, OverflowError):
            continue
    return np.array(texts)
