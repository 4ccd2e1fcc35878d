"""Causal graphs and interventions as matplotlib figures; `plots.save` writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from keras_disent.plots.pictures import mosaic
from keras_disent.plots.style import ACCENT, INK, QUIET, WRONG, as_written, new_figure

__all__ = ["graph", "interventions"]


def __dir__() -> list[str]:
    return sorted(__all__)


PANEL = 3.9  # inches
NODE = 0.31  # radius, where concepts stand on a circle of radius 1


@as_written
def graph(
    adjacency: ArrayLike,
    names: Sequence[str],
    true: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    title: str | None = None,
) -> Figure:
    """Draw a learned graph with the weights of its edges, beside the true graph if it is passed.

    Edges with weights above `threshold` are drawn. With `true`, correct edges are blue, wrong ones
    orange and dashed, and missing ones gray and dotted.

    Args:
        adjacency: Weights (K, K), at [j, i] that of the edge from j to i, such as
            `CausalVAE.adjacency()`.
        names: Names of the K concepts.
        true: True graph, (K, K) of 0 and 1.
        threshold: Threshold of the absolute weight of an edge.
        title: Title of the figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If shapes and names do not match, or a weight is not finite.

    >>> figure = graph([[0, 0.9], [0.1, 0]], ["light", "shadow"], [[0, 1], [0, 0]])
    >>> [axes.get_title() for axes in figure.axes]
    ['learned', 'true']
    """
    weights = _square("adjacency", adjacency, names)
    learned = np.abs(weights) > threshold
    expected = None if true is None else _square("true", true, names) != 0
    panels = 1 if expected is None else 2
    figure = new_figure(PANEL * panels, PANEL + 0.3)
    top = 0.9 if title else 1.0
    longest = max((len(word) for name in names for word in name.split("_")), default=1)
    size = min(9.0, 62 / max(longest, 1))
    for panel in range(panels):
        axes = figure.add_axes((panel / panels, 0.0, 1 / panels, top - 0.06))
        if panels == 2:
            axes.set_title(("learned", "true")[panel], fontsize=11, color=QUIET)
        places = _circle(len(names))
        for j, i in np.ndindex(*weights.shape):
            edges = learned if panel == 0 else expected
            both = bool(edges is not None and edges[i, j])
            if panel == 1 and expected is not None and expected[j, i]:
                _edge(axes, places[j], places[i], INK, "-", "", both)
            elif panel == 0 and learned[j, i]:
                correct = expected is None or expected[j, i]
                style = (ACCENT, "-") if correct else (WRONG, "--")
                _edge(axes, places[j], places[i], *style, f"{weights[j, i]:.2f}", both)
            elif panel == 0 and expected is not None and expected[j, i]:
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


@as_written
def interventions(
    model: Any,
    image: np.ndarray,
    values: Mapping[str, Sequence[float]],
    *,
    keep_noise: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw one image under do(concept = value), one row per concept, one column per value.

    Args:
        model: A `CausalVAE`.
        image: Image (h, w, c), uint8 or floats in [0, 1].
        values: `{concept: values}`, the same number of values for each, in the units of the labels.
        keep_noise: Whether counterfactuals are drawn instead of interventions.
        title: Title of the figure.

    Returns:
        A matplotlib figure, with the image and its reconstruction in the first row.

    Raises:
        ValueError: If the numbers of values differ, or are 0; else as `CausalVAE.intervene`.

    >>> from keras_disent import CausalVAE
    >>> model = CausalVAE((16, 16, 1), ("light", "shadow"), concept_dim=1)
    >>> figure = interventions(model, np.zeros((16, 16, 1)), {"light": [-1, 0, 1]})
    >>> figure.axes[1].get_yticklabels()[0].get_text()
    'do(light)'
    """
    lengths = {len(row) for row in values.values()}
    if len(lengths) != 1 or not lengths - {0}:
        raise ValueError(
            "`values` needs the same number of values for each concept. "
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
    figure = new_figure(wide, tall)
    headings = ["", *(f"do({name})" for name in values)]
    ticks = [["image", "reconstruction"], *([f"{v:.3g}" for v in row] for row in values.values())]
    for i, (tiles, heading, texts) in enumerate(
        zip([first[0], *rows], headings, ticks, strict=True)
    ):
        fraction = tile * len(tiles) / wide
        bottom = 1 - (above + line * i + tile) / tall
        axes = figure.add_axes((left / wide, bottom, fraction, tile / tall))
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


def _square(argument: str, matrix: ArrayLike, names: Sequence[str]) -> np.ndarray:
    array = np.asarray(matrix, float)
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


def _edge(
    axes: Any, start: Any, end: Any, color: str, line: str, text: str, both_ways: bool
) -> None:
    """Draw an arrow with its text at a third of its length, bent if the reverse edge exists."""
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
