"""Cars3D: drawn cars from all sides."""

from __future__ import annotations

import gzip
import itertools
import math
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import ImageGrid
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.pixels import Resized
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import MalformedFile, file_size, malformed

_ARCHIVE = "nips2015-analogy-data.tar.gz"
_INSIDE = "data/cars/"
_LIST = "list.txt"
_CARS = 183
_ELEVATIONS, _AZIMUTHS = 4, 24
_CAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MOST_LIST = 2**16
_MOST_CAR = 2**25  # bytes, packed or not; the published ones have 6 MB unpacked
_MOST_MEMBERS = 100_000
_MAX_HEADER = 2**16
_UINT8, _FLAGS, _MATRIX, _COMPRESSED = 2, 6, 14, 15  # MATLAB's types of elements
_CLASS, _UINT8_CLASS = 0x8FF, 9  # bits of a variable's class, and for complex numbers


class Cars3D(ImageGrid):
    """Drawn cars from 4 heights and all sides (Reed et al. 2015).

    Elevation 4, azimuth 24, object_type 183: 17,568 images in color. Values are steps of the
    elevation, azimuths of 0 to 345 degrees, and the names of the cars, in the order of the
    data set's `list.txt`.

    Args:
        data_dir: folder of `nips2015-analogy-data.tar.gz`, which is read as it is, or of the
            unpacked folder `cars` or `data/cars`; or the folder above it, if it is called
            `cars3d`. By default KERAS_DISENT_DATA.
        image_size: pixels of a side, from 128 (Lanczos). Resized images are kept in the cache.
        verify: compare the archive's checksum and the number of cars before they are read.

    Raises:
        FileNotFoundError: a file is not there, or nothing says where to look.
        ValueError: a file is not the published one, or broken.

    >>> Cars3D("~/data").factor_sizes  # doctest: +SKIP
    (4, 24, 183)
    """

    name = "cars3d"
    card = Card(
        title="Cars3D",
        page="http://www.scottreed.info",
        download="one archive, read as it is",
        license="none stated: not to be passed on",
        citation="Reed, Zhang, Zhang and Lee 2015",
        files=(File(_ARCHIVE, md5="4e866a7919c1beedf53964e6f7a23686"),),
        notes=("Cars are numbered as in list.txt; elsewhere the order is that of a file system.",),
    )

    def __init__(
        self,
        data_dir: str | PathLike[str] | None = None,
        *,
        image_size: int = 64,
        verify: bool = True,
    ):
        self.image_size = size = check_integer("image_size", image_size, at_least=1)
        wanted = (_ARCHIVE, f"cars/{_LIST}", _INSIDE + _LIST)
        found = find_file(self.name, self.card, wanted, data_dir)
        packed = found.name == _ARCHIVE
        source = found if packed else found.parent

        def write_list(text: np.memmap) -> None:
            if verify:
                check_file(found, self.card)
            ((_, data),) = _members(source, {_LIST: _MOST_LIST})
            text[: len(data)] = np.frombuffer(data, np.uint8)

        # An archive has to be read up to its list, so that is kept too.
        key = cache_key("cars3d-list", found, verify=verify)
        text = cached_rows(key, (_MOST_LIST,), np.uint8, write_list).tobytes().rstrip(b"\0")
        cars = _car_names(_path_of(source, _LIST), text)
        if verify and len(cars) != _CARS:
            raise malformed(_path_of(source, _LIST), f"{_CARS} cars", len(cars))

        files = [found] if packed else [found, *(source / f"{car}.mat" for car in cars)]
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"'{file}' is not there. '{found}' names it.")
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
    place = {f"{car}.mat": i for i, car in enumerate(cars)}
    first = None
    with progress_bar("Reading Cars3D") as advance:
        for done, (file, data) in enumerate(_members(source, dict.fromkeys(place, _MOST_CAR)), 1):
            views = _views(_path_of(source, file), data)
            first = first or views.shape
            if views.shape != first:
                rule = f"images of {first[3]} x {first[2]} pixels, as the others"
                raise malformed(
                    _path_of(source, file), rule, f"{views.shape[3]} x {views.shape[2]}"
                )
            flat = resized(views.reshape(-1, *views.shape[2:]), None)
            grid[:, :, place[file]] = flat.reshape(_ELEVATIONS, _AZIMUTHS, *flat.shape[1:])
            advance(done, len(cars))


def _car_names(path: Path, data: bytes) -> list[str]:
    cars = data.decode("ascii", errors="replace").split()
    wrong = [car for car in cars if not _CAR.fullmatch(car)]
    if wrong:
        raise malformed(path, "names of cars such as car_001_mesh", repr(wrong[0]))
    if not cars:
        raise malformed(path, "names of cars", "none")
    if len(set(cars)) < len(cars):
        twice = next(car for car in cars if cars.count(car) > 1)
        raise malformed(path, "each car once", f"{twice} twice")
    return cars


# -- archive or folder ----------------------------------------------------------------------------


def _path_of(source: Path, file: str) -> Path:
    """What messages call a file in the archive or the folder."""
    return source / _INSIDE / file if source.name == _ARCHIVE else source / file


