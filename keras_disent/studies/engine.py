"""Runs the runs of a study through joblib: in processes here, on Ray or on Dask."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import keras
from joblib.externals.loky.process_executor import BrokenProcessPool

from keras_disent.configuration import Config
from keras_disent.datasets import DATASETS
from keras_disent.orphans import end_with
from keras_disent.registry import lookup
from keras_disent.runs import MODEL
from keras_disent.studies import table
from keras_disent.studies.folder import Status, Watch, claim
from keras_disent.studies.locks import alive
from keras_disent.studies.plan import Plan, Run
from keras_disent.studies.work import FAILED, LOCKS, RUNS, ended, fail, sweep, work
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
        jobs: runs at a time; default, one for each processor (of the cluster).
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
        OSError: if a file, which it names, cannot be written; what is finished is kept.
        ChildProcessError: if processes end again and again before they have begun a run.
        ImportError: without pandas, or the package of the engine.
        KeyboardInterrupt: after Ctrl-C; calling it again goes on.

    However it ends, the table holds what is finished.

    >>> lookup("local", ENGINES, "engine")
    'loky'
    """
    lookup(engine, ENGINES, "engine")
    _check_engine(engine)
    if jobs is not None:
        whole_number("jobs", jobs, at_least=1)
    whole_number("threads", threads, at_least=1)
    mine = part(plan.runs, half)
    table.needed()
    folder = Path(folder).absolute()
    claim(plan, folder)
    table.check(folder, plan.runs)
    if retry:
        for one in mine:
            (folder / RUNS / one.name / FAILED).unlink(missing_ok=True)
    try:
        with _told(Watch(folder, mine), changed):
            _all(mine, folder, engine, jobs, threads)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            table.write(folder)
        raise
    return table.write(folder)


def part(runs: Sequence[Run], half: tuple[int, int]) -> list[Run]:
    """Return every second run, or third, and so on.

    Raises:
        ValueError: if there is no such part.
    """
    number, parts = half
    if not 1 <= number <= parts:
        raise ValueError(f"`half` is (1, 2) or (2, 2), or a part of more. Got {half}.")
    return list(runs[number - 1 :: parts])


def _all(mine: Sequence[Run], folder: Path, engine: str, jobs: int | None, threads: int) -> None:
    """Do runs until all have ended, whatever happens to the processes."""
    deaths: collections.Counter[tuple[str, float]] = collections.Counter()
    in_vain = 0
    while waiting := [one for one in mine if not ended(folder / RUNS / one.name)]:
        free = [one for one in waiting if not _held(folder, one)]
        if not free:  # others are at them
            time.sleep(POLL)
            continue
        with _parallel(engine, jobs, threads) as died:
            try:
                _dispatch(free, folder, engine)
            except died as error:
                in_vain = 0 if _bury(free, folder, deaths) else in_vain + 1
                if in_vain == DEATHS:
                    raise ChildProcessError(
                        f"Processes of engine {engine!r} ended {DEATHS} times before they had "
                        f"begun a run: {error}"
                    ) from error


def _dispatch(free: Sequence[Run], folder: Path, engine: str) -> None:
    backend = keras.backend.backend()
    tasks = [(portable(run.config, engine), run.name, folder, backend) for run in free]
    # As a list: joblib 1.6 waits for ever for the generator of a pool that follows a broken one.
    parallel = joblib.Parallel(batch_size=1, pre_dispatch="all")
    if engine == "ray":  # its pool deals tasks out in turn, even to who is busy
        workers = range(joblib.effective_n_jobs(None))
        parallel(joblib.delayed(sweep)(tasks[i:] + tasks[:i]) for i in workers)
    else:
        parallel(joblib.delayed(work)(*task) for task in tasks)


def portable(config: Config, engine: str = "local") -> Config:
    """Return a configuration whose paths hold in any directory; it still names the same run."""
    data, data_dir = config.data, config.data_dir
    if data not in DATASETS:
        data = str(Path(data).absolute())
    if data_dir is None and engine != "local":  # a worker elsewhere may not have it
        data_dir = os.environ.get("KERAS_DISENT_DATA")
    if data_dir is not None:
        data_dir = str(Path(data_dir).absolute())
    return dataclasses.replace(config, data=data, data_dir=data_dir)


def _held(folder: Path, run: Run) -> bool:
    lock = folder / LOCKS / f"{run.name}.json"
    return lock.exists() and alive(lock)


def _bury(
    among: Sequence[Run], folder: Path, deaths: collections.Counter[tuple[str, float]]
) -> bool:
    """Count whose process has died; a run that does so again and again has failed.

    Return whether any had begun a run.
    """
    found = False
    time.sleep(POLL)  # the others of the pool are ending
    for run in among:
        place = folder / RUNS / run.name
        if (folder / LOCKS / f"{run.name}.json").exists() and not _held(folder, run):
            found = True
            model = place / MODEL
            key = run.name, model.stat().st_mtime if model.exists() else 0.0
            deaths[key] += 1
            if deaths[key] >= DEATHS and not ended(place):
                fail(place, f"The process of this run was killed {DEATHS} times.")
    return found


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
    engine: str, jobs: int | None, threads: int
) -> Iterator[tuple[type[BaseException], ...]]:
    """Choose joblib's backend for the block; give the errors of a worker that was killed."""
    environment = {"KERAS_BACKEND": keras.backend.backend(), **variables(threads)}
    if engine == "ray":
        with _ray(environment) as ray, joblib.parallel_config("ray", n_jobs=jobs or -1):
            yield (ray.exceptions.RayError,)
    elif engine == "dask":
        with _dask() as distributed, joblib.parallel_config("dask", n_jobs=jobs or -1):
            yield (distributed.KilledWorker,)
    elif jobs == 1:
        with joblib.parallel_config("sequential"):
            yield ()
    else:
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)  # for the processes that are started
        try:
            with joblib.parallel_config(
                "loky",
                n_jobs=jobs or _processors(),
                inner_max_num_threads=threads,
                initializer=end_with,
                initargs=(os.getpid(),),
            ):
                yield (BrokenProcessPool,)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _check_engine(engine: str) -> None:
    """Raise ImportError or ValueError if there is no cluster to be found, before any work."""
    if engine == "local":
        return
    try:
        if engine == "ray":
            import ray.util.joblib  # noqa: F401
        else:
            import dask
            import distributed
    except ImportError as error:
        raise ImportError(
            f"The engine {engine!r} needs {engine.title()}: pip install "
            f"'keras-disent[{engine}]'. {error}."
        ) from None
    if engine == "dask" and dask.config.get("scheduler-address", None) is None:
        try:
            distributed.default_client()
        except ValueError:
            raise ValueError(
                "The engine 'dask' needs a cluster: set DASK_SCHEDULER_ADDRESS to the address of "
                "its scheduler, or make a `distributed.Client`."
            ) from None


@contextlib.contextmanager
def _ray(environment: dict[str, str]) -> Iterator[Any]:
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        ray.init(
            address=os.environ.get("RAY_ADDRESS") or "auto",
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level="warning",
        )
    register_ray()
    yield ray


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


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
