"""Find and check the files of published data sets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.card import Card
from keras_disent.datasets.stored.checks import Progress, file_size, malformed, wrap_errors

VARIABLE = "KERAS_DISENT_DATA"


def search_folders(name: str, data_dir: str | PathLike[str] | None = None) -> list[Path]:
    """Return the folders in which the files of data set `name` are searched, in this order.

    Raises:
        FileNotFoundError: Neither `data_dir` nor KERAS_DISENT_DATA is set.
    """
    path = data_dir or os.environ.get(VARIABLE)
    if not path:
        raise FileNotFoundError(
            f"'{name}' needs downloaded files. Set their folder with `data_dir`, --data-dir or the "
            f"environment variable {VARIABLE}. For download instructions: "
            f"keras-disent data info {name}"
        )
    folder = Path(path).expanduser()
    return [folder / name, folder]


def find_file(
    name: str,
    card: Card,
    alternatives: Sequence[str],
    data_dir: str | PathLike[str] | None = None,
) -> Path:
    """Return the path of the first existing file or folder among alternatives.

    Args:
        name: Name of the data set. The folder `<data_dir>/<name>` is searched before `data_dir`.
        card: Metadata of the data set, for the error message.
        alternatives: File names in order of preference, such as `("a.h5", "a.npz")`.
        data_dir: Folder of the files; by default KERAS_DISENT_DATA.

    Raises:
        FileNotFoundError: No file exists. The message names the folders and the download page.
    """
    folders = search_folders(name, data_dir)
    for file in alternatives:
        for folder in folders:
            if (folder / file).exists():
                return folder / file
    raise FileNotFoundError(
        f"{' or '.join(map(repr, alternatives))} is not in '{folders[1]}' or '{folders[0]}'. "
        f"Download {card.title} from {card.page} ({card.download}; {card.license})."
    )


def check_file(path: Path, card: Card) -> None:
    """Check the size and the checksum of a file, as far as they are published.

    Raises:
        ValueError: The file differs: it is incomplete, changed, or another file.
    """
    file = {file.name: file for file in card.files}.get(path.name)
    if file is None:
        return
    size = file_size(path)
    if size != (file.size or size):
        raise malformed(path, f"{file.size} bytes", size)
    algorithm, published = ("sha256", file.sha256) if file.sha256 else ("md5", file.md5)
    if published:
        with progress_bar(f"Checking {path.name}") as advance:
            checksum = digest(path, algorithm, advance)
        if checksum != published:
            raise malformed(path, f"the {algorithm} {published}", checksum)


def digest(path: Path, algorithm: str, progress: Progress) -> str:
    """Compute the checksum of a file in hexadecimal digits, one megabyte at a time.

    Args:
        path: File to read.
        algorithm: Name of a `hashlib` algorithm, such as `"sha256"` or `"md5"`.
        progress: Function that is called with the number of bytes read and the file size.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read.
    """
    size, done = file_size(path), 0
    state = hashlib.new(algorithm, usedforsecurity=False)
    with wrap_errors(path, "to be readable"), open(path, "rb") as file:
        while piece := file.read(2**20):
            state.update(piece)
            done += len(piece)
            progress(done, size)
    return state.hexdigest()


def identity_of(path: Path | os.DirEntry[str]) -> tuple[int, int, int, int]:
    """Return numbers that change with the contents of a file.

    Programs that restore the modification time do not restore the change time of the inode.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def cache_key(prefix: str, *paths: Path, **settings: object) -> str:
    """Return a cache key for data derived from files; it changes when one of them changes.

    Args:
        prefix: Start of the key; what a file name cannot hold everywhere is replaced.
        paths: Files that the data is derived from.
        settings: Settings that the data depends on.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a"
    >>> _ = file.write_text("one"); first = cache_key("data", file)
    >>> _ = file.write_text("three"); first == cache_key("data", file)
    False
    """
    files = [(str(path.resolve()), *identity_of(path)) for path in paths]
    text = repr((files, sorted(settings.items())))
    prefix = re.sub(r"[^A-Za-z0-9._-]+", "_", prefix.strip("."))[:60] or "data"
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
