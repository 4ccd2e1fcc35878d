"""A search: a study whose runs are chosen by the scores so far."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import keras

from keras_disent._utils import html
from keras_disent._utils.checks import check_integer
from keras_disent._utils.files import atomic_write
from keras_disent._utils.registry import lookup
from keras_disent.engine import backend
from keras_disent.experiments import log, objectives
from keras_disent.experiments.config import Config
from keras_disent.experiments.objectives import Objective
from keras_disent.experiments.oracle import IDLE, ORACLES, RUNNING, STOPPED, Oracle
from keras_disent.experiments.perform import perform
from keras_disent.experiments.plan import planned
from keras_disent.experiments.planned import PlannedRun, text
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.run import Run
from keras_disent.experiments.scores import read_scores
from keras_disent.experiments.spaces import Space, configured, space_of
from keras_disent.experiments.store import RUN, Store
from keras_disent.experiments.training import HISTORY
from keras_disent.models.hyperparameters import Range, Values
from keras_disent.models.saving import FILE as MODEL

if TYPE_CHECKING:
    from keras_disent.experiments.study_folder import StudyFolder

POLL = 0.5  # seconds
TRIALS = "trials"
"""Folder of the locks of trials."""


@dataclasses.dataclass(frozen=True)
class Search:
    """What defines a search; `Study.create(search, folder).run()` makes it.

    Attributes:
        config: Configuration of the runs.
        objective: Name of what is made better, see `docs/tuning.md`.
        space: `{name: range}` of what is tuned: None for the model's own range, `(low, high)`, a
            list of values, a `Range` or `Values`. Default: all that the model declares.
        trials: Maximum number of trials.
        tuner: "random", "bayesian", "hyperband" or "grid".
        executions: Runs of a trial; the first has the seed of the configuration, the others the
            seeds that follow. The score of a trial is the mean of theirs.
        imports: Names of modules that register custom methods.

    Raises:
        ValueError: For an unknown tuner or hyperparameter, a range that is none, or fewer than
            one trial or run.

    >>> config = Config(model="beta_vae", subset={"shape": [0]}, image_size=32)
    >>> search = Search(config, "mig", {"beta": (1, 16)}, trials=5, tuner="grid")
    >>> search.space["beta"].low
    1
    """

    config: Config
    objective: str = "mig"
    space: Mapping[str, Any] | None = None
    trials: int = 20
    tuner: str = "random"
    executions: int = 1
    imports: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Return tables of the search and of what is tuned, which notebooks show."""
        about = [(name, getattr(self, name)) for name in ("objective", "trials", "tuner")]
        about += [("runs of a trial", self.executions), ("of", repr(self.config))]
        space = [(name, repr(range_)) for name, range_ in (self.space or {}).items()]
        return html.table(["Search", ""], about) + html.table(["tuned", "range"], space)

    def __post_init__(self) -> None:
        check_integer("trials", self.trials, at_least=1)
        check_integer("executions", self.executions, at_least=1)
        lookup(self.tuner, ORACLES, "tuner")
        object.__setattr__(self, "space", space_of(self.config, self.space))

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return [self.config.model]

    def configs(self) -> Iterator[Config]:
        """Yield the configuration of the runs."""
        yield self.config

    def definition(self) -> dict[str, Any]:
        """Return what defines the search, as what JSON can hold."""
        goal = dataclasses.asdict(self._goal)
        return {"search": self._stored(), "goal": goal, "runs": []}

    def check(self) -> None:
        """Build the model at the ends of the ranges.

        Raises:
            ValueError: For an unknown objective, or values that the model does not take.
        """
        self._goal  # noqa: B018  (is computed once)

    @functools.cached_property
    def _goal(self) -> Objective:
        space, data = dict(self.space or {}), self.config.load_data()
        goal = objectives.goal(self.config, self.objective, space, self.executions, data)
        keras.utils.clear_session(free_memory=False)
        return goal

    def _stored(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        space = {name: dataclasses.asdict(r) for name, r in (self.space or {}).items()}
        del fields["imports"]
        stored = {**fields, "config": self.config.absolute().as_dict(), "space": space}
        return json.loads(json.dumps(stored))

    @property
    def goal(self) -> Objective:
        """The objective, found by building the model at the ends of the ranges."""
        return self._goal

    @classmethod
    def read(cls, study: StudyFolder) -> Search:
        """Return the search of a study.

        Raises:
            ValueError: If it has none, or its definition is damaged.
        """
        path = repr(str(study.store.path))
        try:
            stored = dict(study.definition["search"])
            space = {
                name: Values(tuple(r["values"])) if "values" in r else Range(**r)
                for name, r in stored.pop("space").items()
            }
            config = Config.from_dict(stored.pop("config"), path)
            imports = tuple(study.definition["imports"])
            search = cls(config, space=space, imports=imports, **stored)
            search.__dict__["_goal"] = Objective(**study.definition["goal"])
            return search
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} does not define a search: {error}.") from None

    def grown(self, study: StudyFolder) -> bool:
        """Return whether the search has more trials than that of a study.

        Raises:
            ValueError: If it is another search.
        """
        if "search" not in study.definition:
            raise ValueError(f"{str(study.folder)!r} holds a study that is no search.")
        new, stored = _flat(self._stored()), _flat(study.definition["search"])
        names = [name for name in {**new, **stored} if new.get(name) != stored.get(name)]
        grown = names == ["trials"] and self.tuner != "grid" and new["trials"] > stored["trials"]
        if names and not grown:
            name = names[0]
            raise ValueError(
                f"{str(study.folder)!r} holds another search: {name} is {stored.get(name)!r} "
                f"there, {new.get(name)!r} here. Choose another folder."
            )
        return grown

    def started(self, trial: int, values: Mapping[str, Any], goal: Objective) -> log.Started:
        """Return the event of a trial that starts with values from the oracle."""
        space: Space = dict(self.space or {})
        settings = {name: range_.rounded(values[name]) for name, range_ in space.items()}
        metrics = tuple(dict.fromkeys([*self.config.metrics, *goal.metrics]))
        runs = []
        shown = dict(settings)
        if "tuner/epochs" in values:
            shown["epochs"] = values["tuner/epochs"]
        label = ", ".join([self.config.model, *(f"{n} {text(v)}" for n, v in shown.items())])
        for execution in range(self.executions):
            config = configured(self.config, space, settings, execution)
            config = dataclasses.replace(config, metrics=metrics)
            if "tuner/epochs" in values:
                steps = min(config.steps, values["tuner/epochs"] * config.epoch_steps)
                config = dataclasses.replace(config, steps=steps)
            runs.append(planned(label, config, shown))
        return log.Started(trial, dict(values), shown, tuple(runs))


