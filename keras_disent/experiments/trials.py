"""Trials of a search, the best of them, and their table. Nothing here imports Keras."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent.experiments import log
from keras_disent.experiments.planned import PlannedRun
from keras_disent.experiments.store import write_text
from keras_disent.experiments.table import csv_text

if TYPE_CHECKING:
    from keras_disent.experiments.study_folder import StudyFolder

TABLE, PICTURE, BEST = "trials.csv", "tradeoff.png", "best.json"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: From 0.
        status: "running", "done" or "failed"; a running trial may wait for its process.
        values: Its hyperparameters.
        score: Mean over its seeds, None if it is not done.
        scores: Score of each seed.
        reconstruction: Mean over its seeds, in nats; for models without a likelihood the squared
            error. None if it is not done.
        seconds: Time of all its runs; None if it has not ended.
        runs: Its runs, one for each seed.
        error: Why it failed, or "".
    """

    number: int
    status: str
    values: Mapping[str, Any]
    score: float | None
    scores: tuple[float, ...]
    reconstruction: float | None
    seconds: float | None
    runs: tuple[PlannedRun, ...]
    error: str = ""


def trials(study: StudyFolder) -> list[Trial]:
    """Return the trials of a search so far; none for a grid."""
    events = log.read(study.folder)
    ended = {event.trial: event for event in events if isinstance(event, log.Ended)}
    all_trials = []
    for event in events:
        if isinstance(event, log.Started):
            end = ended.get(event.trial, log.Ended(event.trial))
            status = "failed" if end.error else "done" if event.trial in ended else "running"
            seconds = end.seconds if event.trial in ended else None
            all_trials.append(
                Trial(
                    event.trial,
                    status,
                    event.settings,
                    end.score,
                    end.scores,
                    end.reconstruction,
                    seconds,
                    event.runs,
                    end.error,
                )
            )
    return all_trials


def best(all_trials: list[Trial], higher: bool) -> Trial | None:
    """Return the trial with the best score, the first of equals; None if none is done."""
    done = [trial for trial in all_trials if trial.score is not None]
    return (max if higher else min)(done, key=lambda trial: trial.score or 0.0, default=None)


def write_table(all_trials: list[Trial], score: str, path: Path) -> None:
    """Write the trials as CSV."""
    names = list(dict.fromkeys(name for trial in all_trials for name in trial.values))
    seeds = max((len(trial.scores) for trial in all_trials), default=0)
    each = [f"score_{i}" for i in range(seeds)] if seeds > 1 else []
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    heading = ["trial", "status", *names, score, *each, "reconstruction", "seconds", "error"]
    table.writerow(map(csv_text, heading))
    for trial in all_trials:
        scores = [*trial.scores, *[None] * seeds][:seeds] if each else []
        values = [trial.values.get(name) for name in names]
        seconds = None if trial.seconds is None else round(trial.seconds, 1)
        about = [trial.score, *scores, trial.reconstruction, seconds, trial.error]
        table.writerow(map(csv_text, [trial.number, trial.status, *values, *about]))
    write_text(path, content.getvalue())
