"""Atomic writes and locks: a file or folder is there as a whole, or as it was before."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
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
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
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


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside a path; rename it to the path if all went well.

    Such folders that a killed process has left are deleted.

    Args:
        path: Folder to write, new or empty, in a folder that exists.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "a"
    >>> with atomic_folder(folder) as partial:
    ...     _ = (partial / "b.txt").write_text("complete")
    >>> [p.name for p in folder.iterdir()]
    ['b.txt']
    """
    path = Path(path)
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.(part|lock)")
    for leftover in [p for p in path.parent.iterdir() if name.fullmatch(p.name)]:
        if not locked(leftover.with_suffix(".lock")):
            shutil.rmtree(leftover.with_suffix(".part"), ignore_errors=True)
            leftover.with_suffix(".lock").unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with filelock.FileLock(partial.with_suffix(".lock")):
        try:
            partial.mkdir()
            yield partial
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            partial.with_suffix(".lock").unlink(missing_ok=True)


def check_new_folder(path: str | Path, what: str) -> None:
    """Check that a folder can be written.

    Args:
        path: Folder.
        what: What it will hold, at the start of a message.

    Raises:
        ValueError: If it exists and is not an empty folder, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{what} needs a new or empty folder. {str(path)!r} is neither.")
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ValueError(f"Cannot write into {str(path.parent)!r}.")


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
