"""Estimate how long a training will take, by a few of its steps."""

from __future__ import annotations

import time
from typing import Any

from keras import ops


def seconds_per_step(model: Any, batches: Any, steps: int = 8) -> float:
    """Time some training steps, and undo them: weights, optimizers, seeds and step are as before.

    What is compiled in the first step does not count, and is not compiled again later.

    Args:
        model: Compiled model.
        batches: Training batches.
        steps: Number of steps that are timed.

    >>> from keras_disent import VAE
    >>> from keras_disent.datasets import Sprites
    >>> model = VAE((32, 32, 1), 2, "mlp", "mlp")
    >>> model.compile()
    >>> seconds_per_step(model, Sprites(32).batches(4), steps=2) > 0
    True
    >>> model.steps_taken()
    0
    """
    variables = [*model.variables, *model.optimizer.variables]
    before = [ops.convert_to_numpy(variable).copy() for variable in variables]
    try:
        model.fit(batches, steps_per_epoch=1, verbose=0)
        start = time.perf_counter()
        model.fit(batches, steps_per_epoch=steps, verbose=0)
        return (time.perf_counter() - start) / steps
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
