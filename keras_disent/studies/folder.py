"""The folder of a study: what it holds, and how far its runs are."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_disent import __version__
from keras_disent.runs import write
from keras_disent.studies.locks import alive, guarded
from keras_disent.studies.plan import Plan, Run
from keras_disent.studies.work import FAILED, LOCKS, RUNS, ended, progress_of

STUDY, FILE = "study.json", "study.toml"
FORMAT = 1
"""Version of what a study's folder looks like."""


def claim(plan: Plan, folder: Path) -> None:
    """Make the folder of a study, or check that it is of this one, or of one with fewer runs.

    Raises:
        ValueError: if it holds something else, or cannot be written; nothing is changed then.
    """
    if not (folder / STUDY).exists():
        left_over = {FILE, LOCKS, RUNS}  # of a study that was killed before its last file
        if folder.is_dir() and not {path.name for path in folder.iterdir()} <= left_over:
            raise ValueError(f"A study needs a new or empty folder. {str(folder)!r} is neither.")
        plan.check()
        try:
            (folder / LOCKS).mkdir(parents=True, exist_ok=True)
            with guarded(folder / LOCKS):  # another process may be at the same
                if not (folder / STUDY).exists():
                    (folder / RUNS).mkdir(exist_ok=True)
                    write(folder / FILE, plan.text)
                    write(folder / STUDY, _described(plan))
        except OSError as error:
            raise ValueError(f"Cannot write into {str(folder)!r}: {error.strerror}.") from None
    stored = _stored(folder)
    backend = keras.backend.backend()
    if stored["backend"] != backend:
        raise ValueError(
            f"{str(folder)!r} holds a study on {stored['backend']}; this is one on {backend}. "
            "Choose another folder."
        )
    try:
        with guarded(folder / LOCKS):
            grown = _grown(plan, folder)
        if grown:
            plan.check()
        with guarded(folder / LOCKS):
            if _grown(plan, folder):  # another process may have been quicker
                write(folder / STUDY, _described(plan))
            if not _holds(folder, plan):
                write(folder / FILE, plan.text)
    except OSError as error:
        raise ValueError(f"Cannot write into {str(folder)!r}: {error.strerror}.") from None


def _grown(plan: Plan, folder: Path) -> bool:
    """Return whether a plan has more runs than the study in a folder.

    Raises:
        ValueError: if it lacks some of them.
    """
    if _stored(folder)["study"] == plan.digest:
        return False
    if _holds(folder, plan):  # the stored file itself was made longer
        before = {path.name: path.name for path in (folder / RUNS).iterdir()}
    else:
        before = {run.name: f"{run.label}, seed {run.config.seed}" for run in read(folder).runs}
    names = {run.name for run in plan.runs}
    gone = [label for name, label in before.items() if name not in names]
    if gone:
        raise ValueError(
            f"{str(folder)!r} holds another study: {len(gone)} of its {len(before)} runs are not "
            f"in this one; the first is {gone[0]!r}. A study may grow by seeds and methods: add "
            f"them to its {FILE}, or choose another folder."
        )
    return True


def _holds(folder: Path, plan: Plan) -> bool:
    """Return whether the stored file is of a plan."""
    try:
        return Plan.read(folder / FILE).digest == plan.digest
    except ValueError:
        return False


def read(folder: str | Path) -> Plan:
    """Return the plan of the study in a folder.

    Raises:
        ValueError: if there is none, it is of another version, or a file of it is broken.
    """
    folder = Path(folder)
    stored, plan = _stored(folder), Plan.read(folder / FILE)
    if stored["study"] != plan.digest:
        raise ValueError(
            f"{str(folder / FILE)!r} was changed: its runs are not those of {STUDY}. "
            "If it has them and more, call `study run` with it."
        )
    return plan


def _described(plan: Plan) -> str:
    backend = keras.backend.backend()
    described = {"format": FORMAT, "study": plan.digest, "backend": backend}
    return json.dumps({**described, "made_with": {"keras_disent": __version__}}, indent=2)


def _stored(folder: Path) -> dict:
    path = folder / STUDY
    if not path.is_file():
        raise ValueError(f"A study folder holds {STUDY}. There is none in {str(folder)!r}.")
    try:
        stored = json.loads(path.read_text())
        version = stored["format"]
        if version == FORMAT:
            return {name: stored[name] for name in ("study", "backend")}
    except (ValueError, TypeError, KeyError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(path)!r} does not describe a study: {reason}.") from None
    raise ValueError(
        f"{str(path)!r} is of format {version!r}; this version of keras-disent reads {FORMAT}."
    )


@dataclasses.dataclass(frozen=True)
class Status:
    """How far the runs of a study are.

    Attributes:
        states: by name of the run: "done", "failed", "running" or "waiting".
        share: of the work that is done, 0 to 1.
        left: seconds left, as far as can be told, or None.
    """

    states: dict[str, str]
    share: float
    left: float | None = None

    def count(self, state: str) -> int:
        """Return how many runs are in a state."""
        return sum(found == state for found in self.states.values())


class Watch:
    """Looks at the runs of a study, again and again.

    Args:
        folder: of the study.
        watched: runs to look at.
    """

    def __init__(self, folder: str | Path, watched: Sequence[Run]):
        self.folder, self.watched = Path(folder), watched
        self._ended: dict[str, str] = {}
        self._start = time.monotonic()
        self._first: float | None = None

    def status(self) -> Status:
        """Return how far the runs are now."""
        states, steps = {}, 0.0
        for run in self.watched:
            folder = self.folder / RUNS / run.name
            state = self._ended.get(run.name) or ended(folder)
            if state:
                self._ended[run.name] = state
                steps += run.config.steps
            else:
                lock = self.folder / LOCKS / f"{run.name}.json"
                state = "running" if lock.exists() and alive(lock) else "waiting"
                steps += min(progress_of(folder)["steps"], run.config.steps)
            states[run.name] = state
        share = steps / (sum(run.config.steps for run in self.watched) or 1)
        if self._first is None:
            self._first = share
        gained = share - self._first
        past = time.monotonic() - self._start
        return Status(states, share, past / gained * (1 - share) if gained > 0 else None)


def failures(folder: str | Path, among: Sequence[Run]) -> dict[str, str]:
    """Return what went wrong, by name of the failed run."""
    found = {}
    for run in among:
        path = Path(folder) / RUNS / run.name / FAILED
        if ended(path.parent) == "failed":
            try:
                found[run.name] = json.loads(path.read_text())["error"]
            except (OSError, ValueError, KeyError, TypeError):
                found[run.name] = f"{str(path)!r} cannot be read"
    return found
