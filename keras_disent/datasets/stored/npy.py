"""Read .npy files and the members of .npz archives with NumPy, without unpickling anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_disent.datasets.stored.checks import Path, file_size, malformed, wrap_errors
from keras_disent.datasets.stored.rows import Stream, map_rows, read_blocks

_NPY = "to be an .npy file of numbers"
_NPZ = "to be an .npz file"

Header = tuple[tuple[int, ...], np.dtype]


def map_npy(path: Path) -> np.ndarray:
    """Map an .npy file into memory.

    Returns:
        A read-only `np.memmap`; an empty array if there are no rows.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an .npy file, or its size differs from its header.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npy"
    >>> np.save(path, np.arange(6).reshape(3, 2))
    >>> map_npy(path)[[2, 0, 2]]
    array([[4, 5],
           [0, 1],
           [4, 5]])
    """
    file_size(path)
    with wrap_errors(path, _NPY), open(path, "rb") as file:
        shape, dtype = _header(path, file)
        return map_rows(path, shape, dtype, file.tell())


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array in an .npz archive by its name.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an archive of arrays.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.zeros((3, 4)), labels=np.zeros(3))
    >>> shapes(path)
    {'images': (3, 4), 'labels': (3,)}
    """
    found = {}
    with _archive(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    found[name.removesuffix(".npy")] = _header(path, file, any_order=True)[0]
    return found


def read_npz(path: Path, member: str) -> np.ndarray:
    """Read a member of an .npz archive into memory: numbers, texts or dates.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The member is missing, broken, or holds objects, which are never unpickled.
    """
    rule = f"numbers or texts in '{member}': save texts as np.array(texts, dtype=str)"
    with wrap_errors(path, rule), np.load(path, allow_pickle=False) as arrays:
        return arrays[member]


def open_npz(path: Path, member: str) -> np.ndarray | Stream:
    """Open a member of an .npz archive.

    The checksum of a mapped member is ignored, because comparing it would read all of it.

    Args:
        path: Archive.
        member: Name of the array, such as `"images"`.

    Returns:
        A read-only `np.memmap` if the member is uncompressed, as `np.savez` writes it; otherwise a
        `Stream` of blocks, whose checksum is compared after the last one.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an archive; or the member is missing, encrypted, or its size
            differs from its header. The blocks raise it for broken data.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.arange(6).reshape(3, 2))
    >>> open_npz(path, "images")[[2, 0]]
    array([[4, 5],
           [0, 1]])
    """
    with _archive(path) as archive:
        name = f"{member}.npy"
        if name not in archive.namelist():
            names = [other.removesuffix(".npy") for other in archive.namelist()]
            raise malformed(path, f"a member '{member}'", names[:10])
        info = archive.getinfo(name)
        with archive.open(info) as file:
            shape, dtype = _header(path, file)
            offset = file.tell()
        if info.compress_type == zipfile.ZIP_STORED:
            start = _data_start(archive, info)
            return map_rows(path, shape, dtype, start + offset, start + info.file_size)

    def blocks() -> Iterator[np.ndarray]:
        with _archive(path) as archive, archive.open(name) as file:
            _header(path, file)
            yield from read_blocks(path, file, shape, dtype)

    return Stream(shape, dtype, blocks())


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    file_size(path)
    with wrap_errors(path, _NPZ), zipfile.ZipFile(path) as archive:
        yield archive


def _data_start(archive: Any, info: zipfile.ZipInfo) -> int:
    """Return the offset of a member's data: it follows a header of 30 bytes and two texts."""
    archive.fp.seek(info.header_offset + 26)
    texts = np.frombuffer(archive.fp.read(4), "<u2")
    return info.header_offset + 30 + int(texts.sum())


def _header(path: Path, file: Any, any_order: bool = False) -> Header:
    """Read the header of an .npy file; afterward `file` is at the first byte of the data."""
    version = np.lib.format.read_magic(file)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any_order:
        return shape, dtype
    if dtype.hasobject:
        raise malformed(path, "numbers or texts", "Python objects, which are never unpickled")
    if fortran and len(shape) > 1:
        raise malformed(path, "C order: save np.ascontiguousarray(images)", "Fortran order")
    return shape, dtype
