"""Promises about the state of training: exact after interruptions, files and evaluations."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.types import Logs
from keras_disent.testing.helpers import (
    Data,
    Make,
    as_text,
    compiled,
    fitted,
    reloaded,
    same,
    state,
)


class _Interruption(Exception):
    """Interrupt training."""


class _InterruptAt(keras.callbacks.Callback):
    """Raise `_Interruption` at the beginning of an epoch, or after one of its batches."""

    def __init__(self, epoch: int, batch: int | None = None):
        super().__init__()
        self.epoch, self.batch, self.current_epoch = epoch, batch, -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.current_epoch = epoch
        if epoch == self.epoch and self.batch is None:
            raise _Interruption

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        if self.current_epoch == self.epoch and batch == self.batch:
            raise _Interruption


def evaluation(make: Make, data: Data) -> None:
    """Check that two evaluations give the same numbers, and do not influence training."""
    x = data()

    def trained(frequency: int | None) -> Any:
        keras.utils.set_random_seed(0)
        model = compiled(make())
        held_out = keras.utils.pack_x_y_sample_weight(*data(slice(8, 16)))
        extra = {} if frequency is None else {"validation_data": held_out}
        fitted(model, x, epochs=2, validation_freq=frequency or 1, **extra)
        if frequency == 1:
            numbers = [model.evaluate(*x, batch_size=8, verbose=0) for _ in range(2)]
            assert numbers[0] == numbers[1], "A second evaluation gives other numbers."
            images = x[0][:, 0] if x[0].ndim == 5 else x[0]
            model.predict(images, batch_size=8, verbose=0)
            model.reconstruct(images)
        fitted(model, x)
        return model

    plain = state(trained(None))
    for frequency in (1, 2):
        what = f"After training with evaluation every {frequency} epochs, and without, the model"
        same(state(trained(frequency)), plain, what)


def interruption(make: Make, data: Data) -> None:
    """Check that a model can be used and trained after an interrupted training."""
    x = data()
    model = compiled(make())
    with contextlib.suppress(_Interruption):
        fitted(model, x, epochs=3, callbacks=[_InterruptAt(1, batch=0)])
        raise AssertionError("The interruption did not happen.")
    assert model.steps_taken() == 3, f"3 steps count as {model.steps_taken()}."
    model.evaluate(*x, verbose=0)
    fitted(model, x)
    assert model.steps_taken() == 5, "Training does not continue."


def backup(make: Make, data: Data) -> None:
    """Check that `BackupAndRestore` resumes an interrupted training bit-exactly."""
    x = data()
    uninterrupted = compiled(make())
    fitted(uninterrupted, x, epochs=3)
    for frequency, cut in (("epoch", _InterruptAt(2)), (1, _InterruptAt(1, batch=0))):
        with tempfile.TemporaryDirectory() as folder:

            def backup(folder: str = folder, frequency: Any = frequency) -> Any:
                return keras.callbacks.BackupAndRestore(str(Path(folder) / "b"), frequency)

            with contextlib.suppress(_Interruption):
                fitted(compiled(make()), x, epochs=3, callbacks=[backup(), cut])
                raise AssertionError("The interruption did not happen.")
            again = compiled(make())
            fitted(again, x, epochs=3, callbacks=[backup()])
        steps = again.steps_taken()
        expected = uninterrupted.steps_taken()
        assert steps == expected, f"{steps} steps, not {expected}."
        same(state(again), state(uninterrupted), f"Saved each {frequency}, the restored model")


def files(make: Make, data: Data) -> None:
    """Check that a file stores everything, and training resumes from it bit-exactly."""
    x = data()
    model = make()
    settings = {"run_eagerly": True, "auto_scale_loss": False, "jit_compile": False}

    def optimizer() -> keras.optimizers.Optimizer:
        new = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        new.exclude_from_weight_decay(var_names=["bias"])
        return new

    compiled(model, optimizer, **settings)
    fitted(model, x)
    again = reloaded(model)
    assert type(again) is type(model), f"The file holds a {type(again).__name__}."
    assert as_text(again.get_config()) == as_text(model.get_config()), "The configuration differs."
    assert as_text(again.get_compile_config()) == as_text(model.get_compile_config()), (
        "The arguments of `compile` are not restored."
    )
    same(state(again), state(model), "After a file the model")
    for either in (model, again):
        fitted(either, x)
    same(state(again), state(model), "After more training the model from the file")
