"""Schedules for the weights of an objective: beta, capacity, gamma as functions of the step.

A weight may be a number or any `keras.optimizers.schedules.LearningRateSchedule`: those of Keras,
and the two here, which usually rise. A step is one training step of the model.
"""

from __future__ import annotations

import ast
import math
import numbers
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor

WeightValue = float | Schedule
"""A weight of an objective: a number, or a schedule of the training step."""

__all__ = ["SCHEDULES", "Cyclical", "Linear", "Weight", "parse"]


def __dir__() -> list[str]:
    return sorted(__all__)


@keras.saving.register_keras_serializable("keras_disent")
class Linear(Schedule):
    """Change a value linearly from `start` to `end` over `steps` steps, then hold it.

    Args:
        start: Value at step 0 (float).
        end: Value from step `steps` on (float).
        steps: Number of steps, at least 1.

    Raises:
        ValueError: If `steps` is less than 1.

    Source: the capacity of Burgess et al. 2018, "Understanding disentangling in beta-VAE".

    >>> float(Linear(0.0, 25.0, steps=100)(50))
    12.5
    """

    def __init__(self, start: float, end: float, steps: int):
        if steps < 1:
            raise ValueError(f"`steps` of a schedule is at least 1. Got {steps!r}.")
        self.start, self.end, self.steps = float(start), float(end), int(steps)

    def __call__(self, step: int | Tensor) -> Tensor:
        progress = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return self.start + (self.end - self.start) * progress

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"start": self.start, "end": self.end, "steps": self.steps}


@keras.saving.register_keras_serializable("keras_disent")
class Cyclical(Schedule):
    """Raise a value linearly from `start` to `end` in every period of `period` steps.

    Within a period the value rises over the first `rising` of it (a fraction), then is constant.

    Args:
        start: Value at the start of each period (float).
        end: Value at the end of each period (float).
        period: Number of steps of one cycle, at least 1.
        rising: Fraction of the period in which the value rises, in (0, 1].

    Raises:
        ValueError: If `period` or `rising` is out of its range.

    Source: Fu et al. 2019, "Cyclical annealing schedule", section 4.

    >>> float(Cyclical(0.0, 1.0, period=100)(125))
    0.5
    """

    def __init__(self, start: float, end: float, period: int, rising: float = 0.5):
        if period < 1:
            raise ValueError(f"`period` of a schedule is at least 1. Got {period!r}.")
        if not 0 < rising <= 1:
            raise ValueError(f"`rising` is a fraction of the period in (0, 1]. Got {rising!r}.")
        self.start, self.end = float(start), float(end)
        self.period, self.rising = int(period), float(rising)

    def __call__(self, step: int | Tensor) -> Tensor:
        # The integer remainder first: a float32 step loses its last digits past 16 million.
        within = ops.cast(ops.mod(step, self.period), "float32") / self.period
        return self.start + (self.end - self.start) * ops.minimum(within / self.rising, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            "start": self.start,
            "end": self.end,
            "period": self.period,
            "rising": self.rising,
        }


CUSTOM = (Linear, Cyclical)
SCHEDULES = {
    **{n: c for n, c in vars(keras.optimizers.schedules).items() if isinstance(c, type)},
    **{cls.__name__: cls for cls in CUSTOM},
}
del SCHEDULES["LearningRateSchedule"]


