"""Read HDF5 files: mapped into memory if the layout allows it, otherwise chunk by chunk."""

from __future__ import annotations

import math
import os
import shlex
import warnings
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from keras_disent._utils.callers import outside
from keras_disent._utils.files import atomic_write
from keras_disent.datasets.stored.checks import Path, Progress, file_size, malformed, wrap_errors
from keras_disent.datasets.stored.rows import SlicedRows

_HDF5 = "to be an HDF5 file"
_BUFFER = 2**24  # bytes that are copied at once, unless a chunk of rows has more
_SLOW_CHUNKS = 8
_SLOW_ROWS = 64


class HDF5Rows(SlicedRows):
    """Rows of a data set of an HDF5 file; see `SlicedRows`.

    The file stays open until the object is deleted. Copies in other processes open it again.

    Args:
        path, name: See `open_hdf5`.
    """

    def __init__(self, path: Path, name: str):
        self._path, self._name = path, name
        file = _opened(path)
        with wrap_errors(path, _HDF5):
            data = file.get(name)
            if not isinstance(data, h5py.Dataset):
                keys = ", ".join(list(file)[:10])
                raise malformed(path, f"a data set '{name}'", f"{keys or 'nothing'} in it")
            if data.dtype.kind not in "biufc" or not data.shape:
                raise malformed(path, f"rows of numbers in '{name}'", f"{data.dtype} {data.shape}")
            _check_written(path, data)
            super().__init__(data)
            self.dtype = np.dtype(data.dtype.str)  # without the names of an enumeration

    def _read(self, low: int, high: int) -> np.ndarray:
        with wrap_errors(self._path, f"'{self._name}' to be complete"):
            return super()._read(low, high)

    def __reduce__(self) -> tuple[Any, ...]:
        return HDF5Rows, (self._path, self._name)


def open_hdf5(path: Path, name: str, *, warn: bool = True) -> np.ndarray | HDF5Rows:
    """Open a data set of an HDF5 file.

    Args:
        path: File to read.
        name: Name of the data set, such as `"latents/classes"`.
        warn: Whether to warn that single rows are slow to read. Use False for data sets that
            are read completely.

    Returns:
        A read-only `np.memmap` if the data set is contiguous; otherwise `HDF5Rows`.

    Warns:
        UserWarning: A row lies in more than 8 chunks, or a chunk holds more than 64 rows.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["images"] = np.arange(6).reshape(3, 2)
    >>> open_hdf5(path, "images")[np.array([2, 0, 2])]
    array([[4, 5],
           [0, 1],
           [4, 5]])
    """
    rows = HDF5Rows(path, name)
    data, offset = rows.source, rows.source.id.get_offset()
    if offset is not None and h5py.h5t.py_create(data.dtype, logical=True).equal(
        data.id.get_type()
    ):
        with wrap_errors(path, _HDF5):
            # An external link leads to another file.
            return np.memmap(data.file.filename, rows.dtype, "r", offset, rows.shape)
    if warn and data.chunks:
        chunks_per_row = math.prod(map(_steps, data.shape[1:], data.chunks[1:]))
        rows_per_chunk = min(data.chunks[0], len(rows))
        if chunks_per_row > _SLOW_CHUNKS or rows_per_chunk > _SLOW_ROWS:
            warnings.warn(
                f"Single rows of '{os.fspath(path)}' are slow to read: a row of '{name}' lies in "
                f"{chunks_per_row} chunk(s), and a chunk holds {rows_per_chunk} row(s). Convert "
                f"the file once: keras-disent data convert {shlex.quote(os.fspath(path))}",
                UserWarning,
                stacklevel=outside(),
            )
    return rows


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every data set of an HDF5 file by its name."""
    shape_by_name: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            shape_by_name[name] = item.shape

    with wrap_errors(path, _HDF5), _opened(path) as file:
        file.visititems(visit)
    return shape_by_name


def read_column(path: Path, name: str) -> np.ndarray:
    """Read a data set of numbers or texts `(n,)` into memory."""
    with wrap_errors(path, f"'{name}' to be complete"), _opened(path) as file:
        data = file[name]
        text = h5py.check_string_dtype(data.dtype) is not None
        return np.asarray(data.asstr()[:] if text else data[:])


def resave_hdf5(source: Path, target: Path, progress: Progress | None = None) -> None:
    """Rewrite an HDF5 file with uncompressed, contiguous data sets, in bounded memory.

    Groups, attributes and links are kept.

    Args:
        source: File to read.
        target: File to write atomically; may be `source`.
        progress: Function that is called with the number of bytes written and their total.

    Raises:
        OSError: `target` cannot be written.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/a.h5"
    >>> with h5py.File(path, "w") as file:
    ...     _ = file.create_dataset("images", (9, 4), "uint8", chunks=(3, 4), fillvalue=1)
    ...     file["images"][:] = 5
    >>> resave_hdf5(path, path)
    >>> type(open_hdf5(path, "images")).__name__
    'memmap'
    """
    links: dict[str, Any] = {}
    with _opened(source) as old:
        with wrap_errors(source, _HDF5):
            old.visititems_links(links.__setitem__)  # a group comes before what is in it
            items = {n: old[n] for n, link in links.items() if isinstance(link, h5py.HardLink)}
        chunked = {item for item in items.values() if getattr(item, "chunks", None)}
        done, total = 0, sum(item.nbytes for item in chunked)
        with atomic_write(os.fspath(target)) as temporary, h5py.File(temporary, "w") as new:
            copies = {old["/"]: new["/"]}
            for name, link in links.items():
                item = items.get(name)
                if item is None or item in copies:  # a link, or another name
                    new[name] = copies.get(item, link)
                    continue
                if isinstance(item, h5py.Group):
                    new.create_group(name)
                elif item not in chunked:
                    old.copy(item, new, name)
                else:
                    copy = new.create_dataset(name, item.shape, item.dtype)
                    for start, block in _blocks(source, item):
                        copy[start : start + len(block)] = block
                        done += block.nbytes
                        if progress is not None:
                            progress(done, total)
                copies[item] = new[name]
            for item, copy in copies.items():
                copy.attrs.update(item.attrs)


def _blocks(path: Path, data: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield all rows of a chunked data set in blocks of complete chunks, with their first row."""
    _check_written(path, data)
    depth = SlicedRows(data).depth
    step = depth * max(1, _BUFFER * len(data) // max(1, depth * data.nbytes))
    for start in range(0, len(data), step):
        with wrap_errors(path, f"'{data.name}' to be complete"):
            block = data[start : start + step]
        yield start, block


def _opened(path: Path) -> Any:
    file_size(path)
    with wrap_errors(path, _HDF5):
        return h5py.File(path, "r")


def _check_written(path: Path, data: Any) -> None:
    """Raise an error if values were never written, which HDF5 would read as zeros."""
    if data.chunks:
        needed, written = math.prod(map(_steps, data.shape, data.chunks)), data.id.get_num_chunks()
        if written != needed:
            rule = f"{needed} chunks for '{data.name}' of shape {data.shape}"
            raise malformed(path, rule, written)
    elif data.size and not (data.is_virtual or data.external or data.id.get_storage_size()):
        raise malformed(path, f"{data.nbytes} bytes of '{data.name}'", "none: it was not written")


def _steps(size: int, step: int) -> int:
    return -(-size // step)
