"""A search in one folder: trials, table, picture, and the best model as a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import base_tuner

from keras_disent import __version__, runs
from keras_disent._utils.checks import check_integer
from keras_disent._utils.files import locked
from keras_disent._utils.registry import lookup
from keras_disent.configuration import CONFIG, Config
from keras_disent.models import MODELS
from keras_disent.models.hyperparameters import Range, Values
from keras_disent.tuning import objectives, results, sharing
from keras_disent.tuning.hypermodel import goal
from keras_disent.tuning.objectives import Objective
from keras_disent.tuning.oracles import IDLE, ORACLES, STOPPED, Durable, oracle
from keras_disent.tuning.results import ERROR, TRIALS, Results, Row
from keras_disent.tuning.spaces import Space, configured, space_of

SEARCH, LOCK = "search.json", ".lock"
POLL = 0.5  # seconds

Changed = Callable[[list[Row]], object]
Advance = Callable[[int], object]


@dataclasses.dataclass(frozen=True)
class Search:
    """What defines a search. `run` makes it, or goes on with it.

    Attributes:
        config: of the runs; its metrics are computed of the best one.
        objective: name of what is made better, see `docs/tuning.md`.
        space: `{name: range}` of what is tuned: None for the model's own range, `(low, high)`, a
            list of values, a `Range` or `Values`. Default: all that the model declares.
        trials: at most so many.
        tuner: "random", "bayesian", "hyperband" or "grid".
        executions: runs of a trial; the first has the seed of the configuration, the others the
            seeds that follow. The score of a trial is the mean of theirs.

    Raises:
        ValueError: for an unknown tuner or hyperparameter, a range that is none, or fewer than
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

    def __post_init__(self) -> None:
        check_integer("trials", self.trials, at_least=1)
        check_integer("executions", self.executions, at_least=1)
        lookup(self.tuner, ORACLES, "tuner")
        object.__setattr__(self, "space", space_of(self.config, self.space))

    def to_json(self) -> str:
        """Return the definition as JSON text, with the version and the backend."""
        made_with = {"keras_disent": __version__, "backend": keras.backend.backend()}
        return json.dumps({**dataclasses.asdict(self), "made_with": made_with}, indent=2)

    @classmethod
    def read(cls, folder: str | Path) -> Search:
        """Read the definition of the search in a folder.

        Raises:
            ValueError: if the folder holds no search, or its definition is broken.
        """
        path = Path(folder) / SEARCH
        if not path.is_file():
            raise ValueError(f"A search folder holds {SEARCH}. There is none in {str(folder)!r}.")
        try:
            stored = json.loads(path.read_text())
            stored.pop("made_with")
            config = stored.pop("config")
            space = {
                name: Values(tuple(r["values"])) if "values" in r else Range(**r)
                for name, r in stored.pop("space").items()
            }
            config = Config(**{**config, "metrics": tuple(config["metrics"])})
            return cls(config, space=space, **stored)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{str(path)!r} does not define a search: {error}") from None

    def run(
        self,
        folder: str | Path,
        changed: Changed = lambda rows: None,
        advance: Advance = lambda steps: None,
        *,
        patience: float = sharing.PATIENCE,
    ) -> Results:
        """Make the search in a folder, or go on with it, up to its last trial.

        The folder then holds `search.json`, `trials/` with a run folder for each trial and seed,
        `trials.csv`, `tradeoff.png`, and `best/`, a copy of the best run with all its scores.

        Under KerasTuner's variables for a shared search, the chief does so with what the workers
        train; a worker returns when nothing is left to do.

        Args:
            folder: new, empty, or of this search (which may then have more trials than it had,
                unless its tuner is "grid").
            changed: called with all rows when one of them changes.
            advance: called with the number of training steps done.
            patience: seconds after which a silent worker is lost; the same for all processes.

        Returns:
            the trials, and which is the best.

        Raises:
            ValueError: for an unknown objective, values that the model does not take, or a folder
                that cannot be used; before any training, with nothing written.
            RuntimeError: if three trials in a row fail, or none is done at the end.
            KeyboardInterrupt: after Ctrl-C, when the step under way is done and all is saved.
        """
        folder, part = Path(folder), sharing.role()
        self._check(folder)
        space: Space = dict(self.space or {})
        data = self.config.load_data()
        aim = goal(self.config, self.objective, space, self.executions, data)
        if part == "worker":
            _wait_for_chief(folder)
            self._check(folder)
            self._tuner(folder, aim, space, changed, advance, patience).work()
            return Results([], None)
        with self._claimed(folder):
            tuner = self._tuner(folder, aim, space, changed, advance, patience)
            drawn = tuner.durable
            if drawn.saved():
                drawn.reload()
            if part == "alone":
                for absent in drawn.tuner_ids - {tuner.tuner_id}:
                    drawn.lose(absent)
            drawn.save()
            tuner.tell()
            if part == "chief":
                sharing.serve(drawn, tuner.tell, patience)
            else:
                tuner.work()
            return self._finish(folder, tuner, aim)

    def _tuner(self, folder: Path, aim: Objective, space: Space, *told: Any) -> _Tuner:
        epochs = math.ceil(self.config.steps / self.config.epoch_steps)
        judge = keras_tuner.Objective(aim.key, "max" if aim.higher else "min")
        drawn = oracle(
            self.tuner, judge, space, trials=self.trials, epochs=epochs, seed=self.config.seed
        )
        return _Tuner(self, drawn, folder, aim, space, *told)

    def _finish(self, folder: Path, tuner: _Tuner, aim: Objective) -> Results:
        found = tuner.tell()
        if tuner.durable.given_up:
            last = next(row for row in found[::-1] if row.status == "failed")
            raise RuntimeError(f"The search has stopped: {tuner.durable.given_up}. {last.message}")
        winner = results.best(found, aim)
        if winner is None:
            raise RuntimeError("No trial was done to its end.")
        results.draw(found, aim, self._title(), self._unit(), folder / results.PICTURE)
        kept = results.keep_best(winner, aim, self.config.seed, folder)
        config = dataclasses.replace(Config.read(kept), metrics=self.config.metrics)
        runs.write(kept / CONFIG, config.to_json())
        runs.evaluate(kept)
        runs.traverse(kept)
        return Results(found, winner)

    def _check(self, folder: Path) -> None:
        """Check that the folder is new or of this search."""
        if (folder / SEARCH).exists():
            self._compare(Search.read(folder), folder)
        elif folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
            raise ValueError(f"A search needs a new or empty folder. {str(folder)!r} is neither.")

    @contextlib.contextmanager
    def _claimed(self, folder: Path) -> Iterator[None]:
        """Make the folder, or note more trials than before; keep others out during the block."""
        with contextlib.ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(ImportError):  # Windows has no such lock
                    stack.enter_context(locked(folder / LOCK, wait=False))
                self._check(folder)
                if not ((folder / SEARCH).exists() and Search.read(folder).trials == self.trials):
                    runs.write(folder / SEARCH, self.to_json())
            except BlockingIOError:
                raise ValueError(
                    f"Another process is at the search in {str(folder)!r}. Several share a search "
                    "as a chief and its workers."
                ) from None
            except OSError as error:
                raise ValueError(f"Cannot write into {str(folder)!r}: {error.strerror}.") from None
            yield

    def _compare(self, there: Search, folder: Path) -> None:
        mine, theirs = (_flat(json.loads(search.to_json())) for search in (self, there))
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        if names == ["trials"] and self.tuner != "grid" and self.trials > there.trials:
            return
        if names:
            name = names[0]
            raise ValueError(
                f"{str(folder)!r} holds another search: {name} is {theirs.get(name)!r} there, "
                f"{mine.get(name)!r} here. Choose another folder."
            )

    def _title(self) -> str:
        name = MODELS[self.config.model].__name__
        return f"{name} on {Path(self.config.data).name}, {self.config.steps:,} steps"

    def _unit(self) -> str:
        cls: Any = MODELS[self.config.model]
        if "reconstruction" in cls.terms:
            return "reconstruction: negative log-likelihood (nats per image, lower is better)"
        return "reconstruction: squared error (sum over pixels, lower is better)"