def parse(text: Any) -> Any:
    """Parse the call of a schedule into its serialized configuration.

    Files and the command line state schedules as calls.

    Args:
        text: Call of a schedule of this module or of Keras, with numbers, lists and booleans, such
            as "Linear(0, 25, steps=100)". Any other value is returned unchanged.

    Raises:
        ValueError: If there is no such schedule, or it does not take these arguments.

    >>> parse("Linear(0, 25, steps=100)")
    {'class_name': 'keras_disent>Linear', 'config': {'start': 0.0, 'end': 25.0, 'steps': 100}}
    >>> parse("ii")
    'ii'
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body if isinstance(text, str) else None
    except (SyntaxError, ValueError):
        return text
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return text
    cls = lookup(call.func.id, SCHEDULES, "schedule")
    try:
        arguments = [_literal(argument) for argument in call.args]
        options = {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
        config = cls(*arguments, **options).get_config()
        # Keras computes a rate in the dtype of its start: from an integer 0 it would stay 0.
        for key in [key for key in config if key.endswith(("_rate", "_target"))]:
            config[key] = None if config[key] is None else float(config[key])
        value_at(cls.from_config(config), 0)
    except Exception as error:
        raise ValueError(f"{text!r} is not a schedule: {error}") from None
    module = {} if cls in CUSTOM else {"module": "keras.optimizers.schedules"}
    name = f"keras_disent>{cls.__name__}" if cls in CUSTOM else cls.__name__
    return {**module, "class_name": name, "config": config}


def _literal(argument: ast.expr) -> Any:
    try:
        return ast.literal_eval(argument)
    except ValueError:
        raise ValueError("it takes numbers, lists of them and booleans.") from None


class Weight:
    """Declare a weight of an objective: a number, or a schedule of the training step.

    As a class attribute of a model, `beta = Weight()` makes `model.beta` a settable weight. The
    constructor sets it, and it may be set again at any time, between two `fit` or in a callback.
    The new value takes effect from the next step on. Every weight is logged under its name and is
    part of the configuration. The objective reads it as a tensor with `self.current("beta")`.

    A number is a variable of the model, as the learning rate is one of a Keras optimizer. Files of
    weights have it too, and `load_weights` replaces a number by that of the file: set the weight
    after loading to have another one. A schedule stays; a file has its value at the step of saving.

    Args:
        at_most: Largest number that is allowed (float).

    Raises (when it is set):
        ValueError: If the value is neither a number from 0 to `at_most` nor a schedule.

    >>> from keras_disent import BetaVAE
    >>> model = BetaVAE((16, 16, 1), 3, encoder="mlp", decoder="mlp", beta=Linear(0, 4, steps=100))
    >>> model.beta = 2
    >>> model.beta, float(model.current("beta")), model.get_config()["beta"]
    (2.0, 2.0, 2.0)
    """

    def __init__(self, at_most: float = math.inf):
        self.at_most = at_most

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        try:
            state = model.weight_states[self.name]
        except KeyError:
            raise AttributeError(f"{type(model).__name__} has no weight {self.name!r}.") from None
        return state.schedule or state.number()

    def __set__(self, model: Any, value: Any) -> None:
        value = weight(self.name, value, self.at_most)
        model.check_weights({**weights(model), self.name: value})
        schedule = value if isinstance(value, Schedule) else None
        state = model.weight_states.get(self.name)
        if state is None:
            model.weight_states[self.name] = state = _WeightState(model, self.name)
            model.add_term(self.name)
        if state.schedule is not schedule:
            state.schedule = schedule
            model.retrace()
        if schedule is None:
            state.assign(value)


class _WeightState:
    """Hold the value of one weight of one model."""

    def __init__(self, model: Any, name: str):
        self.schedule: Schedule | None = None
        self.variable = model.add_weight(
            shape=(),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )
        self._model, self._exact = model, 0.0

    def assign(self, value: float) -> None:
        self.variable.assign(value)
        self._exact = value

    def number(self) -> float:
        """Return the number as it was set, unless a file has replaced it."""
        stored = float(ops.convert_to_numpy(self.variable))
        return self._exact if stored == np.float32(self._exact) else stored

    def fill(self) -> None:
        """Put the present value of a schedule into the variable, for a file of weights."""
        if self.schedule is not None:
            self.variable.assign(self.current(self._model.steps))

    def clear(self) -> None:
        """Set the variable of a schedule back to 0: nothing else reads it."""
        if self.schedule is not None:
            self.variable.assign(0.0)

    def current(self, step: int | Tensor) -> Any:
        return value_at(self.schedule or self.variable.value, step)


def weights(model: Any) -> dict[str, float | Schedule]:
    """Return the weights of a model's objective, by name."""
    return {name: getattr(model, name) for name in model.weight_states}


def weight(name: str, value: Any, at_most: float = math.inf) -> float | Schedule:
    """Check one weight of an objective: a number of at least 0, or a schedule.

    Raises:
        ValueError: Names the argument, the rule and what came.
    """
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if isinstance(value, Schedule):
        return value
    rule = "of at least 0" if at_most == math.inf else f"from 0 to {at_most:g}"
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= float(value) <= min(at_most, float(np.finfo("float32").max)):
        raise ValueError(f"`{name}` is a number {rule}, or a schedule. Got {value!r}.")
    return float(value)


def value_at(value: Any, step: int | Tensor) -> Any:
    """Return the value of a weight at a training step, as a float32 tensor."""
    return ops.cast(value(step) if isinstance(value, Schedule) else value, "float32")


def config(value: float | Schedule) -> Any:
    """Serialize a weight for `get_config`."""
    return keras.saving.serialize_keras_object(value) if callable(value) else value
