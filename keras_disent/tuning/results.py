"""What a search has found: a row for each trial, a table, a picture, the best run."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_disent import plots, runs
from keras_disent.plots import charts
from keras_disent.tuning.objectives import Objective
from keras_disent.tuning.oracles import COMPLETED, FAILED, RUNNING, Durable

TRIALS, TABLE, PICTURE, BEST, ERROR = "trials", "trials.csv", "tradeoff.png", "best", "error.txt"


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        number: from 0.
        status: "waiting", "running", "done" or "failed".
        values: of its hyperparameters.
        score: mean over its seeds, None if it is not done.
        scores: of each seed.
        reconstruction: mean over its seeds, in nats; for models without a likelihood the squared
            error. None if it is not done.
        seconds: what all its runs took.
        folder: of the trial, with one run folder for each seed.
        message: why it failed, or "".
    """

    number: int
    status: str
    values: dict[str, Any]
    score: float | None
    scores: tuple[float, ...]
    reconstruction: float | None
    seconds: float | None
    folder: Path
    message: str = ""


class Results(NamedTuple):
    """What a search has found.

    Attributes:
        rows: its trials, in their order.
        best: the one with the best score, the first of equals; None if none is done.
    """

    rows: list[Row]
    best: Row | None


def rows(oracle: Durable, space: Any, goal: Objective) -> list[Row]:
    """Return the trials so far, in their order."""
    ongoing = {trial.trial_id for trial in oracle.ongoing_trials.values()}
    found = []
    for name in oracle.start_order:
        trial = oracle.trials[name]
        folder = Path(oracle._get_trial_dir(name))
        known = {key: _observed(trial, key) for key in (goal.key, "reconstruction", "seconds")}
        done = trial.status == COMPLETED
        status = "running" if name in ongoing and trial.status == RUNNING else "waiting"
        status = {COMPLETED: "done", FAILED: "failed"}.get(trial.status, status)
        values = {n: r.rounded(trial.hyperparameters.values[n]) for n, r in space.items()}
        if "tuner/epochs" in trial.hyperparameters.values:
            values["epochs"] = trial.hyperparameters.values["tuner/epochs"]
        found.append(
            Row(
                number=int(name),
                status=status,
                values=values,
                score=float(trial.score) if done else None,
                scores=known[goal.key] if done else (),
                reconstruction=_mean(known["reconstruction"]) if done else None,
                seconds=sum(known["seconds"]) if done else None,
                folder=folder,
                message=_last_line(folder / ERROR) if trial.status == FAILED else "",
            )
        )
    return found


def best(found: Sequence[Row], goal: Objective) -> Row | None:
    """Return the trial with the best score, the first of equals; None if none is done."""
    done = [row for row in found if row.score is not None]
    if not done:
        return None
    return (max if goal.higher else min)(done, key=lambda row: row.score or 0.0)


def write_table(found: Sequence[Row], goal: Objective, path: Path) -> None:
    """Write the rows as CSV, whole or not at all."""
    names = list(dict.fromkeys(name for row in found for name in row.values))
    seeds = max((len(row.scores) for row in found), default=0)
    each = [f"score_{i}" for i in range(seeds)] if seeds > 1 else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["trial", "status", *names, goal.key, *each, "reconstruction", "seconds", "message"]
    )
    for row in found:
        scores = [*row.scores, *[None] * seeds][:seeds] if each else []
        values = [row.values.get(name) for name in names]
        seconds = None if row.seconds is None else round(row.seconds, 1)
        known = [row.score, *scores, row.reconstruction, seconds, row.message]
        table.writerow([row.number, row.status, *values, *known])
    runs.write(path, text.getvalue())


def draw(found: Sequence[Row], goal: Objective, title: str, unit: str, path: Path) -> Path:
    """Draw score against reconstruction, colored by the first hyperparameter that is a number."""
    done = [row for row in found if row.score is not None]
    numeric = [n for n, v in done[0].values.items() if isinstance(v, int | float)]
    color = numeric[0] if numeric else None
    figure = charts.tradeoff(
        [row.reconstruction or 0.0 for row in done],
        [row.score or 0.0 for row in done],
        higher=goal.higher,
        x_label=unit,
        y_label=goal.key.removeprefix("val_"),
        colors=None if color is None else [row.values[color] for row in done],
        color_label=color,
        title=title,
    )
    return plots.save(figure, path)


def keep_best(row: Row, goal: Objective, first_seed: int, folder: Path) -> Path:
    """Copy the best run of the best trial, whole or not at all; return its folder."""
    ahead = max if goal.higher else min
    seed = first_seed + row.scores.index(ahead(row.scores))
    target, new, old = folder / BEST, folder / f".{BEST}.new", folder / f".{BEST}.old"
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(row.folder / f"seed_{seed}", new)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _observed(trial: Any, name: str) -> tuple[float, ...]:
    if not trial.metrics.exists(name):
        return ()
    return tuple(value for seen in trial.metrics.get_history(name) for value in seen.value)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _last_line(path: Path) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return lines[-1] if lines else ""
