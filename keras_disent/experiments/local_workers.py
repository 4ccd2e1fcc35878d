"""Workers of a study as processes of this machine, which are replaced when they die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from keras_disent._utils.threads import thread_env
from keras_disent.experiments.progress import FILE
from keras_disent.experiments.study_folder import RUNS, Status, StudyFolder, Watch, shard_of

POLL = 0.5  # seconds
DEATHS = 5
"""Processes that may end in a row before one has begun a run."""

OnStatus = Callable[[Status], object]


def run_locally(
    study: StudyFolder,
    spec: dict[str, Any],
    n_jobs: int,
    threads: int | None,
    shard: tuple[int, int],
    on_status: OnStatus,
) -> None:
    """Keep workers going until all of them have nothing left to do."""
    watch = Watch(study)
    workers: dict[int, _Worker] = {}
    waiting, in_vain = list(range(n_jobs)), 0
    last_report = 0.0
    try:
        while waiting or workers:
            for number in waiting:
                workers[number] = _Worker({**spec, "number": number}, threads)
            waiting = []
            for number, one in list(workers.items()):
                code = one.process.poll()
                if code is None:
                    continue
                if code:
                    one.check()
                    in_vain = 0 if begun(study, one.started) else in_vain + 1
                    if in_vain == DEATHS:
                        raise ChildProcessError(
                            f"Processes ended {DEATHS} times before they had begun a run: "
                            f"{one.last_line()}"
                        )
                    waiting.append(number)
                workers.pop(number).close()
            if time.monotonic() - last_report > POLL:
                last_report = time.monotonic()
                on_status(watch.status(shard_of(study.runs, shard)))
            time.sleep(0.05)
    except _SaidError as error:
        raise error.args[0] from None
    except KeyboardInterrupt:
        _interrupt(workers)
        raise
    finally:
        for one in workers.values():
            one.close()
    on_status(watch.status(shard_of(study.runs, shard)))


class _Worker:
    """A process that does runs of a study; it ends when this one does."""

    def __init__(self, spec: dict[str, Any], threads: int | None):
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.started = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "keras_disent.experiments.worker"],
            env={
                **os.environ,
                **thread_env(threads, default=1),
                "KERAS_BACKEND": spec["backend"],
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            start_new_session=True,  # Ctrl-C comes from this process alone
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already
            self.process.stdin.write(json.dumps(spec) + "\n")
            self.process.stdin.flush()  # and stays open: its end ends the worker

    def check(self) -> None:
        """Raise the error with which the worker has ended, if it says one."""
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError, KeyError):
            error = json.loads(self.process.stdout.read())
            kind = {"OSError": OSError, "ValueError": ValueError}.get(error["type"], RuntimeError)
            raise _SaidError(kind(error["message"]))

    def last_line(self) -> str:
        """Return the last line of its errors."""
        self.said.seek(0)
        return (self.said.read().splitlines() or ["it said nothing"])[-1]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


class _SaidError(Exception):
    """The error of a worker."""


def _interrupt(workers: dict[int, _Worker]) -> None:
    """Let workers save what they have done; a second Ctrl-C does not wait."""
    for one in workers.values():
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGINT)
    for one in workers.values():
        one.process.wait()


def begun(study: StudyFolder, since: float) -> bool:
    """Return whether a run has been worked on since a time."""
    for path in (study.folder / RUNS).glob(f"*/{FILE}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= since - 1:
                return True
    return False
