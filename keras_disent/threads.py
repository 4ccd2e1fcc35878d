"""How many threads the libraries start: they look once, when they are imported."""

from __future__ import annotations


def variables(threads: int) -> dict[str, str]:
    """Return the environment variables that make all backends start so many threads.

    >>> variables(1)["OMP_NUM_THREADS"]
    '1'
    """
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    names += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"]  # TensorFlow, JAX
    return dict.fromkeys(names, str(threads))
