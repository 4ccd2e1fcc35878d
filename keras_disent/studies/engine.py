"""Does the runs of a study that are not done, whatever happens to the processes that do them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import keras

from keras_disent._utils.checks import check_integer
from keras_disent.beats import every
from keras_disent.configuration import Config
from keras_disent.datasets import DATASETS
from keras_disent.datasets.catalog import check_name
from keras_disent.runs import MODEL
from keras_disent.studies import pools, table
from keras_disent.studies.folder import Status, Watch, claim
from keras_disent.studies.locks import alive
from keras_disent.studies.plan import Plan, Run
from keras_disent.studies.work import FAILED, LOCKS, RUNS, ended, fail, sweep, work

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
    """
    pools.check(engine)
    if jobs is not None:
        check_integer("jobs", jobs, at_least=1)
    check_integer("threads", threads, at_least=1)
    mine = part(plan.runs, half)
    for data in dict.fromkeys(run.config.data for run in mine):
        check_name(data)
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
        with pools.parallel(engine, jobs, threads) as died:
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
    """Tell, in the block, how far the runs are; at its start and end too."""

    def tell() -> None:
        changed(watch.status())

    tell()
    try:
        with every(POLL, tell):
            yield
    finally:
        tell()
