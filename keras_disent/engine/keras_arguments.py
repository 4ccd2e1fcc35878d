"""Check the numbers and choices given to `compile`, `fit`, `evaluate` and `predict`.

Keras accepts many invalid ones, and then trains nothing, or uses a default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import check_verbose

AT_LEAST = {
    "batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "steps": 1,
    "steps_per_execution": 1,
    "steps_per_epoch": 1,
    "validation_batch_size": 1,
    "validation_steps": 1,
}
REQUIRED = ("epochs", "initial_epoch", "steps_per_execution")


def check_numbers(verbose: Any, **numbers: Any) -> None:
    """Check `verbose` and integers by their names, which may be None unless they are `REQUIRED`.

    Raises:
        ValueError: If one is invalid.

    >>> check_numbers("auto", epochs=3, batch_size=None)
    >>> check_numbers(0, batch_size=0)
    Traceback (most recent call last):
    ValueError: `batch_size` must be an integer of at least 1. Got 0.
    """
    for name, value in numbers.items():
        if value is not None or name in REQUIRED:
            check_integer(name, value, AT_LEAST[name])
    check_verbose(verbose)


def check_compile(steps_per_execution: Any, jit_compile: Any, **switches: Any) -> None:
    """Check arguments of `compile`; `switches` are booleans.

    Raises:
        ValueError: If one is invalid.
    """
    check_numbers(0, steps_per_execution=steps_per_execution)
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"`{name}` is True or False. Got {value!r}.")
    if not (isinstance(jit_compile, (bool, np.bool_)) or jit_compile in (None, "auto")):
        raise ValueError(f"`jit_compile` is True, False or 'auto'. Got {jit_compile!r}.")


UNCALLED = {
    "compute_loss": "override `objective` (of a VAE: `penalty`), or let a layer call `add_loss`",
    "compute_metrics": "pass `metrics` to `compile`, or log another term by `objective`",
}


def check_overrides(model: keras.Model) -> None:
    """Check that no method of Keras is overridden that `fit` and `evaluate` do not call here.

    Raises:
        ValueError: If one is.
    """
    for name, cure in UNCALLED.items():
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"{type(model).__name__} overrides `{name}`, which its training does not call: "
                f"{cure}."
            )


def check_shuffle(shuffle: Any) -> None:
    """Raise a ValueError if `shuffle` is neither a boolean nor "batch"."""
    if not (isinstance(shuffle, (bool, np.bool_)) or shuffle in (0, 1, "batch")):
        raise ValueError(f"`shuffle` is True, False or 'batch'. Got {shuffle!r}.")


def check_validation(validates: bool, steps: Any, batch_size: Any, frequency: Any) -> None:
    """Check the arguments of validation: its steps, batch size, and frequency.

    Args:
        validates: Whether there are data to validate on.
        steps, batch_size, frequency: `validation_steps`, `validation_batch_size` and
            `validation_freq` of `fit`.

    Raises:
        ValueError: If one is invalid, or has no effect because there is no validation.
    """
    check_numbers(0, validation_steps=steps, validation_batch_size=batch_size)
    several = isinstance(frequency, Iterable) and not isinstance(frequency, str)
    epochs = list(frequency) if several else [frequency]
    if not epochs:
        raise ValueError(f"`validation_freq` must name at least one epoch. Got {frequency!r}.")
    for epoch in epochs:
        check_integer("validation_freq", epoch, 1)
    without_effect = {
        "`validation_steps`": steps is not None,
        "`validation_batch_size`": batch_size is not None,
        "`validation_freq`": epochs != [1],
    }
    names = [name for name, is_set in without_effect.items() if is_set]
    if names and not validates:
        raise ValueError(
            f"Without validation, {' and '.join(names)} cannot take effect: pass "
            "`validation_data` or `validation_split` too, or omit it."
        )
