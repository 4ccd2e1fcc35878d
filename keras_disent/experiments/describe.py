"""The settings of a run as a paragraph of prose, for a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.version import __version__
from keras_disent.experiments import citations, latex
from keras_disent.experiments.config import Config, options_of
from keras_disent.experiments.planned import text
from keras_disent.metrics import METRICS

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def paragraph(
    config: Config, model: Any, data: Any, scores: Mapping[str, Any] | None = None
) -> str:
    """Return the settings of a run in LaTeX, which cites the keys of `citations.bibtex`.

    Args:
        config: Configuration of the run.
        model: Its model, compiled.
        data: Its data set.
        scores: What `scores.json` holds; None leaves them out.
    """
    sentences = [
        _method(config, model, data),
        _network(config, model),
        _training(config, model),
        _scores(scores or {}),
        f"We used keras-disent {__version__} \\cite{{{citations.PACKAGE}}} with Keras "
        f"{keras.__version__} on {BACKENDS[keras.backend.backend()]}.",
    ]
    return " ".join(filter(None, sentences))


def _method(config: Config, model: Any, data: Any) -> str:
    stored = model.get_config()
    values = {name: stored[name] for name in options_of(type(model)) if name in stored}
    plain = [latex.setting(n, _value(v)) for n, v in values.items() if _is_plain(v)]
    name = config.model if ":" not in config.model else type(model).__name__
    height, width, channels = data.image_shape
    about = [f"{len(data):,} images of ${height} \\times {width}$ pixels, {_colors(channels)}"]
    for factor, steps in (config.subset or {}).items():
        about.append(f"{latex.escape(factor)} restricted to {_listed(map(str, steps))}")
    for pair, sigma in (config.correlate or {}).items():
        about.append(f"{latex.escape(pair)} correlated with $\\sigma = {sigma:g}$")
    return (
        f"We trained {latex.method(name)}{_cite(citations.MODELS.get(config.model, ()))}"
        f"{' with ' + _listed(plain) if plain else ''} on "
        f"{latex.escape(Path(config.data).name)}{_cite(citations.DATASETS.get(config.data, ()))} "
        f"({'; '.join(about)})."
    )


def _network(config: Config, model: Any) -> str:
    width = "" if config.width == 1 else f" at {config.width:g} times their width"
    network = f"the {latex.escape(config.network)} networks" + _cite(
        citations.NETWORKS.get(config.network, ())
    )
    return (
        f"Encoder and decoder are {network}{width}, with {config.latent_dim} latents; the "
        f"likelihood of the pixels is {latex.escape(config.likelihood)}, and the model has "
        f"{model.count_params():,} weights."
    )


def _training(config: Config, model: Any) -> str:
    players = len(model.players)
    for_each = "" if players == 1 else f" for each of the {players} players"
    what = "pairs of images" if model.pairs else "images"
    optimizers = getattr(model.optimizer, "by_player", None) or {"": model.optimizer}
    steps = model.steps_taken()
    return (
        f"It was trained for {steps:,} steps of {config.player_batch} {what}{for_each}, with "
        f"{_listed(_optimizer(name, each, players) for name, each in optimizers.items())}, and "
        f"seed {config.seed}."
    )


def _optimizer(player: str, optimizer: Any, players: int) -> str:
    rate = optimizer.get_config()["learning_rate"]
    rate = latex.escape(text(rate)) if isinstance(rate, Mapping) else f"{rate:g}"
    part = player.removesuffix("loss").strip("_") or "model"
    whose = f" for the {latex.escape(part)}" if players > 1 else ""
    return f"{type(optimizer).__name__} at a learning rate of {rate}{whose}"


def _scores(scores: Mapping[str, Any]) -> str:
    metric_scores = {n: e for n, e in scores.items() if n in METRICS and e["value"] is not None}
    if not metric_scores:
        return ""
    shown = [
        f"{latex.score(name)}{_cite(citations.METRICS[name])} is {entry['value']:.3f}"
        f"{_sampled(entry.get('settings', {}))}"
        for name, entry in metric_scores.items()
    ]
    return f"Of the trained model, {_listed(shown)}."


def _sampled(settings: Mapping[str, Any]) -> str:
    names = (("n_samples", "images"), ("bins", "bins"), ("train_votes", "training votes"))
    words = [f"{settings[key]:,} {what}" for key, what in names if settings.get(key)]
    return f" ({', '.join(words)})" if words else ""


def _value(value: Any) -> Any:
    return text(value) if isinstance(value, Mapping) else value


def _is_plain(value: Any) -> bool:
    schedule = isinstance(value, Mapping) and {"class_name", "config"} <= set(value)
    return schedule or (isinstance(value, (int, float, str)) and not isinstance(value, bool))


def _colors(channels: int) -> str:
    return {1: "gray", 3: "color"}.get(channels, f"{channels} channels")


def _cite(keys: Iterable[str]) -> str:
    joined = ",".join(keys)
    return f" \\cite{{{joined}}}" if joined else ""


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
