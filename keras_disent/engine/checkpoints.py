"""Keep the best model under callbacks whose score is measured every few epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras


@contextlib.contextmanager
def skip_unmeasured(callbacks: Iterable[Any]) -> Iterator[None]:
    """Make callbacks that save the best model skip epochs without the score that they monitor.

    A `DisentanglementMetrics(every=k)` logs its scores in every k-th epoch only. In the others,
    `keras.callbacks.ModelCheckpoint(save_best_only=True)` would overwrite the best model, and so
    would KerasTuner's `SaveBestEpoch`.

    Args:
        callbacks: All callbacks of the `fit` that runs inside this context.
    """
    callbacks = list(callbacks)
    scorers = [c for c in callbacks if getattr(c, "scores", False) is True]
    periodic = {f"val_{name}" for c in scorers for name in getattr(c, "metrics", ())}
    savers = [c for c in callbacks if _monitored(c) in periodic]
    for saver in savers:
        saver.on_epoch_end = _when_measured(saver)
    try:
        yield
    finally:
        for saver in savers:
            del saver.on_epoch_end


def _monitored(callback: Any) -> str | None:
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return callback.monitor if callback.save_best_only else None
    if type(callback).__module__.startswith("keras_tuner."):
        return getattr(getattr(callback, "objective", None), "name", None)
    return None


def _when_measured(saver: Any) -> Any:
    name, on_epoch_end = _monitored(saver), saver.on_epoch_end

    def on_measured_epoch(epoch: int, logs: Any = None) -> None:
        if name in (logs or {}):
            on_epoch_end(epoch, logs)

    return on_measured_epoch
