"""The first callback of `fit`: it watches terms and processors, and asks for scores."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_disent._utils.types import Logs
from keras_disent.engine import backend, contention


class NotFinite(Exception):
    """Stop `fit` after a step that was not finite."""


class FitMonitor(keras.callbacks.Callback):
    """Stop `fit` after a step that is not finite, and add scores to the logs of an epoch.

    It is the first callback of `fit`; the caller's callbacks keep their order. Callbacks that
    measure scores are called here, so that all others see the scores.

    Args:
        model: Model that is trained.
        callbacks: Callbacks of the caller.

    Attributes:
        callbacks: This callback and those of the caller.
        others: Callbacks of the caller, as a list.
        tolerant: Whether one of them handles numbers that are not finite.
    """

    async_safe = True  # does not use the model in the middle of an epoch

    def __init__(self, model: Any, callbacks: Any):
        super().__init__()
        self._trained, self._terms = model, set(model.terms)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            self.callbacks, self.others = callbacks, list(callbacks.callbacks)
            callbacks.callbacks.insert(0, self)
        else:
            self.others = keras.tree.flatten(callbacks) if callbacks else []
            self.callbacks = [self, *self.others]
        self.tolerant = any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in self.others)
        self._contention = contention.Watch() if backend.threads_spin() else None

    def remove(self) -> None:
        """Remove this callback from a `CallbackList` of the caller."""
        if isinstance(self.callbacks, keras.callbacks.CallbackList):
            self.callbacks.callbacks.remove(self)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._trained._is_fitting = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._trained._is_fitting = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._trained._check_compiled()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._trained._check_not_frozen()

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        self._check(logs)
        if self._contention is not None:
            self._contention.look()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._check(logs)
        for callback in self.others:
            if getattr(callback, "scores", False) is True:
                callback.measure(epoch, logs)

    def _check(self, logs: Logs) -> None:
        for name, value in (logs or {}).items():
            if name in self._terms and not math.isfinite(value):
                if not self.tolerant:
                    raise NotFinite(f"The mean of `{name}` over the epoch is not finite.")
                self._trained.stop_training = True
