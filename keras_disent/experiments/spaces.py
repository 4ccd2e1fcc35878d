"""From the ranges of hyperparameters to the configuration of a trial."""

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
"""What of a `Config` can be tuned, besides the arguments of the model."""

Space = dict[str, Range | Values]


def space_of(config: Config, given: Mapping[str, Any] | None = None) -> Space:
    """Return the hyperparameters of a search with their ranges.

    Args:
        config: of the runs.
        given: `{name: range}`, see `hyperparameters.as_space`. Only those are tuned. Default:
            all that the model declares as `tunable`.

    Raises:
        ValueError: for an unknown name or a range that is none.

    >>> list(space_of(Config(model="beta_vae")))
    ['beta', 'learning_rate', 'latent_dim', 'width']
    >>> space_of(Config(model="beta_vae"), {"beta": (1, 8)})
    {'beta': Range(low=1, high=8, scale='log', grows=False)}
    """
    cls: Any = model_class(config.model)
    declared = cls.tunable
    if given is None:
        return dict(declared)
    if not given:
        raise ValueError("A search tunes at least one hyperparameter. Got none.")
    fields = [name for name in FIELDS if name in declared or name not in models.VAE.tunable]
    known = dict.fromkeys([*declared, *options_of(cls), *fields])
    space: Space = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(
                f"{cls.__name__} has no hyperparameter {name!r}. Choose from: {', '.join(known)}."
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
    """Return what the ranges begin and end with, two sets of values, and with all of any list."""
    spreads = {name: range_.spread(2) for name, range_ in space.items()}
    longest = max(len(spread) for spread in spreads.values())
    at = [*range(longest - 1), -1]
    return [{name: s[min(i, len(s) - 1)] for name, s in spreads.items()} for i in at]


def declare(hp: Any, space: Space) -> dict[str, Any]:
    """Register the ranges with KerasTuner's `hp`; return its values, rounded."""
    values = {}
    for name, range_ in space.items():
        if isinstance(range_, Values):
            mixed = any(isinstance(value, float) for value in range_.values)
            listed = [float(v) if mixed else v for v in range_.values]  # KerasTuner takes one type
            value = hp.Choice(name, listed)
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
        config: what is not tuned.
        space: the ranges.
        values: of the trial, by name.
        execution: number of the run within the trial, which adds to the seed.
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
