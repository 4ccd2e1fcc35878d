"""Read HDF5 files: mapped into memory if the layout allows it, otherwise chunk by chunk."""

from __future__ import annotations

import itertools
import math
import os
import shlex
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.callers import outside
from keras_disent._utils.files import atomic_write
from keras_disent.datasets.source import check_indices
from keras_disent.datasets.stored.checks import (
    Path,
    Progress,
    byte_size,
    check_shape,
    file_size,
    malformed,
    wrap_errors,
)
from keras_disent.datasets.stored.rows import Layout, RowSource, map_rows

_HDF5 = "to be an HDF5 file"
_MAX_CHUNK = 2**25
_MAX_ATTRIBUTE = 2**20
_BUFFER = 48 * 2**20
_SLOW_CHUNKS = 8
_SLOW_ROWS = 64


def open_hdf5(path: Path, name: str, *, warn: bool = True) -> RowSource:
    """Open a data set of an HDF5 file.

    Args:
        path: File to read.
        name: Name of the data set, such as `"latents/classes"`. Only hard links are followed.
        warn: Whether to warn that single rows are slow to read. Use False for data sets that
            are read completely.

    Returns:
        A read-only `np.memmap` if the data set is contiguous; an array in memory if the data set
        is empty or stored in its header; otherwise `ChunkedRows`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an HDF5 file; the data set is missing, not numeric, virtual,
            incomplete or in another file; or its chunks are larger than 32 MB.

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
    with wrap_errors(path, _HDF5), _opened(path) as file:
        data = _find(path, file, name)
        layout = data.id.get_create_plist().get_layout()
        dtype = np.dtype(data.dtype.str)
        if layout == h5py.h5d.CONTIGUOUS or 0 in data.shape:
            array = Layout(data.shape, dtype, data.id.get_offset() or 0)
            with open(path, "rb") as raw:
                return map_rows(path, raw, array, byte_size(data.shape, dtype))
        if layout == h5py.h5d.COMPACT:
            return np.asarray(data[()])
    rows = ChunkedRows(path, name)
    if warn:
        _warn_if_slow(path, name, rows)
    return rows


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every data set of an HDF5 file by its name.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an HDF5 file.
    """
    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if _is_data(item) and item.shape is not None:
            found[name] = item.shape

    with wrap_errors(path, _HDF5), _opened(path) as file:
        file.visititems(visit)
    return found


def read_column(path: Path, name: str) -> np.ndarray:
    """Read a data set of numbers or texts `(n,)` into memory.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It cannot be read.
    """
    with wrap_errors(path, f"'{name}' to be complete"), _opened(path) as file:
        data = file[name]
        text = h5py.check_string_dtype(data.dtype) is not None
        return np.asarray(data.asstr()[:] if text else data[:])


