"""Scores of a run: the terms of its objective, and the file that keeps them with the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent.experiments.store import read_json

if TYPE_CHECKING:
    from keras_disent.experiments.config import Config

SCORES = "scores.json"


def terms(model: Any, config: Config, data: Any) -> dict[str, Any]:
    """Return the terms of the objective on 64 batches drawn with a seed of their own.

    Returns:
        `{term: {"value": float, "settings": {...}}}`.
    """
    batches = config.batches(model, data, evaluation=True)
    images = 64 * batches.batch_size * (2 if model.pairs else 1)
    values = model.evaluate(batches, verbose=0, return_dict=True)
    settings = {"images": images, "seed": batches.seed, "step": model.steps_taken()}
    return {name: {"value": float(value), "settings": settings} for name, value in values.items()}


def finite(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores with None for those that are not finite numbers, which says why.

    >>> finite({"mig": {"value": math.nan}})
    {'mig': {'value': None, 'error': 'mig is not defined for these codes: it is nan.'}}
    """
    result = {}
    for name, entry in scores.items():
        value = entry["value"]
        if isinstance(value, str) or not math.isfinite(value):
            reason = f"{name} is not defined for these codes: it is {value}."
            entry = {**entry, "value": None, "error": entry.get("error", reason)}
        result[name] = entry
    return result


def read_scores(folder: Path) -> dict[str, Any]:
    """Return the scores of the run in a folder: `{name: {"value": float or None, ...}}`.

    Raises:
        ValueError: If the file is damaged; names it.
    """
    path = folder / SCORES
    scores = read_json(path, "the scores of a run")
    good = isinstance(scores, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("value", ""), (int, float, type(None)))
        for entry in scores.values()
    )
    if not good:
        raise ValueError(
            f"{str(path)!r} is not the scores of a run. Remove the file, and the run is scored "
            "again."
        )
    return scores
