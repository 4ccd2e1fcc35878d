"""Where the state of a training is: JAX takes it out of the variables while it trains."""

from __future__ import annotations

from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND

STATE = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_variables",
    "metrics_variables",
)


class Synced(keras.Model):
    """A model whose variables hold its state whenever `sync` was called."""

    def sync(self) -> None:
        """Copy the training state of JAX back to the variables, also during `fit`."""
        if BACKEND == "jax":
            self.jax_state_sync()

    def _get_jax_state(self, **parts: bool) -> tuple[Any, ...]:
        """Take the state out of the variables, and note it, so that `sync` can put it back.

        Keras notes the state after a step only: an error or Ctrl-C in the first one, where JAX
        compiles, would leave a model without weights.
        """
        taken = [part for part in STATE if parts.get(part)]
        variables = {part: self._variables_of(part) for part in taken}
        state: tuple[Any, ...] = super()._get_jax_state(**parts)
        if parts.get("purge_model_variables"):
            self._jax_state = dict(zip(taken, state, strict=True))
        object.__setattr__(self, "_taken_from", variables)  # past Keras's tracking
        return state

    def _variables_of(self, part: str) -> list[keras.Variable]:
        if part == "optimizer_variables":
            return [*self.optimizer.variables] if self.optimizer else []
        return [*getattr(self, part)]

    if BACKEND == "jax":

        def jax_state_sync(self) -> None:
            """Put the state back into the variables that it was taken from.

            Keras puts it into those of now, which are others if a callback has frozen a layer.
            """
            state = getattr(self, "_jax_state", None)
            if not state or getattr(self, "_jax_state_synced", True):
                return
            for part, values in state.items():
                for variable, value in zip(self._taken_from[part], values, strict=True):
                    variable.assign(value)
            self._jax_state_synced = True
