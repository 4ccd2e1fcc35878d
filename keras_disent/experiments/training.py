"""The training loop of the package: up to a number of steps, with checkpoints and history."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils.files import atomic_write
from keras_disent._utils.types import Logs
from keras_disent.experiments.stamp import STAMP
from keras_disent.experiments.store import write_text
from keras_disent.experiments.table import csv_text

HISTORY = "history.csv"


def fit_steps(
    model: Any,
    batches: Any,
    steps: int,
    epoch_steps: int,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> dict[str, float]:
    """Train a model up to a number of steps.

    It is one `fit`, whose last epoch is short if the steps end there. Training that begins in the
    middle of an epoch first ends that epoch, in a `fit` of its own.

    Args:
        model: Compiled model.
        batches: Training batches.
        steps: Number of steps in all.
        epoch_steps: Steps of an epoch.
        callbacks: Callbacks; one of them may end training early.
        options: Other arguments of `fit`.

    Returns:
        the last logs; empty if there was nothing to do.
    """
    logs: dict[str, float] = {}
    while (start := model.steps_taken()) < steps:
        rest = -start % epoch_steps
        size, last = (rest, min(start + rest, steps)) if rest else (epoch_steps, steps)
        first = start // epoch_steps
        short = [_StopAt(model, last)] if (last - start) % size else []
        history = model.fit(
            batches,
            steps_per_epoch=size,
            initial_epoch=first,
            epochs=first + math.ceil((last - start) / size),
            callbacks=[*short, *callbacks],
            **options,
        ).history
        logs = {name: float(values[-1]) for name, values in history.items()}
        if model.stop_training:
            break
    return logs


class _StopAt(keras.callbacks.Callback):
    """Stop training at a number of steps, in the middle of an epoch.

    It is not `async_safe`: called from another thread, it would be too late.
    """

    def __init__(self, model: Any, last: int):
        super().__init__()
        self._trained, self._last = model, last

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._remaining = self._last - self._trained.steps_taken()

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        if batch + 1 >= self._remaining:
            self._trained.stop_training = True


class Checkpoint(keras.callbacks.Callback):
    """Keep history and checkpoint of a run at the end of each epoch.

    The history is written first: a line for steps that the checkpoint has not reached is dropped
    when training is resumed.

    Args:
        history: Path of the history; what it holds up to the checkpoint is kept.
        model_file: Path of the checkpoint.
        stamp: What the checkpoint says about its run.
        images: Images by which the latents are measured.
        on_saved: Called after each checkpoint with its step.
    """

    def __init__(
        self,
        history: Path,
        model_file: Path,
        stamp: Mapping[str, str],
        images: np.ndarray,
        on_saved: Callable[[int], object] = lambda step: None,
    ):
        super().__init__()
        self._history, self._file, self._stamp = history, model_file, stamp
        self._images = images
        self._on_saved = on_saved
        self._lines = read_history(history)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        step = self.model.steps_taken()
        self._lines = [line for line in self._lines if int(line["step"]) <= step]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        step = self.model.steps_taken()
        if not _finite(self.model):
            raise FloatingPointError(
                f"The weights are not finite at step {step}; the last checkpoint is kept. A lower "
                "learning rate, `clipnorm` in the optimizer, or a smaller weight may help."
            )
        self._lines.append({"step": step, **(logs or {})})
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(self._lines[-1]), lineterminator="\n")
        table.writerow({name: csv_text(name) for name in self._lines[-1]})
        table.writerows(self._lines)
        write_text(self._history, text.getvalue())
        self.model.measure_latents(self._images)
        with atomic_write(self._file) as temporary:
            self.model.save(temporary)
            with zipfile.ZipFile(temporary, "a") as file:
                file.writestr(STAMP, json.dumps({**self._stamp, "step": step}))
        self._on_saved(step)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a history; none if there is no file.

    Raises:
        ValueError: If the file is damaged; names it.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, strict=True))
        for line in lines:
            int(line["step"])
            if None in line or None in line.values():
                raise ValueError(f"a line of another length, at step {line['step']}")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(path)!r} is not the history of a run: {reason}.") from None
    return lines


class StepCounter(keras.callbacks.Callback):
    """Report steps to a function, from the threads that wait for the logs of each step.

    The training itself goes on to the next step at once.

    Args:
        on_steps: Called with a number of steps done since its last call, and the logs.
    """

    async_safe = True

    def __init__(self, on_steps: Callable[[int, Mapping[str, float]], object]):
        super().__init__()
        self._on_steps, self._lock, self._last = on_steps, threading.Lock(), -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._last = -1

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        with self._lock:
            if batch > self._last:  # one of several threads may be late
                steps, self._last = batch - self._last, batch
                self._on_steps(steps, logs or {})


class Interruption(keras.callbacks.Callback):
    """Turn Ctrl-C into a stop after the step under way, so that all can be saved.

    Attributes:
        is_requested: Whether Ctrl-C was pressed.
    """

    async_safe = True

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._trained = model
        self.is_requested = False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.is_requested:  # a second Ctrl-C does not wait
            signal.signal(signal.SIGINT, self._before)
            os.kill(os.getpid(), signal.SIGINT)
        self.is_requested = self._trained.stop_training = True

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        if self.is_requested:
            self._trained.stop_training = True


def _finite(model: Any) -> bool:
    variables = [*model.variables, *model.optimizer.variables]
    return all(np.isfinite(ops.convert_to_numpy(v)).all() for v in variables if _real(v))


def _real(variable: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(variable.dtype))
