"""CelebA: faces of celebrities with forty attributes."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import LabeledImages
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.pictures import decode
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.published.files import cache_key, check_file, find_file, identity_of
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed, wrap_errors
from keras_disent.datasets.stored.rows import SelectedRows

_FOLDER = "img_align_celeba"
_PICTURE = re.compile(r"\d{6}\.jpg")
_MEMBER = re.compile(rf"{_FOLDER}/(\d{{6}}\.jpg)")
_COUNT = 202_599
_ATTRIBUTES = 40
_PARTS = {"train": 0, "validation": 1, "test": 2}
_CHUNK = 1024
_THREADS = min(4, os.cpu_count() or 1)


class CelebA(LabeledImages):
    """Aligned faces of celebrities with forty attributes (Liu et al. 2015).

    202,599 images in color, cropped to their central square and resized. The attributes, `"no"` or
    `"yes"`, were annotated by people. They are not a grid, so scores that need every combination do
    not apply.

    Args:
        data_dir: Folder of `img_align_celeba.zip` or of the unpacked folder `img_align_celeba`,
            and of `list_attr_celeba.txt` or `.csv`. They may also be in its subfolder `celeba`.
            By default KERAS_DISENT_DATA.
        image_size: Height and width in pixels (antialiased). Resized images are cached.
        crop: Side of the central square of the 178 x 218 pixels.
        part: `"train"`, `"validation"` or `"test"`, as in `list_eval_partition.txt` or `.csv`.
            By default all images, which does not need this file.
        verify: Whether to check checksums and the numbers of images and attributes.

    Raises:
        FileNotFoundError: A file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is set.
        ValueError: A file is broken, differs from the published one, or does not match the others.

    >>> CelebA("~/data", part="train").factor_names[:2]  # doctest: +SKIP
    ('5_o_Clock_Shadow', 'Arched_Eyebrows')
    """

    name = "celeba"
    card = Card(
        title="CelebFaces Attributes (CelebA)",
        page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        download="1.4 GB of aligned images, and a list of attributes",
        license="for non-commercial research only, no redistribution",
        citation="Liu, Luo, Wang and Tang 2015",
        files=(
            File(
                f"{_FOLDER}.zip",
                1_443_490_838,
                "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
            ),
            File(
                "list_attr_celeba.txt",
                26_721_026,
                "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
            ),
            File(
                "list_eval_partition.txt",
                2_836_386,
                "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
            ),
        ),
        notes=(
            "Attributes are noisy labels, not a grid of factors.",
            "Lists may also be .csv files, as published on Kaggle.",
        ),
    )

    def __init__(
        self,
        data_dir: str | PathLike[str] | None = None,
        *,
        image_size: int = 64,
        crop: int = 148,
        part: str | None = None,
        verify: bool = True,
    ):
        self.image_size = size = check_integer("image_size", image_size, at_least=1)
        self.crop = crop = check_integer("crop", crop, at_least=1)
        if part is not None and part not in _PARTS:
            raise ValueError(
                f"`part` needs to be one of {', '.join(_PARTS)}, or None. Got {part!r}."
            )
        self.part = part
        pictures = find_file(
            self.name, self.card, (f"{_FOLDER}.zip", f"{_FOLDER}/{_FOLDER}", _FOLDER), data_dir
        )
        labels = self._list("list_attr_celeba", data_dir, verify)
        table = _attributes(labels)
        if verify and (len(table.files), len(table.names)) != (_COUNT, _ATTRIBUTES):
            rule = f"{_ATTRIBUTES} attributes of {_COUNT} images"
            raise malformed(labels, rule, f"{len(table.names)} of {len(table.files)}")
        part_rows = None
        if part is not None:
            partition = self._list("list_eval_partition", data_dir, verify)
            part_rows = _part_rows(partition, table.files, labels, part)

        def write(rows: np.memmap) -> None:
            if verify:
                check_file(pictures, self.card)
            _write(rows, pictures, table.files, labels, crop)

        listing = _listing(pictures) if pictures.is_dir() else None
        settings = {"image_size": size, "crop": crop, "verify": verify, "inside": listing}
        key = cache_key(self.name, pictures, labels, **settings)
        rows = cached_rows(key, (len(table.files), size, size, 3), np.uint8, write)
        values = {name: np.array(["no", "yes"]) for name in table.names}
        if part_rows is None:
            super().__init__(rows, table.steps, values, self.name)
        else:
            subset = SelectedRows(rows, part_rows)
            super().__init__(subset, table.steps[part_rows], values, self.name)

    def _list(self, stem: str, data_dir: str | PathLike[str] | None, verify: bool) -> Path:
        path = find_file(self.name, self.card, (f"{stem}.txt", f"{stem}.csv"), data_dir)
        if verify:
            check_file(path, self.card)
        return path


# -- lists ----------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """File names of pictures, names of columns, and uint8 steps `(pictures, columns)`."""

    files: list[str]
    names: list[str]
    steps: np.ndarray


def _attributes(path: Path) -> _Table:
    lines = _lines(path)
    if path.suffix == ".csv":
        names = next(lines, [])[1:]
    else:
        next(lines, None)  # the number of pictures
        names = next(lines, [])
    if not names or len(set(names)) < len(names):
        raise malformed(path, "different names of attributes in its header", names)
    return _table(path, lines, names, {"-1": 0, "1": 1})


def _part_rows(path: Path, files: list[str], labels: Path, part: str) -> np.ndarray:
    """Return the rows of a part, int64 `(n,)`."""
    lines = _lines(path)
    if path.suffix == ".csv":
        next(lines, None)
    table = _table(path, lines, ["partition"], {str(i): i for i in _PARTS.values()})
    parts = dict(zip(table.files, table.steps[:, 0], strict=True))
    _check_same(path, set(parts), files, labels)
    rows = np.flatnonzero(np.array([parts[file] for file in files]) == _PARTS[part])
    if not rows.size:
        raise malformed(path, f"images of the part '{part}' ({_PARTS[part]})", "none")
    return rows


def _table(
    path: Path, lines: Iterator[list[str]], names: list[str], steps: Mapping[str, int]
) -> _Table:
    rows = bytearray()
    files: dict[str, None] = {}
    for file, *texts in lines:
        try:
            row = bytes(map(steps.__getitem__, texts))
        except KeyError:
            row = b""
        if len(row) != len(names) or file in files or not _PICTURE.fullmatch(file):
            values = f"{len(names)} values of {', '.join(steps)}"
            rule = f"one row for each picture: a name such as 000001.jpg, and {values}"
            raise malformed(path, rule, repr(" ".join([file, *texts])))
        files[file] = None
        rows += row
    if not files:
        raise malformed(path, "rows of pictures", "none")
    return _Table(list(files), names, np.frombuffer(bytes(rows), np.uint8).reshape(len(files), -1))


def _check_same(path: Path, pictures: set[str], files: list[str], labels: Path) -> None:
    different = pictures.symmetric_difference(files)
    if different:
        rule = f"the pictures of '{labels.name}'"
        raise malformed(path, rule, f"'{min(different)}' in only one of them")


def _lines(path: Path) -> Iterator[list[str]]:
    with wrap_errors(path, "to be plain text"):
        text = path.read_bytes().decode("ascii")
    separator = "," if path.suffix == ".csv" else None
    for line in text.rstrip().splitlines():
        yield line.split(separator) or [""]


# -- pictures -------------------------------------------------------------------------------------


def _write(rows: np.memmap, source: Path, files: list[str], labels: Path, crop: int) -> None:
    with _opened(source) as (names, read), ThreadPoolExecutor(_THREADS) as pool:
        _check_same(source, names, files, labels)
        settings = PictureSettings(rows.shape[1], 3, crop)

        def paint(row: int) -> None:
            path = source / files[row]
            with wrap_errors(path, "to be readable"):
                content = read(files[row])
            rows[row] = decode(content, settings, str(path))

        with progress_bar("Resizing CelebA") as advance:
            for start in range(0, len(files), _CHUNK):
                stop = min(start + _CHUNK, len(files))
                for _ in pool.map(paint, range(start, stop)):
                    pass
                advance(stop, len(files))


def _listing(folder: Path) -> list[tuple[str | int, ...]]:
    """Return the pictures in a folder and what changes with their contents, sorted by name."""
    with os.scandir(folder) as entries:
        files = [e for e in entries if _PICTURE.fullmatch(e.name) and e.is_file()]
        return sorted((e.name, *identity_of(e)) for e in files)


@contextmanager
def _opened(source: Path) -> Iterator[tuple[set[str], Callable[[str], bytes]]]:
    """Open a folder or an archive: return the names of its pictures and a function to read one."""
    if source.is_dir():
        names = {str(name) for name, *_ in _listing(source)}
        yield names, lambda file: (source / file).read_bytes()
        return

    with wrap_errors(source, "to be a zip archive"):
        archive = zipfile.ZipFile(source)
    with archive:
        names = {match[1] for match in map(_MEMBER.fullmatch, archive.namelist()) if match}
        yield names, lambda file: archive.read(f"{_FOLDER}/{file}")
