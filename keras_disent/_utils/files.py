"""Files are written whole or not at all, and one process at a time may be at them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EIO),
)
"""Errors of the place that is written to, not of what is written."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path with the same ending; rename it to `path` if all went well.

    Raises:
        OSError: if the disk is full or the like; it names `path`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: str | Path, wait: bool = True) -> Iterator[None]:
    """Let one process at a time into the block, of all that name the same file.

    The kernel frees what a process that dies has held.

    Args:
        path: of a file that is made if need be, and stays.
        wait: for the other process, or raise an error.

    Raises:
        BlockingIOError: if it should not wait, and another process is in the block.
        ImportError: on Windows, which has no such lock.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> with locked(path), locked(path, wait=False):  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
    ...
    BlockingIOError: [Errno ...] Resource temporarily unavailable
    """
    import fcntl

    with Path(path).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
