"""Search spaces of hyperparameters, and the configuration of a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner

from keras_disent import models
from keras_disent.engine import schedules
from keras_disent.experiments.config import Config, model_class, options_of
from keras_disent.models.hyperparameters import Range, Values, as_space

FIELDS = ("learning_rate", "latent_dim", "width", "player_batch", "network", "likelihood")
"""Fields of a `Config` that can be tuned, besides the arguments of the model."""

Space = dict[str, Range | Values]


def space_of(config: Config, ranges: Mapping[str, Any] | None = None) -> Space:
    """Return the hyperparameters of a search with their ranges.

    Args:
        config: Configuration of the runs.
        ranges: `{name: range}`, see `hyperparameters.as_space`. Only those are tuned. Default:
            all that the model declares as `tunable`.

    Raises:
        ValueError: For an unknown name or an invalid range.

    >>> list(space_of(Config(model="beta_vae")))
    ['beta', 'learning_rate', 'latent_dim', 'width']
    >>> space_of(Config(model="beta_vae"), {"beta": (1, 8)})
    {'beta': Range(low=1, high=8, scale='log', grows=False)}
    """
    cls: Any = model_class(config.model)
    declared = cls.tunable
    if ranges is None:
        return dict(declared)
    if not ranges:
        raise ValueError("A search tunes at least one hyperparameter. Got none.")
    fields = [name for name in FIELDS if name in declared or name not in models.VAE.tunable]
    tunable = dict.fromkeys([*declared, *options_of(cls), *fields])
    space: Space = {}
    for name, value in ranges.items():
        if name not in tunable:
            raise ValueError(
                f"{cls.__name__} has no hyperparameter {name!r}. Choose from: {', '.join(tunable)}."
            )
        if value is None and name not in declared:
            raise ValueError(f"{cls.__name__} declares no range of {name!r}: give one.")
        try:
            range_ = as_space(value, declared.get(name))
        except ValueError as error:
            raise ValueError(f"Range of {name!r}: {error}") from None
        space[name] = range_
    return space


def ends(space: Space) -> list[dict[str, Any]]:
    """Return the values at both ends of the ranges, and all values of lists, one set each."""
    spreads = {name: range_.spread(2) for name, range_ in space.items()}
    longest = max(len(spread) for spread in spreads.values())
    indices = [*range(longest - 1), -1]
    return [{name: s[min(i, len(s) - 1)] for name, s in spreads.items()} for i in indices]


def declare(hp: Any, space: Space) -> dict[str, Any]:
    """Register the ranges with KerasTuner's `hp`; return its values, rounded."""
    values = {}
    for name, range_ in space.items():
        if isinstance(range_, Values):
            mixed = any(isinstance(value, float) for value in range_.values)
            choices = [float(v) if mixed else v for v in range_.values]  # KerasTuner takes one type
            value = hp.Choice(name, choices)
        elif range_.scale == "whole":
            value = hp.Int(name, int(range_.low), int(range_.high))
        else:
            value = hp.Float(name, range_.low, range_.high, sampling=range_.scale)
        values[name] = range_.rounded(value)
    return values


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Return the space as KerasTuner has it."""
    hp = keras_tuner.HyperParameters()
    declare(hp, space)
    return hp


def configured(
    config: Config, space: Space, values: Mapping[str, Any], execution: int = 0
) -> Config:
    """Return the configuration of one run of a trial.

    Args:
        config: Configuration of everything that is not tuned.
        space: Ranges by name.
        values: Values of the trial, by name.
        execution: Number of the run within the trial, which adds to the seed.
    """
    fields: dict[str, Any] = {"seed": config.seed + execution}
    options = dict(config.options)
    for name in space:
        value = values[name]
        if name in FIELDS and name not in options_of(model_class(config.model)):
            fields[name] = value
        else:
            options[name] = _ramp(value, config.steps) if _grows(space[name]) else value
    return dataclasses.replace(config, options=options, **fields)


def _grows(range_: Range | Values) -> bool:
    return isinstance(range_, Range) and range_.grows


def _ramp(value: float, steps: int) -> dict[str, Any]:
    return keras.saving.serialize_keras_object(schedules.Linear(0.0, value, steps))
