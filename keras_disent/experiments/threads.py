"""Environment variables that limit library thread pools."""

from __future__ import annotations


def thread_limit_env(threads: int) -> dict[str, str]:
    """Return environment variables that limit library thread pools.

    The libraries read them once, when they are imported.

    >>> thread_limit_env(1)["OMP_NUM_THREADS"]
    '1'
    """
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    names += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"]  # TensorFlow, JAX
    return dict.fromkeys(names, str(threads))
