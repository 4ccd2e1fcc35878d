"""What the page knows of a model: its latents, some examples, and a card."""

from __future__ import annotations

import base64
import gzip
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_disent import datasets
from keras_disent._utils.version import __version__
from keras_disent.datasets.preview import describe as describe_data

SAMPLE = 1024
"""Images whose codes give the ranges of the sliders."""

EXAMPLES = 12
QUANTILE = 0.005  # of the codes beyond each end of a slider
EXPLAINS = 0.3  # least share of variance for the name of a factor, or correlation for a match


def summary(models: Sequence[Any], data: Any) -> str:
    """Return the sentences below the title of the page."""
    names = " and ".join(
        f"{type(model).__name__} with {model.latent_dim} latents" for model in models
    )
    size = " x ".join(map(str, models[0].image_shape[:2]))
    moves = "Each slider moves one latent and leaves the others as they are."
    if len(models) > 1:
        moves = "Each slider moves one latent of the first, and the latent of the second like it."
    return f"{names}, trained on {data.name}, {size} pixels. {moves}"


def codes(model: Any, data: Any) -> np.ndarray:
    """Return the codes of the images that the page is measured on: (n, D) float32."""
    return model.encode(data.images(datasets.example_indices(data, SAMPLE)))


def describe(model: Any, data: Any, name: str, path: str | None = None) -> dict[str, Any]:
    """Measure the latents of a model on a data set, for the page.

    Args:
        model: An `ImageModel`.
        data: Data set with images of the model's shape.
        name: Name of the model on the page.
        path: Where `load_model` finds it.

    Returns:
        What the page needs besides the networks and images, as JSON knows it.
    """
    indices = datasets.example_indices(data, SAMPLE)
    images = data.images(indices)
    means = model.encode(images)
    importance = model.latent_importance(images)
    unit = model.importance_unit
    hints = factor_names(means, data, indices)
    values = model.latent_values()
    latents = [
        latent(
            i,
            model.latent_names[i],
            float(importance[i]),
            bool(importance[i] < model.in_use),
            np.quantile(means[:, i], [QUANTILE, 1 - QUANTILE]),
            values[i],
            model.discrete_codes,
            hints[i],
        )
        for i in np.argsort(-importance, kind="stable").tolist()
    ]
    return {
        "name": name,
        "path": json.dumps(path or "model.keras"),
        "shape": list(model.image_shape),
        "unit": unit,
        "latents": audible(latents),
        "causal": _causal(model, images),
        "codes": np.round(means[:EXAMPLES].astype("float64"), 5).tolist(),
        "encodes": model.image_shape[2] in (1, 3),
        "pictures": preparation(model.pictures),
    }


def latent(
    index: int,
    name: str,
    importance: float,
    silent: bool,
    ends: Sequence[float],
    values: Sequence[float] | None,
    discrete: bool,
    hint: str = "",
) -> dict[str, Any]:
    """Return what the page needs of a latent.

    Args:
        index: Its column in a code.
        name: Its name.
        importance: Its importance.
        silent: Whether it is too small for a latent in use.
        ends: Smallest and largest value of its slider, if there are no `values`.
        values: The values that it can take, ascending; None for a latent without steps.
        discrete: Whether such values are those of a quantized latent, and no classes.
        hint: The factor that it goes with.

    >>> latent(3, "z3", 0.01, True, [-0.1, 0.1], None, False)["silent"]
    True
    """
    low, high = ends
    if values is not None:
        low, high = values[0], values[-1]
    elif silent or high - low < 0.1:
        low, high = -2.0, 2.0  # standard deviations of the prior
    return {
        "index": index,
        "name": name,
        "hint": hint,
        "importance": round(importance, 4),
        "silent": silent,
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "classes": values is not None and not discrete,
        "values": None if values is None else [float(v) for v in values],
    }


