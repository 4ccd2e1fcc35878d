"""Checks that all file readers share, and their error messages."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias

import numpy as np

Path: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]

_MAX_AXES = 32
_DEFLATE = 1032  # maximum ratio of uncompressed to deflated bytes


class MalformedFile(ValueError):
    """Error for a file with invalid contents."""


def malformed(path: Path, rule: str, got: object) -> MalformedFile:
    """Create an error that names the file, the rule and the actual contents.

    >>> malformed("a.npy", "3 bytes", 2)
    MalformedFile("'a.npy' needs 3 bytes. Got 2.")
    """
    return MalformedFile(f"'{os.fspath(path)}' needs {rule}. Got {_short(got)}.")


def _short(got: object) -> str:
    try:
        text = str(got)
    except ValueError:  # an integer with thousands of digits
        text = "a number with thousands of digits"
    return text if len(text) <= 300 else f"{text[:297]}..."


@contextmanager
def wrap_errors(path: Path, rule: str) -> Iterator[None]:
    """Convert errors of parsing `path` into `MalformedFile`, but keep `FileNotFoundError`.

    >>> with wrap_errors("a.bin", "to hold a number"):
    ...     int("twelve")
    Traceback (most recent call last):
    keras_disent.datasets.stored.checks.MalformedFile: 'a.bin' needs to hold a number. Got
        ValueError: invalid literal for int() with base 10: 'twelve'.
    """
    try:
        yield
    except (FileNotFoundError, MalformedFile):
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, os.fspath(path)) from error
    except Exception as error:  # libraries raise many kinds of errors on malformed bytes
        text = " ".join(_short(error).split()).rstrip(".")  # libraries write several lines
        got = f"{type(error).__name__}: {text}"
        raise malformed(path, rule, got) from error


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The path is a folder, a device or a pipe.
    """
    with wrap_errors(path, "to be a file"):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        got = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
        raise malformed(path, "to be a file", got)
    return status.st_size


def read_exactly(path: Path, file: BinaryIO, size: int, what: str) -> bytes:
    """Read exactly `size` bytes."""
    data = file.read(size)
    if len(data) != size:
        raise malformed(path, f"{size} bytes of {what}", f"only {len(data)}")
    return data


def check_shape(path: Path, shape: Sequence[int]) -> tuple[int, ...]:
    """Check the shape of an array of rows: 1 to 32 axes, and no empty rows."""
    if not 1 <= len(shape) <= _MAX_AXES:
        raise malformed(path, f"rows: 1 to {_MAX_AXES} axes", f"{len(shape)}")
    if not all(0 <= n < 2**63 for n in shape) or 0 in shape[1:]:
        rule = "a shape of numbers from 1 to 2**63 - 1 (0 only for no rows)"
        raise malformed(path, rule, tuple(map(_short, shape)))
    return tuple(shape)


def byte_size(shape: Sequence[int], dtype: np.dtype) -> int:
    """Return the size of an array in bytes, as a Python integer that cannot overflow.

    >>> byte_size((2**40, 2**40), np.dtype("int16"))
    2417851639229258349412352
    """
    return math.prod(shape) * dtype.itemsize


def check_expansion(path: Path, claimed: int, packed: int) -> None:
    """Raise an error if `packed` deflated bytes cannot expand to `claimed` bytes."""
    if claimed > packed * _DEFLATE:
        rule = f"at most {_DEFLATE} bytes for each compressed byte"
        raise malformed(path, rule, f"a claim of {claimed} bytes in {packed}")
