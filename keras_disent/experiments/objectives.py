"""Objectives of a search by name: terms, scores, agreement of seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent import datasets, metrics
from keras_disent.experiments.config import Config
from keras_disent.experiments.report.codes import read_codes
from keras_disent.experiments.scores import finite, terms
from keras_disent.experiments.spaces import Space, configured, ends

PENALTY = 10.0
"""Penalty of each nat of reconstruction above the bound of an objective."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A search objective and its direction.

    Attributes:
        text: Text of the user.
        name: Name of a term of the model, a metric, or "udr".
        kind: "term", "metric" or "udr".
        higher: Whether higher scores are better.
        sign: -1 if the score is the negative of the term.
        bound: Upper bound of the reconstruction in nats, above which each nat costs `PENALTY`; None
            for no bound.
    """

    text: str
    name: str
    kind: str
    higher: bool
    sign: int = 1
    bound: float | None = None

    @property
    def key(self) -> str:
        """Name in the logs of a trial: `val_mig`, or the text if it has a sign or a bound."""
        plain = self.text in (self.name, f"val_{self.name}") and self.kind != "udr"
        return f"val_{self.name}" if plain else self.text

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that a trial computes."""
        return (self.name,) if self.kind == "metric" else ()

    @classmethod
    def named(cls, text: Any, model: Any, data: Any, seeds: int, latents: int) -> Objective:
        """Return the objective of a text.

        Args:
            text: `NAME`, `-NAME`, `+NAME`, each with or without `@BOUND`; `val_NAME` is `NAME`.
            model: Model, whose terms are objectives.
            data: Data set of the scores.
            seeds: Number of runs of a trial.
            latents: Smallest number of latents of a trial.

        Raises:
            ValueError: For an unknown name, or a score that cannot be computed on the data.
        """
        if not isinstance(text, str):
            raise ValueError(f"`objective` is a name. Got {text!r}.")
        rest, at, limit = text.partition("@")
        sign = rest[:1] if rest[:1] in "+-" else ""
        name = rest.removeprefix(sign).removeprefix("val_")
        bound = None
        if at:
            bound = _number(limit, text)
            if "reconstruction" not in model.terms:
                raise ValueError(
                    f"{text!r} bounds the reconstruction, which {type(model).__name__} does not "
                    f"log. Its terms: {', '.join(model.terms)}."
                )
        if name in model.terms:
            return cls(text, name, "term", bool(sign), -1 if sign == "-" else 1, bound)
        if name == "total_correlation":
            name = "unsupervised"  # of the codes, if the model has no estimate of its own
        if sign:
            is_score = name in metrics.METRICS or name == "udr"
            rule = "has its own direction" if is_score else "is not among them"
            raise ValueError(
                f"A sign is for terms of {type(model).__name__} ({', '.join(model.terms)}); "
                f"{name!r} {rule}. Got {text!r}."
            )
        if name == "udr":
            if seeds < 2:
                raise ValueError(f"'udr' compares the seeds of a trial, at least 2. Got {seeds}.")
            if not hasattr(model, "posterior_parameters"):
                raise ValueError(
                    f"'udr' needs a model with posteriors, such as a VAE. Got "
                    f"{type(model).__name__}."
                )
            return cls(text, name, "udr", True, 1, bound)
        if name not in metrics.METRICS:
            raise ValueError(
                f"Unknown objective {text!r}. Terms of {type(model).__name__}: "
                f"{', '.join(model.terms)}. Scores: {', '.join(sorted(metrics.METRICS))}, udr."
            )
        metrics.check((name,), data, latents)
        return cls(text, name, "metric", metrics.METRICS[name].higher, 1, bound)

    def scores(self, runs: Sequence[Mapping[str, float]], agreement: Any = None) -> list[float]:
        """Return the score of each run of a trial.

        Args:
            runs: Values of each run, by name of term or metric.
            agreement: `metrics.UDR` of the runs, if that is the objective.

        Raises:
            FloatingPointError: If a score is not a finite number.
        """
        values = [
            float(agreement.model_scores[i]) if self.kind == "udr" else run[self.name]
            for i, run in enumerate(runs)
        ]
        scores = [self.sign * value for value in values]
        if self.bound is not None:
            cost = -PENALTY if self.higher else PENALTY
            scores = [
                score + cost * max(0.0, run["reconstruction"] - self.bound)
                for score, run in zip(scores, runs, strict=True)
            ]
        if not all(map(math.isfinite, scores)):
            raise FloatingPointError(f"The score {self.text!r} is not a finite number: {scores}.")
        return scores

    def better(self, a: float, b: float) -> bool:
        """Return whether score `a` is better than `b`."""
        return a > b if self.higher else a < b


def goal(config: Config, text: str, space: Space, executions: int, data: Any) -> Objective:
    """Return the objective of a search, after building the model at the ends of its ranges.

    Args:
        config: Configuration of the runs.
        text: Name of the objective.
        space: Ranges by name.
        executions: Runs of a trial.
        data: Data set.

    Raises:
        ValueError: For an unknown objective, or values that the model does not take.
    """
    trials = [configured(config, space, values).build(data) for values in ends(space)]
    latents = min(model.latent_dim for model in trials)
    return Objective.named(text, trials[0], data, executions, latents)


def measured(model: Any, config: Config, data: Any, names: Sequence[str]) -> dict[str, float]:
    """Return terms on other draws of the data set than those of training, and metrics.

    A model without a term `reconstruction` gets one: `squared_error`.
    """
    entries = terms(model, config, data)
    entries |= metrics.evaluate(model, data, names, verbose=0).as_dict() if names else {}
    values = {n: e["value"] for n, e in finite(entries).items()}
    if "reconstruction" not in values:
        values["reconstruction"] = squared_error(model, data)
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def squared_error(model: Any, data: Any) -> float:
    """Return the squared error of reconstructions, summed over pixels: a mean over images."""
    images = datasets.example_images(data)
    errors = np.square(model.reconstruct(images) - images / 255)
    return float(errors.sum(axis=(1, 2, 3)).mean())


def agreement(folders: Sequence[Path]) -> metrics.UDR:
    """Return the UDR of the runs of a trial, from the codes in their folders."""
    codes = list(read_codes(folders).values())
    return metrics.udr([c.means for c in codes], [np.asarray(c.kl) for c in codes])


def _number(limit: str, text: str) -> float:
    try:
        bound = float(limit)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ValueError(
            f"A bound is a number of nats, such as {text.split('@')[0]}@50. Got {text!r}."
        )
    return bound
