"""Atomic writes and file locks."""

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
"""Numbers of errors that are caused by the folder or the disk, not by the data."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    The block writes to the temporary path that it receives, which has the same extension. If it
    ends without an error, the temporary file replaces `path`; otherwise it is deleted.

    Args:
        path: File to write.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("complete")
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
    """Hold an exclusive lock on a file while the block runs.

    The kernel releases the lock when the process ends, however it ends.

    Args:
        path: Lock file. It is created if necessary, and never deleted.
        wait: Whether to wait for the lock. Otherwise raise an error if another process holds it.

    Raises:
        BlockingIOError: `wait` is False and another process holds the lock.
        ImportError: The system is Windows, which has no such locks.

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
