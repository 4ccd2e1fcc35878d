"""A worker of a study: train and score its runs, one after the other, until none is left.

`python -m keras_disent.experiments.worker` is one of several processes on this machine; it reads
what to do from its standard input, and ends when that does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_disent.experiments.planned import PlannedRun
    from keras_disent.experiments.study import Study

POLL = 0.5  # seconds
ATTEMPTS = 5
"""A run whose process was killed so often, with no checkpoint in between, has failed."""


def work(spec: dict[str, Any]) -> None:
    """Do the runs of a study, or of a shard of it, until all of them have ended.

    Args:
        spec: Keys: `folder` of the study, `backend`, `shard`; `number` of this worker; `imports`
            and `paths`, modules of custom methods and where they are; `variables`, environment.

    Raises:
        OSError: If the folder cannot be written; it names the file.
        ValueError: If this process is on another backend.
    """
    os.environ.update(spec.get("variables", {}))
    import keras

    from keras_disent.experiments import custom
    from keras_disent.experiments.study import Study, shard_of

    if keras.backend.backend() != spec["backend"]:
        raise ValueError(
            f"The study is on {spec['backend']}, this process on {keras.backend.backend()}: set "
            f"KERAS_BACKEND={spec['backend']} for the workers."
        )
    custom.import_modules(spec.get("imports", ()), spec.get("paths", ()))
    study = Study.open(spec["folder"])
    if "search" in study.definition:
        from keras_disent.experiments.search import work as search

        search(study)
        return
    runs = shard_of(study.runs, tuple(spec["shard"]))
    first = spec.get("number", 0) % (len(runs) or 1)
    remaining = runs[first:] + runs[:first]  # workers begin at different runs
    while remaining:
        remaining = [run for run in remaining if perform(study, run) == "locked"]
        if remaining:  # others are at them, who may die
            time.sleep(POLL)


def perform(study: Study, planned: PlannedRun) -> str:
    """Train and score one run, unless it has ended or another process works on it.

    Returns:
        "done", "failed" or "locked".

    Raises:
        OSError: If the folder cannot be written; it names the file.
    """
    import keras

    from keras_disent.experiments.progress import Progress
    from keras_disent.experiments.store import RUN, LockedError, Store

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
    import keras

    from keras_disent import __version__
    from keras_disent.experiments.progress import SCORES, Progress
    from keras_disent.experiments.report.codes import write_codes
    from keras_disent.experiments.run import Run

    folder, start = store.folder, time.monotonic()
    before = Progress.read(folder)
    try:
        if before.attempts >= ATTEMPTS:
            raise ChildProcessError(f"The process of this run was killed {ATTEMPTS} times.")
        if not store.exists():
            store.define(planned.config, keras.backend.backend())
        run = Run.from_store(store)
        run.train(pictures=False)
        if not (folder / SCORES).exists():
            run.evaluate()
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


def retry(study: Study, runs: Sequence[PlannedRun]) -> None:
    """Let runs that have failed be tried again."""
    from keras_disent.experiments.progress import Progress
    from keras_disent.experiments.store import RUN, Store

    for run in runs:
        folder = study.place(run)
        if Progress.read(folder).state == "failed":
            with Store(RUN, folder).lock():
                progress = Progress.read(folder)
                if progress.state == "failed":
                    Progress(step=progress.step, seconds=progress.seconds).write(folder)


def _of_the_disk(error: BaseException | None, folder: Path) -> bool:
    """Return whether an error is about the folder of a run, not the run."""
    from keras_disent._utils.files import UNWRITABLE

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


def _exit_with_input() -> None:
    """End this process, at once and without cleaning up, when its standard input ends."""

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Do what standard input says; return the exit code."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is none of the answer
    try:
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(sys.stdin.fileno(), 1)
            if not byte:
                return 1
            line += byte
        _exit_with_input()
        work(json.loads(line))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()
        kind = next(k.__name__ for k in (OSError, ValueError, Exception) if isinstance(error, k))
        json.dump({"type": kind, "message": " ".join(str(error).split())}, out)
        out.flush()
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # without waiting for the threads of libraries
