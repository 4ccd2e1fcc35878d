"""Rows of arrays in files: mapped into memory, read by slices, or streamed in blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.source import check_indices
from keras_disent.datasets.stored.checks import Path, file_size, malformed, wrap_errors

BLOCK = 2**22  # bytes of a stream that are read at once
SLICE = 2**27  # bytes of a chunk of rows that are read at once; those of dSprites have 94 MB


class Stream(NamedTuple):
    """An array that is read in consecutive blocks of rows.

    Attributes:
        shape: Shape of the complete array.
        dtype: Dtype of the complete array.
        blocks: Iterator over arrays `(k, *shape[1:])` of about 4 MB each; it can be used once.
            It raises a `ValueError` for broken data, at the latest after the last block.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Iterator[np.ndarray]


class SelectedRows:
    """Some rows of an array, which are read when they are indexed.

    Args:
        rows: Array, or an object with a shape and dtype that returns rows for an array of indices.
        numbers: `(n,)` numbers of the selected rows.
    """

    def __init__(self, rows: Any, numbers: np.ndarray):
        self.rows, self.numbers = rows, numbers
        self.shape, self.dtype = (len(numbers), *rows.shape[1:]), rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.rows[self.numbers[indices]]


class SlicedRows:
    """Rows of an object that reads slices, such as a data set of h5py or an array of Zarr.

    A call reads each chunk once, if the rows of a chunk have at most 128 MB.

    Args:
        source: Object with a shape and dtype, and chunks if it has any.

    Attributes:
        depth: Number of rows that are read together; 1 without chunks, where each run of
            consecutive rows is read.
    """

    def __init__(self, source: Any):
        self.source = source
        self.shape, self.dtype = tuple(source.shape), np.dtype(source.dtype)
        size = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        chunks = getattr(source, "chunks", None) or (1,)
        self.depth = min(chunks[0], max(1, SLICE // size))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: ArrayLike) -> np.ndarray:
        checked = check_indices(indices, len(self))
        if len(checked) and (np.diff(checked) == 1).all():  # as for reading everything
            return self._read(int(checked[0]), int(checked[-1]) + 1)
        rows, inverse = np.unique(checked, return_inverse=True)
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        together = rows // self.depth if self.depth > 1 else rows - np.arange(len(rows))
        starts = np.unique(together, return_index=True)[1]
        for start, stop in itertools.pairwise([*starts, len(rows)]):
            low, high = int(rows[start]), int(rows[stop - 1]) + 1
            values[start:stop] = self._read(low, high)[rows[start:stop] - low]
        return values[inverse]

    def _read(self, low: int, high: int) -> np.ndarray:
        return np.asarray(self.source[low:high])


def map_rows(
    path: Path, shape: Sequence[int], dtype: np.dtype, offset: int, end: int | None = None
) -> np.memmap:
    """Map an array that fills a file from `offset` to `end`, by default that of the file.

    Raises:
        ValueError: The array needs more or fewer bytes.
    """
    needed = math.prod(shape) * dtype.itemsize
    available = (file_size(path) if end is None else end) - offset
    if needed != available:
        raise malformed(path, f"{needed} bytes for the shape {tuple(shape)} of {dtype}", available)
    return np.memmap(path, dtype, "r", offset, tuple(shape))


def stream_rows(
    path: Path,
    opened: Callable[[], AbstractContextManager[Any]],
    shape: Sequence[int],
    dtype: np.dtype,
    offset: int,
) -> Stream:
    """Stream an array that fills compressed contents from `offset` to the end.

    Args:
        path: File, for messages.
        opened: Function that opens the contents as a file.
        shape, dtype, offset: Of the array. The blocks raise a `ValueError` if it needs more or
            fewer bytes.
    """
    count, *row = shape or (1,)
    size = max(1, math.prod(row) * dtype.itemsize)
    step = max(1, BLOCK // 4 // size)  # while it is unpacked there are a few copies
    rule = f"{count * size} bytes for the shape {tuple(shape)} of {dtype}"

    def blocks() -> Iterator[np.ndarray]:
        with wrap_errors(path, rule), opened() as file:
            file.seek(offset)
            for start in range(0, count, step):
                length = min(step, count - start) * size
                data = file.read(length)
                if len(data) < length:
                    got = f"only {start * size + len(data)}: the file is truncated"
                    raise malformed(path, rule, got)
                yield np.frombuffer(data, dtype).reshape(-1, *row)
            if file.read(1):  # at the end, checksums are compared
                raise malformed(path, rule, "more")

    return Stream(tuple(shape), dtype, blocks())


def copy_blocks(stream: Stream, target: np.ndarray, description: str) -> None:
    """Copy a stream into an array, with a progress bar.

    Args:
        stream: Rows; their leading axes are flattened.
        target: Array to fill, rows first.
        description: Text in front of the progress bar.
    """
    done = 0
    with progress_bar(description) as advance:
        for block in stream.blocks:
            rows = block.reshape(-1, *target.shape[1:])
            target[done : done + len(rows)] = rows
            done += len(rows)
            advance(done, len(target))
