"""Scores of a run: the terms of its objective, and the file that keeps them with the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent.experiments.store import read_json
from keras_disent.metrics import METRICS, catalog

if TYPE_CHECKING:
    from keras_disent.experiments.config import Config

SCORES = "scores.json"
NATS = (
    *("loss", "reconstruction", "kl", "total_correlation", "mutual_information"),
    *("dimension_wise_kl", "discriminator_loss", "generator_loss", "multiinformation"),
    "concept_kl",
)
UNITS = {"discriminator_accuracy": "share right"}
"""Terms in nats, and other units of terms."""


def terms(model: Any, config: Config, data: Any) -> dict[str, Any]:
    """Return the terms of the objective on batches drawn with a seed of their own.

    Returns:
        `{term: {"value": float, "settings": {...}}}`.
    """
    batches = config.batches(model, data, evaluation=True)
    images = len(batches) * batches.batch_size * (2 if model.pairs else 1)
    values = model.evaluate(batches, verbose=0, return_dict=True)
    settings = {"images": images, "seed": batches.seed, "step": model.steps_taken()}
    return {name: {"value": float(value), "settings": settings} for name, value in values.items()}


def unit(name: str) -> str:
    """Return the unit of a score or a term of an objective, or "" if it has none.

    >>> unit("kl"), unit("mig"), unit("beta")
    ('nats', 'share of entropy', '')
    """
    if name in METRICS:
        return catalog.unit(name)
    return "nats" if name.removesuffix("_mws").removesuffix("_mss") in NATS else UNITS.get(name, "")


def direction(name: str) -> str:
    """Return which values of a score or term are better: "higher", "lower", or "".

    >>> direction("mig"), direction("reconstruction"), direction("kl")
    ('higher', 'lower', '')
    """
    if name == "active_units":  # neither all latents nor few of them are better
        return ""
    if name in METRICS:
        return "higher" if METRICS[name].higher else "lower"
    return "lower" if name in ("loss", "reconstruction") else ""


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
