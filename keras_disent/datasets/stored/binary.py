"""Read idx files (MNIST) and NORB's binary matrix files, gzipped or not."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

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
    """Return whether a file is gzipped, from its first bytes.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The path is not a readable file.
    """
    file_size(path)
    with wrap_errors(path, "to be a file"), open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def map_idx(path: Path) -> np.ndarray:
    """Map an idx file into memory.

    Args:
        path: File of `ubyte`, `byte`, `short`, `int`, `float` or `double`, not gzipped.

    Returns:
        A read-only `np.memmap`, big-endian as in the file; an empty array if there are no rows.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an idx file, or its size differs from its header.

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
        path: File to read; gzip is recognized by its first bytes.
        shape: Required shape, with None for axes of any size.
        limit: Maximum size of the uncompressed array in bytes.

    Returns:
        `(shape, dtype, blocks)`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an idx file, has another shape or exceeds the limit, or a row
            has more than 16 MB. The blocks raise it for broken, missing or surplus data.

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
        path: File of uint8, int16, int32, float32 or float64, not gzipped.

    Returns:
        A read-only `np.memmap`, little-endian; an empty array if there are no rows.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a NORB file, or its size differs from its header.

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

    Args: The same as for `stream_idx`.

    Returns:
        `(shape, dtype, blocks)`.

    Raises:
        FileNotFoundError, ValueError: See `stream_idx`.
    """
    return _stream(path, _NORB, _norb_header, shape, limit)


def _map(path: Path, rule: str, read_header: _ReadHeader) -> np.ndarray:
    size = file_size(path)
    if is_gzip(path):
        raise malformed(path, "to be unpacked before it is mapped", "a gzip file")
    with wrap_errors(path, rule), open(path, "rb") as file:
        layout = read_header(path, file)
        return map_rows(path, file, layout, size - layout.offset)


def _stream(
    path: Path,
    rule: str,
    read_header: _ReadHeader,
    shape: Sequence[int | None] | None,
    limit: int,
) -> Stream:
    size = file_size(path)
    packed = is_gzip(path)

    @contextmanager
    def opened() -> Iterator[tuple[Layout, BinaryIO]]:
        with wrap_errors(path, rule), _unpacked(path, packed) as file:
            layout = read_header(path, file)
            _check_claim(path, layout, shape, limit)
            check_rows(path, layout)
            needed = layout.offset + byte_size(layout.shape, layout.dtype)
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
            yield from read_blocks(path, file, layout)

    return Stream(layout.shape, layout.dtype, blocks())


def _unpacked(path: Path, packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if packed else open(path, "rb"))


def _check_claim(
    path: Path, layout: Layout, shape: Sequence[int | None] | None, limit: int
) -> None:
    if shape is not None:
        fits = len(shape) == len(layout.shape) and all(
            size in (None, actual) for size, actual in zip(shape, layout.shape, strict=True)
        )
        if not fits:
            expected = ", ".join("any" if n is None else str(n) for n in shape)
            raise malformed(path, f"the shape ({expected})", layout.shape)
    claimed = byte_size(layout.shape, layout.dtype)
    if claimed > limit:
        raise malformed(path, f"at most {limit} bytes", f"a claim of {claimed}")


def _idx_header(path: Path, file: BinaryIO) -> Layout:
    magic = read_exactly(path, file, 4, "an idx header")
    if magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        types = ", ".join(f"{code:02x}" for code in _IDX_TYPES)
        raise malformed(path, f"to begin with 00 00 and a type of {types}", magic.hex(" "))
    axes = magic[3]
    sizes = struct.unpack(f">{axes}I", read_exactly(path, file, 4 * axes, "an idx header"))
    return Layout(check_shape(path, sizes), np.dtype(_IDX_TYPES[magic[2]]), 4 + 4 * axes)


def _norb_header(path: Path, file: BinaryIO) -> Layout:
    magic, axes = struct.unpack("<Ii", read_exactly(path, file, 8, "a header"))
    if magic not in _NORB_TYPES:
        types = ", ".join(f"{code:08x}" for code in _NORB_TYPES)
        raise malformed(path, f"a magic number of {types}", f"{magic:08x}")
    if not 1 <= axes <= 32:
        raise malformed(path, "1 to 32 axes", axes)
    written = max(3, axes)  # padded with ones
    sizes = struct.unpack(f"<{written}i", read_exactly(path, file, 4 * written, "a header"))
    if any(n != 1 for n in sizes[axes:]):
        raise malformed(path, f"1 in the sizes after the first {axes}", sizes)
    shape = check_shape(path, sizes[:axes])
    return Layout(shape, np.dtype(_NORB_TYPES[magic]), 8 + 4 * written)
