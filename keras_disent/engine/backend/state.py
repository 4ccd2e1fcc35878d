"""Where the state of a training is: JAX takes it out of the variables while it trains."""

from __future__ import annotations

from typing import Any

import keras

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
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()

    def _get_jax_state(self, **parts: bool) -> tuple[Any, ...]:
        """Take the state out of the variables, and note it, so that `sync` can put it back.

        Keras notes the state after a step only: an error or Ctrl-C in the first one, where JAX
        compiles, would leave a model without weights.
        """
        state: tuple[Any, ...] = super()._get_jax_state(**parts)
        if parts.get("purge_model_variables"):
            taken = [part for part in STATE if parts.get(part)]
            self._jax_state = dict(zip(taken, state, strict=True))
        return state
