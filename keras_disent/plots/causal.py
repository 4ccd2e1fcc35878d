"""Causal graphs and interventions as matplotlib figures; `plots.save` writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from keras_disent.plots.pictures import mosaic
from keras_disent.plots.style import ACCENT, INK, QUIET, WRONG

PANEL = 3.9  # inches
NODE = 0.31  # radius, where concepts stand on a circle of radius 1


def graph(
    adjacency: ArrayLike,
    names: Sequence[str],
    true: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    title: str | None = None,
) -> Figure:
    """Draw a learned graph, its edges with their weights, beside the true one if that is known.

    Edges above `threshold` are drawn; with `true`, those that it has in blue, those that it lacks
    in orange and dashed, and those that are missing as gray dots.

    Args:
        adjacency: (K, K), at [j, i] the weight of the edge from j to i, such as
            `CausalVAE.adjacency()`.
        names: K names.
        true: (K, K) of 0 and 1.
        threshold: an edge has a weight above this, in absolute value.
        title: heading.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: if shapes and names do not fit, or a weight is not finite.

    >>> figure = graph([[0, 0.9], [0.1, 0]], ["light", "shadow"], [[0, 1], [0, 0]])
    >>> [axes.get_title() for axes in figure.axes]
    ['learned', 'true']
    """
    weights = _square("adjacency", adjacency, names)
    found = np.abs(weights) > threshold
    wanted = None if true is None else _square("true", true, names) != 0
    panels = 1 if wanted is None else 2
    figure = Figure(figsize=(PANEL * panels, PANEL + 0.3), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    top = 0.9 if title else 1.0
    longest = max((len(word) for name in names for word in name.split("_")), default=1)
    size = min(9.0, 62 / max(longest, 1))
    for panel in range(panels):
        axes = figure.add_axes((panel / panels, 0.0, 1 / panels, top - 0.06))
        if panels == 2:
            axes.set_title(("learned", "true")[panel], fontsize=11, color=QUIET)
        places = _circle(len(names))
        for j, i in np.ndindex(*weights.shape):
            both = bool(found[i, j]) if panel == 0 else bool(wanted is not None and wanted[i, j])
            if panel == 1 and wanted is not None and wanted[j, i]:
                _edge(axes, places[j], places[i], INK, "-", "", both)
            elif panel == 0 and found[j, i]:
                right = wanted is None or wanted[j, i]
                style = (ACCENT, "-") if right else (WRONG, "--")
                _edge(axes, places[j], places[i], *style, f"{weights[j, i]:.2f}", both)
            elif panel == 0 and wanted is not None and wanted[j, i]:
                _edge(axes, places[j], places[i], QUIET, ":", "missing", both)
        for name, (x, y) in zip(names, places, strict=True):
            text = name.replace("_", "\n")
            axes.scatter([x], [y], s=2900, color="white", edgecolors=INK, linewidths=1.2, zorder=3)
            axes.text(x, y, text, ha="center", va="center", fontsize=size, color=INK, zorder=4)
        axes.set_xlim(-1.5, 1.5)
        axes.set_ylim(-1.5, 1.5)
        axes.set_aspect("equal")
        axes.axis("off")
    if title:
        figure.text(0.02, 0.95, title, fontsize=12, color=INK, va="center")
    return figure


def interventions(
    model: Any,
    image: np.ndarray,
    values: Mapping[str, Sequence[float]],
    *,
    keep_noise: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw what do(concept = value) makes of one image: a row a concept, a column a value.

    Args:
        model: a `CausalVAE`.
        image: (h, w, c), uint8 or floats in [0, 1].
        values: for each concept to be set as many values, in the units of the labels.
        keep_noise: draw counterfactuals of this very image instead of interventions.
        title: heading.

    Returns:
        a matplotlib figure. The image and its reconstruction come first.

    Raises:
        ValueError: if the rows are not equally long, or there are none; else as
            `CausalVAE.intervene`.

    >>> from keras_disent import CausalVAE
    >>> model = CausalVAE((16, 16, 1), ("light", "shadow"), concept_dim=1)
    >>> figure = interventions(model, np.zeros((16, 16, 1)), {"light": [-1, 0, 1]})
    >>> figure.axes[1].get_yticklabels()[0].get_text()
    'do(light)'
    """
    lengths = {len(row) for row in values.values()}
    if len(lengths) != 1 or not lengths - {0}:
        raise ValueError(
            "`values` needs equally many values for each concept. "
            f"Got {[len(row) for row in values.values()]}."
        )
    (columns,) = lengths
    images = np.repeat(np.asarray(image)[None], columns, axis=0)
    act = model.counterfactual if keep_noise else model.intervene
    rows = np.stack([act(images, {name: np.asarray(row)}) for name, row in values.items()])
    original = np.asarray(image, "float32") / (255 if np.asarray(image).dtype == np.uint8 else 1)
    first = np.stack([original, model.reconstruct(images[:1])[0]])[None]

    height, width = original.shape[:2]
    tile, gap = 0.85, max(1, height // 32)  # inches, pixels
    left, line = 1.45, tile + 0.32
    wide = max(left + tile * columns + 0.15, 4.2)
    above = 0.45 if title else 0.1
    tall = above + line * (len(rows) + 1) + 0.1
    figure = Figure(figsize=(wide, tall), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    headings = ["", *(f"do({name})" for name in values)]
    ticks = [["image", "reconstruction"], *([f"{v:.3g}" for v in row] for row in values.values())]
    for i, (tiles, heading, texts) in enumerate(
        zip([first[0], *rows], headings, ticks, strict=True)
    ):
        share = tile * len(tiles) / wide
        bottom = 1 - (above + line * i + tile) / tall
        axes = figure.add_axes((left / wide, bottom, share, tile / tall))
        axes.imshow(mosaic(tiles[None], gap), interpolation="nearest", aspect="auto")
        axes.set_yticks([height / 2], [heading])
        centers = [k * (width + gap) + width / 2 for k in range(len(tiles))]
        axes.set_xticks(centers, texts)
        axes.tick_params(length=0, colors=INK, labelsize=8)
        for spine in axes.spines.values():
            spine.set_visible(False)
    if title:
        figure.text(0.12 / wide, 1 - 0.22 / tall, title, fontsize=12, color=INK, va="center")
    return figure


def _square(argument: str, given: ArrayLike, names: Sequence[str]) -> np.ndarray:
    array = np.asarray(given, float)
    if array.shape != (len(names), len(names)):
        raise ValueError(
            f"`{argument}` must be square, with one row for each of the {len(names)} names. "
            f"Got shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"`{argument}` must be finite. Got NaN or infinity.")
    return array


def _circle(count: int) -> np.ndarray:
    """Return places on a circle, the first at the upper left: (count, 2)."""
    if count == 1:
        return np.zeros((1, 2))
    angles = 0.75 * math.pi - 2 * math.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _edge(axes, start, end, color: str, line: str, text: str, both_ways: bool) -> None:
    """Draw an arrow, bent if there is one the other way, with its text at a third of the way."""
    along = (end - start) / np.linalg.norm(end - start)
    bend = 0.18 if both_ways else 0.0
    arrow = FancyArrowPatch(
        tuple(start + NODE * along),
        tuple(end - NODE * along),
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={bend}",
        mutation_scale=14,
        linewidth=1.6,
        linestyle=line,
        color=color,
        shrinkA=0,
        shrinkB=0,
        zorder=2,
    )
    axes.add_patch(arrow)
    if text:
        aside = np.array([along[1], -along[0]]) * bend * 0.9
        x, y = start + 0.36 * (end - start) + aside
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(
            x, y, text, fontsize=8, color=color, ha="center", va="center", bbox=box, zorder=2.5
        )
