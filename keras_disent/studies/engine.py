"""Runs the runs of a study through joblib: in processes here, on Ray or on Dask."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import keras
from joblib.externals.loky.process_executor import BrokenProcessPool

from keras_disent.registry import lookup
from keras_disent.runs import MODEL
from keras_disent.studies import table
from keras_disent.studies.folder import Status, Watch, claim
from keras_disent.studies.locks import alive
from keras_disent.studies.plan import Plan, Run
from keras_disent.studies.work import FAILED, LOCKS, RUNS, ended, fail, work
from keras_disent.threads import variables
from keras_disent.validation import whole_number

ENGINES = {"local": "loky", "ray": "ray", "dask": "dask"}
"""Names of joblib's backends."""
DEATHS = 5
"""A run whose process was killed so often, with no checkpoint in between, has failed."""
POLL = 0.5  # seconds


def run(
    plan: Plan,
    folder: str | Path,
    *,
    jobs: int | None = None,
    engine: str = "local",
    threads: int = 1,
    half: tuple[int, int] = (1, 1),
    retry: bool = False,
    changed: Callable[[Status], object] = lambda status: None,
) -> Any:
    """Do the runs of a study that have not been done, and write the table of all results.

    Several processes may do so in one folder at once: no run is done twice. With one job, the runs
    are trained in this process.

    Args:
        plan: the study.
        folder: new, empty, or of this study.
        jobs: runs at a time; default, one for each processor.
        engine: "local" for processes of this machine; "ray" or "dask" for the cluster that is
            running.
        threads: of each process; to the last bit, results may depend on it.
        half: (2, 3) for the second of three parts; (1, 1) for all runs.
        retry: whether to try runs again that have failed.
        changed: called twice a second, from another thread, with how far these runs are.

    Returns:
        the results, see `table.results`.

    Raises:
        ValueError: for a folder that cannot be used, or a broken result file, which it names.
        OSError: if the folder cannot be written any more; what is finished is kept.
        ImportError: without pandas, or the package of the engine.
        KeyboardInterrupt: after Ctrl-C; calling it again goes on.

    >>> lookup("local", ENGINES, "engine")
    'loky'
    """
    lookup(engine, ENGINES, "engine")
    jobs = _processors() if jobs is None else whole_number("jobs", jobs, at_least=1)
    whole_number("threads", threads, at_least=1)
    mine = part(plan.runs, half)
    table.needed()
    folder = Path(folder).absolute()
    claim(plan, folder)
    table.check(folder, plan.runs)
    if retry:
        for one in mine:
            (folder / RUNS / one.name / FAILED).unlink(missing_ok=True)
    environment = {"KERAS_BACKEND": keras.backend.backend(), **variables(threads)}
    with _told(Watch(folder, mine), changed):
        deaths: collections.Counter[tuple[str, float]] = collections.Counter()
        while waiting := [one for one in mine if not ended(folder / RUNS / one.name)]:
            free = [one for one in waiting if not _held(folder, one)]
            if not free:  # others are at them
                time.sleep(POLL)
                continue
            with _parallel(engine, jobs, environment) as died:
                try:
                    _dispatch(free, folder, jobs)
                except died:
                    _bury(free, folder, deaths)
    return table.write(folder, plan.runs)


def part(runs: Sequence[Run], half: tuple[int, int]) -> list[Run]:
    """Return every second run, or third, and so on.

    Raises:
        ValueError: if there is no such part.
    """
    number, parts = half
    if not 1 <= number <= parts:
        raise ValueError(f"`half` is (1, 2) or (2, 2), or a part of more. Got {half}.")
    return list(runs[number - 1 :: parts])


def _dispatch(free: Sequence[Run], folder: Path, jobs: int) -> None:
    backend = keras.backend.backend()
    tasks = (joblib.delayed(work)(r.config, r.name, folder, backend, os.getpid()) for r in free)
    # A list: joblib 1.6 waits for ever for the generator of a pool that follows a broken one.
    given = "generator" if jobs == 1 else "list"
    for outcome in joblib.Parallel(batch_size=1, pre_dispatch="all", return_as=given)(tasks):
        if outcome["outcome"] == "unwritable":
            raise OSError(f"{outcome['message']} What is finished is kept: call it again to go on.")


def _held(folder: Path, run: Run) -> bool:
    lock = folder / LOCKS / f"{run.name}.json"
    return lock.exists() and alive(lock)


def _bury(
    among: Sequence[Run], folder: Path, deaths: collections.Counter[tuple[str, float]]
) -> None:
    """Count whose process has died; a run that does so again and again has failed."""
    time.sleep(POLL)  # the others of the pool are ending
    for run in among:
        place = folder / RUNS / run.name
        if (folder / LOCKS / f"{run.name}.json").exists() and not _held(folder, run):
            model = place / MODEL
            key = run.name, model.stat().st_mtime if model.exists() else 0.0
            deaths[key] += 1
            if deaths[key] >= DEATHS and not ended(place):
                fail(place, f"The process of this run was killed {DEATHS} times.")


@contextlib.contextmanager
def _told(watch: Watch, changed: Callable[[Status], object]) -> Iterator[None]:
    """Tell, in the block, how far the runs are; once more at its end."""
    over = threading.Event()

    def tell() -> None:
        while not over.is_set():
            changed(watch.status())
            over.wait(POLL)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        changed(watch.status())


@contextlib.contextmanager
def _parallel(
    engine: str, jobs: int, environment: dict[str, str]
) -> Iterator[tuple[type[BaseException], ...]]:
    """Choose joblib's backend for the block; give the errors of a worker that was killed."""
    if engine == "ray":
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise ImportError(f"The engine 'ray' needs Ray: pip install ray. {error}.") from None
        if not ray.is_initialized():
            ray.init(
                address=os.environ.get("RAY_ADDRESS", "auto"),
                runtime_env={"env_vars": environment},
                log_to_driver=False,
            )
        register_ray()
        with joblib.parallel_config("ray", n_jobs=jobs):
            yield (ray.exceptions.RayError,)
    elif engine == "dask":
        try:
            from dask import distributed
        except ImportError as error:
            raise ImportError(
                f"The engine 'dask' needs Dask: pip install 'dask[distributed]'. {error}."
            ) from None
        with distributed.Client(os.environ.get("DASK_SCHEDULER_ADDRESS")):
            with joblib.parallel_config("dask", n_jobs=jobs):
                yield (distributed.KilledWorker,)
    elif jobs == 1:
        with joblib.parallel_config("sequential"):
            yield ()
    else:
        threads = int(environment["OMP_NUM_THREADS"])
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)  # for the processes that are started
        try:
            with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
                yield (BrokenProcessPool,)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
