"""The results of a study as one tidy table: a row for each run and score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_disent._utils.files import atomic_write
from keras_disent.metrics import METRICS
from keras_disent.runs import SCORES
from keras_disent.studies.folder import read
from keras_disent.studies.locks import guarded
from keras_disent.studies.plan import Run, text
from keras_disent.studies.work import DONE, LOCKS, RUNS, ended

TABLE = "results"
FIRST = ("run", "model", "label", "seed")
LAST = ("score", "kind", "value", "step", "seconds", "backend", "keras_disent")


def needed() -> Any:
    """Return pandas.

    Raises:
        ImportError: says what to install.
    """
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "keras_disent.studies needs pandas and PyArrow: pip install 'keras-disent[studies]'. "
            f"Here: {error}."
        ) from None
    return pandas


def results(folder: str | Path, among: Sequence[Run]) -> Any:
    """Return the scores of the finished runs as a pandas `DataFrame`.

    Its columns are `run`, `model`, `label` and `seed`; one for each setting that the study
    changes; then `score`, `kind` ("metric" or "term" of the objective), `value`, `step`, `seconds`
    (of the run), `backend` and `keras_disent` (the version).

    Raises:
        ValueError: names a result file that is broken.
        ImportError: without pandas or PyArrow.
    """
    pandas = needed()
    settings = list(dict.fromkeys(name for run in among for name in run.settings))
    rows = [row for run in among for row in _rows(Path(folder) / RUNS / run.name, run)]
    columns = [*FIRST, *settings, *LAST]
    return pandas.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns})


def write(folder: str | Path, among: Sequence[Run] | None = None) -> Any:
    """Write `results.parquet` and `results.csv`, and return them as `results` does.

    By default they are of all runs of the study, which may have grown since it was read.
    """
    folder = Path(folder)
    with guarded(folder / LOCKS):  # the last of several processes sees all that is finished
        among = read(folder).runs if among is None else among
        table = results(folder, among)
        with atomic_write(folder / f"{TABLE}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with atomic_write(folder / f"{TABLE}.csv") as temporary:
            table.to_csv(temporary, index=False)
    return table


def check(folder: Path, among: Sequence[Run]) -> None:
    """Raise ValueError if a result file is broken; name it."""
    for run in among:
        _rows(folder / RUNS / run.name, run)


def _rows(folder: Path, run: Run) -> list[dict[str, Any]]:
    if ended(folder) != "done":
        return []
    done, scores = _read(folder / DONE), _read(folder / SCORES)
    try:
        about = {
            "run": run.name,
            "model": run.config.model,
            "label": run.label,
            "seed": run.config.seed,
            **run.settings,
            "step": int(done["step"]),
            "seconds": float(done["seconds"]),
            **{name: str(done["made_with"][name]) for name in ("backend", "keras_disent")},
        }
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(_broken(folder / DONE, error)) from None
    try:
        return [
            {
                **about,
                "score": name,
                "kind": "metric" if name in METRICS else "term",
                "value": float(entry["value"]),
            }
            for name, entry in scores.items()
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(_broken(folder / SCORES, error)) from None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(_broken(path, error)) from None


def _broken(path: Path, error: Exception) -> str:
    return (
        f"{str(path)!r} is not the result of a run: {error}. Remove the file, and the study scores "
        "the run again."
    )


def _column(values: list[Any]) -> list[Any]:
    """Return values of one type, for a file with typed columns: all numbers, or all text."""
    given = [value for value in values if value is not None]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given):
        if any(isinstance(v, float) for v in given):
            return [None if v is None else float(v) for v in values]
        return values
    if all(isinstance(v, bool) for v in given):
        return values
    return [None if v is None else text(v) for v in values]