class ChunkedRows:
    """Rows of a chunked data set; a call reads each chunk at most once.

    The file stays open until the object is deleted. Copies in other processes open it again.

    Args: The same as for `open_hdf5`.

    Attributes:
        shape: Shape of the array; the first axis counts the rows.
        dtype: Dtype of the rows.
        chunks: Shape of a chunk.

    Raises:
        FileNotFoundError, ValueError: See `open_hdf5`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]

    def __init__(self, path: Path, name: str):
        self._path, self._name = path, name
        file = _opened(path)
        try:
            with wrap_errors(path, _HDF5):
                self._data = _find(path, file, name)
                self.shape, self.dtype = self._data.shape, np.dtype(self._data.dtype.str)
                self.chunks = self._data.chunks or self.shape
        except ValueError:
            file.close()
            raise
        self._file = file

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: ArrayLike) -> np.ndarray:
        """Return the rows at `(n,)` indices, in any order; indices may repeat.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
            ValueError: A chunk of these rows is broken.
        """
        checked = check_indices(indices, len(self))
        rows, inverse = np.unique(checked, return_inverse=True)
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        starts = np.unique(rows // self.chunks[0], return_index=True)[1]
        for start, stop in itertools.pairwise([*starts, len(rows)]):
            low, high = int(rows[start]), int(rows[stop - 1]) + 1
            for box in self._boxes(high - low):
                with wrap_errors(self._path, f"'{self._name}' to be complete"):
                    slab = self._data[(slice(low, high), *box)]
                values[(slice(start, stop), *box)] = slab[rows[start:stop] - low]
        # Sorted indices without repeats, as for reading a complete file, need no copy.
        return values if np.array_equal(rows, checked) else values[inverse]

    def __reduce__(self) -> tuple:
        return ChunkedRows, (self._path, self._name)

    def _boxes(self, rows: int) -> Iterator[tuple[slice, ...]]:
        """Split `rows` rows across their other axes: one box if they are small, or the chunks."""
        row_shape = self.shape[1:]
        if rows * byte_size(row_shape, self.dtype) <= _MAX_CHUNK:
            yield tuple(slice(0, n) for n in row_shape)
            return
        steps = zip(row_shape, self.chunks[1:], strict=True)
        for corner in itertools.product(*(range(0, n, step) for n, step in steps)):
            yield tuple(slice(a, a + c) for a, c in zip(corner, self.chunks[1:], strict=True))


def resave_hdf5(source: Path, target: Path, progress: Progress | None = None) -> None:
    """Rewrite an HDF5 file with uncompressed, contiguous data sets, in under 100 MB of memory.

    Groups, attributes and hard links are kept.

    Args:
        source: File to read.
        target: File to write atomically; may be `source`.
        progress: Function that is called with the number of bytes written and their total.

    Raises:
        FileNotFoundError: The source does not exist.
        ValueError: `source` is not an HDF5 file; it has soft or external links, objects,
            references or values of variable length (except strings in attributes); or it has
            virtual or incomplete data sets.
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
    with _opened(source) as old:
        with wrap_errors(source, _HDF5):
            plan = _plan(source, old)
        total = sum(
            byte_size(item.shape, item.dtype)
            for _, item, first in plan
            if _is_data(item) and item.shape and not first
        )
        done = 0
        with atomic_write(os.fspath(target)) as temporary, h5py.File(temporary, "w") as new:
            for where, item, first in plan:
                if first:
                    new[where] = new[first]
                    continue
                if not _is_data(item):
                    copy = new.require_group(where)
                elif item.shape:
                    copy = new.create_dataset(where, item.shape, item.dtype)
                    for box in _boxes(item.shape, item.chunks, item.dtype.itemsize):
                        with wrap_errors(source, f"'{where}' to be complete"):
                            part = item[box]
                        copy[box] = part
                        done += part.nbytes
                        del part  # free its memory before reading the next one
                        if progress is not None:
                            progress(done, total)
                else:
                    with wrap_errors(source, f"'{where}' to be complete"):
                        value = item[()]
                    copy = new.create_dataset(where, data=value, dtype=item.dtype)
                for key in item.attrs:
                    with wrap_errors(source, f"the attribute '{key}' of '{where}' to be complete"):
                        value, kind = item.attrs[key], item.attrs.get_id(key).dtype
                    copy.attrs.create(key, value, dtype=kind)


def _opened(path: Path) -> Any:
    file_size(path)
    with wrap_errors(path, _HDF5):
        return h5py.File(path, "r")


def _is_data(item: object) -> bool:
    return isinstance(item, h5py.Dataset)


def _find(path: Path, file: Any, name: str) -> Any:
    item = file
    for part in name.strip("/").split("/"):
        if not isinstance(item, h5py.Group) or item.get(part, getlink=True) is None:
            keys = ", ".join(itertools.islice(file, 10))
            raise malformed(path, f"a data set '{name}'", f"{keys or 'nothing'} in it")
        item = _child(path, item, part)
    if not _is_data(item):
        raise malformed(path, f"a data set '{name}'", "another kind of item")
    _check_data(path, name, item)
    check_shape(path, item.shape or ())
    standard = h5py.h5t.py_create(item.dtype, logical=True)
    if item.dtype.kind not in "biufc" or not standard.equal(item.id.get_type()):
        rule = f"numbers of a standard type in '{name}'"
        raise malformed(path, rule, f"{item.dtype}, in a nonstandard format or not numeric")
    return item


def _child(path: Path, group: Any, name: str) -> Any:
    link = group.get(name, getlink=True)
    if name in ("", ".") or "\0" in name or not isinstance(link, h5py.HardLink):
        raise malformed(path, f"a hard link for '{name}'", type(link).__name__)
    return group[name]


