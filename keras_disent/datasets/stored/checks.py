"""Errors of broken files: the file, the rule, then what it holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Path: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]


class MalformedFile(ValueError):
    """Error for a file with invalid contents."""


def malformed(path: Path, rule: str, got: object) -> MalformedFile:
    """Create an error that names the file, the rule and the actual contents.

    >>> malformed("a.npy", "3 bytes", 2)
    MalformedFile("'a.npy' needs 3 bytes. Got 2.")
    """
    text = " ".join(str(got).split()).rstrip(".")  # libraries write several lines
    text = text if len(text) <= 300 else f"{text[:297]}..."
    return MalformedFile(f"'{os.fspath(path)}' needs {rule}. Got {text}.")


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
        raise malformed(path, rule, f"{type(error).__name__}: {error}") from error


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The path is a folder, a device or a pipe.
    """
    with wrap_errors(path, "to be a file"):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise malformed(path, "to be a file", "a folder, a device or a pipe")
    return status.st_size
