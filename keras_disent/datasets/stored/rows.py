"""Map rows of a file into memory, or stream them in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.stored.checks import Path, byte_size, check_shape, malformed

BLOCK = 2**22
MAX_ROW = 2**24
_PIECE = 2**20


class RowSource(Protocol):
    """Anything that returns rows by index; `np.ndarray` and `np.memmap` are row sources."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array; the first axis counts the rows."""

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray:
        """Return the rows at int64 `indices`, in any order; indices may repeat."""


class Layout(NamedTuple):
    """Shape and dtype of an array in a file, and the offset of its first byte."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int


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
        rows: Array, or reader of rows.
        numbers: `(n,)` numbers of the selected rows.
    """

    def __init__(self, rows: RowSource, numbers: np.ndarray):
        self.rows, self.numbers = rows, numbers
        self.shape, self.dtype = (len(numbers), *rows.shape[1:]), rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.rows[self.numbers[indices]]


def map_rows(path: Path, file: BinaryIO, layout: Layout, available: int) -> np.ndarray:
    """Map an array that fills `available` bytes of `file`.

    Returns:
        A read-only `np.memmap`; an empty array if there are no rows.

    Raises:
        ValueError: The array needs more or fewer bytes than `available`.
    """
    shape = check_shape(path, layout.shape)
    needed = byte_size(shape, layout.dtype)
    if needed != available:
        rule = f"{needed} bytes for the shape {shape} of {layout.dtype}"
        raise malformed(path, rule, available)
    if not needed:
        rows = np.empty(shape, layout.dtype)
        rows.flags.writeable = False
        return rows
    return np.memmap(file, layout.dtype, "r", layout.offset, shape)


def check_rows(path: Path, layout: Layout) -> None:
    """Raise an error if the rows are too large to be streamed in bounded memory."""
    size = byte_size(check_shape(path, layout.shape)[1:], layout.dtype)
    if size > MAX_ROW:
        rule = f"rows of at most {MAX_ROW} bytes"
        raise malformed(path, rule, f"{size} bytes a row of shape {layout.shape[1:]}")


def copy_blocks(blocks: Iterable[np.ndarray], target: np.ndarray, description: str) -> None:
    """Copy consecutive blocks of rows into an array, with a progress bar.

    Args:
        blocks: Arrays of rows; their leading axes are flattened.
        target: Array to fill, rows first.
        description: Text in front of the progress bar.
    """
    done = 0
    with progress_bar(description) as advance:
        for block in blocks:
            rows = block.reshape(-1, *target.shape[1:])
            target[done : done + len(rows)] = rows
            done += len(rows)
            advance(done, len(target))


def read_blocks(path: Path, file: BinaryIO, layout: Layout) -> Iterator[np.ndarray]:
    """Read an array to the end of `file`, in blocks of rows.

    Raises:
        ValueError: The file is shorter or longer than its rows.
    """
    count, *row = layout.shape
    size = byte_size(row, layout.dtype)
    step = max(1, BLOCK // size)
    for start in range(0, count, step):
        rows = min(step, count - start)
        raw = np.empty(rows * size, np.uint8)
        position = 0
        while position < raw.size:
            read = file.readinto(raw[position : position + _PIECE].data)  # type: ignore[attr-defined]
            if not read:
                available = start * size + position
                rule = f"{count * size} bytes for the shape {layout.shape} of {layout.dtype}"
                raise malformed(path, rule, f"only {available}: the file is truncated")
            position += read
        yield raw.view(layout.dtype).reshape(rows, *row)
    if file.read(1):
        raise malformed(path, f"to end after {count * size} bytes of rows", "more")
