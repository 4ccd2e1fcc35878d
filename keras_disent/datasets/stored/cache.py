"""Cache arrays that are expensive to compute, as .npy files."""

from __future__ import annotations

import errno
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from keras_disent.datasets.stored.npy import map_npy

_VARIABLE = "KERAS_DISENT_CACHE"
_SIZE = "KERAS_DISENT_CACHE_SIZE"
ENDING = ".2.cached.npy"
"""The number is that of the rules by which pictures become rows: entries of others are not read."""
_ENTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.cached\.npy")
_PART = re.compile(r"\.[A-Za-z0-9_][A-Za-z0-9._-]*\.[0-9a-f]{16}\.part")
_ABANDONED = 3600  # seconds without a write after which an unfinished entry is nobody's
_in_use: set[Path] = set()  # by this process


def cache_folder() -> Path:
    """Return the cache folder, which need not exist yet.

    Returns:
        `KERAS_DISENT_CACHE`; without it `keras-disent` in `XDG_CACHE_HOME` or in `~/.cache`.

    Raises:
        ValueError: Neither variable is set, and there is no home folder.
    """
    try:
        if folder := os.environ.get(_VARIABLE):
            return Path(folder).expanduser()
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification ignores relative paths.
        return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "keras-disent"
    except RuntimeError as error:
        raise ValueError(f"The cache needs a folder: set {_VARIABLE}. Got: {error}") from error


def limit() -> int:
    """Return the most bytes of the cache: `KERAS_DISENT_CACHE_SIZE` gigabytes, by default 50.

    Raises:
        ValueError: The variable is no number above 0.
    """
    text = os.environ.get(_SIZE, "50")
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise ValueError(f"{_SIZE} is a number of gigabytes above 0. Got {text!r}.")
    return int(size * 10**9)


def entries() -> list[Path]:
    """Return the files in the cache that this package wrote, the least recently used first."""
    try:
        with os.scandir(cache_folder()) as dir_entries:
            files = [e for e in dir_entries if e.is_file(follow_symlinks=False)]
            oldest = time.time() - _ABANDONED
            paths = [Path(e.path) for e in files if _ENTRY.fullmatch(e.name)]
            # Another process may still be writing the newer ones.
            parts = (e for e in files if _PART.fullmatch(e.name))
            paths += [Path(e.path) for e in parts if e.stat().st_mtime < oldest]
    except FileNotFoundError:
        return []
    return sorted(paths, key=lambda path: path.stat().st_atime_ns)


def clear() -> tuple[int, int]:
    """Delete all entries and what killed processes left; return their number and their bytes."""
    paths = entries()
    size = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths), size


def _make_room(path: Path) -> None:
    """Delete the least recently used entries beyond the limit, but never `path`."""
    sizes = {entry: entry.stat().st_size for entry in entries()}
    total, most = sum(sizes.values()), limit()
    for entry, size in sizes.items():
        if total <= most:
            return
        if entry != path and entry not in _in_use:
            entry.unlink(missing_ok=True)
            total -= size


def cached_rows(
    key: str, shape: tuple[int, ...], dtype: DTypeLike, write: Callable[[np.memmap], None]
) -> np.ndarray:
    """Open rows from the cache, or compute and store them.

    When the cache exceeds its `limit`, entries that were not used for longest are deleted.
    Incomplete files are written again. Writes are atomic: if two processes compute the same rows
    at once, both do the work and end up with the same file.

    Args:
        key: Name of the file: letters, digits, `.`, `_` and `-`.
        shape: Shape of the rows, without 0.
        dtype: Numeric dtype of the rows.
        write: Function that fills the `np.memmap` it receives, which begins as zeros.

    Returns:
        A read-only `np.memmap` of `<cache>/<key>.cached.npy`.

    Raises:
        OSError: The folder is full or cannot be written to. The message names the folder and
            the variable `KERAS_DISENT_CACHE` that selects another one.
        ValueError: `key`, `shape` or `dtype` is invalid.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> def write(rows):
    ...     print("writing")
    ...     rows[:] = 7
    >>> with patch.dict(os.environ, KERAS_DISENT_CACHE=tempfile.mkdtemp()):
    ...     first = cached_rows("sevens", (2, 3), "uint8", write)
    ...     again = cached_rows("sevens", (2, 3), "uint8", write)
    writing
    >>> again[[0]]
    array([[7, 7, 7]], dtype=uint8)
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}", key):
        raise ValueError(f"`key` needs letters, digits, '.', '_' and '-'. Got {key!r}.")
    if not shape or min(shape) < 1:
        raise ValueError(f"`shape` needs at least one element. Got {shape}.")
    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise ValueError(f"`dtype` needs numbers. Got {kind}.")
    folder = cache_folder()
    path = folder / f"{key}{ENDING}"
    _in_use.add(path)
    rows = _open(path, shape, kind)
    if rows is not None:
        with suppress(OSError):  # a read-only cache
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # of its last use
        return rows
    limit()  # raises an error before the work
    # Unique among threads and machines too, which may share process ids and the folder.
    temporary = folder / f".{key}.{secrets.token_hex(8)}.part"
    try:
        with _write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            target = _create(temporary, shape, kind)
        write(target)
        with _write_errors(folder):
            target.flush()
            del target
            os.replace(temporary, path)
            _make_room(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    rows = _open(path, shape, kind)
    if rows is None:
        raise ValueError(
            f"'{path}' needs {kind} rows of shape {shape}. Another process replaced them."
        )
    return rows


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    try:
        rows = map_npy(path)
    except (FileNotFoundError, ValueError):
        return None
    return rows if (rows.shape, rows.dtype) == (shape, dtype) else None


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with open(path, "x+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        offset = file.tell()
        # Allocate now: a full disk raises here, but kills a process that writes to a sparse map.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, offset + math.prod(shape) * dtype.itemsize)
        return np.memmap(file, dtype, "r+", offset, shape)


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Name the folder and the environment variable in errors of writing."""
    try:
        yield
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EFBIG
        message = (
            f"The cache folder '{folder}' cannot be written to: {error}. "
            f"Set {_VARIABLE} to another folder."
        )
        raise OSError(number, message) from error
