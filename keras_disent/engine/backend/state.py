"""Where the state of a training is: in the variables, also while JAX trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND
from keras_disent.engine.backend.interrupts import uninterrupted

if BACKEND == "jax":
    import jax

STATE = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_variables",
    "metrics_variables",
)


class State(tuple[Any, ...]):
    """The state of a JAX step, which knows the variables that it belongs to."""

    variables: list[list[keras.Variable]]


class Held(keras.Model):
    """A model whose variables hold its state between any two steps, as on the other backends.

    Functions of JAX take the state and return the next one. Keras empties the variables meanwhile,
    until the epoch ends or a callback asks for its model. What reaches them in another way (a
    function that a `LambdaCallback` calls, a generator of batches) finds nothing there, and what it
    assigns is lost. Here the variables are given each step's result, which is not waited for.
    """

    def take_again(self) -> None:
        """Let the step after a call that may have ended halfway take the state anew."""
        self._jax_state_synced = True

    if BACKEND == "jax":

        def _make_function(self, step_function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
            """Let a step, whose batch is there, read the variables and leave its result in them."""

            def step(given: State, data: Any) -> tuple[Any, State]:
                parts = given.variables
                before = _distinct([[v._value for v in part] for part in parts])
                state = None

                def untouched() -> bool:  # also while JAX compiles
                    return state is None and not any(v.is_deleted() for p in before for v in p)

                with uninterrupted(untouched):
                    outputs, state = step_function(tuple(before), data)
                    for part, values in zip(parts, state, strict=True):
                        for variable, value in zip(part, values, strict=True):
                            variable._value = value
                return outputs, _state(state, parts)

            return super()._make_function(step, *args, **kw)

        def _get_jax_state(self, **parts: bool) -> State:
            """Note the variables of the state, and leave it in them."""
            variables = [self._variables_of(part) for part in STATE if parts.get(part)]
            return _state([[v.value for v in part] for part in variables], variables)

        def _variables_of(self, part: str) -> list[keras.Variable]:
            if part == "optimizer_variables":
                return [*self.optimizer.variables] if self.optimizer else []
            return [*getattr(self, part)]

        def jax_state_sync(self) -> None:
            """The state is in the variables already; the next step may find other ones."""
            self.take_again()


def _state(values: Any, variables: list[list[keras.Variable]]) -> State:
    state = State(values)
    state.variables = variables
    return state


def _distinct(parts: list[list[Any]]) -> list[list[Any]]:
    """Copy arrays that two variables share (one was assigned to the other): a step takes them."""
    if len({id(v) for part in parts for v in part}) == sum(map(len, parts)):
        return parts
    seen: set[int] = set()
    for part in parts:
        for i, value in enumerate(part):
            if id(value) in seen:
                part[i] = jax.numpy.copy(value)
            seen.add(id(value))
    return parts
