"""Where the state of a training is: in the variables, also while JAX trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND
from keras_disent.engine.backend.interrupts import uninterrupted

STATE = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_variables",
    "metrics_variables",
)


class Held(keras.Model):
    """A model whose variables hold its state between any two steps, as on the other backends.

    Functions of JAX take the state and return the next one. Keras empties the variables meanwhile,
    until the epoch ends or a callback asks for its model. What reaches them in another way (a
    function that a `LambdaCallback` calls, a generator of batches) finds nothing there, and what it
    assigns is lost. Here the variables are given each step's result, which is not waited for.
    """

    if BACKEND == "jax":

        def make_train_function(self, force: bool = False) -> None:
            self._make("train_function", force)

        def make_test_function(self, force: bool = False) -> None:
            self._make("test_function", force)

        def make_predict_function(self, force: bool = False) -> None:
            self._make("predict_function", force)

        def _make(self, name: str, force: bool) -> None:
            if force or getattr(self, name) is None:
                getattr(super(), f"make_{name}")(force)
                setattr(self, name, self._held(getattr(self, name)))

        def _held(self, function: Callable[..., Any]) -> Callable[..., Any]:
            """Let a step read the state from the variables, and leave its result there."""

            def step(_: Any, iterator: Any) -> Any:
                parts: list[list[keras.Variable]] = self._taken_from
                before = tuple([v.value for v in part] for part in parts)
                state = None

                def untouched() -> bool:  # also while JAX compiles
                    return state is None and not any(v.is_deleted() for p in before for v in p)

                with uninterrupted(untouched):
                    outputs, state = function(before, iterator)
                    # Not those of now, which are others if a callback has frozen a layer.
                    for part, values in zip(parts, state, strict=True):
                        for variable, value in zip(part, values, strict=True):
                            variable._value = value
                return outputs, state

            return step

        def _get_jax_state(self, **parts: bool) -> tuple[Any, ...]:
            """Note the variables of the state, and leave it in them."""
            variables = [self._variables_of(part) for part in STATE if parts.get(part)]
            object.__setattr__(self, "_taken_from", variables)  # past Keras's tracking
            return tuple([v.value for v in part] for part in variables)

        def _variables_of(self, part: str) -> list[keras.Variable]:
            if part == "optimizer_variables":
                return [*self.optimizer.variables] if self.optimizer else []
            return [*getattr(self, part)]

        def jax_state_sync(self) -> None:
            """The state is in the variables already: note only what the next step takes."""
            self._jax_state_synced = True
