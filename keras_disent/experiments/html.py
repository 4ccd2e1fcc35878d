"""HTML of runs and studies, which notebooks show. Nothing here imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_disent._utils import html
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
    states, runs = study.status().states, study.runs
    scores = {run.name: _scores(study.place(run)) for run in runs[:ROWS]}
    names = list(dict.fromkeys(name for found in scores.values() for name in found))
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


def _scores(folder: Path) -> Mapping[str, Any]:
    """Return the scores of a run as texts; none if there is no file."""
    if not (folder / SCORES).exists():
        return {}
    values = {name: entry["value"] for name, entry in read_scores(folder).items()}
    return {name: "" if value is None else f"{value:.4g}" for name, value in values.items()}
