"""Cars3D: rendered cars from all sides."""

from __future__ import annotations

import itertools
import math
import re
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import ImageGrid
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.pixels import Resized
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed, wrap_errors

_ARCHIVE = "nips2015-analogy-data.tar.gz"
_INSIDE = "data/cars/"
_LIST = "list.txt"
_CARS = 183
_ELEVATIONS, _AZIMUTHS = 4, 24
_CAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_LIST = 2**16
_UINT8, _COMPRESSED = 2, 15  # MATLAB's types of elements


class Cars3D(ImageGrid):
    """Rendered cars from 4 elevations and all sides (Reed et al. 2015).

    17,568 images in color. The factors are elevation (4 steps), azimuth (24) and object_type
    (183). Their values are the steps of the elevation, azimuths of 0 to 345 degrees, and the names
    of the cars, in the order of the published `list.txt`.

    Args:
        data_dir: Folder of `nips2015-analogy-data.tar.gz`, which need not be unpacked, or of the
            unpacked folder `cars` or `data/cars`. They may also be in its subfolder `cars3d`. By
            default KERAS_DISENT_DATA.
        image_size: Height and width in pixels, resized from 128 (antialiased). Resized images are
            cached.
        verify: Whether to check the archive's checksum and the number of cars.

    Raises:
        FileNotFoundError: A file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is set.
        ValueError: A file is broken, or differs from the published one.

    >>> Cars3D("~/data").factor_sizes  # doctest: +SKIP
    (4, 24, 183)
    """

    name = "cars3d"
    card = Card(
        title="Cars3D",
        page="http://www.scottreed.info",
        download="one archive, which need not be unpacked",
        license="none stated: do not redistribute",
        citation="Reed, Zhang, Zhang and Lee 2015",
        files=(File(_ARCHIVE, md5="4e866a7919c1beedf53964e6f7a23686"),),
        notes=("Cars have the order of list.txt; other readers use the order of the file system.",),
    )

    def __init__(
        self,
        data_dir: str | PathLike[str] | None = None,
        *,
        image_size: int = 64,
        verify: bool = True,
    ):
        self.image_size = size = check_integer("image_size", image_size, at_least=1)
        alternatives = (_ARCHIVE, f"cars/{_LIST}", _INSIDE + _LIST)
        path = find_file(self.name, self.card, alternatives, data_dir)
        is_archive = path.name == _ARCHIVE
        source = path if is_archive else path.parent

        def write_list(text: np.memmap) -> None:
            if verify:
                check_file(path, self.card)
            ((_, data),) = _members(source, [_LIST])
            _check_list(_path_of(source, _LIST), data)
            text[: len(data)] = np.frombuffer(data, np.uint8)

        # Finding the list in the archive reads everything before it, so the list is cached too.
        key = cache_key("cars3d-names", path, verify=verify)
        text = cached_rows(key, (_MAX_LIST,), np.uint8, write_list).tobytes().rstrip(b"\0")
        cars = text.decode("ascii").split()
        if verify and len(cars) != _CARS:
            raise malformed(_path_of(source, _LIST), f"{_CARS} cars", len(cars))

        files = [path] if is_archive else [path, *(source / f"{car}.mat" for car in cars)]
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"'{file}' is missing, but '{path}' lists it.")
        key = cache_key(self.name, *files, image_size=size, verify=verify)
        shape = (_ELEVATIONS * _AZIMUTHS * len(cars), size, size, 3)
        rows = cached_rows(key, shape, np.uint8, lambda rows: _write(rows, source, cars))
        values = {
            "elevation": np.arange(_ELEVATIONS),
            "azimuth": np.arange(_AZIMUTHS) * (360 // _AZIMUTHS),
            "object_type": np.array(cars),
        }
        kinds = ("ordinal", "circular", "categorical")
        super().__init__(rows, values, self.name, kinds=kinds)


def _write(rows: np.memmap, source: Path, cars: list[str]) -> None:
    grid = rows.reshape(_ELEVATIONS, _AZIMUTHS, len(cars), *rows.shape[1:])
    resized = Resized(rows.shape[1])
    columns = {f"{car}.mat": i for i, car in enumerate(cars)}
    shape = None
    with progress_bar("Reading Cars3D") as advance:
        for done, (file, data) in enumerate(_members(source, columns), 1):
            views = _views(_path_of(source, file), data)
            shape = shape or views.shape
            if views.shape != shape:
                raise malformed(_path_of(source, file), f"the shape {shape}", views.shape)
            flat = resized(views.reshape(-1, *views.shape[2:]), None)
            grid[:, :, columns[file]] = flat.reshape(_ELEVATIONS, _AZIMUTHS, *flat.shape[1:])
            advance(done, len(cars))


def _check_list(path: Path, data: bytes) -> None:
    cars = data.decode("ascii", errors="replace").split()
    are_names = cars and all(map(_CAR.fullmatch, cars)) and len(set(cars)) == len(cars)
    if not are_names or len(data) > _MAX_LIST:
        rule = f"at most {_MAX_LIST} bytes of different names of cars such as car_001_mesh"
        raise malformed(path, rule, f"{len(data)} bytes that begin with {cars[:3]}")


# -- archive or folder ----------------------------------------------------------------------------


def _path_of(source: Path, file: str) -> Path:
    """Return the path of a file in the archive or the folder, for messages."""
    return source / _INSIDE / file if source.name == _ARCHIVE else source / file


def _members(source: Path, files: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the contents of each file, in the order of the archive or of `files`.

    Args:
        source: Archive, or folder of the files.
        files: Names of the files without a folder.

    Raises:
        ValueError: A file is missing or not a plain file; or the archive is broken.
    """
    if source.name != _ARCHIVE:
        for file in files:
            with wrap_errors(source / file, "to be readable"):
                data = (source / file).read_bytes()
            yield file, data
        return
    missing = {_INSIDE + file: file for file in files}
    rule = "to be a gzipped tar archive"
    with wrap_errors(source, rule), tarfile.open(source, "r|gz") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in missing and member.isreg():
                yield missing.pop(name), archive.extractfile(member).read()  # type: ignore[union-attr]
            if not missing:
                return
    raise malformed(source, f"the member '{next(iter(missing))}'", "none")


# SciPy is not used: its reader ends the process if the type of the pixels is unknown.


def _views(path: Path, data: bytes) -> np.ndarray:
    """Return the images of a car, uint8 `(elevation, azimuth, height, width, 3)`."""
    kind, pixels = 0, b""
    shape: tuple[int, ...] = ()
    with wrap_errors(path, "to be a MATLAB file of version 5 to 7.2"):
        order = {b"\0\1IM": "<", b"\1\0MI": ">"}[data[124:128]]
        for packed, body in _elements(data[128:], order):
            if packed == _COMPRESSED:
                _, body = next(_elements(zlib.decompress(body), order))
            # Flags, shape, name and numbers of a variable.
            _, (_, sizes), (_, name), (code, numbers) = itertools.islice(_elements(body, order), 4)
            if name == b"im":
                shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
                kind, pixels = code, numbers
    fits = kind == _UINT8 and shape[2:] == (3, _AZIMUTHS, _ELEVATIONS) and min(shape) > 0
    if not fits or math.prod(shape) != len(pixels):
        rule = f"'im' of uint8 (height, width, 3, {_AZIMUTHS}, {_ELEVATIONS})"
        raise malformed(path, rule, f"{shape} in {len(pixels)} bytes of type {kind}")
    # MATLAB's first axis is the fastest.
    return np.frombuffer(pixels, np.uint8).reshape(shape[::-1]).transpose(0, 1, 4, 3, 2)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the contents of consecutive elements in MATLAB's format."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, start)
        if kind >> 16:  # at most four bytes of contents are in the tag itself
            yield kind & 0xFFFF, data[start + 4 : start + 4 + (kind >> 16)]
            start += 8
            continue
        start += 8
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes that is cut after {len(data) - start}")
        yield kind, data[start : start + size]
        start += size + (0 if kind == _COMPRESSED else -size % 8)
