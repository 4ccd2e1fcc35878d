"""Estimate how long a training will take, by a few of its steps."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils.types import Logs


def seconds_per_step(model: Any, batches: Any, steps: int = 12) -> float:
    """Time some training steps, and undo them: weights, optimizers, seeds and step are as before.

    The first one, in which the step is compiled, does not count; later it is not compiled again.

    Args:
        model: Compiled model.
        batches: Training batches.
        steps: Number of steps; of calls with `steps_per_execution` steps each, if that is above 1.

    Returns:
        The median.

    >>> from keras_disent import VAE
    >>> from keras_disent.datasets import Sprites
    >>> model = VAE((32, 32, 1), 2, "mlp", "mlp")
    >>> model.compile()
    >>> seconds_per_step(model, Sprites(32).batches(4), steps=3) > 0
    True
    >>> model.steps_taken()
    0
    """
    at_once = model.steps_per_execution
    variables = [*model.variables, *model.optimizer.variables]
    before = [ops.convert_to_numpy(variable).copy() for variable in variables]
    clock = _Clock()
    try:
        model.fit(batches, steps_per_epoch=steps * at_once, callbacks=[clock], verbose=0)
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return float(np.median(np.diff(clock.times)) / at_once)


class _Clock(keras.callbacks.Callback):
    """Note when each step has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for value in (logs or {}).values():
            float(value)  # which waits for the step
        self.times.append(time.perf_counter())
