"""Open a folder of pictures; decoded pictures are cached, labels come from a table or folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent._utils.callers import outside
from keras_disent._utils.checks import check_pixels
from keras_disent._utils.progress import tell
from keras_disent._utils.registry import lookup
from keras_disent._utils.texts import printable
from keras_disent.datasets.arrays import with_labels
from keras_disent.datasets.decoding import Picture, decode_pictures, short_hash
from keras_disent.datasets.labels import WrongLabel, take
from keras_disent.datasets.pictures.opening import (
    SUFFIXES,
    count_pages,
)
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.published.files import identity_of
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.tables import (
    NAMES,
    WITHOUT_PICTURE,
    find_tables,
    is_table,
    labels_of_files,
    read_table,
)
from keras_disent.datasets.values import AS_THEY_ARE, Range, check_dark

_DARK = 18  # bytes below this are nearly black, as 12 bits in 16 are
_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini"}


def open_folder(
    path: str | PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = 64,
    channels: int = 3,
    crop: int | None = None,
    fit: str = "crop",
    background: str | tuple[int, int, int] = "white",
    pixel_range: Range | None = None,
    pages: str = "first",
    labels: Any = None,
    on_error: str = "raise",
    kinds: Mapping[str, str] | None = None,
) -> ImageSource:
    """Open a folder of PNG, JPEG, BMP, WebP, GIF and TIFF files as a data set.

    Images are sorted by path, rotated upright (EXIF orientation), converted to sRGB, cropped to
    their central square and resized (antialiased). Hidden files are left out; links are followed,
    each folder once. The result is cached until a file is added, removed or changed. A line on
    stderr counts the pictures and what was left out.

    Labels are the rows of a table with a column of names of pictures (`file`, `image_id`, `path`
    and the like), or a data frame whose index holds them: paths relative to the folder, or file
    names alone, with or without suffix, if they are unique. Of two such columns, the one that has
    the names with their suffix counts; two that disagree are refused. Every other column is a
    factor: numbers, texts, truth values or ISO dates, with gaps. If every combination of factors
    occurs exactly once, the data set is a `GroundTruth`.

    Args:
        path: Folder, searched with all its subfolders.
        image_size: Side of a square image in pixels, or `(height, width)`. With None, images keep
            their size, which must be the same for all.
        channels: 3 for color, 1 for gray.
        crop: Side of the central square in pixels; by default the shorter side of the image.
        fit: How pictures that are not square become squares: "crop", "pad" or "stretch".
        background: Color behind transparent parts and around padded pictures: a name such as
            "white", "#rrggbb", or three integers from 0 to 255.
        pixel_range: Values of black and of white, such as `(0, 4095)`; see `PictureSettings`. By
            default 16 bits are divided by 257, and floats go from 0 to 1.
        pages: "first", or "all" to take each page of a TIFF file as an image.
        labels: A table, or the path of one (CSV, TSV or Parquet), or "folders" for the names of
            the subfolders as the factor `folder`. By default `labels.csv`, `labels.tsv` or
            `labels.parquet` in the folder, if there is one.
        on_error: "raise", or "skip" to leave out pictures that cannot be read, pictures without a
            row in the table, and rows without a picture.
        kinds: Kinds of some factors, such as `{"age": "continuous"}`; see `labeled`.

    Returns:
        `Images`, `LabeledImages` or `ImageGrid`, with three more attributes: `files`, the name of
        each picture; `skipped`, what `on_error="skip"` left out, `{name: reason}`; and `pictures`,
        the settings that `read_image` needs.

    Raises:
        NotADirectoryError: The path is not a folder.
        UnusablePictures: Images cannot be read or have different sizes; a ValueError whose
            attribute `reasons` has all of them.
        ValueError: The folder has no images, or with 16 bits only values that would be black; the
            table is malformed; or a setting is invalid.
        OSError: The cache cannot be written to.

    Warns:
        UserWarning: All images are nearly black.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder, os.environ["KERAS_DISENT_CACHE"] = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> Image.new("RGB", (90, 60), "red").save(f"{folder}/a.png")
    >>> data = open_folder(folder, image_size=32)
    >>> data.image_shape, data.images([0])[0, 0, 0], data.files
    ((32, 32, 3), array([255,   0,   0], dtype=uint8), ('a.png',))
    >>> del os.environ["KERAS_DISENT_CACHE"]
    """
    settings = PictureSettings(image_size, channels, crop, fit, background, pixel_range)
    check_pixels("image_size", settings.size)
    lookup(pages, {"first": 0, "all": 0}, "choice of pages")
    lookup(on_error, {"raise": 0, "skip": 0}, "on_error")
    skip = on_error == "skip"
    folder = Path(os.fsdecode(path)) if isinstance(path, bytes) else Path(path)
    if not folder.is_dir():
        raise NotADirectoryError(f"`path` needs to be a folder. Got '{folder}'.")
    files, skip_counts = find_pictures(folder)
    if not files:
        raise ValueError(
            f"`path` needs at least one {', '.join(s[1:] for s in SUFFIXES)} file. "
            f"Got none in '{folder}'."
        )
    table, source = _table(folder, labels)
    paths = {name: folder / name for name in files}
    pictures = _pages(paths, pages == "all")
    columns: dict[str, Any] | None = None
    skipped: dict[str, str] = {}
    names_of = [picture.name for picture in pictures]
    if table is not None:
        columns, numbers, skipped = labels_of_files(table, names_of, source, skip)
        pictures = [pictures[number] for number in numbers]
        names_of = [names_of[number] for number in numbers]
    elif isinstance(labels, str):
        columns = {"folder": _folders(folder, names_of)}
    used = {picture.source for picture in pictures}
    identity = [(name, *identity_of(path)) for name, path in paths.items() if path in used]
    key = f"folder-{short_hash(str(folder.resolve()))}"
    rows, broken, highest = decode_pictures(key, pictures, (identity, names_of), settings, skip)
    indices = [i for i in range(len(pictures)) if i not in broken]
    skipped |= {names_of[i]: reason for i, reason in broken.items()}
    names = tuple(names_of[i] for i in indices)
    if columns is not None:
        columns = {name: take(column, indices) for name, column in columns.items()}
    _say(len(names), skip_counts + Counter(skipped.values()))
    _warn_if_dark(rows, folder, highest)
    is_right = settings.pixel_range or highest  # judged by the numbers in the files
    options: dict[str, Any] = {"pixel_range": AS_THEY_ARE if is_right else None}
    try:
        data: Any = with_labels(rows, columns, folder.resolve().name, kinds, **options)
    except WrongLabel as error:
        text = error.text(f"for '{printable(names[error.row])}'")
        raise ValueError(f"'{source}': {text}") from error
    except ValueError as error:
        raise ValueError(f"'{source}': {error}" if source else str(error)) from error
    order = getattr(data, "order", None)  # of a grid
    data.files = names if order is None else tuple(names[row] for row in order)
    data.skipped = skipped
    data.pictures = settings.shared()
    return data


def find_pictures(folder: Path) -> tuple[list[str], Counter[str]]:
    """Find the pictures in a folder and its subfolders, by their suffix.

    Hidden files and folders are passed over. Links are followed; a folder that is reached again,
    as in a loop, is not entered again.

    Returns:
        Sorted names relative to the folder, and the number of other files by suffix.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.PNG", "._a.png", "notes.txt"): (folder / name).touch()
    >>> find_pictures(folder)
    (['a.PNG'], Counter({'.txt': 1}))
    """
    names: list[str] = []
    others: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    # Links come last, so that a folder inside keeps its own name.
    pending, links = [("", folder)], list[tuple[str, Path]]()
    while pending or links:
        prefix, place = (pending or links).pop()
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                    continue
                name = prefix + entry.name
                if entry.is_symlink() and not os.path.exists(entry.path):  # or to itself
                    others["broken links"] += 1
                elif entry.is_dir():
                    (links if entry.is_symlink() else pending).append(
                        (f"{name}/", Path(entry.path))
                    )
                elif not entry.is_file():
                    others["special files"] += 1
                elif entry.name.lower().endswith(SUFFIXES):
                    names.append(name)
                elif name.lower() not in NAMES:
                    others[Path(entry.name).suffix.lower() or "without suffix"] += 1
    return sorted(names), others


def _table(folder: Path, labels: Any) -> tuple[Any, str]:
    """Return the table of labels, or None, and its name for messages."""
    if is_table(labels):
        return labels, "labels"
    if isinstance(labels, str) and labels == "folders":
        return None, ""
    if labels is not None:
        return read_table(labels), os.fspath(labels)
    tables = find_tables(folder)
    if len(tables) > 1:
        names = " and ".join(f"'{path.name}'" for path in tables)
        raise ValueError(f"'{folder}' needs one table of labels. Got {names}: pass labels=PATH.")
    return (read_table(tables[0]), str(tables[0])) if tables else (None, "")


def _folders(folder: Path, files: Iterable[str]) -> list[str]:
    names = [name.rpartition("/")[0] for name in files]
    if not all(names):
        file = next(file for file, name in zip(files, names, strict=True) if not name)
        raise ValueError(
            "labels='folders' needs every picture in a subfolder. "
            f"Got '{printable(file)}' in '{folder}'."
        )
    return names


def _pages(paths: Mapping[str, Path], every: bool) -> list[Picture]:
    """Return the pictures: the first page of each file, or every page of TIFF files."""
    pictures = []
    for name, path in paths.items():
        count = 1
        if every:
            with suppress(ValueError, OSError):  # decoding it tells what is wrong
                count = count_pages(path)
        names = [f"{name}#{page}" for page in range(count)] if count > 1 else [name]
        pictures += [Picture(path, label, page) for page, label in enumerate(names)]
    return pictures


def _say(count: int, skip_counts: Mapping[str, int]) -> None:
    """Print how many pictures there are, and what was left out."""
    counts = dict(skip_counts)
    rows = counts.pop(WITHOUT_PICTURE, 0)
    text = f"{count:,} picture{'s' if count != 1 else ''}"
    if counts:
        reasons = sorted(counts.items())
        parts = [
            f"{number:,} {reason}" if len(reasons) > 1 else reason for reason, number in reasons
        ]
        text += f", {sum(counts.values()):,} skipped: {', '.join(parts)}"
    if rows:
        text += f"; {rows:,} row{'s' if rows != 1 else ''} of labels without a picture"
    tell(text)


def _warn_if_dark(rows: Any, folder: Path, highest: int) -> None:
    """Warn of 16 bits by their highest number, which bytes do not tell, and of others by bytes."""
    import warnings

    if 0 < highest < 4096:
        return check_dark([highest], f"Pictures of 16 bits in '{folder}' have")
    first = np.asarray(rows[np.arange(min(100, rows.shape[0]))])
    if 0 < first.max() < _DARK:
        warnings.warn(
            f"The pictures in '{folder}' are nearly black: no byte above {first.max()} of 255. If "
            "that is white, pass pixel_range=(0, white) with its value in the files.",
            UserWarning,
            stacklevel=outside(),
        )
