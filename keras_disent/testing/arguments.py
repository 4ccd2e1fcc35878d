"""Promises about arguments: each takes effect, or is rejected before anything changes."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from keras_disent._utils.types import Logs
from keras_disent.engine import schedules
from keras_disent.testing.helpers import (
    Data,
    Make,
    as_text,
    close,
    compiled,
    fitted,
    refused,
    reloaded,
    same,
    state,
)


def configuration(make: Make, data: Data) -> None:
    """Check that `from_config(get_config())` is the same model."""
    model = make()
    config = model.get_config()
    text = as_text(config)
    for _ in range(2):  # twice: `from_config` must not change the configuration
        again = type(model).from_config(config)
        assert as_text(again.get_config()) == text, "The configuration is not restored."
    names = [v.name for v in model.variables]
    assert [v.name for v in again.variables] == names, "The variables differ."


def arguments(make: Make, data: Data) -> None:
    """Check that methods name Keras's arguments in Keras's order, and reject unsupported ones."""
    model = compiled(make())
    for name in ("compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch"):
        expected = list(inspect.signature(getattr(keras.Model, name)).parameters)
        arguments = list(inspect.signature(getattr(type(model), name)).parameters)
        missing = [argument for argument in expected if argument not in arguments]
        assert not missing, f"`{name}` does not name {', '.join(missing)}."
        order = arguments[: len(expected)]
        assert order == expected, f"The order of the arguments of `{name}` differs from Keras."
    before = state(model)
    refused(lambda: make().compile(loss="mse"), "likelihood", "`compile(loss=...)`")
    refused(lambda: make().compile(loss_weights=[1.0]), "loss_weights", "`loss_weights`")
    refused(lambda: fitted(model, data()[:1], class_weight={0: 1.0}), "class", "`class_weight`")
    same(state(model), before, "After an error the model")
    with contextlib.suppress(AttributeError):
        model.seed = model.seed + 1
        raise AssertionError("Setting `seed` raises no error.")


def weights(make: Make, data: Data) -> None:
    """Check that weights of the objective take effect in the next step, are logged and stored."""
    model = compiled(make())
    for name, value in schedules.weights(model).items():
        number = 0.5 if isinstance(value, Schedule) else value
        other = number / 2 if number else 0.125
        with contextlib.suppress(ValueError):  # some combinations of weights are invalid
            setattr(model, name, other)
        other = getattr(model, name)
        history = fitted(model, data(slice(8)))
        close(history[name], [schedules.value_at(other, 0)], f"`{name}` set between two fits")
        assert model.get_config()[name] == schedules.config(other), f"`{name}`: configuration."
        if not isinstance(other, float):
            continue

        def set_it(batch: Any, logs: Logs, name: str = name, number: float = number) -> None:
            setattr(model, name, number)

        setter = keras.callbacks.LambdaCallback(on_train_batch_end=set_it)
        history = fitted(model, data(), callbacks=[setter], shuffle=False)
        close(history[name], [(other + number) / 2], f"`{name}` set by a callback")
        schedule = schedules.Linear(number, number + 8, steps=1)
        model.steps.assign(0)
        setattr(model, name, schedule)
        history = fitted(model, data())
        close(history[name], [number + 4], f"`{name}` as a schedule")
        setattr(model, name, number)
        assert fitted(model, data(slice(8)))[name] == [np.float32(number)], f"`{name}` set back."
        assert getattr(reloaded(model), name) == number, f"`{name}` after a file."


def settings(make: Make, data: Data) -> None:
    """Check that Keras's global image data format has no effect, or raises an error."""
    images = data()[0]
    images = images[:, 0] if images.ndim == 5 else images
    expected = make().encode(images)
    before = keras.config.image_data_format()
    other = "channels_first" if before == "channels_last" else "channels_last"
    try:
        keras.config.set_image_data_format(other)
        codes = make().encode(images)
    except ValueError as error:
        assert "channels" in str(error), f"The error does not mention {other}: {error}"
    else:
        close(codes, expected, f"Codes under {other}")
    finally:
        keras.config.set_image_data_format(before)


def seeds(make: Make, data: Data) -> None:
    """Check that seeds from 0 to 2^63 - 1 are accepted, and their noise is uncorrelated."""
    config = make().get_config()
    kind = type(make())
    draws = []
    for seed in (0, 1, 2, 2**31, 2**63 - 1):
        model = kind.from_config({**config, "seed": seed})
        zeros = ops.zeros((64, 4), "float32")
        draws += [ops.convert_to_numpy(model.noise.gaussian(zeros, zeros + 1)) for _ in range(4)]
    matrix = np.corrcoef([draw.ravel() for draw in draws]) - np.eye(len(draws))
    assert np.abs(matrix).max() < 0.5, "Two draws are correlated."
    compiled(model)
    fitted(model, data(), epochs=1)
