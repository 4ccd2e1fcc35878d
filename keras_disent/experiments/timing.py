"""Estimate how long a training will take, by a few of its steps."""

from __future__ import annotations

import time
from typing import Any

from keras import ops

QUICK = 1.0  # seconds; if the first steps take less, more are timed


def seconds_per_step(model: Any, batches: Any) -> float:
    """Time some training steps, and undo them: weights, optimizers, seeds and step are as before.

    What is compiled in the first step does not count, and is not compiled again later. Other work
    of the machine only adds to a time, so that the shortest of several counts.

    Args:
        model: Compiled model.
        batches: Training batches.

    >>> from keras_disent import VAE
    >>> from keras_disent.datasets import Sprites
    >>> model = VAE((32, 32, 1), 2, "mlp", "mlp")
    >>> model.compile()
    >>> seconds_per_step(model, Sprites(32).batches(4)) > 0
    True
    >>> model.steps_taken()
    0
    """
    at_once = getattr(model, "steps_per_execution", 1)
    variables = [*model.variables, *model.optimizer.variables]
    before = [ops.convert_to_numpy(variable).copy() for variable in variables]

    def timed(steps: int) -> float:
        steps = at_once * -(-steps // at_once)
        start = time.perf_counter()
        model.fit(batches, steps_per_epoch=steps, verbose=0)
        return (time.perf_counter() - start) / steps

    try:
        timed(1)
        each = timed(4)
        if 4 * each < QUICK:
            each = min(each, timed(16), timed(16))
        return each
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
