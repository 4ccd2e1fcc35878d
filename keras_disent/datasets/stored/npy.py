"""Read .npy files and the members of .npz archives with NumPy, without unpickling anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_disent.datasets.stored.checks import Path, file_size, malformed, wrap_errors
from keras_disent.datasets.stored.rows import Stream, map_rows, stream_rows


def map_npy(path: Path) -> np.ndarray:
    """Map an .npy file into memory, read-only.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npy"
    >>> np.save(path, np.arange(6).reshape(3, 2))
    >>> map_npy(path)[[2, 0, 2]]
    array([[4, 5],
           [0, 1],
           [4, 5]])
    """
    file_size(path)
    with wrap_errors(path, "to be an .npy file of numbers"), open(path, "rb") as file:
        return map_rows(path, *_rows_header(path, file), file.tell())


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array in an .npz archive by its name.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.zeros((3, 4)), labels=np.zeros(3))
    >>> shapes(path)
    {'images': (3, 4), 'labels': (3,)}
    """
    shape_by_name = {}
    with _archive(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    shape_by_name[name.removesuffix(".npy")] = _header(file)[0]
    return shape_by_name


def read_npz(path: Path, member: str) -> np.ndarray:
    """Read a member of an .npz archive into memory: numbers, texts or dates."""
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

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.arange(6).reshape(3, 2))
    >>> open_npz(path, "images")[[2, 0]]
    array([[4, 5],
           [0, 1]])
    """
    name = f"{member}.npy"
    with _archive(path) as archive:
        if name not in archive.namelist():
            names = [other.removesuffix(".npy") for other in archive.namelist()]
            raise malformed(path, f"a member '{member}'", names[:10])
        with archive.open(name) as file:
            info, start = archive.getinfo(name), archive.fp.tell()  # of the member in the archive
            header, offset = _rows_header(path, file), file.tell()
    if info.compress_type == zipfile.ZIP_STORED:
        return map_rows(path, *header, start + offset, start + info.file_size)

    return stream_rows(path, lambda: zipfile.Path(path, name).open("rb"), *header, offset)


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    file_size(path)
    with wrap_errors(path, "to be an .npz file"), zipfile.ZipFile(path) as archive:
        yield archive


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, Fortran order and dtype; afterward `file` is at the first byte of the data."""
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    return read(file)


def _rows_header(path: Path, file: Any) -> tuple[tuple[int, ...], np.dtype]:
    shape, fortran, dtype = _header(file)
    if dtype.hasobject:
        raise malformed(path, "numbers or texts", "Python objects, which are never unpickled")
    if fortran and len(shape) > 1:
        raise malformed(path, "C order: save np.ascontiguousarray(images)", "Fortran order")
    return shape, dtype
