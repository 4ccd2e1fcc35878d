"""Read .npy files and the members of .npz archives with NumPy, without unpickling anything."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from keras_disent.datasets.stored.checks import Path, byte_size, file_size, malformed, wrap_errors
from keras_disent.datasets.stored.rows import Layout, Stream, check_rows, map_rows, read_blocks

_NPY = "to be an .npy file of numbers"
_NPZ = "to be an .npz file"
_MAX_HEADER = 10_000  # bytes, as NumPy allows at most


def map_npy(path: Path) -> np.ndarray:
    """Map an .npy file into memory.

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
        ValueError: The file is not an archive.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.zeros(3), labels=np.zeros(3))
    >>> members(path)
    ['images', 'labels']
    """
    with _archive(path) as (_, archive):
        return [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]


def shape_npz(path: Path, member: str) -> tuple[int, ...]:
    """Return the shape of a member of an .npz archive, of any dtype.

    Raises:
        FileNotFoundError, ValueError: See `open_npz`.
    """
    with _archive(path) as (_, archive), archive.open(_find(path, archive, member)) as file:
        return _read_header(path, file, any_dtype=True).shape


def read_npz(path: Path, member: str) -> np.ndarray:
    """Read a member of an .npz archive into memory: numbers, texts or dates.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The member is missing, broken, or holds objects, which are never unpickled.
    """
    with _archive(path) as (_, archive), archive.open(_find(path, archive, member)) as file:
        if _read_header(path, file, any_dtype=True).dtype.hasobject:
            rule = f"numbers or texts in '{member}': save texts as np.array(texts, dtype=str)"
            raise malformed(path, rule, "Python objects, which are never unpickled")
    with wrap_errors(path, _NPZ), np.load(path, allow_pickle=False) as arrays:
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
        ValueError: The file is not an archive; or the member is missing, encrypted, not numeric,
            or its size differs from its header. The blocks raise it for broken data.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.npz"
    >>> np.savez(path, images=np.arange(6).reshape(3, 2))
    >>> open_npz(path, "images")[[2, 0]]
    array([[4, 5],
           [0, 1]])
    """
    with _archive(path) as (file, archive):
        info = _find(path, archive, member)
        if info.compress_type == zipfile.ZIP_STORED:
            start = _data_start(file, info)
            file.seek(start)
            layout = _read_header(path, file)
            available = info.file_size - (layout.offset - start)
            return map_rows(path, file, layout, available)
        with archive.open(info) as packed:
            layout = _read_header(path, packed)
            check_rows(path, layout)
            needed = layout.offset + byte_size(layout.shape, layout.dtype)
            if needed != info.file_size:
                rule = f"{needed} bytes for '{member}' of shape {layout.shape}"
                raise malformed(path, rule, info.file_size)

    def blocks() -> Iterator[np.ndarray]:
        with _archive(path) as (_, archive), archive.open(f"{member}.npy") as packed:
            yield from read_blocks(path, packed, _read_header(path, packed))  # type: ignore[arg-type]

    return Stream(layout.shape, layout.dtype, blocks())


@contextmanager
def _archive(path: Path) -> Iterator[tuple[BinaryIO, zipfile.ZipFile]]:
    file_size(path)
    with wrap_errors(path, _NPZ), open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        yield file, archive


def _find(path: Path, archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{member}.npy")
    except KeyError:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        raise malformed(path, f"a member '{member}'", names[:10]) from None


def _data_start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Return the offset of a member's data: it follows a header of 30 bytes and two texts."""
    file.seek(info.header_offset + 26)
    texts = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(texts.sum())


def _read_header(path: Path, file: Any, any_dtype: bool = False) -> Layout:
    """Read the header of an .npy file; afterward `file` is at the first byte of the data."""
    start = file.tell()
    # NumPy allocates what the header claims as its own size, up to 4 GB.
    head = io.BytesIO(file.read(_MAX_HEADER))
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(head)
    file.seek(start + head.tell())
    if not any_dtype and dtype.kind not in "biufc":
        rule = "numbers: bool, integer, float or complex. Pickled objects are never read"
        raise malformed(path, rule, f"the dtype {dtype}")
    if fortran and len(shape) > 1 and not any_dtype:
        raise malformed(path, "C order: save np.ascontiguousarray(images)", "Fortran order")
    return Layout(shape, dtype, file.tell())
