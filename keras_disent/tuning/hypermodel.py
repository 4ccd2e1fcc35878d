"""A model of this package as KerasTuner's tuners take it."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from keras_disent import callbacks as callbacks_module
from keras_disent.configuration import Config
from keras_disent.tuning import objectives
from keras_disent.tuning.objectives import Objective
from keras_disent.tuning.spaces import Space, configured, declare, ends, space_of
from keras_disent.validation import whole_number


class HyperModel(keras_tuner.HyperModel):
    """Builds, trains and scores the runs of a trial, for any tuner of KerasTuner.

    `fit` trains for the steps of the configuration on its own batches, and returns, as means over
    the seeds: the last training logs by name, terms on images that were not trained on as
    `val_NAME`, the score as `val_mig` or whatever `goal.key` is.

    Args:
        config: of the runs; its metrics are not used.
        objective: name, see `docs/tuning.md`.
        space: `{name: range}` of those to be tuned: None for the model's own range, `(low, high)`,
            a list of values, a `Range` or `Values`. Default: all that the model declares.
        seeds: runs of a trial: the seed of the configuration and those that follow. With
            `executions_per_trial` of a tuner, each execution has further seeds.
        data: data set; default, that of the configuration.

    Attributes:
        goal: the `Objective`.
        objective: the same as a `keras_tuner.Objective`.
        space: the ranges by name.

    Raises:
        ValueError: for an unknown objective or hyperparameter, a range that is none, or values at
            the ends of the ranges that the model does not take.

    >>> config = Config(model="beta_vae", subset={"shape": [0]}, image_size=32, network="mlp")
    >>> hypermodel = HyperModel(config, "mig", {"beta": (1, 16)})
    >>> str(hypermodel.objective)
    'Objective(name="val_mig", direction="max")'
    >>> hypermodel.build(keras_tuner.HyperParameters()).beta
    1.0
    """

    def __init__(
        self,
        config: Config,
        objective: str = "mig",
        space: Mapping[str, Any] | None = None,
        *,
        seeds: int = 1,
        data: Any = None,
    ):
        super().__init__()
        self.config = config
        self.space: Space = space_of(config, space)
        self.seeds = whole_number("seeds", seeds, at_least=1)
        self.data = config.load_data() if data is None else data
        self.goal = goal(config, objective, self.space, self.seeds, self.data)
        self.objective = keras_tuner.Objective(self.goal.key, "max" if self.goal.higher else "min")
        self._fitted: collections.Counter = collections.Counter()

    def configured(self, hp: Any, execution: int = 0) -> Config:
        """Return the configuration of one run of a trial; `execution` adds to its seed."""
        return configured(self.config, self.space, declare(hp, self.space), execution)

    def build(self, hp: Any) -> Any:
        return self.configured(hp, self._done(hp)).build(self.data)

    def fit(
        self,
        hp: Any,
        model: Any,
        *,
        callbacks: Sequence[Any] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
        verbose: Any = 0,
    ) -> dict[str, float]:
        """Train and score a trial.

        Args:
            hp: the hyperparameters.
            model: as `build` gives it for them.
            callbacks: of KerasTuner, for the first seed.
            epochs: of `epoch_steps` steps each, in all; default, the steps of the configuration.
            initial_epoch: how many epochs the model has been trained for.
            verbose: as in Keras.

        Raises:
            FloatingPointError: if a term or the score is not a number.
        """
        first = self._done(hp)
        trained: list[Any] = []
        found, logs = [], []
        for execution in range(first, first + self.seeds):
            config = self.configured(hp, execution)
            if trained:
                model, callbacks = config.build(self.data), ()
            logs.append(_train(config, model, self.data, epochs, callbacks, verbose))
            measured = objectives.measured(model, config, self.data, self.goal.metrics)
            found.append(objectives.values(measured))
            trained.append(model)
        of_seeds = objectives.agreement(trained, self.data) if self.goal.kind == "udr" else None
        scores = self.goal.scores(found, of_seeds)
        self._fitted[_key(hp)] += self.seeds
        held_out = [{f"val_{name}": value for name, value in run.items()} for run in found]
        result = {**_mean(logs), **_mean(held_out)}
        return {**result, self.goal.key: math.fsum(scores) / len(scores)}

    def _done(self, hp: Any) -> int:
        """Return how many seeds of a trial have been trained: KerasTuner does not tell."""
        return self._fitted[_key(hp)]


def goal(config: Config, objective: str, space: Space, seeds: int, data: Any) -> Objective:
    """Return the objective of a search, after building the model at the ends of its ranges.

    Raises:
        ValueError: as `HyperModel`.
    """
    built = [configured(config, space, values).build(data) for values in ends(space)]
    latents = min(model.latent_dim for model in built)
    return Objective.named(objective, built[0], data, seeds, latents)


def _key(hp: Any) -> str:
    return repr(sorted(hp.values.items()))


def _train(
    config: Config, model: Any, data: Any, epochs: int | None, callbacks: Sequence, verbose: Any
) -> dict[str, float]:
    """Train up to a number of epochs, the last of them short if the steps end there."""
    batches, size = config.batches(model, data), config.epoch_steps
    last = config.steps if epochs is None else min(config.steps, epochs * size)
    logs: dict[str, float] = {}
    while (done := model.steps_taken()) < last:
        length = min(size - done % size, last - done)
        whole = (last - done) // length if length == size else 1
        history = model.fit(
            batches,
            steps_per_epoch=length,
            initial_epoch=done // size,
            epochs=done // size + whole,
            verbose=verbose,
            callbacks=[callbacks_module.StopOnNaN(), *callbacks],
        ).history
        logs = {name: float(values[-1]) for name, values in history.items()}
    return logs


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: math.fsum(run[name] for run in found) / len(found) for name in found[0]}
