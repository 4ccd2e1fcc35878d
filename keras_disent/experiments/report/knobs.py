"""The page of knobs of the best run, a file beside the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from keras_disent.experiments.report.frames import Frame, higher, title
from keras_disent.experiments.report.page import Part

PAGE = "knobs.html"
MODEL = "model.keras"
SECONDS = 600  # that the page may take


def best_run(frame: Frame, study: Any, out: Path, before: Path) -> Part | None:
    """Write the page of the best run that has a model; None without one.

    Another process writes it, as Keras is needed for it and not for the report: whatever goes
    wrong there is told in the section. A page of the same run that is there already is kept.

    Args:
        frame: Scores of the runs.
        study: The study.
        out: Folder of the report.
        before: JSON file of the last report there, if there is one.
    """
    places = {run.name: study.place(run) for run in study.runs}
    there = [run for run in frame.runs.index if (places[run] / MODEL).is_file()]
    values = frame.runs.loc[there, frame.main].dropna()
    if not len(values):
        return None
    best = values.idxmax() if higher(frame.main) else values.idxmin()
    row = frame.runs.loc[best]
    data: dict[str, Any] = {"run": best, "page": PAGE}
    if not (_last(before) == data and _newer(out / PAGE, places[best] / MODEL)):
        imports = [part for name in study.definition["imports"] for part in ("--import", name)]
        reason = _write(places[best], out / PAGE, imports)
        if reason:
            data = {"run": best, "page": None, "reason": reason}
    name = f"{frame.settings[row['label']].name}, seed {int(row['seed'])}"
    heading = "The best run, to try"
    if data["page"] is None:
        text = f"Left out: there is no page of knobs of {name}. {data['reason']}"
        return Part("knobs", heading, [text], data)
    text = (
        f"{PAGE} beside this file has a slider for each latent of {name}, the best run by "
        f"{title(frame.main)}, {values[best]:.3f}. It runs the model in the browser."
    )
    return Part("knobs", heading, [text], data, links={"Open the page of knobs": PAGE})


def _write(run: Path, page: Path, imports: list[str]) -> str:
    """Write the page in another process; return why there is none, or ""."""
    command = [sys.executable, "-P", "-m", "keras_disent.cli", "knobs", str(run)]
    command += ["--out", str(page), *imports]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else f"It ended with {done.returncode}."


def _last(report: Path) -> Any:
    """Return what the last report says of its page."""
    try:
        return json.loads(report.read_text()).get("knobs")
    except (OSError, ValueError, AttributeError):
        return None


def _newer(page: Path, model: Path) -> bool:
    return page.is_file() and page.stat().st_mtime >= model.stat().st_mtime
