"""Where the files of a published data set are looked for, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.card import Card
from keras_disent.datasets.stored.checksums import verify

VARIABLE = "KERAS_DISENT_DATA"


def search_folders(name: str, data_dir: str | PathLike[str] | None = None) -> list[Path]:
    """The folders in which the files of data set `name` are looked for.

    Raises:
        FileNotFoundError: neither `data_dir` nor KERAS_DISENT_DATA says where.
    """
    given = data_dir or os.environ.get(VARIABLE)
    if not given:
        raise FileNotFoundError(
            f"'{name}' is read from files. Say where they are: `data_dir`, --data-dir or the "
            f"environment variable {VARIABLE}. Where to get them: keras-disent data info {name}"
        )
    folder = Path(given).expanduser()
    return [folder / name, folder]


def find_file(
    name: str,
    card: Card,
    wanted: Sequence[str],
    data_dir: str | PathLike[str] | None = None,
) -> Path:
    """The first of some files or folders that is there.

    Args:
        name: of the data set; `<folder>/<name>/` is searched before the folder itself.
        card: of the data set.
        wanted: alternatives, in order of preference, such as `("a.h5", "a.npz")`.
        data_dir: folder; by default KERAS_DISENT_DATA.

    Raises:
        FileNotFoundError: tells what was looked for, where, and where to get it.
    """
    places = search_folders(name, data_dir)
    for file in wanted:
        for place in places:
            if (place / file).exists():
                return place / file
    raise FileNotFoundError(
        f"{' or '.join(map(repr, wanted))} is not in '{places[1]}' or '{places[0]}'. "
        f"{card.title} is at {card.page} ({card.download}; {card.license})."
    )


def check_file(path: Path, card: Card) -> None:
    """Compare size and checksum of a file with what is published, where something is.

    Raises:
        ValueError: they differ. The file was cut short or changed, or is another one.
    """
    known = {file.name: file for file in card.files}.get(path.name)
    if known is None:
        return
    with progress_bar(f"Checking {path.name}") as advance:
        verify(path, size=known.size, sha256=known.sha256, md5=known.md5, progress=advance)


def cache_key(prefix: str, *paths: Path, **settings: object) -> str:
    """A name for what is made of some files: another one as soon as one of them changes.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a"
    >>> _ = file.write_text("one"); first = cache_key("data", file)
    >>> _ = file.write_text("three"); first == cache_key("data", file)
    False
    """
    found = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    text = repr((found, sorted(settings.items())))
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
