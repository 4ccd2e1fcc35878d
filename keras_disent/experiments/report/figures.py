"""Figures of a report, drawn from the rows of its data."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from keras_disent._utils.files import atomic_write
from keras_disent.experiments.report.statistics import shown
from keras_disent.plots import as_png
from keras_disent.plots.style import ACCENT, INK, QUIET, as_written, new_figure

WIDE = 5.0
"""Width in inches: letters stay readable on the screen of a phone."""
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#444444", "#a6761d"),
)
"""Colors of Okabe and Ito, safe for color-blind readers."""
MARKERS = "osD^vP*X"
SHARES = {"method": "#0072b2", "strength": "#e69f00", "seed": "#bbbbbb"}
ROW = 0.235  # inches

Rows = Sequence[Mapping[str, Any]]


@as_written
def strips(rows: Rows, label: str, limits: tuple[float, float] | None = None) -> Figure:
    """Draw every run as a dot, and median and quartiles of each row as a box.

    Args:
        rows: Rows with "setting", "method", "values", "n", "median", "quartile_1" and
            "quartile_3".
        label: Label of the values, with the unit.
        limits: Limits of the axis; default, those of the values.
    """
    same = {row["n"] for row in rows}
    names = [r["setting"] + ("" if len(same) == 1 else f"  (n = {r['n']})") for r in rows]
    figure, axes = _axes(WIDE, ROW * len(rows) + 0.95, names)
    dots = max(row["n"] for row in rows)
    size, alpha = (16, 0.85) if dots <= 20 else (6, 0.35)
    colors = _colors(rows)
    shift = np.random.default_rng(0)
    before = None
    for y, row in enumerate(rows):
        color = colors[row["method"]][0]
        low, high = row["quartile_1"], row["quartile_3"]
        axes.barh(y, high - low, left=low, height=0.62, color=color, alpha=0.22, linewidth=0)
        axes.plot([row["median"]] * 2, [y - 0.36, y + 0.36], color=color, linewidth=2.4)
        jitter = np.linspace(-0.18, 0.18, row["n"]) if row["n"] > 1 else np.zeros(1)
        jitter = shift.permutation(jitter)
        axes.scatter(
            row["values"],
            y + jitter,
            s=size,
            color=color,
            alpha=alpha,
            linewidths=0,
            zorder=3,
        )
        if before not in (None, row["method"]):
            axes.axhline(y - 0.5, color="#dddddd", linewidth=0.8)
        before = row["method"]
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    if limits:
        axes.set_xlim(*limits)
    axes.set_xlabel(label, **_LABEL, loc="right")
    each = f"; n = {min(same)} runs in each row" if len(same) == 1 else ""
    _note(figure, f"dot: a run, box: quartiles, bar: median{each}")
    axes.grid(axis="x", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


@as_written
def tradeoff(rows: Rows, x_label: str, y_label: str) -> Figure:
    """Draw means of settings with their intervals on both axes, a line for each method.

    Args:
        rows: Rows with "method", "strength" (text), "chain", "n", "x", "y", and "x_interval" and
            "y_interval", which may be None.
        x_label, y_label: Labels of the axes, with units.
    """
    figure, axes = _axes(WIDE, 4.3)
    for method, (color, marker) in _colors(rows).items():
        own = [row for row in rows if row["method"] == method]
        x, y = ([row[axis] for row in own] for axis in "xy")
        if own[0]["chain"]:
            axes.plot(x, y, color=color, linewidth=1.4, zorder=2)
        for row in own:
            for axis, other in (("x", "y"), ("y", "x")):
                if row[f"{axis}_interval"]:
                    ends, at = row[f"{axis}_interval"], [row[other]] * 2
                    line = (ends, at) if axis == "x" else (at, ends)
                    axes.plot(*line, color=color, linewidth=0.9, alpha=0.55, zorder=1)
        axes.scatter(x, y, s=34, color=color, marker=marker, zorder=3, label=method, linewidths=0)
        if len(own) > 1:
            for row in own:
                axes.annotate(
                    row["strength"].rsplit(" ", 1)[-1],
                    (row["x"], row["y"]),
                    (4, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=color,
                    path_effects=[Stroke(linewidth=2, foreground="white"), Normal()],
                )
    axes.set_xlabel(f"{x_label}, lower is better", **_LABEL)
    axes.set_ylabel(y_label, **_LABEL)
    n = sorted({row["n"] for row in rows})
    each = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    _legend(axes, f"mean of a setting and its 95 % interval; n = {each} seeds each")
    axes.margins(0.08)
    return figure


@as_written
def shares(rows: Rows) -> Figure:
    """Draw shares of variance as bars, and the interval of the seed's share.

    Args:
        rows: Rows with "score", "n", and under "adjusted" the shares by name and "seed_interval".
    """
    names = [row["score"] for row in rows]
    figure, axes = _axes(WIDE, 0.36 * len(rows) + 1.25, names)
    for y, row in enumerate(rows):
        left = 0.0
        for (name, color), fraction in zip(SHARES.items(), shown(row["adjusted"]), strict=True):
            axes.barh(y, fraction, left=left, height=0.68, color=color, label=None if y else name)
            if fraction >= 0.07:
                axes.text(
                    left + fraction / 2,
                    y,
                    f"{100 * fraction:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if name == "method" else INK,
                )
            left += fraction
        low, high = row["adjusted"]["seed_interval"]
        axes.plot([1 - high, 1 - low], [y - 0.26] * 2, color=INK, linewidth=1.2)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * t:.0f}" for t in np.linspace(0, 1, 6)])
    axes.set_xlabel("share of the variance between runs (%)", **_LABEL, loc="right")
    _legend(axes, f"line: 95 % interval of where the seed's share begins; n = {rows[0]['n']} runs")
    return figure


@as_written
def forest(rows: Rows, label: str) -> Figure:
    """Draw differences with their intervals; filled where they are more than chance.

    Args:
        rows: Rows with "first", "second", "runs", "difference", "interval", "adjusted" and
            "significant".
        label: Label of the score, with the unit.
    """
    names = [_pair(row["first"], row["second"]) for row in rows]
    figure, axes = _axes(WIDE, 0.29 * len(rows) + 1.1, names, right=0.7, top=0.5)
    for y, row in enumerate(rows):
        color = ACCENT if row["significant"] else QUIET
        axes.plot(row["interval"], [y, y], color=color, linewidth=1.8)
        axes.scatter(
            row["difference"],
            y,
            s=34,
            zorder=3,
            facecolors=color if row["significant"] else "white",
            edgecolors=color,
            linewidths=1.4,
        )
        axes.text(
            1.02,
            y,
            f"{row['adjusted']:.2g}" if row["adjusted"] >= 0.001 else "< 0.001",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.text(1.02, -1.0, "p", transform=axes.get_yaxis_transform(), fontsize=9, color=QUIET)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"difference of mean {label}", **_LABEL, loc="right")
    n = sorted({number for row in rows for number in row["runs"]})
    each = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    _note(figure, f"line: 95 % interval, filled: p < 0.05 after Holm; n = {each} runs each")
    return figure


@as_written
def scatter(rows: Rows, x_label: str, y_label: str) -> Figure:
    """Draw two numbers of each run, colored by method.

    Args:
        rows: Rows with "method", "x" and "y".
        x_label, y_label: Labels of the axes.
    """
    figure, axes = _axes(WIDE, 4.0)
    for method, (color, marker) in _colors(rows).items():
        x, y = ([row[axis] for row in rows if row["method"] == method] for axis in "xy")
        axes.scatter(x, y, s=26, color=color, marker=marker, alpha=0.8, label=method, linewidths=0)
    axes.set_xlabel(x_label, **_LABEL)
    axes.set_ylabel(y_label, **_LABEL)
    _legend(axes, f"a dot for each run; n = {len(rows)}")
    return figure


def write(pictures: Mapping[tuple[str, str], Figure | bytes], folder: Path) -> list[Path]:
    """Write figures as PDF and SVG, with text that stays text; pictures of images as PNG.

    Args:
        pictures: Figures, or PNG bytes, by key in the JSON file and caption.
        folder: Folder; it is made.

    Returns:
        The paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for (key, _), picture in pictures.items():
        stem = key.replace(".", "_")
        number = sum(path.stem == stem or path.stem.startswith(f"{stem}-") for path in paths)
        formats = ["png"] if isinstance(picture, bytes) else ["pdf", "svg"]
        count = number // len(formats)
        name = f"{stem}-{count + 1}" if count else stem
        for format in formats:
            paths.append(folder / f"{name}.{format}")
            with atomic_write(paths[-1], durable=False) as temporary:
                content = picture if isinstance(picture, bytes) else _vector(picture, format)
                temporary.write_bytes(content)
    return paths