def _check_data(path: Path, name: str, data: Any) -> None:
    """Raise an error unless all values of a data set are in this file, with a fixed size."""
    if data.dtype.hasobject:
        rule = f"values of fixed size in '{name}'"
        raise malformed(path, rule, "objects, references or variable lengths")
    properties = data.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise malformed(path, f"the values of '{name}' in the same file", "another file")
    for number in range(properties.get_nfilters()):
        code, _, _, title = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise malformed(path, f"available filters for '{name}'", f"{code}, {title!r}")
    if data.shape is None or 0 in data.shape:
        return
    claimed = byte_size(data.shape, data.dtype)
    if layout != h5py.h5d.CHUNKED:
        stored = data.id.get_storage_size()
        end = (data.id.get_offset() or 0) + stored
        if stored != claimed or (layout == h5py.h5d.CONTIGUOUS and not data.id.get_offset()):
            raise malformed(path, f"{claimed} bytes of '{name}'", f"{stored}, or unwritten")
        if end > file_size(path):
            raise malformed(path, f"{end} bytes for '{name}'", f"{file_size(path)}: truncated")
        return
    if byte_size(data.chunks, data.dtype) > _MAX_CHUNK:
        rule = f"chunks of at most {_MAX_CHUNK} bytes in '{name}'"
        raise malformed(path, rule, f"{byte_size(data.chunks, data.dtype)}")
    needed = math.prod(map(_steps, data.shape, data.chunks))
    if data.id.get_num_chunks() != needed:
        rule = f"{needed} chunks for '{name}' of shape {data.shape}"
        raise malformed(path, rule, f"{data.id.get_num_chunks()}")


def _steps(size: int, step: int) -> int:
    return -(-size // step)


def _warn_if_slow(path: Path, name: str, rows: ChunkedRows) -> None:
    chunks_per_row = math.prod(map(_steps, rows.shape[1:], rows.chunks[1:]))
    rows_per_chunk = min(rows.chunks[0], len(rows))
    if chunks_per_row <= _SLOW_CHUNKS and rows_per_chunk <= _SLOW_ROWS:
        return
    warnings.warn(
        f"Single rows of '{os.fspath(path)}' are slow to read: a row of '{name}' lies in "
        f"{chunks_per_row} chunk(s), and a chunk holds {rows_per_chunk} row(s). "
        f"Convert the file once: keras-disent data convert {shlex.quote(os.fspath(path))}",
        UserWarning,
        stacklevel=outside(),
    )


def _plan(path: Path, file: Any) -> list[tuple[str, Any, str]]:
    """List all groups and data sets: name, item, and an earlier name of the same item or ''."""
    plan = []
    first_names: dict[tuple[int, int], str] = {}
    pending = [("/", file)]
    while pending:
        where, item = pending.pop()
        info = h5py.h5o.get_info(item.id)
        first = first_names.setdefault((info.fileno, info.addr), where)
        plan.append((where, item, first if first != where else ""))
        if first != where:
            continue
        for key in item.attrs:
            _check_attribute(path, where, key, item.attrs.get_id(key))
        if isinstance(item, h5py.Group):
            inside = where.rstrip("/")
            pending.extend((f"{inside}/{key}", _child(path, item, key)) for key in item)
        elif _is_data(item):
            _check_data(path, where, item)
        else:
            raise malformed(path, "groups and data sets", f"a named type '{where}'")
    return plan


def _check_attribute(path: Path, where: str, key: str, attribute: Any) -> None:
    if attribute.dtype.hasobject and not h5py.check_string_dtype(attribute.dtype):
        rule = f"numbers or strings for the attribute '{key}' of '{where}'"
        raise malformed(path, rule, "references or variable lengths")
    size = attribute.get_space().get_simple_extent_npoints() * attribute.dtype.itemsize
    if size > _MAX_ATTRIBUTE:
        rule = f"at most {_MAX_ATTRIBUTE} bytes for the attribute '{key}' of '{where}'"
        raise malformed(path, rule, size)


def _boxes(
    shape: Sequence[int], chunks: Sequence[int] | None, itemsize: int
) -> Iterator[tuple[slice, ...]]:
    """Split an array into parts of at most 48 MB, aligned with its chunks where these fit."""
    if not shape:
        yield ()
        return
    count, *rest = shape
    depth, *across = chunks or [1] * len(shape)
    inner = itemsize * math.prod(rest)
    step = max(1, _BUFFER // max(1, inner))
    step = step // depth * depth if step >= depth else _steps(depth, _steps(depth, step))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        if inner <= _BUFFER:
            yield (part, *(slice(0, n) for n in rest))
        else:
            for box in _boxes(rest, across, itemsize):
                yield (part, *box)
