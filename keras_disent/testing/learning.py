"""Promises about what is learned: terms, players, weights of images, losses, metrics, rates."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent.testing.helpers import (
    Data,
    Make,
    arrays,
    close,
    compiled,
    fitted,
    reloaded,
    same,
    state,
)


def terms(make: Make, data: Data) -> None:
    """Check that logs have the declared terms, finite, in the order of `evaluate`."""
    model = compiled(make())
    held_out = keras.utils.pack_x_y_sample_weight(*data(slice(4)))
    history = fitted(model, data(), epochs=2, validation_data=held_out)
    expected = {*model.terms, *(f"val_{term}" for term in model.terms)}
    difference = sorted(set(history) ^ expected)
    assert set(history) == expected, f"Logged and declared terms differ: {difference}."
    bad = [term for term, values in history.items() if not np.isfinite(values).all()]
    assert not bad, f"Not finite: {', '.join(bad)}."
    assert set(model.players) <= set(model.terms), "A player's term is not among the terms."
    assert model.steps_taken() == 4, f"4 steps count as {model.steps_taken()}."
    logs = model.evaluate(*data(), batch_size=8, verbose=0, return_dict=True)
    values = model.evaluate(*data(), batch_size=8, verbose=0)
    close(values, [logs[term] for term in model.terms], "`evaluate` as a list", rtol=1e-6)


def players(make: Make, data: Data) -> None:
    """Check that each player updates its own parts only, and every weight has one player."""
    model = make()
    keys = [id(v) for player in model.players for v in model.player_variables(player)]
    expected = sorted(id(v) for v in model.trainable_variables)
    assert sorted(keys) == expected, "Some weights belong to no player, or to two."
    for player in model.players:
        model.compile({p: keras.optimizers.SGD(0.01 * (p == player)) for p in model.players})
        before = arrays(model.trainable_variables)
        fitted(model, data(), batch_size=16)
        changed = {
            v.path
            for v, old in zip(model.trainable_variables, before, strict=True)
            if (ops.convert_to_numpy(v) != old).any()
        }
        paths = {v.path for v in model.player_variables(player)}
        assert changed <= paths, f"{player!r} changes {', '.join(sorted(changed - paths))}."
        assert changed, f"{player!r} changes no weight."


def image_weights(make: Make, data: Data) -> None:
    """Check that weights of images scale their terms, or are rejected."""
    x = data()
    weights = np.repeat([1.0, 0.0], 8).astype("float32")
    other = x[0].copy()
    other[8:] = 255 - other[8:]

    def trained(images: np.ndarray) -> Any:
        model = compiled(make())
        model.noise.enabled = False
        fitted(model, (images, *x[1:]), sample_weight=weights, batch_size=16, epochs=2)
        return model

    model = compiled(make())
    before = state(model)
    try:
        fitted(model, x, sample_weight=weights, batch_size=16)
    except ValueError as error:
        assert "weight" in str(error), f"The error does not mention weights: {error}"
        same(state(model), before, "After an error the model")
        return
    same(state(trained(x[0])), state(trained(other)), "Images of weight 0: the model")
    plain, double = (
        model.evaluate(
            *x, sample_weight=np.full(16, s, "float32"), batch_size=16, verbose=0, return_dict=True
        )
        for s in (1.0, 2.0)
    )
    for player in model.players:
        close(double[player], 2 * plain[player], f"`{player}` with doubled weights")


def layer_losses(make: Make, data: Data) -> None:
    """Check that losses of layers count once, for the player that owns them."""
    x = data()

    def loss(strength: float) -> dict[str, float]:
        model = make()
        for parts in model.players.values():
            layers = [
                layer
                for part in parts
                for layer in getattr(model, part)._flatten_layers()
                if isinstance(layer, keras.layers.Dense)
            ]
            (layers or [None])[0].activity_regularizer = keras.regularizers.L2(strength)
        compiled(model)
        model.noise.enabled = False
        return model.evaluate(*x, batch_size=16, verbose=0, return_dict=True)

    none, once, twice = (loss(strength) for strength in (0.0, 0.01, 0.02))
    for player in make().players:
        added = once[player] - none[player]
        assert added > 0, f"An activity regularizer does not reach `{player}`."
        what, atol = f"`{player}`: the regularizer", 1e-5 * abs(none[player])
        close(twice[player] - none[player], 2 * added, what, rtol=1e-2, atol=atol)


def metrics(make: Make, data: Data) -> None:
    """Check that Keras metrics compare images with reconstructions, under their own names."""
    x = data()
    new = partial(keras.metrics.MeanAbsoluteError, name="gap")
    model = compiled(make(), metrics=[new(), "mse"], steps_per_execution=1)
    images = x[0].reshape(-1, *x[0].shape[-3:])
    logs = model.evaluate(*x, batch_size=8, verbose=0, return_dict=True)
    gap = np.abs(model.reconstruct(images) - images / 255)
    close(logs["gap"], gap.mean(), "The metric")
    close(logs["mse"], np.square(gap).mean(), "The metric by name")
    history = fitted(model, x, validation_data=keras.utils.pack_x_y_sample_weight(*x))
    assert {"gap", "val_gap", "mse"} <= set(history), "A metric is not logged."
    again = reloaded(model)
    close(again.evaluate(*x, verbose=0), model.evaluate(*x, verbose=0), "Scores after a file")


def learning_rate(make: Make, data: Data) -> None:
    """Check that learning rate callbacks scale the rates of all players by the same ratio."""
    model = make()
    rates = {player: 0.01 * 2**i for i, player in enumerate(model.players)}
    model.compile({player: keras.optimizers.SGD(rate) for player, rate in rates.items()})
    lead = model.lead or next(iter(model.players))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 10)
    history = fitted(model, data(), callbacks=[scheduler])
    close(history["learning_rate"], [rates[lead] / 10], "The rate that is logged")
    for player, rate in rates.items():
        new_rate = float(ops.convert_to_numpy(model._optimizer_of(player).learning_rate))
        close(new_rate, rate / 10, f"The rate of `{player}`")
