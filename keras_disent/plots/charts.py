"""Charts of scores: heat maps of latents and factors, rank correlations, trade-offs.

`plots.save(figure, path)` writes a figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from keras_disent.plots.style import ACCENT, INK, QUIET, as_written, new_figure

__all__ = ["against", "heat_map", "matrix", "rank_correlation", "tradeoff"]


def __dir__() -> list[str]:
    return sorted(__all__)


CELL = 0.52  # inches


@as_written
def matrix(
    values: ArrayLike,
    columns: Sequence[str],
    rows: Sequence[str] | None = None,
    *,
    label: str = "mutual information (nats)",
    title: str | None = None,
) -> Figure:
    """Draw a matrix of latents and factors as a heat map with its numbers.

    Args:
        values: Matrix (latents, factors), such as `metrics.dci(...).importance` or
            `metrics.mutual_information(...)`.
        columns: Names of the factors.
        rows: Names of the latents. Default: z0, z1, ...
        label: Meaning of the color, with its unit.
        title: Title of the figure.

    Raises:
        ValueError: If the number of names differs from that of rows and columns, or a value is not
            finite.

    >>> figure = matrix([[0.9, 0.1], [0.0, 0.7]], ["size", "place"], label="importance")
    >>> figure.axes[0].get_xticklabels()[1].get_text()
    'place'
    """
    array = np.asarray(values, float)
    if array.ndim != 2:
        raise ValueError(f"`values` has two axes, (latents, factors). Got shape {array.shape}.")
    rows = [f"z{i}" for i in range(len(array))] if rows is None else list(rows)
    high = max(float(array.max(initial=0)), 1e-12)
    return heat_map(array, rows, list(columns), label, title, "cividis", 0.0, high)


@as_written
def rank_correlation(scores: Mapping[str, ArrayLike], *, title: str | None = None) -> Figure:
    """Draw Spearman's rank correlation of each pair of scores over many runs.

    Args:
        scores: `{name: values}`, one value for each run, all in the same order of runs.
        title: Title of the figure.

    Raises:
        ValueError: If there are fewer than two scores or three runs, or a value is not finite.

    >>> runs = {"mig": [0.1, 0.2, 0.4], "dci": [0.3, 0.4, 0.9], "sap": [0.2, 0.1, 0.0]}
    >>> figure = rank_correlation(runs)
    >>> figure.axes[0].texts[1].get_text()
    '+1.00'
    """
    names, table = _runs(scores)
    if len(names) < 2:
        raise ValueError(f"A rank correlation needs two scores or more. Got {len(names)}.")
    correlations = np.ones((len(names), len(names)))
    for i in range(len(names)):
        for j in range(i):
            correlations[i, j] = correlations[j, i] = _spearman(table[i], table[j])
    label = f"Spearman's rank correlation over {table.shape[1]} runs"
    return heat_map(correlations, names, names, label, title, "PuOr", -1.0, 1.0, "{:+.2f}")


@as_written
def against(
    x: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    label: str = "total correlation of the codes (nats)",
    title: str | None = None,
) -> Figure:
    """Draw scores of many runs against one quantity, such as the total correlation.

    Args:
        x: One value for each run.
        scores: `{name: values}`, one value for each run; each score has a panel.
        label: Meaning of `x`, with its unit.
        title: Title of the figure.

    Raises:
        ValueError: If the lengths differ, there are fewer than three runs, or a value is not
            finite.

    >>> figure = against([1.0, 2.0, 3.0], {"mig": [0.5, 0.4, 0.2]}, label="nats")
    >>> figure.axes[0].get_title(loc="left")
    'rank correlation -1.00'
    """
    (_, *names), (at, *table) = _runs({"": x, **scores})
    if not names:
        raise ValueError("`scores` must hold at least one score. Got none.")
    figure = new_figure(3.1 * len(names) + 0.5, 3.4 if title else 3.0)
    for i, (name, y) in enumerate(zip(names, table, strict=True)):
        axes = figure.add_subplot(1, len(names), i + 1)
        axes.scatter(at, y, s=22, color=ACCENT, alpha=0.75, linewidths=0)
        axes.set_title(
            f"rank correlation {_spearman(at, y):+.2f}", loc="left", fontsize=9, color=QUIET
        )
        axes.set_ylabel(name, fontsize=10, color=INK)
        axes.set_xlabel(label, fontsize=9, color=INK)
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(f"{title}   (n = {len(at)} runs)", fontsize=12, color=INK)
    figure.tight_layout()
    return figure


@as_written
def tradeoff(
    x: ArrayLike,
    y: ArrayLike,
    *,
    higher: bool = True,
    x_label: str = "reconstruction (nats)",
    y_label: str = "score",
    colors: ArrayLike | None = None,
    color_label: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a score against its cost, one dot for each trial, and the Pareto front.

    A trial is on the front if no other is better in one and at least as good in the other. The
    trial with the best score has a ring around it.

    Args:
        x: One value for each trial, lower is better.
        y: One score for each trial.
        higher: Whether a higher score is better.
        x_label, y_label: Meaning of the axes, with units.
        colors: Positive numbers for the colors of the dots, such as the weights.
        color_label: Meaning of the colors.
        title: Title of the figure.

    Raises:
        ValueError: If the lengths differ, there is no trial, or a value is not finite.

    >>> figure = tradeoff([10.0, 20.0, 30.0], [0.1, 0.5, 0.4])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['trials (n = 3)', 'Pareto front (2 of them)', 'best score']
    """
    at, score = np.asarray(x, float), np.asarray(y, float)
    shade = None if colors is None else np.asarray(colors, float)
    lengths = {len(array) for array in (at, score, shade) if array is not None}
    if len(lengths) != 1 or not len(at):
        raise ValueError(f"Every trial needs one value of each kind. Got {sorted(lengths)}.")
    if not (np.isfinite(at).all() and np.isfinite(score).all()):
        raise ValueError("A trade-off must be finite. Got NaN or infinity.")
    good = score if higher else -score
    front = [i for i in np.lexsort((-good, at)) if not _beaten(i, at, good)]
    figure = new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    dots = axes.scatter(
        at,
        score,
        s=46,
        c=ACCENT if shade is None else shade,
        cmap=None if shade is None else "cividis",
        norm=None if shade is None else _norm(shade),
        edgecolors=INK,
        linewidths=0.5,
        zorder=3,
        label=f"trials (n = {len(at)})",
    )
    line = f"Pareto front ({len(front)} of them)"
    axes.plot(
        at[front],
        score[front],
        drawstyle="steps-post",
        color=ACCENT,
        linewidth=1.6,
        zorder=1,
        label=line,
    )
    best = int(np.argmax(good))
    axes.scatter(
        at[best],
        score[best],
        s=170,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.4,
        zorder=2,
        label="best score",
    )
    handles, labels = axes.get_legend_handles_labels()
    order = [labels.index(label) for label in (f"trials (n = {len(at)})", line, "best score")]
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        fontsize=9,
        frameon=False,
        labelcolor=INK,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.2,
        ncols=3,
        columnspacing=1.2,
        handletextpad=0.5,
    )
    axes.set_xlabel(x_label, fontsize=10, color=INK)
    way = "higher" if higher else "lower"
    axes.set_ylabel(f"{y_label} ({way} is better)", fontsize=10, color=INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.08)
    if shade is not None:
        bar: Any = figure.colorbar(dots, ax=axes, pad=0.02, format="{x:g}", **_ticks(dots.norm))
        bar.set_label(color_label or "", fontsize=10, color=INK)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=INK, labelsize=8)
        bar.ax.minorticks_off()
    if title:
        axes.set_title(title, loc="left", fontsize=12, color=INK, pad=28)
    figure.tight_layout()
    return figure


