"""HTML of runs and studies, which notebooks show. Nothing here imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_disent._utils import html
from keras_disent.experiments import trials
from keras_disent.experiments.scores import SCORES, read_scores
from keras_disent.experiments.study_folder import StudyFolder

ROWS = 20  # of the table of a study


def run_as_html(about: str, folder: Path) -> str:
    """Return a line about a run, the table of its scores, and the picture of its traversals."""
    parts = [html.paragraph(about)]
    scores = _scores(folder)
    if scores:
        parts.append(html.table(["term or score", "value"], scores.items()))
    picture = folder / "traversal.png"
    if picture.is_file():
        parts.append(html.png(picture.read_bytes(), "latent traversals"))
    return "".join(parts)


def study_as_html(study: StudyFolder) -> str:
    """Return a line about a study, and a table of its runs with their scores."""
    if "search" in study.definition:
        return _search_as_html(study)
    states, runs = study.status().states, study.runs
    scores = {run.name: _scores(study.place(run)) for run in runs[:ROWS]}
    names = list(dict.fromkeys(name for run_scores in scores.values() for name in run_scores))
    rows = [
        [run.label, run.seed, states[run.name], *(scores[run.name].get(n, "") for n in names)]
        for run in runs[:ROWS]
    ]
    parts = [
        html.paragraph(repr(study)[1:-1]),
        html.table(["setting", "seed", "state", *names], rows),
    ]
    if len(runs) > ROWS:
        parts.append(html.paragraph(f"and {len(runs) - ROWS:,} more runs: see table()"))
    return "".join(parts)


def _search_as_html(study: StudyFolder) -> str:
    """Return a line about a search, a table of its trials, the best first, and their picture."""
    search, higher = study.definition["search"], study.definition["goal"]["higher"]
    all_trials = trials.trials(study)
    done = [trial for trial in all_trials if trial.score is not None]
    others = [trial for trial in all_trials if trial.score is None]
    ordered = sorted(done, key=lambda trial: trial.score or 0.0, reverse=higher) + others
    names = list(dict.fromkeys(name for trial in all_trials for name in trial.values))
    rows = [
        [
            trial.number,
            *(_short(trial.values.get(name)) for name in names),
            _short(trial.score),
            _short(trial.reconstruction),
            trial.error or trial.status,
        ]
        for trial in ordered[:ROWS]
    ]
    heads = ["trial", *names, search["objective"], "reconstruction", "state"]
    parts = [html.paragraph(repr(study)[1:-1]), html.table(heads, rows)]
    if len(all_trials) > ROWS:
        parts.append(html.paragraph(f"and {len(all_trials) - ROWS:,} more trials: see trials()"))
    picture = study.folder / trials.PICTURE
    if picture.is_file():
        parts.append(html.png(picture.read_bytes(), "scores and reconstructions of the trials"))
    return "".join(parts)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _scores(folder: Path) -> Mapping[str, Any]:
    """Return the scores of a run as texts; none if there is no file."""
    if not (folder / SCORES).exists():
        return {}
    values = {name: entry["value"] for name, entry in read_scores(folder).items()}
    return {name: "" if value is None else f"{value:.4g}" for name, value in values.items()}
