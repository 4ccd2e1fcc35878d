"""Workers of a study as tasks of a Ray or Dask cluster, by joblib."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from keras_disent._utils.threads import thread_limit_env
from keras_disent.experiments import worker
from keras_disent.experiments.local_workers import DEATHS, begun
from keras_disent.experiments.study_folder import StudyFolder


def check_cluster(name: str) -> None:
    """Check that the package of a cluster is installed, and Dask's scheduler is known.

    Raises:
        ValueError: If no scheduler is known.
        ImportError: Says what to install.
    """
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


def run_on_cluster(
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
                    [joblib.delayed(_work)(one) for one in specs]
                )
                return
            except died as error:
                in_vain = 0 if begun(study, start) else in_vain + 1
                if in_vain == DEATHS:
                    raise ChildProcessError(
                        f"Processes of {executor!r} ended {DEATHS} times before they had begun a "
                        f"run: {error}"
                    ) from error


def _work(spec: dict[str, Any]) -> None:
    """Work on a study in a task; what a run computes in parallel stays in its own process.

    Scores would otherwise be tasks of the cluster, and a run would wait for one that was lost with
    a killed worker.
    """
    import joblib

    with joblib.parallel_config("threading"):
        worker.work(spec)


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
