"""Pictures of all latents of a model: a poster, and traversals that move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_disent._utils.checks import check_index, check_integer
from keras_disent._utils.latent_names import latent_indices
from keras_disent.plots.pictures import _floats, as_array, mosaic, text_room
from keras_disent.plots.style import INK, QUIET, as_written, new_figure

TILE = 0.62  # inches of an image on a poster


@as_written
def poster(
    model: Any,
    images: np.ndarray,
    *,
    latents: Sequence[int | str] | None = None,
    columns: int = 9,
    start: int = 0,
    ends: int = 3,
    title: str | None = None,
) -> Figure:
    """Draw what each latent does, between the images that have the least and the most of it.

    A row is a latent, the most important first: on the left the images with its smallest values,
    in the middle image `start` while the latent goes from its smallest to its largest value, on the
    right the images with its largest values. Below the name are its importance and this range.

    Args:
        model: Model with `encode` and what `traversals` needs.
        images: Images (n, h, w, c), whose codes have the range.
        latents: Names or indices of the latents, in this order. Default: all, by importance.
        columns: Number of values in a traversal.
        start: Index of the image to traverse.
        ends: Number of images with the smallest and with the largest values, at most n.
        title: Title of the figure.

    Returns:
        A matplotlib figure; `plots.save(figure, path)` writes it.

    >>> from keras_disent import VAE
    >>> images = np.random.default_rng(0).random((9, 16, 16, 1))
    >>> figure = poster(VAE((16, 16, 1), 2, "mlp", "mlp"), images)
    >>> sorted(label.get_text().split()[0] for label in figure.axes[0].get_yticklabels())
    ['z0', 'z1']
    """
    images = np.asarray(images)
    check_index("start", start, len(images))
    check_integer("columns", columns, 1)
    check_integer("ends", ends, 1)
    importance, codes = model.latent_importance(images), model.encode(images)
    names = model.latent_names
    if latents is None:
        latents = np.argsort(-importance).tolist()
    indices = latent_indices(latents, names)
    low, high = codes.min(axis=0), codes.max(axis=0)
    values = np.linspace(low, high, columns)[:, indices].T
    order = np.argsort(codes, axis=0, kind="stable")[:, indices].T  # (rows, n)
    ends = min(ends, len(images))
    pictures = _floats(images)
    panels = [
        ("smallest values", pictures[order[:, :ends]]),
        ("from the smallest to the largest value", _sweeps(model, images[start], indices, values)),
        ("largest values", pictures[order[:, len(images) - ends :]]),
    ]
    labels = [
        f"{names[i]}\n{importance[i]:.2f} {model.importance_unit}, {low[i]:.1f} to {high[i]:.1f}"
        for i in indices
    ]

    height, width = images.shape[1:3]
    gap = max(2, height // 32)
    scale = TILE / (width + gap)
    lines = [line for label in labels for line in label.split("\n")]
    left, between, above, below = text_room(lines, 8), 0.3, 0.75 if title else 0.4, 0.12
    sizes = [mosaic(rows, gap).shape[1] * scale for _, rows in panels]
    tall = mosaic(panels[0][1], gap).shape[0] * scale
    inches = left + sum(sizes) + 2 * between + 0.15, tall + above + below
    figure = new_figure(*inches)
    x = left
    for (heading, rows), wide in zip(panels, sizes, strict=True):
        box = (x / inches[0], below / inches[1], wide / inches[0], tall / inches[1])
        axes = figure.add_axes(box)
        axes.imshow(mosaic(rows, gap), interpolation="nearest", aspect="auto")
        axes.set_title(heading, fontsize=9, color=QUIET, pad=5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.tick_params(length=0, colors=INK, labelsize=8)
        for spine in axes.spines.values():
            spine.set_visible(False)
        x += wide + between
    centers = [i * (height + gap) + height / 2 for i in range(len(labels))]
    figure.axes[0].set_yticks(centers, labels)
    if title:
        place = (0.12 / inches[0], 1 - 0.25 / inches[1])
        figure.text(*place, title, fontsize=12, color=INK, va="center")
    return figure


@as_written
def traversal_frames(
    model: Any,
    images: np.ndarray,
    *,
    latents: Sequence[int | str] | None = None,
    start: int = 0,
    frames: int = 32,
    title: str | None = None,
) -> np.ndarray:
    """Draw traversals that move: a tile for each latent, which goes through its range and back.

    Args:
        model, images, latents, start, title: As `poster`.
        frames: Number of frames.

    Returns:
        Frames (frames, height, width, 3) uint8; `plots.save_animation(frames, path)` writes them.

    >>> from keras_disent import VAE
    >>> images = np.random.default_rng(0).random((4, 16, 16, 1))
    >>> len(traversal_frames(VAE((16, 16, 1), 2, "mlp", "mlp"), images, frames=4))
    4
    """
    images = np.asarray(images)
    check_index("start", start, len(images))
    check_integer("frames", frames, 1)
    codes, names = model.encode(images), model.latent_names
    if latents is None:
        latents = np.argsort(-model.latent_importance(images)).tolist()
    indices = latent_indices(latents, names)
    low, high = codes.min(axis=0)[indices, None], codes.max(axis=0)[indices, None]
    fractions = (1 - np.cos(np.linspace(0, 2 * np.pi, frames, endpoint=False))) / 2
    grid = _sweeps(model, images[start], indices, low + (high - low) * fractions)
    height, width = grid.shape[2:4]
    columns = min(len(indices), max(2, math.ceil(math.sqrt(len(indices)))))
    rows = math.ceil(len(indices) / columns)
    tile, line, above = 1.1, 0.26, 0.4 if title else 0.1  # inches
    tall = tile * height / width
    inches = columns * (tile + 0.12) + 0.12, above + rows * (tall + line)
    figure = new_figure(max(inches[0], 2.6), inches[1], dpi=100)
    inches = tuple(figure.get_size_inches())
    shown = []
    for place, latent in enumerate(indices):
        row, column = divmod(place, columns)
        x = 0.12 + column * (tile + 0.12)
        y = inches[1] - above - (row + 1) * (tall + line) + line
        axes = figure.add_axes((x / inches[0], y / inches[1], tile / inches[0], tall / inches[1]))
        axes.axis("off")
        empty = np.ones((height, width, 3))
        shown.append(axes.imshow(empty, interpolation="nearest", aspect="auto"))
        text = names[latent] if len(names[latent]) <= 16 else f"{names[latent][:15]}\u2026"
        below = axes.text(0.5, -0.05, text, fontsize=8, color=INK, ha="center", va="top")
        below.set_transform(axes.transAxes)
    if title:
        figure.text(
            0.12 / inches[0], 1 - 0.2 / inches[1], title, fontsize=9, color=INK, va="center"
        )
    arrays = []
    for frame in range(frames):
        for axes_image, images_of_latent in zip(shown, grid, strict=True):
            axes_image.set_data(np.broadcast_to(images_of_latent[frame], (height, width, 3)))
        arrays.append(as_array(figure))
    return np.stack(arrays)


def _sweeps(
    model: Any, image: np.ndarray, latents: Sequence[int], values: np.ndarray
) -> np.ndarray:
    """Traverse latents through values of their own (latents, v): (latents, v, h, w, c)."""
    rows = zip(latents, values, strict=True)
    return np.stack([model.traverse(image[None], [i], row)[0, 0] for i, row in rows])
