"""Read idx files (MNIST) and NORB's binary matrix files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
from typing import Any

import numpy as np

from keras_disent.datasets.stored.checks import Path, file_size, wrap_errors
from keras_disent.datasets.stored.rows import Stream, map_rows, stream_rows

_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NORB = {0x55: "u1", 0x54: "<i4", 0x56: "<i2", 0x51: "<f4", 0x53: "<f8"}
_NORB_MAGIC = b"\x4c\x3d\x1e"
_DEFLATE = 1032  # most bytes that a compressed one can hold


def open_matrix(path: Path) -> np.ndarray | Stream:
    """Open an idx file or a binary matrix of NORB; the first bytes tell which.

    Args:
        path: File of any of their types; gzip is recognized by its first bytes too.

    Returns:
        A read-only `np.memmap`, with the byte order of the file, or a `Stream` of a gzipped file.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "labels.idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abc")
    >>> open_matrix(path)[[2, 0]]
    array([99, 97], dtype=uint8)
    """
    size = file_size(path)
    with wrap_errors(path, "to be an idx file or a binary matrix of NORB"):
        with open(path, "rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else open(path, "rb") as file:
            shape, dtype = _header(file)
            offset = file.tell()
        if is_packed and math.prod(shape) > _DEFLATE * size:  # before a file of this size is made
            raise ValueError(f"a claim of {math.prod(shape)} numbers in {size} bytes")
    if is_packed:
        return stream_rows(path, lambda: gzip.open(path), shape, dtype, offset)
    return map_rows(path, shape, dtype, offset)


def read_rows(rows: np.ndarray | Stream) -> np.ndarray:
    """Read all rows into memory."""
    if not isinstance(rows, Stream):
        return np.array(rows)
    return np.concatenate([np.empty((0, *rows.shape[1:]), rows.dtype), *rows.blocks])


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and dtype; afterward `file` is at the first byte of the data."""
    start = file.read(4)
    if start[:2] == b"\0\0" and start[2] in _IDX and start[3]:
        return struct.unpack(f">{start[3]}I", file.read(4 * start[3])), np.dtype(_IDX[start[2]])
    if start[1:] == _NORB_MAGIC and start[0] in _NORB:
        (axes,) = struct.unpack("<I", file.read(4))
        if 0 < axes < 10:
            count = max(3, axes)  # padded with ones
            sizes = struct.unpack(f"<{count}I", file.read(4 * count))
            return sizes[:axes], np.dtype(_NORB[start[0]])
    raise ValueError(f"a file that begins with {start.hex()}")
