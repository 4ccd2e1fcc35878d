"""The dSprites grid, drawn when it is asked for instead of downloaded."""

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

# The canvas is 64 pixels wide and a sprite's center lies at 16 + 32 * step / 31. In units of
# 1/31 pixel, the "lattice", all centers are whole numbers: 496 + 32 * step. Pixel centers are
# whole or half numbers, so relative to a sprite they fall on few places, which a table can hold.
_FINE = 31
_CENTER = 16 * _FINE
_MOVE = 32
_REACH = 14 * _FINE  # no sprite reaches further from its center


class Sprites(GroundTruth):
    """White squares, ellipses and hearts on black: dSprites (Matthey et al. 2017), redrawn.

    Shape 3, scale 6, orientation 40, position_x 32, position_y 32: 737,280 images of 0 and 255,
    without anti-aliasing. Positions grow to the right and downwards, orientation goes
    counter-clockwise, and its last step equals its first. The outlines were fitted to the
    published images: nearly all pixels agree, but not every one.

    Args:
        image_size: 64, or 32: the same scenes sampled at 32 x 32 pixel centers.

    Raises:
        ValueError: an image size that is not there.

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
        notes=("The outlines were fitted: nearly all pixels agree with the published ones.",),
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
        """Images at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 1)` of 0 and 255.

        Raises:
            TypeError, ValueError, IndexError: see `check_indices`.
        """
        checked = check_indices(indices, len(self))
        drawn = np.empty((len(checked), *self.image_shape), np.uint8)
        for first in range(0, len(checked), _CHUNK):
            part = slice(first, first + _CHUNK)
            _draw(np.unravel_index(checked[part], self.factor_sizes), drawn[part])
        return drawn


def _draw(steps: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Draws steps of the full grid, `(n,)` per factor, into uint8 `(n, size, size, 1)`."""
    shape, scale, orientation, x, y = steps
    edges, right_of = _tables(out.shape[1])
    pitch, height = edges.shape[1], edges.shape[3]
    top = -((_first(pitch) + _MOVE * y) // -pitch)  # first pixel row the sprite may touch
    phase = pitch * top - _MOVE * y - _first(pitch)
    sprite = (shape * 6 + scale) * 40 + orientation
    # A span is what lies right of its left edge but not of its right one: an exclusive or.
    masks = right_of[edges[sprite, phase] + (_MOVE * x)[:, None, None]]
    rows = np.zeros(out.shape[:2], right_of.dtype)
    rows[np.arange(len(y))[:, None], top[:, None] + np.arange(height)] = np.bitwise_xor.reduce(
        masks, axis=1
    )
    bits = np.unpackbits(rows.view(np.uint8), bitorder="little").reshape(out.shape)
    np.multiply(bits, 255, out=out)


def _first(pitch: int) -> int:
    """Lattice row of the topmost pixel center within reach, for a sprite at position 0."""
    return -(-(2 * (_CENTER - _REACH) - pitch) // 2)


@cache
def _tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges of every sprite's rows, and what an edge means in pixels.

    Returns:
        edges: int16 `(720, pitch, 4, rows)`: per sprite and phase (how far the lattice row of
            its first pixel row is from the first in reach), the lattice columns where the
            sprite begins or ends in each pixel row; unused places hold one same column.
        right_of: per lattice column the pixels at or right of it, one bit each, lowest first.
    """
    pitch = _FINE * 64 // size  # lattice units from pixel to pixel
    first, shift = _first(pitch), _CENTER - pitch / 2
    height = 2 * _REACH
    edges = np.full((3, 6, 40, height, 4), first, np.int16)
    # The last orientation is the first one again, to the last bit.
    angles = _VALUES["orientation"][np.arange(40) % 39]
    for shape, outline in enumerate(_outlines()):
        turned = outline * np.exp(-1j * angles)[:, None]  # the imaginary part points down
        for step, scale in enumerate(_VALUES["scale"]):
            start = turned * (64 * _FINE * scale) + (shift + 1j * shift)
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
    """Closed outlines at scale 1 and orientation 0: complex, canvas widths, downwards."""
    t = np.linspace(0.0, 2 * np.pi, 4096, endpoint=False)
    half = 0.14999  # .15 would put corners exactly on pixel centers
    square = half * np.array([-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j])
    ellipse = 0.19947 * np.cos(t) + 0.1127j * np.sin(t)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    heart = 0.149913 * np.sin(t) ** 3 - 1j * (0.01035023 * height + 0.02245434)
    return [square, ellipse, heart]
