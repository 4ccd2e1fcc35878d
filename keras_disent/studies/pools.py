"""Where the runs of a study are done: joblib's processes of this machine, or those of a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import joblib
import keras
from joblib.externals.loky.process_executor import BrokenProcessPool

from keras_disent._utils.registry import lookup
from keras_disent.orphans import end_with
from keras_disent.threads import variables

ENGINES = {"local": "loky", "ray": "ray", "dask": "dask"}
"""Names of joblib's backends."""


def check(engine: str) -> None:
    """Check, before any work, that there is an engine of that name, and a cluster if it needs one.

    Raises:
        ValueError: if there is none.
        ImportError: says what to install.

    >>> check("local")
    """
    lookup(engine, ENGINES, "engine")
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
def parallel(
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


@contextlib.contextmanager
def _ray(environment: dict[str, str]) -> Iterator[Any]:
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        ray.init(
            address=os.environ.get("RAY_ADDRESS") or "auto",
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level=logging.WARNING,
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
