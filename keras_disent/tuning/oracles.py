"""KerasTuner's oracles, whose searches go on after a kill at any moment as if nothing had been.

Those of KerasTuner write their files in place, run a trial again that was killed at its very end,
count one that was never started, and some do not store all that they draw from. Here every file is
written whole, and all that an oracle draws follows from its seed and the trials so far.
"""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.engine import trial as trials
from keras_tuner.src.tuners import gridsearch

from keras_disent._utils.registry import lookup
from keras_disent.models.hyperparameters import Values
from keras_disent.runs import write
from keras_disent.tuning.spaces import Space, hyperparameters

COMPLETED, FAILED, IDLE = "COMPLETED", "FAILED", "IDLE"
RUNNING, STOPPED = "RUNNING", "STOPPED"
ENDED = (COMPLETED, FAILED)


class Durable(keras_tuner.Oracle):
    """What all oracles here have in common.

    Attributes:
        given_up: why no further trials are made, or None.
    """

    given_up: str | None = None

    def save(self) -> None:
        write(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Any) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write(path, json.dumps(trial.get_state()))

    def saved(self) -> bool:
        """Return whether there is something to go on from."""
        return Path(self._get_oracle_fname()).exists()

    def all_ended(self) -> bool:
        """Return whether there are as many trials as there can be, and all have ended."""
        full = bool(self.max_trials) and len(self.trials) >= self.max_trials
        return full and all(trial.status in ENDED for trial in self.trials.values())

    def reload(self) -> None:
        """Go on from the files: trials that have ended stay, those under way stay their workers'.

        The trial of a worker that is not there any more is for `lose`.
        """
        state = json.loads(Path(self._get_oracle_fname()).read_text())
        # A trial that is not in the order of starts was about to be handed out: it is made anew.
        self.trials = {
            name: trials.Trial.load(str(Path(self._get_trial_dir(name)) / "trial.json"))
            for name in state["start_order"]
        }
        self.set_state(state)
        ended = [name for name, trial in self.trials.items() if trial.status in ENDED]
        self.end_order += [name for name in ended if name not in self.end_order]
        self.ongoing_trials: dict[str, Any] = {
            tuner: trial
            for tuner, trial in self.ongoing_trials.items()
            if trial.trial_id not in ended
        }
        self.tuner_ids = set(self.ongoing_trials)
        taken = {*ended, *(trial.trial_id for trial in self.ongoing_trials.values())}
        self._retry_queue = [name for name in self.trials if name not in taken][::-1]

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """Hand out the next trial, a lost one first. STOPPED only when all have ended."""
        if self.given_up:
            self.tuner_ids.discard(tuner_id)
            return trials.Trial(self.get_space(), status=STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.status == RUNNING:
            trial.metrics = type(trial.metrics)()  # nothing of a run that was broken off
        elif trial.status == STOPPED and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)  # it may be needed, if another worker is lost
            trial.status = IDLE
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """Take in what came of a trial, once: not from a worker that was thought lost."""
        if trial.trial_id in [ongoing.trial_id for ongoing in self.ongoing_trials.values()]:
            super().end_trial(trial)

    @keras_tuner.synchronized
    def lose(self, tuner_id: str) -> None:
        """Forget a worker; its trial, if it has one, is the next to be handed out."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None:
            self._retry_queue.append(trial.trial_id)
            self.save()

    def _check_consecutive_failures(self) -> None:
        # KerasTuner raises here, before the trial is saved and with its lock held for ever.
        try:
            super()._check_consecutive_failures()
        except RuntimeError:
            self.given_up = f"{self.max_consecutive_failed_trials} trials in a row have failed"


class RandomOracle(Durable, oracles.RandomSearchOracle):
    """Each trial at random."""


class BayesianOracle(Durable, oracles.BayesianOptimizationOracle):
    """At random at first; then where a Gaussian process expects the best."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        self._random_state = np.random.RandomState([self.seed, len(self.trials)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a process that finds no length scale in a few trials
            found = super().populate_space(trial_id)
        if found["status"] == RUNNING and self._duplicate(found["values"]):
            return self._random_populate_space()
        return found


class HyperbandOracle(Durable, oracles.HyperbandOracle):
    """Many short trials, of which the best are trained on, a third at a time."""


class GridOracle(Durable, oracles.GridSearchOracle):
    """All combinations of a few values, one after the other."""

    def reload(self) -> None:
        super().reload()
        values = {name: trial.hyperparameters.values for name, trial in self.trials.items()}
        order = functools.cmp_to_key(lambda a, b: self._compare(values[a], values[b]))
        self._ordered_ids: Any = gridsearch.LinkedList()
        for name in sorted(values, key=order):
            self._ordered_ids.insert(name)
        self._populate_next = list(self.trials)  # those whose next one is there are passed over


ORACLES = {
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "hyperband": HyperbandOracle,
    "grid": GridOracle,
}


def oracle(
    tuner: str, objective: Any, space: Space, *, trials: int, epochs: int, seed: int
) -> Durable:
    """Return a new oracle.

    Args:
        tuner: name in `ORACLES`.
        objective: a `keras_tuner.Objective`.
        space: the ranges.
        trials: at most so many.
        epochs: of a whole run, for Hyperband.
        seed: of all that it draws.
    """
    make: Any = lookup(tuner, ORACLES, "tuner")
    # KerasTuner takes a seed of 0 for none, and draws value i from `seed + i`.
    common = {"objective": objective, "seed": 1 + seed * 1_000_003 % (2**31 - 1)}
    if tuner == "grid":
        space = grid(space, trials)
    common |= {"hyperparameters": hyperparameters(space)}
    common |= {"allow_new_entries": False, "tune_new_entries": False}
    if tuner == "hyperband":
        made = make(max_epochs=epochs, hyperband_iterations=None, **common)
        made.max_trials = trials
        return made
    if tuner == "bayesian":
        at_random = min(3 * len(space), max(3, trials // 3))
        return make(max_trials=trials, num_initial_points=at_random, **common)
    return make(max_trials=trials, **common)


def grid(space: Space, trials: int) -> Space:
    """Return the space as lists of values: as many for each range as there are trials for.

    >>> from keras_disent.models.hyperparameters import Range
    >>> grid({"beta": Range(1, 16), "width": Values((0.5, 1.0))}, trials=7)
    {'beta': Values(values=(1.0, 4.0, 16.0)), 'width': Values(values=(0.5, 1.0))}
    """
    lists = {name: r for name, r in space.items() if isinstance(r, Values)}
    left = trials
    for values in lists.values():
        left //= len(values.values)
    ranges = max(1, len(space) - len(lists))
    each = max(2, int(left ** (1 / ranges) + 1e-9))
    return {name: lists.get(name) or Values(r.spread(each)) for name, r in space.items()}