class _Tuner(base_tuner.BaseTuner):
    """Trains the trials that an oracle hands out: each is one run folder for each seed."""

    def __init__(
        self,
        search: Search,
        durable: Durable,
        folder: Path,
        aim: Objective,
        space: Space,
        changed: Changed,
        advance: Advance,
        patience: float,
    ):
        super().__init__(durable, directory=str(folder), project_name=TRIALS)
        durable.verbose = 0
        self.search_definition, self.durable, self.folder = search, durable, folder
        self.aim, self.space, self.patience = aim, space, patience
        self.changed, self.advance = changed, advance
        self._told: list[Row] | None = None

    def tell(self) -> list[Row]:
        """Write the table and call `changed`, if a row has changed; return the rows."""
        found = results.rows(self.durable, self.space, self.aim)
        if found != self._told:
            self._told = found
            results.write_table(found, self.aim, self.folder / results.TABLE)
            self.changed(found)
        return found

    def work(self) -> None:
        """Run trials until there are no more."""
        worker = self._is_worker()
        while True:
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status == STOPPED:
                return
            if trial.status == IDLE:
                time.sleep(POLL)
                continue
            if worker:
                with sharing.alive(self.oracle, trial.trial_id, self.tuner_id, self.patience):
                    self._try_run_and_update_trial(trial)
            else:
                self.tell()
                self._try_run_and_update_trial(trial)
            if trial.message:
                runs.write(Path(self.get_trial_dir(trial.trial_id)) / ERROR, trial.message)
            self.oracle.end_trial(trial)
            if not worker:
                self.tell()

    def _run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        for found in self.run_trial(trial):  # KerasTuner keeps each, and their mean
            self.oracle.update_trial(trial.trial_id, found)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Sequence[dict[str, float]]:
        search, values = self.search_definition, trial.hyperparameters.values
        data = search.config.load_data()
        chosen = {name: range_.rounded(values[name]) for name, range_ in self.space.items()}
        found, folders, seconds = [], [], []
        for execution in range(search.executions):
            start = time.monotonic()
            config = configured(search.config, self.space, chosen, execution)
            if "tuner/epochs" in values:
                steps = min(config.steps, values["tuner/epochs"] * config.epoch_steps)
                config = dataclasses.replace(config, steps=steps)
            folder = _run(Path(self.get_trial_dir(trial.trial_id)), config.seed)
            if values.get("tuner/initial_epoch"):
                before = Path(self.get_trial_dir(values["tuner/trial_id"]))
                _go_on(_run(before, config.seed), folder)
            found.append(self._trained(config, folder, data))
            folders.append(folder)
            seconds.append(time.monotonic() - start)
            keras.utils.clear_session(free_memory=False)
        of_seeds = None
        if self.aim.kind == "udr":
            of_seeds = objectives.agreement([runs.load_model(f) for f in folders], data)
        scores = self.aim.scores(found, of_seeds)
        return [
            {
                **{f"val_{name}": value for name, value in run.items()},
                "reconstruction": run["reconstruction"],
                "seconds": time_taken,
                self.aim.key: score,
            }
            for run, score, time_taken in zip(found, scores, seconds, strict=True)
        ]

    def _trained(self, config: Config, folder: Path, data: Any) -> dict[str, float]:
        """Train a run, or go on with it, and score it."""
        scores = folder / runs.SCORES
        if not scores.exists():
            folder.mkdir(parents=True, exist_ok=True)
            runs.write(folder / CONFIG, config.to_json())
            model = runs.train(config, folder, lambda n, logs: self.advance(n), pictures=False)
            found = objectives.measured(model, config, data, self.aim.metrics)
            runs.write(scores, json.dumps(found, indent=2))
        return objectives.values(json.loads(scores.read_text()))


def _run(trial: Path, seed: int) -> Path:
    return trial / f"seed_{seed}"


def _go_on(before: Path, folder: Path) -> None:
    """Let a run begin where a shorter one has ended."""
    if folder.exists():
        return
    new = folder.with_name(f".{folder.name}")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(before, new, ignore=shutil.ignore_patterns(runs.SCORES))
    new.rename(folder)


def _wait_for_chief(folder: Path) -> None:
    """Wait until the chief has made the folder."""
    end = time.monotonic() + 600
    while not (folder / SEARCH).exists():
        if time.monotonic() > end:
            raise ValueError(f"No chief has made {str(folder)!r} in ten minutes.")
        time.sleep(POLL)


def _flat(definition: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in definition.items() if name != "made_with"}
    config, space = flat.pop("config"), flat.pop("space")
    return {**config, **flat, **{f"the range of {name}": r for name, r in space.items()}}
