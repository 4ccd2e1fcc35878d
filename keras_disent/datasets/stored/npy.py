"""Read .npy files and the members of .npz archives, without unpickling anything."""

from __future__ import annotations

import ast
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from keras_disent.datasets.stored.checks import (
    Path,
    byte_size,
    check_expansion,
    check_shape,
    file_size,
    malformed,
    read_exactly,
    wrap_errors,
)
from keras_disent.datasets.stored.rows import Layout, Stream, check_rows, map_rows, read_blocks

_NPY = "to be an .npy file"
_NPZ = "to be an .npz file"
_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # as NumPy's own limit
_MAX_DIRECTORY = 2**20
_NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")
_MEMBER = re.compile(r"[^./\\:\0][^/\\:\0]*\.npy")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_ENCRYPTED = 0x1 | 0x20 | 0x40 | 0x2000  # also patches and hidden headers


def map_npy(path: Path) -> np.ndarray:
    """Map an .npy file into memory.

    Args:
        path: File of numbers (bool, integer, float or complex), in C order.

    Returns:
        A read-only `np.memmap`; an empty array if there are no rows.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a numeric .npy file, or its size differs from its header.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npy"
    >>> np.save(path, np.arange(6).reshape(3, 2))
    >>> map_npy(path)[[2, 0, 2]]
    array([[4, 5],
           [0, 1],
           [4, 5]])
    """
    size = file_size(path)
    with wrap_errors(path, _NPY), open(path, "rb") as file:
        layout = _read_header(path, file)
        return map_rows(path, file, layout, size - layout.offset)


def members(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz archive.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an .npz archive, the name of a member is a path, or two
            members have the same name.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.zeros(3), labels=np.zeros(3))
    >>> members(path)
    ['images', 'labels']
    """
    with _archive(path) as (_, archive):
        return [name.removesuffix(".npy") for name in archive.namelist()]


def is_stored(path: Path, member: str) -> bool:
    """Return whether a member of an .npz archive is uncompressed, as `map_npz` requires.

    Args: The same as for `map_npz`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: See `map_npz`; the contents of the member are not checked.
    """
    with _archive(path) as (_, archive):
        return _find(path, archive, member).compress_type == zipfile.ZIP_STORED


def map_npz(path: Path, member: str) -> np.ndarray:
    """Map an uncompressed member of an .npz archive into memory.

    The checksum in the archive is ignored, because comparing it would read the complete member.
    `stream_npz` compares it.

    Args:
        path: Archive, as written by `np.savez`.
        member: Name of the array, such as `"images"`.

    Returns:
        A read-only `np.memmap`; an empty array if there are no rows.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an .npz archive, the name of a member is a path, or two
            members have the same name. Or the requested member is missing, compressed,
            encrypted, not a numeric array in C order, or its size differs from its header.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.arange(6).reshape(3, 2))
    >>> map_npz(path, "images")[[2, 0]]
    array([[4, 5],
           [0, 1]])
    """
    with _archive(path) as (file, archive):
        info = _find(path, archive, member)
        if info.compress_type != zipfile.ZIP_STORED:
            rule = f"'{member}' uncompressed to be mapped (see `stream_npz`)"
            raise malformed(path, rule, "a compressed member")
        start = _data_start(path, file, info)
        if info.compress_size != info.file_size or start + info.file_size > archive.start_dir:
            rule = f"'{member}' of {info.file_size} bytes before its directory"
            got = f"{min(info.compress_size, archive.start_dir - start)} bytes"
            raise malformed(path, rule, got)
        file.seek(start)
        layout = _read_header(path, file, info.file_size)
        available = info.file_size - layout.offset
        return map_rows(path, file, layout._replace(offset=start + layout.offset), available)


def stream_npz(path: Path, member: str) -> Stream:
    """Read a member of an .npz archive in blocks of rows, in bounded memory.

    Args: The same as for `map_npz`; the member may be compressed (deflated).

    Returns:
        `(shape, dtype, blocks)`. The checksum is compared after the last block.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: See `map_npz`; or the sizes in the archive do not match the array, or a row
            has more than 16 MB. The blocks raise it for broken or missing data.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez_compressed(path, images=np.arange(6).reshape(3, 2))
    >>> shape, dtype, blocks = stream_npz(path, "images")
    >>> shape, dtype, sum(block.sum() for block in blocks)
    ((3, 2), dtype('int64'), np.int64(15))
    """
    with _member(path, member) as (layout, _):
        pass

    def blocks() -> Iterator[np.ndarray]:
        with _member(path, member) as (now, file):
            if now != layout:
                raise malformed(path, f"to stay as it was, {layout}", now)
            yield from read_blocks(path, file, layout)

    return Stream(layout.shape, layout.dtype, blocks())


class _Bounded(io.FileIO):
    """A file that reads at most one megabyte at a time, whatever size `zipfile` asks for."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _MAX_DIRECTORY + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise zipfile.BadZipFile(f"A directory of more than {_MAX_DIRECTORY} bytes")
        return data


