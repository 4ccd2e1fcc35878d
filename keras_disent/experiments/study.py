"""A study: many runs in one folder, given by a plan or chosen by a search.

Reading a study (its runs, status, table, report) imports neither Keras nor a backend.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent._utils.files import locked
from keras_disent.experiments import log
from keras_disent.experiments.planned import PlannedRun
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.store import LOCK, STUDY, Store, write_text

if TYPE_CHECKING:
    from keras_disent.experiments.plan import Plan
    from keras_disent.experiments.search import Search
    from keras_disent.experiments.trials import Trial

FILE, RUNS = "study.toml", "runs"
STATES = ("done", "failed", "running", "waiting")


class RunsFailedError(RuntimeError):
    """Runs of a study have failed; the others are done and in its table."""


@dataclasses.dataclass(frozen=True)
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

    def __str__(self) -> str:
        counts = {state: self.count(state) for state in STATES}
        return ", ".join(f"{n} {state}" for state, n in counts.items() if n or state == "done")


class Study:
    """A study in its folder; `Study.create` and `Study.open` make it.

    Attributes:
        folder: Path of the folder.
    """

    def __init__(self, store: Store):
        self.store, self.folder = store, store.folder

    @classmethod
    def create(cls, plan: Plan | Search, folder: str | Path) -> Study:
        """Make the folder of a study, or open the one that is there, which may grow.

        Args:
            plan: A `Plan`, which has all of the runs in the folder, or a `Search`.
            folder: New or empty folder, or that of this study.

        Raises:
            ValueError: If the folder cannot be used, or the models or data do not take what the
                plan says; nothing is changed then.
            LockedError: If another process is changing the study.
        """
        from keras_disent.experiments.make import make

        return make(cls, plan, Path(folder))

    @classmethod
    def open(cls, folder: str | Path) -> Study:
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

    def run(
        self,
        *,
        n_jobs: int | None = None,
        executor: str = "local",
        threads: int = 1,
        shard: tuple[int, int] = (1, 1),
        retry: bool = False,
        on_status: Callable[[Status], object] | None = None,
    ) -> Any:
        """Do the runs that have not been done, and write the table of all results.

        Several processes may do so in one folder at once, on several machines: no run is done
        twice. With one job, the runs are trained in this process.

        Args:
            n_jobs: Runs at a time; default, one for each processor (of the cluster).
            executor: "local" for processes of this machine; "ray" or "dask" for the cluster that
                is running.
            threads: Threads of each process; results may depend on it in their last bits.
            shard: (2, 3) for the second of three shards; (1, 1) for all runs.
            retry: Whether failed runs are tried again.
            on_status: Called about twice a second with the status of these runs.

        Returns:
            the results, see `table`.

        Raises:
            RunsFailedError: If runs failed; the others are done and in the table.
            ValueError: If the executor, the shard or the backend is wrong, or a file is damaged.
            OSError: If a file, which it names, cannot be written; what is finished is kept.
            ChildProcessError: If processes end again and again before they have begun a run.
            ImportError: Without pandas, or the package of the executor.
            KeyboardInterrupt: After Ctrl-C; call it again to resume.

        However it ends, the table holds what is finished.
        """
        from keras_disent.experiments.executor import execute

        return execute(
            self,
            n_jobs=n_jobs,
            executor=executor,
            threads=threads,
            shard=shard,
            retry=retry,
            on_status=on_status,
        )

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

    def trials(self) -> list[Trial]:
        """Return the trials of a search so far; none for a grid.

        Raises:
            ValueError: If the log is damaged; names the file.
        """
        from keras_disent.experiments import trials

        return trials.trials(self)

    def table(self) -> Any:
        """Return the scores of the finished runs as a pandas `DataFrame`, a row for each score.

        Its columns are `run`, `model`, `label` and `seed`; one for each setting that the study
        changes; then `score`, `kind` ("metric" or "term" of the objective), `value`, `step`,
        `seconds` (of the run), `backend` and `keras_disent` (the version).

        Raises:
            ValueError: Names a result file that is damaged.
            ImportError: Without pandas or PyArrow.
        """
        from keras_disent.experiments import table

        return table.results(self)

    def report(self, out: str | Path | None = None, **options: Any) -> Any:
        """Write `report.html` and `report.json`; see `experiments.report.report`."""
        from keras_disent.experiments.report import report

        return report(self, out, **options)

    def write_plan(self, text: str) -> None:
        """Keep the text of the plan beside the definition, for people to read."""
        write_text(self.folder / FILE, text)


class Watch:
    """Look at the runs of a study again and again, and estimate the time that remains.

    Args:
        study: The study.
    """

    def __init__(self, study: Study):
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
