"""A model of this package as KerasTuner's tuners take it."""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.src.engine.tuner_utils import SaveBestEpoch, TunerCallback

from keras_disent import datasets, metrics
from keras_disent._utils.checks import check_integer
from keras_disent.experiments import objectives
from keras_disent.experiments.config import Config
from keras_disent.experiments.spaces import Space, configured, declare, space_of
from keras_disent.experiments.training import fit_steps


class HyperModel(keras_tuner.HyperModel):
    """Builds, trains and scores the runs of a trial, for any tuner of KerasTuner.

    `fit` trains for the steps of the configuration on its own batches, and returns, as means over
    the seeds: the last training logs by name, terms on other draws of the data set as
    `val_NAME`, the score as `val_mig` or whatever `goal.key` is. What the tuner keeps of a trial is
    the model of the seed with the best score.

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
        self.seeds = check_integer("seeds", seeds, at_least=1)
        self.data = config.load_data() if data is None else data
        self.goal = objectives.goal(config, objective, self.space, self.seeds, self.data)
        self.objective = keras_tuner.Objective(self.goal.key, "max" if self.goal.higher else "min")
        self._fitted: collections.Counter[str] = collections.Counter()

    def configured(self, hp: Any, execution: int = 0) -> Config:
        """Return the configuration of one run of a trial; `execution` adds to its seed."""
        return configured(self.config, self.space, declare(hp, self.space), execution)

    def build(self, hp: Any) -> Any:
        return self.configured(hp, self._done(hp)).build(self.data)

    def fit(
        self,
        hp: Any,
        model: Any,
        *args: Any,
        callbacks: Sequence[Any] | None = None,
        epochs: int | None = None,
        initial_epoch: int = 0,
        verbose: Any = 0,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Train and score a trial.

        What is given to `search` of a tuner comes here.

        Args:
            hp: The hyperparameters.
            model: As `build` gives it for them.
            callbacks: For each seed a fresh deep copy of them. Those of KerasTuner itself are
                shared by all seeds.
            epochs: Number of epochs in all, each of `epoch_steps` steps. Default: the steps of the
                configuration.
            initial_epoch: Epochs that the model has been trained for, as Hyperband tells.
            verbose: As in Keras; 0 by default.
            kwargs: `validation_data`, `validation_batch_size`, `validation_steps` and
                `validation_freq`, as in Keras. They are for callbacks; the score of the trial is
                computed on the data of the hypermodel.

        Raises:
            keras_tuner.errors.FatalTypeError: For images or another argument of Keras's `fit`:
                images and batches are those of the configuration. It ends the search.
            keras_tuner.errors.FatalValueError: For `epochs` or `initial_epoch` that cannot be.
            FloatingPointError: If a term or the score is not a number.
        """
        _check(hp, args, kwargs, epochs, initial_epoch)
        first = self._done(hp)
        own, shared = _owners(callbacks or ())
        copies = [own, *(copy.deepcopy(own) for _ in range(self.seeds - 1))]
        keepers = [c for c in shared if isinstance(c, SaveBestEpoch)]
        shared = [c for c in shared if not isinstance(c, SaveBestEpoch)]
        options = {**kwargs, "verbose": verbose}
        trained: list[Any] = []
        measurements, logs = [], []
        for execution, own in zip(range(first, first + self.seeds), copies, strict=True):
            config = self.configured(hp, execution)
            if trained:
                model = config.build(self.data)
            steps = config.steps if epochs is None else epochs * config.epoch_steps
            batches = config.batches(model, self.data)
            attached = [*own, *shared]
            logs.append(fit_steps(model, batches, steps, config.epoch_steps, attached, **options))
            measurements.append(objectives.measured(model, config, self.data, self.goal.metrics))
            trained.append(model)
        of_seeds = self._agreement(trained) if self.goal.kind == "udr" else None
        scores = self.goal.scores(measurements, of_seeds)
        self._fitted[_key(hp)] += self.seeds
        results = [
            {**log, **{f"val_{name}": value for name, value in run.items()}, self.goal.key: score}
            for log, run, score in zip(logs, measurements, scores, strict=True)
        ]
        for keeper in keepers:
            for model, result in zip(trained, results, strict=True):
                keeper.set_model(model)
                keeper.on_epoch_end(model.steps_taken() // self.config.epoch_steps, result)
        return _mean(results)

    def _agreement(self, models: Sequence[Any]) -> metrics.UDR:
        images = datasets.example_images(self.data, 1000)
        means = [model.encode(images) for model in models]
        return metrics.udr(means, [model.latent_kl(images) for model in models])

    def _done(self, hp: Any) -> int:
        """Return how many seeds of a trial have been trained: KerasTuner does not tell."""
        return self._fitted[_key(hp)]


def _key(hp: Any) -> str:
    return repr(sorted(hp.values.items()))


PASSED_ON = ("validation_data", "validation_batch_size", "validation_steps", "validation_freq")

INSTEAD = {
    "batch_size": "it is `batch_size` of the configuration, and can be tuned",
    "steps_per_epoch": "it is `epoch_steps` of the configuration",
    "shuffle": "the batches of a step follow from the seed of the configuration",
}


def _check(
    hp: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], epochs: Any, initial_epoch: Any
) -> None:
    """Refuse what `search` was given and cannot take effect, and end the search."""
    for name in ("x", "y", *kwargs) if args else kwargs:
        if name not in PASSED_ON:
            why = INSTEAD.get(name, "images and labels are those of `HyperModel(..., data=...)`")
            raise keras_tuner.errors.FatalTypeError(
                f"`search` of a tuner does not take {name!r} here: {why}. It takes callbacks, "
                f"epochs, verbose, {', '.join(PASSED_ON)}."
            )
    try:
        if epochs is not None:
            check_integer("epochs", epochs, at_least=1)
        check_integer("initial_epoch", initial_epoch, at_least=0)
    except ValueError as error:
        raise keras_tuner.errors.FatalValueError(str(error)) from None
    before = hp.values.get("tuner/initial_epoch", 0)
    if initial_epoch != before:
        raise keras_tuner.errors.FatalValueError(
            f"`initial_epoch` is the number of epochs that a trial has been trained for, {before} "
            f"here: leave it out. Got {initial_epoch}."
        )


def _owners(callbacks: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the user's callbacks, and KerasTuner's own, which refer to the tuner."""
    own = [c for c in callbacks if not isinstance(c, (TunerCallback, SaveBestEpoch))]
    return own, [c for c in callbacks if isinstance(c, (TunerCallback, SaveBestEpoch))]


def _mean(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in results[0] if all(name in result for result in results)]
    return {name: math.fsum(r[name] for r in results) / len(results) for name in names}
