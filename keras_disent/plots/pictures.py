"""Figures of images and latent traversals; `files` writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from keras_disent._utils.checks import check_index, check_integer
from keras_disent._utils.latent_names import latent_indices
from keras_disent.plots.style import ACCENT, INK, QUIET, as_written, new_figure

_CAPTION = 20  # maximum number of characters of a caption


def mosaic(images: np.ndarray, gap: int = 2, background: float = 1.0) -> np.ndarray:
    """Tile images (rows, columns, h, w, c) to one image (height, width, 3), floats in [0, 1].

    >>> mosaic(np.zeros((2, 3, 8, 8, 1)), gap=2).shape
    (18, 28, 3)
    """
    rows, columns, height, width, channels = images.shape
    canvas = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, 3), background, "float32"
    )
    for r in range(rows):
        for c in range(columns):
            top, left = r * (height + gap), c * (width + gap)
            tile = images[r, c] if channels == 3 else images[r, c, ..., :1]
            canvas[top : top + height, left : left + width] = tile
    return canvas


@as_written
def traversals(
    model: Any,
    images: np.ndarray,
    *,
    latents: Sequence[int | str] | None = None,
    values: Sequence[float] = tuple(np.linspace(-2, 2, 9).tolist()),
    start: int = 0,
    at_most: int = 10,
    title: str | None = None,
) -> Figure:
    """Draw latent traversals of one image, below originals and reconstructions.

    The first two rows show originals and their reconstructions. Each further row traverses one
    latent of image `start` through `values` with the others fixed, the most important latents
    first (`latent_importance`, for a VAE its information about an image). Latents that are not in
    use are marked as unused.

    Args:
        model: Model with `latent_names`, `latent_importance`, `importance_unit`, `in_use`,
            `reconstruct` and `traverse`.
        images: Images (n, h, w, c); all of them determine the order of the latents.
        latents: Names or indices of the latents to draw, in this order. Default: by importance.
        values: Values of a latent, in standard deviations of the prior.
        start: Index of the image to traverse.
        at_most: Maximum number of latents.
        title: Title of the figure.

    Returns:
        A matplotlib figure; `save(figure, path)` writes it.

    Raises:
        ValueError: If a latent is unknown, or a number or index is invalid.
    """
    check_index("start", start, len(images))
    check_integer("at_most", at_most, 1)
    importance = model.latent_importance(images)
    if latents is None:
        latents = np.argsort(-importance)[:at_most].tolist()
    indices = latent_indices(latents, model.latent_names)
    order = [start, *(i for i in range(len(images)) if i != start)]
    shown = images[order[: len(values)]]
    grid = model.traverse(images[start : start + 1], indices, values)[0]
    labels = [
        f"{model.latent_names[i]}   {importance[i]:.2f} {model.importance_unit}" for i in indices
    ]
    unused = [bool(importance[i] < model.in_use) for i in indices]
    below = "value of the latent (standard deviations of the prior)"
    if any(unused):
        below += f"\ngray: unused, below {model.in_use:g} {model.importance_unit}"
    reconstructions = model.reconstruct(shown)
    return _grid_figure(_floats(shown), reconstructions, grid, labels, unused, values, below, title)


def _grid_figure(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    grid: np.ndarray,
    labels: Sequence[str],
    unused: Sequence[bool],
    values: Sequence[float],
    below: str,
    title: str | None,
) -> Figure:
    height, width = originals.shape[1:3]
    gap = max(2, height // 32)
    background = 1.0
    top = mosaic(_filled(np.stack([originals, reconstructions]), len(values)), gap, background)
    rows = mosaic(grid, gap, background)
    between = np.full((3 * gap + height // 4, rows.shape[1], 3), background, "float32")
    picture = np.concatenate([top, between, rows])

    tile = 0.62  # inches
    scale = tile / (width + gap)
    beside = text_room(labels)
    wide = beside + max(picture.shape[1] * scale + 0.1, 3.55)  # room for the text below, too
    lines = 0.16 * below.count("\n")  # inches below the first line
    inches = wide, picture.shape[0] * scale + (1.15 if title else 0.8) + lines
    figure = new_figure(*inches)
    left, bottom = beside / inches[0], (0.55 + lines) / inches[1]
    axes = figure.add_axes(
        (left, bottom, picture.shape[1] * scale / inches[0], picture.shape[0] * scale / inches[1])
    )
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    step, offset = height + gap, top.shape[0] + between.shape[0]
    centers = [height / 2, step + height / 2]
    centers += [offset + i * step + height / 2 for i in range(len(labels))]
    axes.set_yticks(centers, ["original", "reconstruction", *labels])
    columns = [i * (width + gap) + width / 2 for i in range(len(values))]
    axes.set_xticks(columns, [f"{value:+.2g}" if value else "0" for value in values])
    axes.tick_params(length=0, colors=INK, labelsize=9)
    for label, quiet in zip(axes.get_yticklabels(), [True, True, *unused], strict=True):
        label.set_color(QUIET if quiet else INK)
    axes.set_xlabel(below, fontsize=9, color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        figure.text(0.02, 1 - 0.32 / inches[1], title, fontsize=12, color=INK, va="center")
    return figure


def text_room(texts: Sequence[str], points: float = 9) -> float:
    """Return the width in inches that texts need beside a picture."""
    return max(1.65, 0.2 + max(map(len, texts), default=0) * 0.6 * points / 72)


def _floats(images: Any) -> np.ndarray:
    """Return images, bytes or floats in [0, 1], as floats in [0, 1]."""
    array = np.asarray(images)
    return array.astype("float32") / (255 if array.dtype == np.uint8 else 1)


def _filled(images: np.ndarray, columns: int) -> np.ndarray:
    """Pad rows of tiles with white tiles to a number of columns."""
    missing = columns - images.shape[1]
    if missing <= 0:
        return images[:, :columns]
    return np.pad(images, ((0, 0), (0, missing), (0, 0), (0, 0), (0, 0)), constant_values=1.0)


@as_written
def contact_sheet(
    samples: np.ndarray,
    factors: Mapping[str, np.ndarray] | None = None,
    *,
    columns: int = 12,
    title: str | None = None,
    heading: str = "at random",
    captions: Sequence[str] | None = None,
) -> Figure:
    """Draw random images of a data set, and below one row per factor.

    Args:
        samples: Images (n, h, w, c), uint8.
        factors: `{heading: images (k, h, w, c)}`, in the order of the factor's values.
        columns: Maximum number of images in a row.
        title: Title of the figure.
        heading: What the samples are.
        captions: Text under each sample. Long texts are cut on the left.

    Returns:
        A matplotlib figure.
    """
    check_integer("columns", columns, 1)
    factors = dict(factors or {})
    columns = min(columns, max(len(samples), *map(len, factors.values()), 1))
    height, width = samples.shape[1:3]
    gap = max(1, height // 32)
    band = math.ceil(0.16 * width) if captions else 0  # of pixels below each sample
    samples = np.pad(samples, ((0, 0), (0, band), (0, 0), (0, 0)), constant_values=255)
    rows, labels = [], []
    for start in range(0, len(samples), columns):
        rows.append(samples[start : start + columns])
        labels.append("" if start else heading)
    split = len(rows)
    for name, images in factors.items():
        rows.append(images[:columns])
        labels.append(name)
    tiles = [
        np.concatenate([r / 255, np.ones((columns - len(r), *r.shape[1:]), "float32")])
        for r in rows
    ]
    parts = [mosaic(np.stack(tiles[:split]), gap)]
    between = (height // 3 if factors else 0) + gap
    if factors:
        empty = np.ones((between, parts[0].shape[1], 3), "float32")
        parts += [empty, mosaic(np.stack(tiles[split:]), gap)]
    picture = np.concatenate(parts)

    scale = (0.95 if captions else 0.62) / (width + gap)  # inches per pixel
    left = 1.75 if factors else 0.95
    inches = picture.shape[1] * scale + left + 0.15, picture.shape[0] * scale + 0.75
    figure = new_figure(*inches)
    size = picture.shape[1] * scale / inches[0], picture.shape[0] * scale / inches[1]
    axes = figure.add_axes((left / inches[0], 0.15 / inches[1], *size))
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.axis("off")
    for i, label in enumerate(labels):
        middle = i * (height + gap) + height / 2 + min(i, split) * band
        middle += between - gap if i >= split else 0
        name, _, values = label.partition("\n")
        lines = [(name, 0.13 if values else 0, 9, INK if i >= split else QUIET)]
        lines += [(values, -0.2, 7, QUIET)] if values else []
        for text, up, points, color in lines:
            x, y = -0.12 / scale, middle - up * height
            axes.text(x, y, text, fontsize=points, color=color, ha="right", va="center")
    for i, caption in enumerate(captions or ()):
        row, column = divmod(i, columns)
        x, y = column * (width + gap) + width / 2, row * (height + band + gap) + height + band / 2
        text = caption if len(caption) <= _CAPTION else f"\u2026{caption[1 - _CAPTION :]}"
        if _has_glyphs(text):
            axes.text(x, y, text, fontsize=6, color=QUIET, ha="center", va="center")
    if title:
        figure.text(
            0.12 / inches[0], 1 - 0.3 / inches[1], title, fontsize=12, color=INK, va="center"
        )
    return figure


def _has_glyphs(text: str) -> bool:
    """Return whether the font of figures has all characters, which it else shows as boxes."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return all(font.get_char_index(ord(character)) for character in text)