def _beaten(i: int, x: np.ndarray, good: np.ndarray) -> bool:
    no_worse = (x <= x[i]) & (good >= good[i])
    return bool((no_worse & ((x < x[i]) | (good > good[i]))).any())


def _norm(values: np.ndarray) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(values.min()), float(values.max())
    wide = low > 0 and high / low >= 10
    return LogNorm(low, high) if wide else Normalize(low, high)


def _ticks(norm: Any) -> dict[str, Any]:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    return {"ticks": LogLocator(subs=(1, 2, 5))} if isinstance(norm, LogNorm) else {}


def _runs(scores: Mapping[str, ArrayLike]) -> tuple[list[str], np.ndarray]:
    columns = [np.asarray(values, float) for values in scores.values()]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) != 1 or lengths[0] < 3:
        raise ValueError(f"Every score needs one value for each of 3 runs or more. Got {lengths}.")
    table = np.stack(columns)
    if not np.isfinite(table).all():
        raise ValueError("Scores must be finite. Got NaN or infinity.")
    return list(scores), table


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(first), rankdata(second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return 0.0  # a constant score has no correlation
    return float(np.corrcoef(ranks)[0, 1])


@as_written
def heat_map(
    array: np.ndarray,
    rows: list[str],
    columns: list[str],
    label: str,
    title: str | None,
    colors: str,
    low: float,
    high: float,
    form: str = "{:.2f}",
) -> Figure:
    """Draw a matrix (rows, columns) with its numbers, colored from `low` to `high`.

    Raises:
        ValueError: If the number of names differs from that of rows and columns, or a value is not
            finite.
    """
    if array.shape != (len(rows), len(columns)):
        raise ValueError(
            f"A matrix needs one name for each row and column. Got {len(rows)} and "
            f"{len(columns)} names for shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError("A matrix must be finite. Got NaN or infinity.")
    longest = max(map(len, rows))
    wide = CELL * len(columns) + 0.085 * longest + 1.7
    tall = CELL * len(rows) * 0.75 + 0.075 * max(map(len, columns)) + (0.9 if title else 0.5)
    figure = new_figure(max(wide, 4.2), max(tall, 2.4))
    of_cells = CELL * len(rows) * 0.75 + max(2.4 - tall, 0.0)  # inches, as the bar's length
    axes = figure.add_subplot()
    picture = axes.imshow(array, cmap=colors, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, colors=INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for i, j in np.ndindex(*array.shape):
        red, green, blue, _ = picture.cmap(picture.norm(array[i, j]))
        light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.55
        axes.text(
            j,
            i,
            form.format(array[i, j]),
            ha="center",
            va="center",
            fontsize=8,
            color=INK if light else "white",
        )
    bar: Any = figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.03)
    bar.set_label(textwrap.fill(label, int(of_cells / 0.055)), fontsize=9, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=8, length=2)
    if title:
        axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)
    figure.tight_layout()
    return figure
