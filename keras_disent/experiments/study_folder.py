"""The folder of a study: its runs and how far they are.

Reading a study (its runs, status, table, report) imports neither Keras nor a backend.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from keras_disent._utils.files import locked
from keras_disent.experiments import log
from keras_disent.experiments.planned import PlannedRun
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.store import LOCK, STUDY, Store, write_text

FILE, RUNS = "study.toml", "runs"
STATES = ("done", "failed", "running", "waiting")


class RunsFailedError(RuntimeError):
    """Runs of a study have failed; the others are done and in its table."""


@dataclasses.dataclass(frozen=True, repr=False)
class Status:
    """How far the runs of a study are.

    Attributes:
        states: By name of the run: "done", "failed", "running" or "waiting".
        share: Share of the training steps that is done, 0 to 1.
        remaining: Seconds that remain, or None if that cannot be told.
    """

    states: dict[str, str]
    share: float
    remaining: float | None = None

    def count(self, state: str) -> int:
        """Return how many runs are in a state."""
        return sum(s == state for s in self.states.values())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {100 * self.share:.0f} %: {self}>"

    def __str__(self) -> str:
        counts = {state: self.count(state) for state in STATES}
        return ", ".join(f"{n} {state}" for state, n in counts.items() if n or state == "done")


class StudyFolder:
    """What the folder of a study holds; `Study` adds what is done with it.

    Attributes:
        folder: Path of the folder.
    """

    def __init__(self, store: Store):
        self.store, self.folder = store, store.folder

    def __repr__(self) -> str:
        """Return folder, number and states of the runs."""
        runs = len(self.runs)
        return f"<{type(self).__name__} {str(self.folder)!r}: {runs:,} runs, {self.status()}>"

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the folder of a study.

        Raises:
            ValueError: If it holds none, or its definition is damaged or of another version.
        """
        study = cls(Store(STUDY, folder))
        try:
            kinds = {"runs": list, "models": list, "imports": list}
            for name, kind in kinds.items():
                if not isinstance(study.definition[name], kind):
                    raise TypeError(f"`{name}` is {study.definition[name]!r:.80}")
            study._planned  # noqa: B018  (is checked when it is read)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if str(error).startswith((repr(str(study.store.path)), "A study folder")):
                raise
            reason = f"no key {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{str(study.store.path)!r} does not describe a study: {reason}."
            ) from None
        return study

    @functools.cached_property
    def definition(self) -> dict[str, Any]:
        """What `study.json` holds."""
        return self.store.definition()

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """The runs in the order of the plan; those of a search so far."""
        if "search" not in self.definition:
            return self._planned
        started = (e for e in log.read(self.folder) if isinstance(e, log.Started))
        runs = {run.name: run for event in started for run in event.runs}
        return tuple(runs.values())

    @functools.cached_property
    def _planned(self) -> tuple[PlannedRun, ...]:
        runs = tuple(PlannedRun(**run) for run in self.definition["runs"])
        for run in runs:
            run.check()
        return runs

    def place(self, run: PlannedRun) -> Path:
        """Return the folder of a run."""
        return self.folder / RUNS / run.name

    def status(self, runs: Sequence[PlannedRun] | None = None) -> Status:
        """Return how far the runs are.

        Raises:
            ValueError: If the progress of a run is damaged; names the file.
        """
        return Watch(self).status(runs)

    def failures(self, runs: Sequence[PlannedRun] | None = None) -> dict[str, str]:
        """Return what went wrong, by name of the failed run."""
        progress = {run.name: Progress.read(self.place(run)) for run in runs or self.runs}
        return {name: p.error for name, p in progress.items() if p.state == "failed"}

    def write_plan(self, text: str) -> None:
        """Keep the text of the plan beside the definition, for people to read."""
        write_text(self.folder / FILE, text)


class Watch:
    """Look at the runs of a study again and again, and estimate the time that remains.

    Args:
        study: The study.
    """

    def __init__(self, study: StudyFolder):
        self._study = study
        self._ended: dict[str, str] = {}
        self._start = time.monotonic()
        self._first: float | None = None

    def status(self, runs: Sequence[PlannedRun] | None = None) -> Status:
        """Return how far the runs are now."""
        runs = self._study.runs if runs is None else runs
        states: dict[str, str] = {}
        steps = 0.0
        for run in runs:
            state = self._ended.get(run.name)
            if state is None:
                place = self._study.place(run)
                progress = Progress.read(place)
                state = progress.state or ("running" if locked(place / LOCK) else "waiting")
                steps += min(progress.step, run.steps) if not progress.state else 0
            if state in ("done", "failed"):
                self._ended[run.name] = state
                steps += run.steps
            states[run.name] = state
        share = steps / (sum(run.steps for run in runs) or 1)
        if self._first is None:
            self._first = share
        gained, past = share - self._first, time.monotonic() - self._start
        return Status(states, share, past / gained * (1 - share) if gained > 0 else None)


def shard_of(runs: Sequence[PlannedRun], shard: tuple[int, int]) -> list[PlannedRun]:
    """Return the runs of one shard: every n-th.

    Raises:
        ValueError: If there is no such shard.
    """
    number, n = shard
    if not 1 <= number <= n:
        raise ValueError(f"A shard is (1, 2) or (2, 2), or one of more. Got {shard}.")
    return list(runs[number - 1 :: n])


def settings_of(runs: Sequence[PlannedRun]) -> list[str]:
    """Return the names of all settings."""
    names: Mapping[str, None] = dict.fromkeys(name for run in runs for name in run.settings)
    return list(names)