@as_written
def beside(pictures: Mapping[str, Figure], table: Sequence[Sequence[str]]) -> Figure:
    """Combine figures side by side under their names, with a table of text below.

    Args:
        pictures: `{heading: figure}`.
        table: Rows of cells; the first row is the header.
    """
    arrays = [as_array(figure) for figure in pictures.values()]
    height = max(a.shape[0] for a in arrays)
    widths = [a.shape[1] for a in arrays]
    dpi = 160
    below, above = 0.32 * len(table) + 0.35, 0.4
    inches = sum(widths) / dpi, height / dpi + below + above
    figure = new_figure(*inches, dpi)
    left = 0.0
    for heading, array in zip(pictures, arrays, strict=True):
        fraction = array.shape[1] / sum(widths)
        tall = array.shape[0] / dpi / inches[1]
        axes = figure.add_axes((left, 1 - above / inches[1] - tall, fraction, tall))
        axes.imshow(array)
        axes.axis("off")
        figure.text(
            left + 0.02, 1 - above / 2 / inches[1], heading, fontsize=13, color=ACCENT, va="center"
        )
        left += fraction
    axes = figure.add_axes((0.03, 0.12 / inches[1], 0.94, (below - 0.2) / inches[1]))
    axes.axis("off")
    cells = axes.table(
        [list(row) for row in table[1:]],
        colLabels=list(table[0]),
        colWidths=[max(len(row[i]) for row in table) + 3 for i in range(len(table[0]))],
        colLoc="right",
        bbox=Bbox.from_bounds(0, 0, 1, 1),
        edges="horizontal",
    )
    cells.auto_set_font_size(False)
    cells.set_fontsize(11)
    for (row, _), cell in cells.get_celld().items():
        cell.set_edgecolor("#cccccc")
        cell.get_text().set_color(INK if row else QUIET)
    return figure


def as_array(figure: Figure) -> np.ndarray:
    """Return a figure's pixels: (height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
