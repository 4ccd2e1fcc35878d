"""Threads of the libraries that compute: how many, and how they wait.

The libraries read environment variables once, when they are imported. As they come, they use all
processors, and PyTorch's idle threads spin: beside another busy process, a step then waits for
threads that wait for a processor. TensorFlow has faster convolutions than those it uses by itself
where the processor has no AVX-512.

NumPy, which reads them too, must not be imported here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

COUNTS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "NPROC"),  # TensorFlow, JAX
)
POLICY = "OMP_WAIT_POLICY"
SPINS = "GOMP_SPINCOUNT"  # of GNU's threads before they wait, whatever the policy says
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # of TensorFlow, which uses it by itself on newer processors only
LOOK = 0.2  # seconds
_STAT, _LIMIT = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")


def thread_limit_env(threads: int) -> dict[str, str]:
    """Return environment variables that limit library thread pools.

    >>> thread_limit_env(1)["OMP_NUM_THREADS"]
    '1'
    """
    return dict.fromkeys(COUNTS, str(threads))


def processors() -> int:
    """Return the number of processors that this process may use, also in a container."""
    number = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no control group, or no limit
        quota, period = map(int, _LIMIT.read_text().split())
        number = min(number, -(-quota // period))
    return number


def thread_env(threads: int | None = None, default: int | None = None) -> dict[str, str]:
    """Return the environment variables to set for libraries that are not imported yet.

    Args:
        threads: Number of threads, whatever the environment says.
        default: Number of threads where the environment does not limit them by OMP_NUM_THREADS.
            None: the number of processors that other processes leave free.

    >>> thread_env(threads=2)["OMP_NUM_THREADS"]
    '2'
    """
    kernels = {POLICY: "PASSIVE", ONEDNN: "1"}
    if not os.environ.get(POLICY):
        kernels[SPINS] = "1000"
    kernels = {name: value for name, value in kernels.items() if not os.environ.get(name)}
    if threads is not None:
        return kernels | thread_limit_env(threads)
    number = thread_count(COUNTS[0]) or default or free_processors()
    if number == os.cpu_count():
        return kernels  # the libraries choose as many themselves
    counts = thread_limit_env(number).items()
    return kernels | {name: count for name, count in counts if not os.environ.get(name)}


def choose(threads: int | None = None, default: int | None = None) -> str:
    """Set `thread_env`, unless it is too late: Keras has been imported.

    Returns:
        what to tell if other processes are the reason for fewer threads, or "".

    Raises:
        ValueError: If `threads` is not a number of processors.
    """
    if threads is not None and not 1 <= threads <= processors():
        raise ValueError(
            f"`threads` is 1 to {processors()}, the number of processors. Got {threads}."
        )
    if threads is None and "keras" in sys.modules:
        return ""
    variables = thread_env(threads, default)
    os.environ.update(variables)
    number, n = int(variables.get(COUNTS[0], 0)), processors()
    if threads or default or number in (0, n):
        return ""
    return (
        f"Other processes leave {number} of {n} processors free, and this one uses no more: "
        "--threads or OMP_NUM_THREADS chooses otherwise."
    )


def free_processors() -> int:
    """Return the number of processors that other processes leave free, at least 1."""
    load = Load()
    time.sleep(LOOK)
    return max(1, processors() - round(load.others()))


def thread_count(name: str) -> int:
    """Return the number of threads in a variable of the environment, 0 if there is none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


class Load:
    """Measure how busy other processes keep the processors of this one, from now on."""

    def __init__(self) -> None:
        self._start = self._look()

    def others(self) -> float:
        """Return how many processors other processes have kept busy, 0 to all.

        Time of processes that were told to be nice counts only if this one was, too. Where the
        system does not count this time (that is, not on Linux), it is the system's load average.
        """
        if not _STAT.exists():
            return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        seconds, busy, own = (b - a for a, b in zip(self._start, self._look(), strict=True))
        return max(0.0, busy - own) / seconds if seconds else 0.0

    def _look(self) -> tuple[float, float, float]:
        """Return the time, and the busy time of all and of this process, in seconds."""
        now, own = time.monotonic(), time.process_time()
        if not _STAT.exists():
            return now, 0.0, own
        nice = os.nice(0) > 0
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        ticks = 0
        for line in _STAT.read_text().splitlines():
            name, *fields = line.split()
            if name in cores:
                user, niced, system, _, _, *rest = map(int, fields[:8])
                ticks += user + system + sum(rest) + (niced if nice else 0)
        return now, ticks / os.sysconf("SC_CLK_TCK"), own