def _members(source: Path, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of some files, in the source's order.

    Args:
        source: archive, or folder of the files.
        wanted: names without a folder, and the most bytes of each.

    Raises:
        ValueError: a file is not there, no plain file, there twice, or too large; or the archive
            is broken.
    """
    if source.name != _ARCHIVE:
        for file, most in wanted.items():
            _check_size(source / file, file_size(source / file), most)
            yield file, (source / file).read_bytes()
        return
    missing = dict(wanted)
    try:
        with gzip.open(source) as unpacked, _opened(unpacked) as archive:
            for count, member in enumerate(archive, 1):
                if count > _MOST_MEMBERS:
                    raise malformed(source, f"at most {_MOST_MEMBERS} members", "more")
                folder, _, file = member.name.removeprefix("./").rpartition("/")
                if folder + "/" != _INSIDE or file not in wanted:
                    continue
                if file not in missing:
                    raise malformed(source, "each member once", f"'{member.name}' twice")
                where = _path_of(source, file)
                if not member.isreg() or member.issparse():
                    raise malformed(where, "to be a plain file", f"type {member.type!r}")
                _check_size(where, member.size, missing.pop(file))
                content = archive.extractfile(member)
                data = content.read() if content else b""
                if len(data) != member.size:
                    raise malformed(where, f"{member.size} bytes", f"{len(data)}: it is truncated")
                yield file, data
                if not missing:
                    return
    except MalformedFile:
        raise
    except Exception as error:  # what `tarfile` and `gzip` raise on junk is a long list
        got = f"{type(error).__name__}: {error}".rstrip(".")
        raise malformed(source, "to be a gzipped tar archive", got) from error
    raise malformed(source, f"the member '{_INSIDE}{next(iter(missing))}'", "none")


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise malformed(path, f"at most {most} bytes", size)


class _Member(tarfile.TarInfo):
    """A member whose long names are not read into memory whatever length they claim."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        plain = (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
        if self.type == tarfile.GNUTYPE_SPARSE or (
            self.type not in plain and self.size > _MAX_HEADER
        ):
            raise tarfile.ReadError(f"a header of type {self.type!r} and {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def _opened(unpacked: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Member)


# -- MATLAB ---------------------------------------------------------------------------------------
# Read here and not with scipy, whose reader ends the process at an unknown type of data.


def _views(path: Path, data: bytes) -> np.ndarray:
    """A car's images, uint8 `(elevation, azimuth, height, width, 3)`."""
    order = {b"\0\1IM": "<", b"\1\0MI": ">"}.get(data[124:128])
    if order is None:
        raise malformed(path, "to be a MATLAB file of version 5 to 7.2", f"{data[:20]!r}")
    variables = [list(parts) for parts in _variables(path, memoryview(data)[128:], order)]
    found = [parts for parts in variables if len(parts) == 4 and bytes(parts[2][1]) == b"im"]
    if len(found) != 1:
        raise malformed(path, "one variable 'im'", f"{len(found)} of {len(variables)} variables")
    ((flags_kind, flags), (_, dims), _, (kind, pixels)) = found[0]
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims[: len(dims) // 4 * 4])
    fits = (
        (flags_kind, len(flags)) == (_FLAGS, 8)
        and struct.unpack(f"{order}I", flags[:4])[0] & _CLASS == _UINT8_CLASS
        and shape[2:] == (3, _AZIMUTHS, _ELEVATIONS)
        and min(shape) > 0
        and (kind, len(pixels)) == (_UINT8, math.prod(shape))
    )
    if not fits:
        rule = f"'im' of uint8 (height, width, 3, {_AZIMUTHS}, {_ELEVATIONS})"
        raise malformed(path, rule, f"{shape} in {len(pixels)} bytes of type {kind}")
    # MATLAB's first axis is the fastest.
    return np.frombuffer(pixels, np.uint8).reshape(shape[::-1]).transpose(0, 1, 4, 3, 2)


def _variables(
    path: Path, data: memoryview, order: str
) -> Iterator[Iterator[tuple[int, memoryview]]]:
    """The first elements of each variable: flags, shape, name and numbers."""
    room = _MOST_CAR
    for kind, body in _elements(path, data, order):
        if kind == _COMPRESSED:
            unpacked = _inflated(path, body, room)
            room -= len(unpacked)
            kind, body = next(_elements(path, memoryview(unpacked), order), (0, body))
        if kind != _MATRIX:
            raise malformed(path, f"variables of type {_MATRIX}", f"type {kind}")
        yield itertools.islice(_elements(path, body, order), 4)


def _elements(path: Path, data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and contents of what follows each other in MATLAB's format."""
    start = 0
    while start < len(data):
        tag = data[start : start + 8]
        if len(tag) < 8:
            raise malformed(path, "8 bytes before each element", f"{len(tag)}: it is truncated")
        kind, size = struct.unpack(f"{order}2I", tag)
        if kind >> 16:  # four bytes at most, in the tag itself
            kind, body = kind & 0xFFFF, tag[4 : 4 + (kind >> 16)]
            start += 8
        else:
            body = data[start + 8 : start + 8 + size]
            if len(body) < size:
                rule = f"{size} bytes of an element"
                raise malformed(path, rule, f"{len(body)}: it is truncated")
            start += 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        yield kind, body


def _inflated(path: Path, body: memoryview, room: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        unpacked = engine.decompress(body, room + 1)
    except zlib.error as error:
        raise malformed(path, "whole compressed variables", error) from error
    if len(unpacked) > room:
        raise malformed(path, f"at most {_MOST_CAR} bytes unpacked", "more")
    if not engine.eof:
        raise malformed(path, "whole compressed variables", "one that is truncated")
    return unpacked
