"""One run of a study: trained, scored, and marked as done by its last file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from keras_disent import __version__, runs
from keras_disent._utils.files import UNWRITABLE
from keras_disent.configuration import CONFIG, Config
from keras_disent.studies.locks import Lock

DONE, FAILED, PROGRESS = "done.json", "failed.json", "progress.json"
RUNS, LOCKS = "runs", "locks"


def work(config: Config, name: str, study: Path, backend: str) -> str:
    """Train and score a run, unless it has ended or another process is at it.

    Args:
        config: of the run.
        name: of its folder.
        study: the study's folder.
        backend: of the study.

    Returns:
        "done", "failed" or "held".

    Raises:
        OSError: if the folder cannot be written: it names the file, or the folder.
        ValueError: if this process is on another backend.
    """
    if keras.backend.backend() != backend:
        raise ValueError(
            f"The study is on {backend}, this process on {keras.backend.backend()}: set "
            f"KERAS_BACKEND={backend} for the workers."
        )
    folder = study / RUNS / name
    if ended(folder):
        return "held"
    progress = _Progress(folder)
    lock = Lock(study / LOCKS / f"{name}.json")
    try:
        if not lock.take(progress.write):
            return "held"
    except OSError as error:
        raise _unwritable(lock.path, error) from None
    try:
        if ended(folder):
            return "held"
        folder.mkdir(parents=True, exist_ok=True)
        progress.begin()
        if not (folder / CONFIG).exists():
            runs.write(folder / CONFIG, config.to_json())

        def advance(steps: int, logs: Mapping[str, float]) -> None:
            lock.check()
            progress.steps += steps

        runs.train(config, folder, advance, pictures=False)
        if not (folder / runs.SCORES).exists():
            runs.evaluate(folder)
        lock.check()
        done = {"step": config.steps, "seconds": progress.seconds(), "finished": time.time()}
        made_with = {"keras_disent": __version__, "backend": backend}
        runs.write(folder / DONE, json.dumps({**done, "made_with": made_with}, indent=2))
        return "done"
    except Exception as error:
        if lock.lost:
            return "held"
        if _of_the_disk(error, folder):
            raise _unwritable(folder, error) from None
        try:
            fail(folder, f"{type(error).__name__}: {error}", traceback.format_exc())
        except OSError as unwritten:
            raise _unwritable(folder, unwritten) from None
        return "failed"
    finally:
        lock.release()
        if (folder / DONE).exists():
            with contextlib.suppress(OSError):
                (folder / PROGRESS).unlink(missing_ok=True)
        keras.utils.clear_session(free_memory=False)


def sweep(tasks: Sequence[tuple]) -> None:
    """Do what is free of many runs, each given as the arguments of `work`."""
    for task in tasks:
        work(*task)


def ended(folder: Path) -> str | None:
    """Return "done" or "failed" of a run that has ended, else None."""
    if (folder / DONE).exists() and (folder / runs.SCORES).exists():
        return "done"
    return "failed" if (folder / FAILED).exists() else None


def fail(folder: Path, message: str, trace: str = "") -> None:
    """Record why a run has failed."""
    folder.mkdir(parents=True, exist_ok=True)
    runs.write(folder / FAILED, json.dumps({"error": message, "traceback": trace}, indent=2))


def progress_of(folder: Path) -> dict[str, float]:
    """Return the steps and seconds of a run under way."""
    try:
        found = json.loads((folder / PROGRESS).read_text())
        return {"steps": int(found["steps"]), "seconds": float(found["seconds"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"steps": 0, "seconds": 0.0}


class _Progress:
    """Steps and seconds of a run, the seconds over all processes that have worked on it."""

    def __init__(self, folder: Path):
        self.folder, self.steps, self.begun = folder, 0, False

    def begin(self) -> None:
        self._before = progress_of(self.folder)["seconds"]
        self._start = time.monotonic()
        self.begun = True

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    def write(self) -> None:
        if self.begun:
            text = json.dumps({"steps": self.steps, "seconds": self.seconds()})
            runs.write(self.folder / PROGRESS, text)


def _of_the_disk(error: BaseException | None, folder: Path) -> bool:
    """Return whether an error is about the folder of a run, not the run."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            return error.filename is None or str(folder) in str(error.filename)
        if any(os.strerror(n) in str(error) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
            return True  # HDF5 has it in the text alone
        error = error.__cause__ or error.__context__
    return False


def _unwritable(path: Path, error: BaseException) -> OSError:
    named = getattr(error, "filename", None) or path
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return OSError(
        f"Cannot write {str(named)!r}: {reason}. What is finished is kept: make room, and call "
        "it again to go on."
    )
