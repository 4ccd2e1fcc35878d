"""The dSprites grid, rendered when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.card import Card
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import check_indices

_VALUES = {
    "shape": np.array(["square", "ellipse", "heart"]),
    "scale": np.linspace(0.5, 1.0, 6),
    "orientation": np.linspace(0.0, 2 * np.pi, 40),
    "position_x": np.linspace(0.0, 1.0, 32),
    "position_y": np.linspace(0.0, 1.0, 32),
}
_IMAGE_SIZES = (64, 32)
_CHUNK = 1024

# The canvas is 64 pixels wide, and the center of a sprite is at 16 + 32 * step / 31. In units of
# 1/31 pixel, the "lattice", all centers are integers: 496 + 32 * step. Pixel centers are multiples
# of 1/2, so their positions relative to a sprite are few enough for a table.
_FINE = 31
_CENTER = 16 * _FINE
_MOVE = 32
_REACH = 14 * _FINE  # maximum extent of a sprite from its center


class Sprites(GroundTruth):
    """White squares, ellipses and hearts on black: dSprites (Matthey et al. 2017), redrawn.

    737,280 images of 0 and 255, without anti-aliasing. The factors are shape (3 steps), scale
    (6), orientation (40), position_x (32) and position_y (32). Positions grow to the right and
    downwards. Orientation is counterclockwise, and its last step equals its first. The outlines
    were fitted to the published images: nearly all pixels are equal, but not every one.

    Args:
        image_size: Height and width in pixels: 64, or 32 for the same scenes sampled at 32 x 32
            pixel centers.

    Raises:
        ValueError: `image_size` is not supported.

    >>> data = Sprites()
    >>> data.images([0, 99_999]).shape
    (2, 64, 64, 1)
    >>> small = Sprites(32).subgrid({"shape": ["heart"], "orientation": [0, 10]})
    >>> small.factor_sizes, len(small), small.image_shape
    ((1, 6, 2, 32, 32), 12288, (32, 32, 1))
    """

    name = "sprites"
    card = Card(
        title="dSprites, redrawn",
        citation="Matthey, Higgins, Hassabis and Lerchner (2017), dSprites",
        notes=("The outlines were fitted: nearly all pixels equal the published ones.",),
    )
    factor_names = tuple(_VALUES)
    factor_sizes = tuple(len(values) for values in _VALUES.values())
    factor_kinds = ("categorical", "ordinal", "circular", "ordinal", "ordinal")

    def __init__(self, image_size: int = 64):
        if image_size not in _IMAGE_SIZES:
            raise ValueError(f"`image_size` needs to be one of {_IMAGE_SIZES}. Got {image_size!r}.")
        self.image_size = image_size
        self.image_shape = (image_size, image_size, 1)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Shape names, scales, angles in radians, and positions from 0 to 1."""
        return dict(_VALUES)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 1)` of 0 and 255.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        images = np.empty((len(checked), *self.image_shape), np.uint8)
        for first in range(0, len(checked), _CHUNK):
            part = slice(first, first + _CHUNK)
            _draw(np.unravel_index(checked[part], self.factor_sizes), images[part])
        return images


def _draw(steps: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Draw images of steps, `(n,)` per factor, into uint8 `(n, size, size, 1)`."""
    shape, scale, orientation, x, y = steps
    edges, right_of = _tables(out.shape[1])
    pitch, height = edges.shape[1], edges.shape[3]
    top = -((_first(pitch) + _MOVE * y) // -pitch)  # first pixel row the sprite may touch
    phase = pitch * top - _MOVE * y - _first(pitch)
    sprite = (shape * 6 + scale) * 40 + orientation
    # A span is right of its left edge but not of its right edge: an exclusive or.
    masks = right_of[edges[sprite, phase] + (_MOVE * x)[:, None, None]]
    rows = np.zeros(out.shape[:2], right_of.dtype)
    rows[np.arange(len(y))[:, None], top[:, None] + np.arange(height)] = np.bitwise_xor.reduce(
        masks, axis=1
    )
    bits = np.unpackbits(rows.view(np.uint8), bitorder="little").reshape(out.shape)
    np.multiply(bits, 255, out=out)


def _first(pitch: int) -> int:
    """Return the lattice row of the topmost pixel center in reach of a sprite at position 0."""
    return -(-(2 * (_CENTER - _REACH) - pitch) // 2)


@cache
def _tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the edges of every sprite, and the pixels to the right of every edge.

    Returns:
        edges: int16 `(720, pitch, 4, rows)`, for each sprite and phase the lattice columns where
            the sprite begins or ends in each pixel row. The phase is the distance of the
            sprite's first pixel row from the first lattice row in reach. Unused entries all have
            the same column.
        right_of: For each lattice column the pixels at or right of it, one bit each, lowest
            first.
    """
    pitch = _FINE * 64 // size  # lattice units from pixel to pixel
    first, shift = _first(pitch), _CENTER - pitch / 2
    height = 2 * _REACH
    edges = np.full((3, 6, 40, height, 4), first, np.int16)
    # The last orientation is bit-exactly the same as the first.
    angles = _VALUES["orientation"][np.arange(40) % 39]
    for shape, outline in enumerate(_outlines()):
        rotated = outline * np.exp(-1j * angles)[:, None]  # the imaginary part points down
        for step, scale in enumerate(_VALUES["scale"]):
            start = rotated * (64 * _FINE * scale) + (shift + 1j * shift)
            end = np.roll(start, -1, axis=1)
            low = np.ceil(np.minimum(start.imag, end.imag)).astype(np.int64)
            high = np.ceil(np.maximum(start.imag, end.imag)).astype(np.int64)
            # One entry for each lattice row that an edge of the outline crosses.
            angle, vertex = np.nonzero(high > low)
            count = (high - low)[angle, vertex]
            crossing = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            angle, vertex = np.repeat(angle, count), np.repeat(vertex, count)
            row = low[angle, vertex] + crossing
            a, b = start[angle, vertex], end[angle, vertex]
            column = np.ceil(a.real + (b.real - a.real) * (row - a.imag) / (b.imag - a.imag))
            order = np.lexsort((row, angle))
            angle, row, column = angle[order], row[order], column[order]
            line = angle * height + row - first
            slot = np.arange(len(line)) - np.searchsorted(line, line)
            edges[shape, step, angle, row - first, slot] = column
    by_phase = edges.reshape(720, height // pitch, pitch, 4).transpose(0, 2, 3, 1)
    widest = 64 * _FINE
    lattice = np.arange(widest + 1)[:, None]
    right = np.arange(size) * pitch >= lattice
    packed = np.packbits(right, axis=1, bitorder="little")
    return np.ascontiguousarray(by_phase), packed.view(f"u{size // 8}")[:, 0]


def _outlines() -> list[np.ndarray]:
    """Return the closed outlines at scale 1 and orientation 0.

    Points are complex, in canvas widths; the imaginary part points down.
    """
    t = np.linspace(0.0, 2 * np.pi, 4096, endpoint=False)
    half = 0.14999  # 0.15 would put corners exactly on pixel centers
    square = half * np.array([-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j])
    ellipse = 0.19947 * np.cos(t) + 0.1127j * np.sin(t)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    heart = 0.149913 * np.sin(t) ** 3 - 1j * (0.01035023 * height + 0.02245434)
    return [square, ellipse, heart]
