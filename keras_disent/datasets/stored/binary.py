"""Plain binary arrays behind a short header: idx (MNIST) and NORB's binary matrix, or gzipped."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from keras_disent.datasets.stored.checks import (
    Path,
    bytes_of,
    check_expansion,
    check_shape,
    malformed,
    reading,
    size_of,
    take,
)
from keras_disent.datasets.stored.rows import Layout, Stream, blocks_of, check_rows, mapped

LIMIT = 2**32
_IDX = "to be an idx file"
_NORB = "to be a binary matrix of NORB"
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NORB_TYPES = {
    0x1E3D4C55: "u1",
    0x1E3D4C54: "<i4",
    0x1E3D4C56: "<i2",
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
}
_ReadHeader = Callable[[Path, Any], Layout]


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does, whatever its name; no idx or NORB file does.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file that can be read.
    """
    size_of(path)
    with reading(path, "to be a file"), open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def map_idx(path: Path) -> np.ndarray:
    """Map an idx file into memory.

    Args:
        path: file of `ubyte`, `byte`, `short`, `int`, `float` or `double`, not gzipped.

    Returns:
        A read-only `np.memmap`, big-endian as in the file; an empty array if there are no rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, or longer or shorter than its header says.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "labels.idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abc")
    >>> map_idx(path)[[2, 0]]
    array([99, 97], dtype=uint8)
    """
    return _map(path, _IDX, _idx_header)


def stream_idx(
    path: Path, shape: Sequence[int | None] | None = None, *, limit: int = LIMIT
) -> Stream:
    """Read an idx file, gzipped or not, in blocks of rows, in bounded memory.

    Args:
        path: file; gzip is recognized by its first bytes.
        shape: the shape that it needs to have, None where any number will do.
        limit: most bytes of the whole array, unpacked.

    Returns:
        `(shape, dtype, blocks)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, of another shape, or over the limit; or a row has more
            than 16 MB. The blocks raise it for broken, missing or superfluous data.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/labels.gz"
    >>> with gzip.open(path, "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abc")
    >>> next(stream_idx(path, [None]).blocks)
    array([97, 98, 99], dtype=uint8)
    """
    return _stream(path, _IDX, _idx_header, shape, limit)


def map_norb(path: Path) -> np.ndarray:
    """Map a binary matrix file of NORB into memory.

    Args:
        path: file of bytes, int16, int32, float32 or float64, not gzipped.

    Returns:
        A read-only `np.memmap`, little-endian; an empty array if there are no rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, or longer or shorter than its header says.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "cat.mat"
    >>> _ = path.write_bytes(struct.pack("<5I", 0x1E3D4C55, 1, 3, 1, 1) + b"abc")
    >>> map_norb(path)[[2, 0]]
    array([99, 97], dtype=uint8)
    """
    return _map(path, _NORB, _norb_header)


def stream_norb(
    path: Path, shape: Sequence[int | None] | None = None, *, limit: int = LIMIT
) -> Stream:
    """Read a binary matrix file of NORB, gzipped or not, in blocks of rows, in bounded memory.

    Args: as of `stream_idx`.

    Returns:
        `(shape, dtype, blocks)`.

    Raises:
        FileNotFoundError, ValueError: as of `stream_idx`.
    """
    return _stream(path, _NORB, _norb_header, shape, limit)


def _map(path: Path, rule: str, read_header: _ReadHeader) -> np.ndarray:
    size = size_of(path)
    if is_gzip(path):
        raise malformed(path, "to be unpacked to be mapped", "a gzip file")
    with reading(path, rule), open(path, "rb") as file:
        layout = read_header(path, file)
        return mapped(path, file, layout, size - layout.offset)


def _stream(
    path: Path,
    rule: str,
    read_header: _ReadHeader,
    shape: Sequence[int | None] | None,
    limit: int,
) -> Stream:
    size = size_of(path)
    packed = is_gzip(path)

    @contextmanager
    def opened() -> Iterator[tuple[Layout, BinaryIO]]:
        with reading(path, rule), _unpacked(path, packed) as file:
            layout = read_header(path, file)
            _check_claim(path, layout, shape, limit)
            check_rows(path, layout)
            needed = layout.offset + bytes_of(layout.shape, layout.dtype)
            if packed:
                check_expansion(path, needed, size)
            elif needed != size:
                raise malformed(path, f"{needed} bytes for the shape {layout.shape}", size)
            yield layout, file

    with opened() as (layout, _):
        pass

    def blocks() -> Iterator[np.ndarray]:
        with opened() as (now, file):
            if now != layout:
                raise malformed(path, f"to stay as it was, {layout}", now)
            yield from blocks_of(path, file, layout)

    return Stream(layout.shape, layout.dtype, blocks())


def _unpacked(path: Path, packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if packed else open(path, "rb"))


def _check_claim(
    path: Path, layout: Layout, shape: Sequence[int | None] | None, limit: int
) -> None:
    if shape is not None:
        fits = len(shape) == len(layout.shape) and all(
            want in (None, got) for want, got in zip(shape, layout.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise malformed(path, f"the shape ({wanted})", layout.shape)
    claimed = bytes_of(layout.shape, layout.dtype)
    if claimed > limit:
        raise malformed(path, f"at most {limit} bytes", f"a claim of {claimed}")


def _idx_header(path: Path, file: BinaryIO) -> Layout:
    magic = take(path, file, 4, "an idx header")
    if magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        types = ", ".join(f"{code:02x}" for code in _IDX_TYPES)
        raise malformed(path, f"to begin with 00 00 and a type of {types}", magic.hex(" "))
    axes = magic[3]
    sizes = struct.unpack(f">{axes}I", take(path, file, 4 * axes, "an idx header"))
    return Layout(check_shape(path, sizes), np.dtype(_IDX_TYPES[magic[2]]), 4 + 4 * axes)


def _norb_header(path: Path, file: BinaryIO) -> Layout:
    magic, axes = struct.unpack("<Ii", take(path, file, 8, "a header"))
    if magic not in _NORB_TYPES:
        types = ", ".join(f"{code:08x}" for code in _NORB_TYPES)
        raise malformed(path, f"a magic number of {types}", f"{magic:08x}")
    if not 1 <= axes <= 32:
        raise malformed(path, "1 to 32 axes", axes)
    written = max(3, axes)  # padded with ones
    sizes = struct.unpack(f"<{written}i", take(path, file, 4 * written, "a header"))
    if any(n != 1 for n in sizes[axes:]):
        raise malformed(path, f"1 in the sizes after the first {axes}", sizes)
    shape = check_shape(path, sizes[:axes])
    return Layout(shape, np.dtype(_NORB_TYPES[magic]), 8 + 4 * written)
