"""A worker of a study: train and score its runs, one after the other, until none is left.

`python -m keras_disent.experiments.worker` is one of several processes on this machine; it reads
what to do from its standard input, and ends when that does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_disent.experiments.planned import PlannedRun
    from keras_disent.experiments.study_folder import StudyFolder

POLL = 0.5  # seconds


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
    from keras_disent.experiments.perform import perform
    from keras_disent.experiments.study_folder import StudyFolder, shard_of

    if keras.backend.backend() != spec["backend"]:
        raise ValueError(
            f"The study is on {spec['backend']}, this process on {keras.backend.backend()}: set "
            f"KERAS_BACKEND={spec['backend']} for the workers."
        )
    custom.import_modules(spec.get("imports", ()), spec.get("paths", ()))
    study = StudyFolder.open(spec["folder"])
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


def retry(study: StudyFolder, runs: Sequence[PlannedRun]) -> None:
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
        kind = next(k.__name__ for k in (OSError, ValueError, Exception) if isinstance(error, k))
        json.dump({"type": kind, "message": " ".join(str(error).split())}, out)
        out.flush()
        with contextlib.suppress(OSError):  # a full disk, which may be the error
            traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # without waiting for the threads of libraries
