"""Executors of a study: processes of this machine, or those of a Ray or Dask cluster by joblib."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.checks import check_integer
from keras_disent._utils.periodic import call_every
from keras_disent._utils.progress import Advance, Verbose, check_verbose, progress_bar
from keras_disent._utils.registry import lookup
from keras_disent._utils.threads import processors
from keras_disent.datasets.catalog import check_name
from keras_disent.experiments import table, trials, worker
from keras_disent.experiments.clusters import check_cluster, run_on_cluster
from keras_disent.experiments.local_workers import POLL, OnStatus, run_locally
from keras_disent.experiments.make import check_backend, worker_imports
from keras_disent.experiments.progress import FILE, Progress
from keras_disent.experiments.study_folder import (
    RunsFailedError,
    Status,
    StudyFolder,
    Watch,
    shard_of,
)

EXECUTORS = ("local", "ray", "dask")


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
                    run_locally(study, spec, jobs, threads, shard, tell)
                else:
                    with _watched(study, shard, tell):
                        run_on_cluster(study, spec, executor, n_jobs, threads)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            table.write(study)
        raise
    results = table.write(study)
    if "search" in study.definition:
        from keras_disent.experiments import search_result  # imports Keras

        search_result.finish(study)
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
    if name != "local":
        check_cluster(name)


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


def _teller(study: StudyFolder, advance: Advance, on_status: OnStatus | None) -> OnStatus:
    """Return a function of a status that shows it and calls `on_status`."""
    search = study.definition.get("search")

    def tell(status: Status) -> None:
        if search:
            all_trials = trials.trials(study)
            ended = sum(trial.status != "running" for trial in all_trials)
            note = f"{ended} of {search['trials']} trials"
            advance(status.share * len(all_trials), search["trials"], note)
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