@contextmanager
def _archive(path: Path) -> Iterator[tuple[BinaryIO, zipfile.ZipFile]]:
    file_size(path)
    with wrap_errors(path, _NPZ), _Bounded(path) as file, zipfile.ZipFile(file) as archive:
        names = [info.orig_filename for info in archive.infolist()]
        for name in names:
            if not _MEMBER.fullmatch(name):
                raise malformed(path, "members named NAME.npy, without a folder", repr(name))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise malformed(path, "different names of members", f"{twice!r} twice")
        yield file, archive


def _find(path: Path, archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(f"{member}.npy")
    except KeyError:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        raise malformed(path, f"a member '{member}'", names[:10]) from None
    if info.flag_bits & _ENCRYPTED:
        raise malformed(path, f"'{member}' in the clear", "an encrypted member")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise malformed(path, f"'{member}' stored or deflated", f"type {info.compress_type}")
    return info


def _data_start(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Return the offset of a member's data, and compare its local header with the directory."""
    file.seek(info.header_offset)
    local = read_exactly(path, file, _LOCAL.size, "a member's header")
    magic, _, _, flags, method, *_, name_size, extra_size = _LOCAL.unpack(local)
    name = read_exactly(path, file, name_size, "a member's name")
    expected = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    if (magic, method, flags & _ENCRYPTED, name) != (b"PK\3\4", info.compress_type, 0, expected):
        got = f"{magic!r}, method {method}, flags {flags}, name {name!r}"
        raise malformed(path, f"a header for '{info.filename}' as in its directory", got)
    return info.header_offset + _LOCAL.size + name_size + extra_size


@contextmanager
def _member(path: Path, member: str) -> Iterator[tuple[Layout, BinaryIO]]:
    with _archive(path) as (_, archive):
        info = _find(path, archive, member)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            check_expansion(path, info.file_size, info.compress_size)
        elif info.compress_size != info.file_size:
            rule = f"'{member}' of {info.file_size} bytes"
            raise malformed(path, rule, info.compress_size)
        with archive.open(info) as file:
            layout = _read_header(path, file, info.file_size)
            check_rows(path, layout)
            needed = layout.offset + byte_size(layout.shape, layout.dtype)
            if needed != info.file_size:
                rule = f"{needed} bytes for '{member}' of shape {layout.shape}"
                raise malformed(path, rule, info.file_size)
            yield layout, file  # type: ignore[misc]


def _read_header(path: Path, file: Any, limit: int = _MAX_HEADER) -> Layout:
    """Parse the header of an .npy file; afterward `file` is at the first byte of the data."""
    magic = read_exactly(path, file, 8, "an .npy header")
    sizes = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}
    if magic[:6] != _MAGIC or tuple(magic[6:]) not in sizes:
        raise malformed(path, "the .npy format 1.0, 2.0 or 3.0", repr(magic))
    prefix = sizes[magic[6], magic[7]]
    (size,) = struct.unpack(
        prefix, read_exactly(path, file, struct.calcsize(prefix), "an .npy header")
    )
    if size > min(limit, _MAX_HEADER):
        raise malformed(path, f"an .npy header of at most {_MAX_HEADER} bytes", size)
    text = read_exactly(path, file, size, "an .npy header").decode(
        "utf-8" if magic[6] > 2 else "latin1"
    )
    header = _literal(path, text)
    rule = "an .npy header of 'descr', 'fortran_order' and 'shape'"
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise malformed(path, rule, repr(text))
    descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr):
        rule = "numbers: bool, integer, float or complex. Pickled objects are never read"
        raise malformed(path, rule, f"the dtype {descr!r}")
    if type(fortran) is not bool or type(shape) is not tuple:
        raise malformed(path, rule, repr(text))
    if not all(type(n) is int for n in shape):
        raise malformed(path, "integers for its shape", repr(text))
    shape = check_shape(path, shape)
    if fortran and len(shape) > 1:
        raise malformed(path, "C order, rows first", "Fortran order")
    return Layout(shape, np.dtype(descr), 8 + struct.calcsize(prefix) + size)


def _literal(path: Path, text: str) -> object:
    if "\\" in text:  # no valid header needs one, and some raise warnings
        raise malformed(path, "an .npy header without backslashes", repr(text))
    with wrap_errors(path, "an .npy header that is a Python literal"):
        # Python 2 wrote long integers as 3L.
        return ast.literal_eval(re.sub(r"(?<=\d)L(?=[,) ])", "", text))
