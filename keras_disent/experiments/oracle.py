"""KerasTuner's oracles choose the trials of a search; its log is all that they remember."""

from __future__ import annotations

import math
import tempfile
import warnings
from typing import Any

import keras_tuner
from keras_tuner import oracles

from keras_disent._utils.registry import lookup
from keras_disent.experiments import log
from keras_disent.experiments.spaces import Space, hyperparameters
from keras_disent.models.hyperparameters import Values

ORACLES: dict[str, Any] = {
    "random": oracles.RandomSearchOracle,
    "bayesian": oracles.BayesianOptimizationOracle,
    "hyperband": oracles.HyperbandOracle,
    "grid": oracles.GridSearchOracle,
}
RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"


class Oracle:
    """Choose trials: an oracle of KerasTuner, made from a seed, that has seen the events of a log.

    Args:
        search: The `Search`.
    """

    def __init__(self, search: Any):
        self._search, goal = search, search.goal
        self._objective = keras_tuner.Objective(goal.key, "max" if goal.higher else "min")
        self._scratch = tempfile.TemporaryDirectory()
        self._trials: list[Any] = []
        self._seen, self._refused = 0, (-1, IDLE)
        self._reset()

    def choose(self, events: list[log.Event]) -> tuple[str, dict[str, Any]]:
        """Return what to do after some events: RUNNING with the values of a trial, IDLE or STOPPED.

        Args:
            events: All events of the log, of which the oracle may have seen some.
        """
        if len(events) == self._refused[0]:
            return self._refused[1], {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a Gaussian process of few points has much to say
            for event in events[self._seen :]:
                self._replay(event)
            self._seen = len(events)
            trial = self._create(len(self._trials))
        if trial.status == RUNNING:
            self._seen += 1  # the event that follows is this one
            return RUNNING, dict(trial.hyperparameters.values)
        self._reset()  # it may have drawn numbers, of which the log does not tell
        self._refused = len(events), trial.status
        return trial.status, {}

    def _replay(self, event: log.Event) -> None:
        if isinstance(event, log.Started):
            trial = self._create(event.trial)
            if trial.status != RUNNING:
                raise ValueError(
                    f"The {self._search.tuner} search of this version of KerasTuner has no trial "
                    f"{event.trial}, which is in the log. Choose another folder."
                )
            trial.hyperparameters.values = dict(event.values)
        elif self._search.tuner != "grid":
            trial = self._trials[event.trial]
            if event.score is None:
                trial.status = "FAILED"
            else:
                self._oracle.update_trial(trial.trial_id, {self._objective.name: event.score})
                trial.status = "COMPLETED"
            self._oracle.end_trial(trial)

    def _create(self, number: int) -> Any:
        trial = self._oracle.create_trial(f"trial {number}")
        if trial.status == RUNNING:
            self._trials.append(trial)
            if self._search.tuner == "grid":  # whose trials do not depend on scores
                self._oracle.update_trial(trial.trial_id, {self._objective.name: 0.0})
                trial.status = "COMPLETED"
                self._oracle.end_trial(trial)
                trial.status = RUNNING
        return trial

    def _reset(self) -> None:
        self._oracle = _make(self._search, self._objective)
        self._oracle._set_project_dir(self._scratch.name, "oracle")  # it cannot do without
        self._oracle.verbose = 0
        self._trials, self._seen, self._refused = [], 0, (-1, IDLE)


def _make(search: Any, objective: keras_tuner.Objective) -> Any:
    """Return a new oracle of KerasTuner."""
    make, space = lookup(search.tuner, ORACLES, "tuner"), search.space
    if search.tuner == "grid":
        space = grid(space, search.trials)
    # KerasTuner takes a seed of 0 for none, and draws value i from `seed + i`.
    common = {
        "objective": objective,
        "seed": 1 + search.config.seed * 1_000_003 % (2**31 - 1),
        "hyperparameters": hyperparameters(space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "max_consecutive_failed_trials": 2**31,  # that is the search's own to decide
    }
    if search.tuner == "hyperband":
        epochs = math.ceil(search.config.steps / search.config.epoch_steps)
        oracle = make(max_epochs=epochs, hyperband_iterations=None, **common)
        oracle.max_trials = search.trials
        return oracle
    if search.tuner == "bayesian":
        common["num_initial_points"] = min(3 * len(space), max(3, search.trials // 3))
    return make(max_trials=search.trials, **common)


def grid(space: Space, trials: int) -> Space:
    """Return the space as lists of values: as many for each range as there are trials for.

    >>> from keras_disent.models.hyperparameters import Range
    >>> grid({"beta": Range(1, 16), "width": Values((0.5, 1.0))}, trials=7)
    {'beta': Values(values=(1.0, 4.0, 16.0)), 'width': Values(values=(0.5, 1.0))}
    """
    lists = {name: r for name, r in space.items() if isinstance(r, Values)}
    remaining = trials
    for values in lists.values():
        remaining //= len(values.values)
    ranges = max(1, len(space) - len(lists))
    each = max(2, int(remaining ** (1 / ranges) + 1e-9))
    return {name: lists.get(name) or Values(r.spread(each)) for name, r in space.items()}
