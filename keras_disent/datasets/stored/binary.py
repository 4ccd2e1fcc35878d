"""Read idx files (MNIST) and NORB's binary matrix files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_disent.datasets.stored.checks import Path, file_size, wrap_errors
from keras_disent.datasets.stored.rows import Stream, map_rows, read_blocks

_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NORB = {0x55: "u1", 0x54: "<i4", 0x56: "<i2", 0x51: "<f4", 0x53: "<f8"}

_DEFLATE = 1032  # most bytes that a compressed one can hold

Header = tuple[tuple[int, ...], np.dtype]


def open_idx(path: Path) -> np.ndarray | Stream:
    """Open an idx file.

    Args:
        path: File of `ubyte`, `byte`, `short`, `int`, `float` or `double`; gzip is recognized by
            its first bytes.

    Returns:
        A read-only `np.memmap`, big-endian as in the file, or a `Stream` of a gzipped file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an idx file, or its size differs from its header. The blocks
            of a stream raise it for broken, missing or surplus data.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "labels.idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abc")
    >>> open_idx(path)[[2, 0]]
    array([99, 97], dtype=uint8)
    """
    return _open(path, "to be an idx file", _idx_header)


def open_norb(path: Path) -> np.ndarray | Stream:
    """Open a binary matrix file of NORB; as `open_idx`, little-endian.

    Raises:
        FileNotFoundError, ValueError: See `open_idx`.
    """
    return _open(path, "to be a binary matrix of NORB", _norb_header)


def read_rows(rows: np.ndarray | Stream) -> np.ndarray:
    """Read all rows into memory.

    Raises:
        ValueError: A stream is broken.
    """
    if not isinstance(rows, Stream):
        return np.array(rows)
    return np.concatenate([np.empty((0, *rows.shape[1:]), rows.dtype), *rows.blocks])


def _open(path: Path, rule: str, read_header: Callable[[Any], Header]) -> np.ndarray | Stream:
    size = file_size(path)
    with wrap_errors(path, rule), open(path, "rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
    opened: Any = gzip.open if is_packed else open
    with wrap_errors(path, rule), opened(path, "rb") as file:
        shape, dtype = read_header(file)
        if not is_packed:
            return map_rows(path, shape, dtype, file.tell())
        if math.prod(shape) > _DEFLATE * size:  # before a file of this size is made
            raise ValueError(f"a claim of {math.prod(shape)} numbers in {size} bytes")

    def blocks() -> Iterator[np.ndarray]:
        with wrap_errors(path, rule), gzip.open(path) as file:
            read_header(file)
            yield from read_blocks(path, file, shape, dtype)

    return Stream(shape, dtype, blocks())


def _idx_header(file: Any) -> Header:
    zero, code, axes = struct.unpack(">HBB", file.read(4))
    if zero or code not in _IDX or not axes:
        raise ValueError(f"a file that begins with {zero:04x} {code:02x} {axes:02x}")
    return struct.unpack(f">{axes}I", file.read(4 * axes)), np.dtype(_IDX[code])


def _norb_header(file: Any) -> Header:
    code, magic, axes = struct.unpack("<B3sI", file.read(8))
    if code not in _NORB or magic != b"\x4c\x3d\x1e" or not 0 < axes < 10:
        raise ValueError(f"a file that begins with {code:02x} {magic.hex()} and has {axes} axes")
    sizes = struct.unpack(f"<{max(3, axes)}I", file.read(4 * max(3, axes)))  # padded with ones
    return sizes[:axes], np.dtype(_NORB[code])
