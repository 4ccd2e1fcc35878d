"""Executors of a study: processes of this machine, or those of a Ray or Dask cluster by joblib."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.checks import check_integer
from keras_disent._utils.periodic import call_every
from keras_disent._utils.progress import Advance, Verbose, check_verbose, progress_bar
from keras_disent._utils.registry import lookup
from keras_disent._utils.threads import processors, thread_env, thread_limit_env
from keras_disent.datasets.catalog import check_name
from keras_disent.experiments import table, trials, worker
from keras_disent.experiments.make import check_backend, worker_imports
from keras_disent.experiments.progress import FILE, Progress
from keras_disent.experiments.study_folder import (
    RUNS,
    RunsFailedError,
    Status,
    StudyFolder,
    Watch,
    shard_of,
)

EXECUTORS = ("local", "ray", "dask")
POLL = 0.5  # seconds
DEATHS = 5
"""Processes that may end in a row before one has begun a run."""

OnStatus = Callable[[Status], object]


def execute(
    study: StudyFolder,
    *,
    n_jobs: int | None = None,
    executor: str = "local",
    threads: int | None = None,
    shard: tuple[int, int] = (1, 1),
    retry: bool = False,
    on_status: OnStatus | None = None,
    verbose: Verbose = "auto",
) -> Any:
    """Do the runs of a study; see `Study.run`."""
    check_verbose(verbose)
    check_executor(executor)
    if n_jobs is not None:
        check_integer("n_jobs", n_jobs, at_least=1)
    if threads is not None:
        check_integer("threads", threads, at_least=1)
    shard_of([], shard)
    table.needed()
    check_backend(study)
    if "search" in study.definition and shard != (1, 1):
        raise ValueError(f"A search has no shards: start it several times. Got {shard}.")
    for data in {run.config["data"] for run in shard_of(study.runs, shard)}:
        check_name(data)
    table.results(study)  # names a damaged file before any work
    if "search" in study.definition and retry:
        raise ValueError("`retry` is for studies of a plan: a search goes on to other trials.")
    if retry:
        worker.retry(study, shard_of(study.runs, shard))
    spec = {
        "folder": str(study.folder.absolute()),
        "backend": keras.backend.backend(),
        "shard": list(shard),
    }
    jobs = min(n_jobs or processors(), _most_jobs(study, shard))
    description = "Search" if "search" in study.definition else "Study"
    try:
        with progress_bar(description, verbose=verbose) as advance:
            tell = _teller(study, advance, on_status)
            if executor == "local" and (jobs == 0 or (n_jobs or processors()) == 1):
                with _watched(study, shard, tell):
                    worker.work(spec)
            else:
                modules, paths = worker_imports(study)
                spec |= {"imports": modules, "paths": paths, "variables": _variables()}
                if executor == "local":
                    _local(study, spec, jobs, threads, shard, tell)
                else:
                    with _watched(study, shard, tell):
                        _cluster(study, spec, executor, n_jobs, threads)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            table.write(study)
        raise
    results = table.write(study)
    if "search" in study.definition:
        trials.finish(study)
    else:
        _check_failures(study, shard)
    return results


def check_executor(name: str) -> None:
    """Check, before any work, that there is an executor of that name, and its cluster.

    Raises:
        ValueError: If there is none.
        ImportError: Says what to install.

    >>> check_executor("local")
    """
    lookup(name, dict.fromkeys(EXECUTORS), "executor")
    if name == "local":
        return
    try:
        if name == "ray":
            import ray.util.joblib  # noqa: F401
        else:
            import dask
            import distributed
    except ImportError as error:
        raise ImportError(
            f"The executor {name!r} needs {name.title()}: pip install 'keras-disent[{name}]'. "
            f"{error}."
        ) from None
    if name == "dask" and dask.config.get("scheduler-address", None) is None:
        try:
            distributed.default_client()
        except ValueError:
            raise ValueError(
                "The executor 'dask' needs a cluster: set DASK_SCHEDULER_ADDRESS to the address of "
                "its scheduler, or make a `distributed.Client`."
            ) from None


def _most_jobs(study: StudyFolder, shard: tuple[int, int]) -> int:
    """Return how many processes can be at work: one for each run or trial to do."""
    if "search" in study.definition:
        return int(study.definition["search"]["trials"])
    runs = shard_of(study.runs, shard)
    return sum(not Progress.read(study.place(run)).state for run in runs)


def _check_failures(study: StudyFolder, shard: tuple[int, int]) -> None:
    runs = shard_of(study.runs, shard)
    failures = study.failures(runs)
    if failures:
        first = next(run for run in runs if run.name in failures)
        path = study.place(first) / FILE
        raise RunsFailedError(
            f"{len(failures):,} of {len(runs):,} runs failed; the others are done. The first is "
            f"{f'{first.label}, seed {first.seed}'!r}: {failures[first.name]} See {str(path)!r}. "
            "To try them again, pass --retry (`retry=True` in Python)."
        )


# -- processes of this machine --------------------------------------------------------------------


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


def _local(
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
    told = 0.0
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
                    in_vain = 0 if _begun(study, one.started) else in_vain + 1
                    if in_vain == DEATHS:
                        raise ChildProcessError(
                            f"Processes ended {DEATHS} times before they had begun a run: "
                            f"{one.last_line()}"
                        )
                    waiting.append(number)
                workers.pop(number).close()
            if time.monotonic() - told > POLL:
                told = time.monotonic()
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


def _interrupt(workers: dict[int, _Worker]) -> None:
    """Let workers save what they have done; a second Ctrl-C does not wait."""
    for one in workers.values():
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGINT)
    for one in workers.values():
        one.process.wait()


def _begun(study: StudyFolder, since: float) -> bool:
    """Return whether a run has been worked on since a time."""
    for path in (study.folder / RUNS).glob(f"*/{FILE}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= since - 1:
                return True
    return False


# -- clusters -------------------------------------------------------------------------------------


def _cluster(
    study: StudyFolder, spec: dict[str, Any], executor: str, n_jobs: int | None, threads: int | None
) -> None:
    """Start workers on the cluster until all of them have nothing left to do."""
    import joblib

    in_vain = 0
    while True:
        start = time.time()
        with _connected(executor, n_jobs, threads, spec["backend"]) as died:
            n = joblib.effective_n_jobs(None)
            specs = [{**spec, "number": number} for number in range(n)]
            try:
                # As a list: joblib 1.6 waits for ever for the generator of a pool that follows a
                # broken one.
                joblib.Parallel(batch_size=1, pre_dispatch="all")(
                    [joblib.delayed(worker.work)(one) for one in specs]
                )
                return
            except died as error:
                in_vain = 0 if _begun(study, start) else in_vain + 1
                if in_vain == DEATHS:
                    raise ChildProcessError(
                        f"Processes of {executor!r} ended {DEATHS} times before they had begun a "
                        f"run: {error}"
                    ) from error


@contextlib.contextmanager
def _connected(
    executor: str, n_jobs: int | None, threads: int | None, backend: str
) -> Iterator[tuple[type[BaseException], ...]]:
    """Choose joblib's backend for the block; give the errors of a worker that was killed."""
    import joblib

    if executor == "ray":
        import ray
        from ray.util.joblib import register_ray

        if not ray.is_initialized():
            environment = {"KERAS_BACKEND": backend, **thread_limit_env(threads or 1)}
            ray.init(
                address=os.environ.get("RAY_ADDRESS") or "auto",
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        register_ray()
        with joblib.parallel_config("ray", n_jobs=n_jobs or -1):
            yield (ray.exceptions.RayError,)
    else:
        with _dask() as distributed, joblib.parallel_config("dask", n_jobs=n_jobs or -1):
            yield (distributed.KilledWorker,)


@contextlib.contextmanager
def _dask() -> Iterator[Any]:
    import dask
    import distributed

    with contextlib.ExitStack() as stack:
        try:
            client = distributed.default_client()
        except ValueError:
            address = dask.config.get("scheduler-address")
            client = stack.enter_context(distributed.Client(address))
        if any(threads > 1 for threads in client.nthreads().values()):
            raise ValueError(
                "A Dask worker does one run at a time: start the workers with --nthreads 1. Got "
                f"{client.nthreads()}."
            )
        yield distributed


# -- both -----------------------------------------------------------------------------------------


def _teller(study: StudyFolder, advance: Advance, on_status: OnStatus | None) -> OnStatus:
    """Return a function of a status that shows it and calls `on_status`."""
    search = study.definition.get("search")

    def tell(status: Status) -> None:
        if search:
            found = trials.trials(study)
            ended = sum(trial.status != "running" for trial in found)
            note = f"{ended} of {search['trials']} trials"
            advance(status.share * len(found), search["trials"], note)
        else:
            advance(status.share, 1, str(status))
        if on_status is not None:
            on_status(status)

    return tell


@contextlib.contextmanager
def _watched(study: StudyFolder, shard: tuple[int, int], on_status: OnStatus) -> Iterator[None]:
    """Call `on_status` about twice a second from another thread, and at both ends."""
    watch = Watch(study)

    def tell() -> None:
        on_status(watch.status(shard_of(study.runs, shard)))

    tell()
    try:
        with call_every(tell, POLL):
            yield
    finally:
        tell()


def _variables() -> dict[str, str]:
    """Return the environment that workers elsewhere may lack: where the data are."""
    data_dir = os.environ.get("KERAS_DISENT_DATA")
    return {"KERAS_DISENT_DATA": str(Path(data_dir).absolute())} if data_dir else {}