def work(study: StudyFolder) -> None:
    """Do trials of a search until none is left; several processes may do so at once.

    Raises:
        OSError: If the folder cannot be written; it names the file.
    """
    search = Search.read(study)
    goal, oracle = search.goal, Oracle(search)
    while True:
        claimed = _claim(study, search, goal, oracle)
        if claimed is None:
            return
        if isinstance(claimed, str):
            time.sleep(POLL)
            continue
        started, lock = claimed
        try:
            ended = _trial(study, goal, started)
            with study.store.lock(wait=60):
                log.append(study.folder, ended)
        finally:
            lock.release()


def _claim(
    study: StudyFolder, search: Search, goal: Objective, oracle: Oracle
) -> tuple[log.Started, Any] | str | None:
    """Return a trial to do and its lock; IDLE if others are at work, None if nothing is left."""
    with study.store.lock(wait=60):
        events = log.read(study.folder)
        under_way = list(log.under_way(events))
        for started in under_way:  # whose process may have died
            lock = _lock(study, started.trial)
            if lock is not None:
                return started, lock
        number = sum(isinstance(event, log.Started) for event in events)
        state, values = STOPPED, dict[str, Any]()
        if number < search.trials and not log.given_up(events):
            state, values = oracle.choose(events)
        if state == RUNNING:
            started = search.started(number, values, goal)
            log.append(study.folder, started)
            lock = _lock(study, number)
            assert lock is not None  # nobody else knows of it
            return started, lock
    return IDLE if under_way or state == IDLE else None


def _lock(study: StudyFolder, trial: int) -> Any:
    """Return the lock of a trial, or None if another process has it."""
    folder = study.folder / TRIALS
    folder.mkdir(exist_ok=True)
    lock = filelock.FileLock(folder / f"{trial}.lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    return lock


def _trial(study: StudyFolder, goal: Objective, started: log.Started) -> log.Ended:
    """Train and score the runs of a trial."""
    for run in started.runs:
        _begin_at_shorter(study, started, run)
        while perform(study, run) == "locked":  # another trial has the same values
            time.sleep(POLL)
    progress = {run.name: Progress.read(study.place(run)) for run in started.runs}
    seconds = math.fsum(p.seconds for p in progress.values())
    errors = [p.error for p in progress.values() if p.state == "failed"]
    if errors:
        return log.Ended(started.trial, seconds=seconds, error=errors[0])
    places = [study.place(run) for run in started.runs]
    try:
        values = [_values(place) for place in places]
        scores = goal.scores(values, objectives.agreement(places) if goal.kind == "udr" else None)
    except FloatingPointError as error:
        return log.Ended(started.trial, seconds=seconds, error=f"FloatingPointError: {error}")
    reconstruction = math.fsum(v["reconstruction"] for v in values) / len(values)
    mean = math.fsum(scores) / len(scores)
    return log.Ended(started.trial, mean, tuple(scores), reconstruction, seconds)


def _values(place: Path) -> dict[str, float]:
    """Return the scores of a run as numbers, with its reconstruction."""
    entries = read_scores(place)
    values = {n: math.nan if e["value"] is None else float(e["value"]) for n, e in entries.items()}
    if "reconstruction" not in values:
        run = Run.open(place)
        values["reconstruction"] = objectives.squared_error(run.model, run.data)
    return values


def _begin_at_shorter(study: StudyFolder, started: log.Started, run: PlannedRun) -> None:
    """Let a run of Hyperband begin where that of a shorter trial has ended."""
    values = started.values
    if not values.get("tuner/initial_epoch"):
        return
    events = log.read(study.folder)
    shorter = next(
        event
        for event in events
        if isinstance(event, log.Started) and event.trial == int(values["tuner/trial_id"])
    )
    before = next(study.place(one) for one in shorter.runs if one.seed == run.seed)
    store = Store(RUN, study.place(run))
    with store.lock(create=True, wait=60):
        if not store.exists():
            store.define(run.config, study.store.backend(), backend.threads())
        if not (store.folder / MODEL).exists():
            for name in (HISTORY, MODEL):  # in the order of training
                with atomic_write(store.folder / name) as temporary:
                    shutil.copyfile(before / name, temporary)


def _flat(definition: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(definition)
    config, space = flat.pop("config"), flat.pop("space")
    return {**config, **flat, **{f"the range of {name}": r for name, r in space.items()}}
