"""The results of a study as one tidy table: a row for each run and score."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent._utils.files import atomic_write
from keras_disent.experiments.planned import PlannedRun, text
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.scores import read_scores
from keras_disent.metrics import METRICS

if TYPE_CHECKING:
    from keras_disent.experiments.study_folder import StudyFolder

TABLE = "results"
FIRST = ("run", "model", "label", "seed")
LAST = ("score", "kind", "value", "step", "seconds", "backend", "keras_disent")


def needed() -> Any:
    """Return pandas.

    Raises:
        ImportError: Says what to install.
    """
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Studies need pandas and PyArrow: pip install 'keras-disent[studies]'. Here: {error}."
        ) from None
    return pandas


def results(study: StudyFolder) -> Any:
    """Return the scores of the finished runs; see `Study.table`."""
    from keras_disent.experiments.study_folder import settings_of

    pandas, runs = needed(), study.runs
    rows = [row for run in runs for row in _rows(study.place(run), run)]
    columns = [*FIRST, *settings_of(runs), *LAST]
    return pandas.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns})


def write(study: StudyFolder) -> Any:
    """Write `results.parquet` and `results.csv`, and return them as `results` does."""
    from keras_disent.experiments.study_folder import StudyFolder

    with study.store.lock(wait=60):  # the last of several processes sees all that is finished
        study.store.clean()
        table = results(StudyFolder.open(study.folder))  # which may have grown
        with atomic_write(study.folder / f"{TABLE}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        guarded = table.rename(columns=csv_text)
        words = [name for name in guarded if guarded[name].dtype.kind not in "iufb"]
        for name in words:
            guarded[name] = guarded[name].map(csv_text)
        with atomic_write(study.folder / f"{TABLE}.csv") as temporary:
            guarded.to_csv(temporary, index=False)
    return table


def csv_text(value: Any) -> Any:
    """Return a cell of a CSV file that spreadsheets do not take for a formula.

    >>> csv_text("=1+1"), csv_text("beta_vae"), csv_text(-1.5)
    ("'=1+1", 'beta_vae', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _rows(folder: Path, run: PlannedRun) -> list[dict[str, Any]]:
    progress = Progress.read(folder)
    if progress.state != "done":
        return []
    about = {
        "run": run.name,
        "model": run.model,
        "label": run.label,
        "seed": run.seed,
        **run.settings,
        "step": progress.step,
        "seconds": progress.seconds,
        "backend": progress.backend,
        "keras_disent": progress.version,
    }
    return [
        {
            **about,
            "score": name,
            "kind": "metric" if name in METRICS else "term",
            "value": math.nan if entry["value"] is None else float(entry["value"]),
        }
        for name, entry in read_scores(folder).items()
    ]


def _column(values: list[Any]) -> list[Any]:
    """Return values of one type, for a file with typed columns: all numbers, or all text."""
    non_null = [value for value in values if value is not None]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in non_null):
        if any(isinstance(v, float) for v in non_null):
            return [None if v is None else float(v) for v in values]
        return values
    if all(isinstance(v, bool) for v in non_null):
        return values
    return [None if v is None else text(v) for v in values]
