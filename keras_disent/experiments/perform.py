"""Do one run of a study: train it, score it, and say how it ended."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_disent._utils.files import UNWRITABLE
from keras_disent._utils.version import __version__
from keras_disent.engine import backend
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.report.codes import write_codes
from keras_disent.experiments.run import Run
from keras_disent.experiments.scores import SCORES
from keras_disent.experiments.store import RUN, LockedError, Store

if TYPE_CHECKING:
    from keras_disent.experiments.planned import PlannedRun
    from keras_disent.experiments.study_folder import StudyFolder

ATTEMPTS = 5
"""A run whose process was killed so often, with no checkpoint in between, has failed."""


def perform(study: StudyFolder, planned: PlannedRun) -> str:
    """Train and score one run, unless it has ended or another process works on it.

    Returns:
        "done", "failed" or "locked".

    Raises:
        OSError: If the folder cannot be written; it names the file.
    """
    folder = study.place(planned)
    state = Progress.read(folder).state
    if state:
        return state
    store = Store(RUN, folder)
    try:
        with store.lock(create=True, wait=0):
            return Progress.read(folder).state or _perform(store, planned)
    except LockedError:
        return "locked"
    except Exception as error:
        if _of_the_disk(error, folder):
            raise _unwritable(folder, error) from None
        raise
    finally:
        keras.utils.clear_session(free_memory=False)


def _perform(store: Any, planned: PlannedRun) -> str:
    """Train and score a run whose folder is locked."""
    folder, start = store.folder, time.monotonic()
    before = Progress.read(folder)
    try:
        if before.attempts >= ATTEMPTS:
            raise ChildProcessError(f"The process of this run was killed {ATTEMPTS} times.")
        if not store.exists():
            store.define(planned.config, backend.BACKEND, backend.threads())
        run = Run.from_store(store)
        run.train(pictures=False, verbose=0)
        if not (folder / SCORES).exists():
            run.evaluate(verbose=0)
        write_codes(run)
        if not (folder / "traversal.png").exists():
            run.traverse()
        progress = Progress(
            state="done",
            step=run.config.steps,
            seconds=before.seconds + time.monotonic() - start,
            backend=keras.backend.backend(),
            version=__version__,
        )
        progress.write(folder, durable=True)
    except Exception as error:
        if _of_the_disk(error, folder):
            raise
        message = " ".join(str(error).split())
        failed = dataclasses.replace(
            Progress.read(folder),
            state="failed",
            error=f"{type(error).__name__}: {message}",
            traceback=traceback.format_exc(),
        )
        failed.write(folder, durable=True)
        return "failed"
    return "done"


def _of_the_disk(error: BaseException | None, folder: Path) -> bool:
    """Return whether an error is about the folder of a run, not the run."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            return error.filename is None or str(folder) in str(error.filename)
        if "Cannot write into" in str(error):
            return True
        if any(os.strerror(n) in str(error) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
            return True  # HDF5 has it in the text alone
        error = error.__cause__ or error.__context__
    return False


def _unwritable(path: Path, error: BaseException) -> OSError:
    if str(error).startswith("Cannot write into"):
        return OSError(str(error))
    name = getattr(error, "filename", None) or path
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return OSError(
        f"Cannot write {str(name)!r}: {reason}. What is finished is kept: make room, and run the "
        "same command to resume."
    )
