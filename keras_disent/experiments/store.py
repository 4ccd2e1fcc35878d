"""A folder that a JSON file defines: create, open, lock, clean up after a kill.

Runs, studies and exported models are such folders. Nothing here imports Keras.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from keras_disent._utils.files import atomic_write, locked, unfinished
from keras_disent._utils.version import __version__

FORMAT = 2
"""Version of what the folders look like."""
LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        name: What messages call it.
        file: Name of the JSON file that defines it.
        files: Regular expression of the names of the files that this package writes there.
    """

    name: str
    file: str
    files: str


RUN = Kind(
    "run",
    "config.json",
    r"(config|scores|progress|tracking)\.json|model\.keras|history\.csv|traversal\.png|codes\.npz",
)
STUDY = Kind(
    "study",
    "study.json",
    r"study\.(json|toml)|results\.(csv|parquet)|trials\.csv|tradeoff\.png|best\.json",
)


class LockedError(RuntimeError):
    """Another process works on the folder."""


class Store:
    """A folder that a JSON file defines.

    Args:
        kind: Kind of folder.
        folder: Path; it need not exist.

    >>> import tempfile
    >>> store = Store(RUN, Path(tempfile.mkdtemp()) / "run")
    >>> store.create({"steps": 3}, backend="jax")
    >>> store.definition()
    {'steps': 3}
    """

    def __init__(self, kind: Kind, folder: str | Path):
        self.kind, self.folder = kind, Path(folder)
        self._lock = filelock.FileLock(self.folder / LOCK, thread_local=False)

    @property
    def path(self) -> Path:
        """Path of the file that defines the folder."""
        return self.folder / self.kind.file

    def exists(self) -> bool:
        """Return whether the folder is defined."""
        return self.path.exists()

    def interrupted(self) -> bool:
        """Return whether a killed `create` left the folder without its definition."""
        return not self.exists() and (self.folder / LOCK).exists() and not self._foreign()

    def check_new(self) -> None:
        """Check that the folder can be created: it is new, empty, or left by a killed `create`.

        Raises:
            ValueError: If it is not; nothing is changed.
        """
        if self.exists():
            raise ValueError(f"{str(self.folder)!r} holds a {self.kind.name} already.")
        if self.folder.is_dir() and self._foreign():
            raise ValueError(
                f"A {self.kind.name} needs a new or empty folder. {str(self.folder)!r} is neither."
            )

    def create(
        self, definition: Mapping[str, Any], backend: str, threads: int | None = None
    ) -> None:
        """Make the folder and write its definition.

        Args:
            definition: What JSON can hold.
            backend: Backend that it is made with.
            threads: Number of threads that it is made with, which is no part of the definition.

        Raises:
            ValueError: As `check_new`, or if the folder cannot be written.
            LockedError: If another process works on it.
        """
        self.check_new()
        with self.lock(create=True):
            self.check_new()
            self.clean()
            with self._wrap_errors():
                self.define(definition, backend, threads)

    def define(
        self, definition: Mapping[str, Any], backend: str, threads: int | None = None
    ) -> None:
        """Write the definition, also in place of the one that is there."""
        made_with: dict[str, Any] = {"keras_disent": __version__, "format": FORMAT}
        made_with |= {"backend": backend} | ({} if threads is None else {"threads": threads})
        write_json(self.path, {**definition, "made_with": made_with})

    def definition(self) -> dict[str, Any]:
        """Return the definition.

        Raises:
            ValueError: If there is none, it is damaged, or it is of another version.
        """
        return self._stored()[0]

    def backend(self) -> str:
        """Return the backend that the folder was made with."""
        return str(self._stored()[1].get("backend"))

    def threads(self) -> int | None:
        """Return the number of threads that the folder was made with; None if it is unknown."""
        threads = self._stored()[1].get("threads")
        return threads if isinstance(threads, int) and threads > 0 else None

    @contextlib.contextmanager
    def lock(self, create: bool = False, wait: float = 0.5) -> Iterator[None]:
        """Keep other processes out of the folder while the block runs.

        The kernel frees the lock of a process that ends, however it ends. One object may lock its
        folder again while it is locked.

        Args:
            create: Whether to make the folder if it does not exist.
            wait: Seconds to wait for another process.

        Raises:
            LockedError: If another process works on the folder.
            ValueError: If the folder cannot be written.
        """
        with self._wrap_errors():
            if create:
                self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=wait)
            except filelock.Timeout:
                raise LockedError(
                    f"The {self.kind.name} in {str(self.folder)!r} is locked by another process. "
                    "Nothing was changed."
                ) from None
        try:
            yield
        finally:
            self._lock.release()

    def locked(self) -> bool:
        """Return whether a process works on the folder."""
        return locked(self.folder / LOCK)

    def clean(self) -> None:
        """Delete the temporary files that a killed process left; the folder must be locked."""
        for path in unfinished(self.folder, self.kind.files):
            path.unlink()

    def _stored(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if not self.path.is_file():
            raise ValueError(
                f"A {self.kind.name} folder holds {self.kind.file}. "
                f"There is none in {str(self.folder)!r}."
            )
        what = f"the definition of a {self.kind.name}"
        stored = read_json(self.path, what)
        made_with = stored.pop("made_with", None) if isinstance(stored, dict) else None
        if not isinstance(made_with, dict):
            raise ValueError(f"{str(self.path)!r} is not {what}: it does not say `made_with`.")
        if made_with.get("format", 1) != FORMAT:
            raise ValueError(
                f"{str(self.path)!r} is of format {made_with.get('format', 1)!r}, written by "
                f"keras-disent {made_with.get('keras_disent')}; this is keras-disent "
                f"{__version__}, which reads format {FORMAT}. Nothing was changed."
            )
        return stored, made_with

    def _foreign(self) -> list[str]:
        ours = {LOCK, *(path.name for path in unfinished(self.folder, self.kind.files))}
        if not self.folder.is_dir():
            return []
        return [path.name for path in self.folder.iterdir() if path.name not in ours]

    @contextlib.contextmanager
    def _wrap_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"Cannot write into {str(self.folder)!r}: {reason}.") from None


def read_json(path: Path, what: str) -> Any:
    """Return what a JSON file holds.

    Args:
        path: File.
        what: What it should be, for the message.

    Raises:
        ValueError: If it is missing or damaged; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not {what}: {error}.") from None


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write a JSON file atomically; numbers in it must be finite."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False), durable)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write a text file atomically, with one line break at its end."""
    with atomic_write(path, durable) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
