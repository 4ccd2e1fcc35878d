"""Read idx files (MNIST) and NORB's binary matrix files, gzipped or not."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from keras_disent.datasets.stored.checks import (
    Path,
    byte_size,
    check_expansion,
    file_size,
    malformed,
    wrap_errors,
)
from keras_disent.datasets.stored.rows import Layout, Stream, check_rows, map_rows, read_blocks

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
    return _open(path, _IDX, _idx_header)


def open_norb(path: Path) -> np.ndarray | Stream:
    """Open a binary matrix file of NORB; as `open_idx`, little-endian.

    Raises:
        FileNotFoundError, ValueError: See `open_idx`.
    """
    return _open(path, _NORB, _norb_header)


def read_rows(rows: np.ndarray | Stream) -> np.ndarray:
    """Read all rows into memory.

    Raises:
        ValueError: A stream is broken.
    """
    if not isinstance(rows, Stream):
        return np.array(rows)
    empty = np.empty((0, *rows.shape[1:]), rows.dtype)
    return np.concatenate([empty, *rows.blocks])


def _open(
    path: Path, rule: str, read_header: Callable[[Path, BinaryIO], Layout]
) -> np.ndarray | Stream:
    size = file_size(path)
    with wrap_errors(path, rule), open(path, "rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not is_packed:
            layout = read_header(path, raw)
            return map_rows(path, raw, layout, size - layout.offset)
        with gzip.open(raw) as file:
            layout = read_header(path, file)  # type: ignore[arg-type]
    check_rows(path, layout)
    check_expansion(path, layout.offset + byte_size(layout.shape, layout.dtype), size)

    def blocks() -> Iterator[np.ndarray]:
        with wrap_errors(path, rule), gzip.open(path) as file:
            yield from read_blocks(path, file, read_header(path, file))  # type: ignore[arg-type]

    return Stream(layout.shape, layout.dtype, blocks())


def _idx_header(path: Path, file: BinaryIO) -> Layout:
    magic = file.read(4)
    if magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        raise malformed(path, "to begin with 00 00 and the type of an idx file", magic.hex(" "))
    axes = magic[3]
    shape = struct.unpack(f">{axes}I", file.read(4 * axes))
    return Layout(shape, np.dtype(_IDX_TYPES[magic[2]]), 4 + 4 * axes)


def _norb_header(path: Path, file: BinaryIO) -> Layout:
    magic, axes = struct.unpack("<Ii", file.read(8))
    if magic not in _NORB_TYPES or not 1 <= axes <= 32:
        raise malformed(path, "the header of a binary matrix", f"{magic:08x} with {axes} axes")
    written = max(3, axes)  # padded with ones
    sizes = struct.unpack(f"<{written}i", file.read(4 * written))
    return Layout(sizes[:axes], np.dtype(_NORB_TYPES[magic]), 8 + 4 * written)