def audible(latents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return latents as they are; if all of them are silent, none is: they are all there is."""
    if all(latent["silent"] for latent in latents):
        return [{**latent, "silent": False} for latent in latents]
    return latents


def preparation(pictures: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how the page makes an image of a picture, from the `pictures` of a model."""
    pictures = pictures or {}
    return {
        "crop": pictures.get("crop"),
        "fit": pictures.get("fit", "crop"),
        "background": pictures.get("background", [255, 255, 255]),
    }


def _causal(model: Any, images: np.ndarray) -> dict[str, Any] | None:
    """Return the learned graph, and the names and ranges of its concepts; None without a graph."""
    if not hasattr(model, "intervene_tensors"):
        return None
    from keras_disent.models.causal.graphs import ancestors_first  # needs Keras

    graph, names = model.graph(), model.concept_names
    try:
        ancestors_first(graph, names)
    except ValueError:
        return None  # it has a cycle, so that nothing can be set
    ranges = np.quantile(model.concepts(images), [QUANTILE, 1 - QUANTILE], axis=0).T
    ranges[:, 1] = np.maximum(ranges[:, 1], ranges[:, 0] + 1e-3)
    return {"names": list(names), "graph": graph.tolist(), "ranges": ranges.round(4).tolist()}


def match(first: dict[str, Any], second: dict[str, Any], codes: Sequence[np.ndarray]) -> None:
    """Note at the latents of one model which latents of another one move with them.

    Latents that say something are paired one to one, so that the sum of their absolute rank
    correlations is largest (Kuhn 1955). A pair needs a correlation of 0.3.

    Args:
        first, second: What `describe` returns of two models; the first is changed.
        codes: Codes (n, D) of both for the same images.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import rankdata

    sides = [[a for a in model["latents"] if not a["silent"]] for model in (first, second)]
    columns = [
        array[:, [a["index"] for a in side]] for array, side in zip(codes, sides, strict=True)
    ]
    ranks = np.concatenate([rankdata(array, axis=0) for array in columns], axis=1)
    varies = ranks.std(axis=0) > 0
    ranks = (ranks - ranks.mean(axis=0)) / np.where(varies, ranks.std(axis=0), np.inf)
    count = len(sides[0])
    correlation = ranks[:, :count].T @ ranks[:, count:] / len(ranks)
    for i, j in zip(*linear_sum_assignment(-np.abs(correlation)), strict=True):
        if abs(correlation[i, j]) >= EXPLAINS:
            other = sides[1][j]
            sign = int(np.sign(correlation[i, j]))
            sides[0][i]["match"] = {"index": other["index"], "name": other["name"], "sign": sign}


def factor_names(codes: np.ndarray, data: Any, indices: np.ndarray) -> list[str]:
    """Return for each latent the factor that explains most of its variance, as "scale .93".

    The share is that of the variance between the steps of the factor (the correlation ratio),
    corrected for their number. It is "" where the data set has no factors, or none explains
    much.

    Args:
        codes: Codes (n, D).
        data: Data set, with `factor_names` and `factors` if it has labels.
        indices: Indices (n,) of the images of the codes.

    >>> data = datasets.Sprites(32).only("scale", "position_x")
    >>> indices = np.arange(0, len(data), 3)
    >>> codes = data.factors(indices) * [-2.0, 0.0]
    >>> factor_names(codes, data, indices)
    ['scale 1.00', '']
    """
    names = getattr(data, "factor_names", ())
    if not names:
        return [""] * codes.shape[1]
    factors = data.factors(indices)
    shares = np.stack([_explained(codes, column) for column in factors.T])
    best = shares.argmax(axis=0)
    return [
        f"{names[k].replace('_', ' ')} {shares[k, i]:.2f}".replace(" 0.", " .")
        if shares[k, i] >= EXPLAINS
        else ""
        for i, k in enumerate(best)
    ]


def _explained(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the adjusted share of variance of each latent between the steps of a factor."""
    has_value = steps >= 0
    codes, steps = codes[has_value], np.unique(steps[has_value], return_inverse=True)[1]
    count = steps.max(initial=0) + 1
    degrees = len(codes) - count
    if count < 2 or degrees < 1:
        return np.zeros(codes.shape[1])
    sizes = np.bincount(steps, minlength=count)[:, None]
    sums = np.zeros((count, codes.shape[1]))
    np.add.at(sums, steps, codes)
    within = np.sum((codes - (sums / sizes)[steps]) ** 2, axis=0) / degrees
    total = codes.var(axis=0, ddof=1)
    varies = total > 1e-6
    return np.where(varies, 1 - within / np.where(varies, total, 1), 0).clip(0, 1)


def card(
    model: Any,
    data: Any,
    run: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return texts on a model by heading: method, data, scores, settings, version, citation.

    Args:
        model: An `ImageModel`.
        data: Data set.
        run: Configuration of the run, if it comes from one.
        scores: Scores of the run.
    """
    from keras_disent.engine import schedules  # needs Keras

    published = datasets.DATASETS.get((run or {}).get("data", ""))
    about = getattr(data, "card", None) or getattr(published, "card", None)
    weights = {
        name: _weight(schedules.config(value)) for name, value in schedules.weights(model).items()
    }
    method = ", ".join([type(model).__name__, *(f"{n} {v}" for n, v in weights.items())])
    rows = [("Method", method), ("Purpose", _first_line(model)), ("Data", _about(data, about))]
    if scores:
        measured = {name: entry for name, entry in scores.items() if name not in weights}
        rows.append(("Scores", "; ".join(score_texts(measured))))
    settings = {
        "image": " x ".join(map(str, model.image_shape)),
        "latents": model.latent_dim,
        "parameters": f"{model.count_params():,}",
        "steps": f"{model.steps_taken():,}",
        "seed": model.seed,
        **{n: v for n, v in (run or {}).items() if n in _SHOWN and v not in (None, {}, [])},
    }
    rows.append(("Settings", ", ".join(f"{name} {_plain(v)}" for name, v in settings.items())))
    rows.append(("Made with", f"keras-disent {__version__}"))
    rows.append(("Cite", "; ".join(filter(None, [_source(model), _citation(about)]))))
    return {heading: text for heading, text in rows if text}


_SHOWN = ("subset", "correlate", "player_batch", "learning_rate", "likelihood", "network", "width")


def examples(data: Any) -> np.ndarray:
    """Return the images that the page starts from: uint8 (n, h, w, c)."""
    return data.images(datasets.example_indices(data, SAMPLE)[:EXAMPLES])


def plain(identifier: str, content: bytes, zipped: bool = False) -> str:
    """Return bytes as an element of a page, compressed; base64 has no character to escape."""
    content = content if zipped else gzip.compress(content, 9, mtime=0)
    text = base64.b64encode(content).decode()
    return f'<script type="text/plain" id="{identifier}">{text}</script>'


def digest(contents: Sequence[bytes]) -> str:
    """Return what tells models apart, under which a browser keeps names."""
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def _weight(value: Any) -> str:
    """Return a weight of the objective, a number or the configuration of a schedule, as text."""
    if not isinstance(value, Mapping):
        return f"{value:.4g}"
    settings = ", ".join(f"{name}={part}" for name, part in value["config"].items())
    return f"{value['class_name']}({settings})"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping) and "class_name" in value:
        return _weight(value)
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _first_line(model: Any) -> str:
    return (inspect.getdoc(type(model)) or "").partition("\n")[0]


def _source(model: Any) -> str:
    """Return the papers that the docstring of a class names after "Source:"."""
    text = inspect.getdoc(type(model)) or ""
    _, _, source = text.partition("Source: ")
    return " ".join(source.partition("\n\n")[0].split()).rstrip(".")


def _about(data: Any, about: Any) -> str:
    license = about.license if about else ""
    return "; ".join(filter(None, [describe_data(data), license]))


def _citation(about: Any) -> str:
    return f"{about.title}: {about.citation}" if about and about.citation else ""


def score_texts(scores: Mapping[str, Any]) -> list[str]:
    """Return each score with its interval, as "mig 0.25 (0.2 to 0.3)"."""
    texts = []
    for name, entry in scores.items():
        if entry.get("value") is None:
            continue
        text = f"{name.replace('_', ' ')} {entry['value']:.3g}"
        if "interval" in entry:
            low, high = entry["interval"]
            text += f" ({low:.3g} to {high:.3g})"
        texts.append(text)
    return texts