@as_written
def _vector(figure: Figure, format: str) -> bytes:
    """Return a figure as PDF or SVG: TrueType fonts, as journals demand, and no date."""
    stream = io.BytesIO()
    date = {"pdf": "CreationDate", "svg": "Date"}[format]
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "keras-disent"}):
        figure.savefig(stream, format=format, metadata={date: None})
    return stream.getvalue()


def png(figure: Figure, colors: int | None = 128) -> bytes:
    """Return a figure as PNG with a palette of `colors`, which takes a third of the bytes."""
    if colors is None:
        return as_png(figure)
    return few_colors(Image.open(io.BytesIO(as_png(figure))), colors)


def few_colors(image: Image.Image, colors: int = 256) -> bytes:
    """Return an image as PNG of a number of colors."""
    stream, method = io.BytesIO(), Image.Quantize.MEDIANCUT
    few = image.convert("RGB").quantize(colors, method=method, dither=Image.Dither.NONE)
    few.save(stream, "png", optimize=True)
    return stream.getvalue()


_LABEL: dict[str, Any] = {"fontsize": 10, "color": INK}


def _colors(rows: Rows) -> dict[str, tuple[str, str]]:
    """Give each method a color and a marker, the same in all figures with the same methods."""
    methods = dict.fromkeys(row["method"] for row in rows)
    number = len(PALETTE)
    return {
        method: (PALETTE[i % number], MARKERS[(i + i // number) % len(MARKERS)])
        for i, method in enumerate(methods)
    }


def _pair(first: str, second: str) -> str:
    """Return "beta_vae, beta 16 - 4" for two settings of one method."""
    one, other = first.split(" "), second.split(" ")
    same = 0
    while same < min(len(one), len(other)) - 1 and one[same] == other[same]:
        same += 1
    return f"{first} \N{MINUS SIGN} {' '.join(other[same:])}"


def _note(figure: Figure, text: str) -> None:
    """Write a small line at the head of a figure."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.08 / height, text, fontsize=8.5, color=QUIET, va="top")


def _legend(axes: Any, note: str) -> None:
    """Put a small note and the legend, in as many lines as it takes, above the axes."""
    figure = axes.figure
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(58 / (max(map(len, labels)) + 5))))
    lines = -(-len(labels) // columns)
    height = figure.get_figheight()
    _note(figure, note)
    figure.subplots_adjust(top=1 - (0.34 + 0.2 * lines) / height)
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.24 / height),
        ncols=columns,
        fontsize=9,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.0,
        columnspacing=1.2,
        handletextpad=0.5,
        labelspacing=0.3,
    )


def _axes(
    wide: float, tall: float, names: Sequence[str] = (), right: float = 0.18, top: float = 0.36
) -> tuple[Figure, Any]:
    """Return a figure with one pair of axes, rows with names or none; margins in inches."""
    figure = new_figure(wide, tall)
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    left = 0.72
    if names:
        names = [textwrap.fill(name, 44) for name in names]
        longest = max(len(line) for name in names for line in name.split("\n"))
        size = 9 if longest <= 30 else 8 if all("\n" not in name for name in names) else 6.5
        axes.set_yticks(range(len(names)), names, fontsize=size)
        left = min(0.25 + 0.0081 * size * longest, 0.6 * wide)
    figure.subplots_adjust(left / wide, 0.55 / tall, 1 - right / wide, 1 - top / tall)
    return figure, axes
