"""Tell once if threads that spin compete with other processes for the processors."""

from __future__ import annotations

import time
import warnings

from keras_disent._utils.threads import Load, processors
from keras_disent.engine import backend

PERIOD = 5.0
"""Seconds of training over which the load is measured."""
_warned = False


class Watch:
    """Measure the load of other processes in the first seconds of a training, and warn."""

    def __init__(self) -> None:
        self._load, self._end = Load(), time.monotonic() + PERIOD

    def look(self) -> None:
        """Warn, once in a process, if there are fewer processors free than threads that spin."""
        global _warned
        if _warned or time.monotonic() < self._end:
            return
        self._end = float("inf")
        threads, free = backend.threads(), max(1, processors() - round(self._load.others()))
        if threads > free:
            _warned = True
            warnings.warn(
                f"Other processes leave {free} of {processors()} processors to {threads} threads "
                "of PyTorch, which spin while they wait for each other: steps may be ten times "
                f"slower. Call `torch.set_num_threads({free})`, or set OMP_WAIT_POLICY=PASSIVE "
                "before Python starts.",
                stacklevel=2,
            )
