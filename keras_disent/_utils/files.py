"""Atomic writes and locks: a file is there with all of its content, or as it was before."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EIO),
)
"""Errors of the place that is written to, not of the content."""

_PART = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.part(?P<suffix>\.\w+)?")


@contextmanager
def atomic_write(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path with the same ending; rename it to `path` if all went well.

    A link is followed, as `cp` does: the file that it points to is replaced.

    Args:
        path: File to write.
        durable: Whether to wait until the disk has the file, so that it survives a power cut.

    Raises:
        OSError: If the disk is full or the like, or `path` is a device, a pipe or a link
            to itself; it names `path`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("complete")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(folder: str | Path, names: str) -> Iterator[Path]:
    """Yield the temporary files that a killed process left in a folder.

    Args:
        folder: Folder; its subfolders are not searched.
        names: Regular expression of the final names of files.
    """
    folder = Path(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        part = _PART.fullmatch(path.name)
        regular = path.is_file() and not path.is_symlink()
        if part and regular and re.fullmatch(names, part["stem"] + (part["suffix"] or "")):
            yield path


def locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; nothing is written."""
    if not path.exists():
        return False
    probe = filelock.FileLock(path, thread_local=False)
    try:
        with probe.acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # not ours to write: nobody here works on it
        return False


def _sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
