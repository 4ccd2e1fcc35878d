"""The 3D Shapes grid, rendered by a ray caster."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.card import Card
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import check_indices

_VALUES = {
    "floor_hue": np.arange(10) / 10,
    "wall_hue": np.arange(10) / 10,
    "object_hue": np.arange(10) / 10,
    "scale": np.linspace(0.75, 1.25, 8),
    "shape": np.array(["cube", "cylinder", "sphere", "capsule"]),
    "orientation": np.linspace(-30.0, 30.0, 15),
}
_GEOMETRIES = (8, 4, 15)  # scales, shapes, orientations; hues do not change the geometry
_SIZE = 64
_CHUNK = 64  # images drawn at once, so that their palettes fit into the processor's cache

# Lengths are in half room widths: walls at x, y = +-1, the floor at z = 0, the object on the floor
# at the origin. In the middle orientation, x points to the right and y away from the eye.
_ROOM_HEIGHT = 0.566
_EYE_DISTANCE, _EYE_HEIGHT = 0.566, 0.171
_FOCAL, _CENTER = 62.8, (32.0, 33.3)  # pixels; the center as column and row
_OBJECT_SIZES = 0.068 + 0.067 * np.arange(8) / 7
_LIGHT = np.array([-0.40, 0.10, 1.0]) / np.linalg.norm([-0.40, 0.10, 1.0])
# Maximum distances of the object's surface and of its shadow from its axis, in object sizes.
_SURFACE_RADIUS, _SHADOW_RADIUS = 1.25, 2.0

# A pixel mixes five materials with integer weights; 255 is full strength. Colors are integers too,
# so that float32 sums are exact, and do not depend on the order of summation in BLAS.
_FLOOR, _WALL, _OBJECT, _SKY, _HIGHLIGHT = range(5)
_FULL = 5 * 255  # a full color channel; the hues are multiples of a fifth
_HUES = 255 * np.clip(abs((3 * np.arange(10)[:, None] + [0, 20, 10]) % 30 - 15) - 5, 0, 5)
_SKY_COLOR = 5 * np.array([153, 226, 249])
_BITS = 9  # bits per weight; the weights of an object in full light and its highlight exceed 255


class Scenes3D(GroundTruth):
    """An object on the floor of a room: 3D Shapes (Burgess and Kim 2018), redrawn.

    480,000 images in color. The factors are floor_hue (10 steps), wall_hue (10), object_hue (10),
    scale (8), shape (4) and orientation (15). A ray caster renders 2 x 2 samples per pixel, with
    hard shadows. Orientation moves the eye around the room: its first step shows the corner of
    the room on the right, its last step on the left.

    These are not the published images. The geometry was fitted to some of them, but textures and
    the steps of the scale differ: the mean absolute difference is about 11 of 255.

    >>> data = Scenes3D()
    >>> len(data), data.images([0, 479_999]).shape
    (480000, (2, 64, 64, 3))
    >>> data.factor_values["shape"].tolist()
    ['cube', 'cylinder', 'sphere', 'capsule']
    """

    name = "scenes3d"
    card = Card(
        title="3D Shapes, redrawn",
        citation="Burgess and Kim (2018), 3D Shapes",
        notes=("Textures differ: the mean difference to the published images is about 11 of 255.",),
    )
    factor_names = tuple(_VALUES)
    factor_sizes = tuple(len(values) for values in _VALUES.values())
    factor_kinds = ("circular", "circular", "circular", "ordinal", "categorical", "ordinal")
    image_shape = (_SIZE, _SIZE, 3)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Hues from 0 to 0.9 of a full circle, scales, shape names, orientations in degrees.

        A scale is the published label. The rendered objects grow linearly from the first scale to
        the last, but by a factor of 1.99 instead of 1.67, as fitted to the published images.
        """
        return {name: values.copy() for name, values in _VALUES.items()}

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at some indices.

        The first call in a process renders all geometries, which takes seconds.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, 64, 64, 3)`, red, green and blue.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        images = np.empty((len(checked), *self.image_shape), np.uint8)
        for first in range(0, len(checked), _CHUNK):
            part = slice(first, first + _CHUNK)
            _draw(np.unravel_index(checked[part], self.factor_sizes), images[part])
        return images


def _draw(steps: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    """Draw images of steps, `(n,)` per factor, into uint8 `(n, 64, 64, 3)`."""
    entries, shades = _tables()
    floor_hue, wall_hue, object_hue, *others = steps
    geometry = np.ravel_multi_index(tuple(others), _GEOMETRIES)
    colors = np.empty((len(out), 5, 3), np.float32)
    colors[:, _FLOOR] = _HUES[floor_hue]
    colors[:, _WALL] = _HUES[wall_hue]
    colors[:, _OBJECT] = _HUES[object_hue]
    colors[:, _SKY] = _SKY_COLOR
    colors[:, _HIGHLIGHT] = _FULL
    # `_FULL` is odd, so no sum lies halfway between two integers.
    mixed = np.rint(shades[geometry] @ colors / _FULL)
    palettes = np.minimum(mixed, 255).astype(np.uint8)
    for palette, entry, image in zip(palettes, entries[geometry], out, strict=True):
        np.take(palette, entry, axis=0, out=image, mode="clip")  # the default mode copies `out`


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Compute the weights of materials for each pixel of each geometry.

    The pixels of a geometry share few combinations of weights, so they are stored as a palette
    (`shades`) and an index into it for each pixel (`entries`).

    Returns:
        entries: uint16 `(480, 64, 64)`.
        shades: float32 `(480, palette, 5)`, the weights of the materials, from 0 to slightly
            above 255; unused entries are 0.
    """
    entries = np.empty((*_GEOMETRIES, _SIZE, _SIZE), np.uint16)
    palettes = {}
    place = 1 << _BITS * np.arange(5)  # packs the five weights into one integer
    for orientation in range(_GEOMETRIES[2]):
        eye, rays = _camera(orientation)
        room, point = _room(eye, rays)
        for shape, name in enumerate(_VALUES["shape"]):
            for scale, size in enumerate(_OBJECT_SIZES):
                samples = _scene(name, size, eye, rays, room, point)
                pixels = samples.reshape(5, _SIZE, 2, _SIZE, 2).mean((2, 4))
                weights = np.rint(255 * pixels).astype(np.int64)
                keys, entry = np.unique(np.tensordot(place, weights, 1), return_inverse=True)
                entries[scale, shape, orientation] = entry.reshape(_SIZE, _SIZE)
                palettes[scale, shape, orientation] = keys
    shades = np.zeros((*_GEOMETRIES, max(map(len, palettes.values())), 5), np.float32)
    for geometry, keys in palettes.items():
        shades[geometry][: len(keys)] = keys[:, None] // place % (1 << _BITS)
    return entries.reshape(-1, _SIZE, _SIZE), shades.reshape(len(palettes), -1, 5)


def _camera(orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the eye `(3, 1)` and its unit rays `(3, 128 * 128)`, row by row."""
    angle = np.radians(-_VALUES["orientation"][orientation])
    forward = np.array([np.sin(angle), np.cos(angle), 0.0])
    right = np.array([forward[1], -forward[0], 0.0])
    eye = np.array([0.0, 0.0, _EYE_HEIGHT]) - _EYE_DISTANCE * forward
    sample = (np.arange(2 * _SIZE) + 0.5) / 2
    column, row = np.meshgrid(sample - _CENTER[0], sample - _CENTER[1])
    rays = _FOCAL * forward[:, None] + right[:, None] * column.ravel()
    rays[2] = -row.ravel()
    return eye[:, None], rays / np.linalg.norm(rays, axis=0)


def _room(eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights `(5, rays)` of the empty room and where rays meet it `(3, rays)`."""
    to_wall = ((np.sign(rays[:2]) - eye[:2]) / rays[:2]).min(0)
    to_floor = np.where(rays[2] < 0, -eye[2] / rays[2], np.inf)
    point = eye + rays * np.minimum(to_wall, to_floor)
    on_floor = to_floor < to_wall
    on_wall = ~on_floor & (point[2] < _ROOM_HEIGHT)
    weights = np.zeros((5, rays.shape[1]))
    light = np.clip(1.12 - 0.22 * np.hypot(point[0], point[1]), 0.6, 1.0)
    weights[_FLOOR, on_floor] = light[on_floor]
    weights[_WALL, on_wall] = 0.66
    weights[_SKY, ~on_floor & ~on_wall] = 1.0
    return weights, point


def _scene(
    shape: str, size: float, eye: np.ndarray, rays: np.ndarray, room: np.ndarray, point: np.ndarray
) -> np.ndarray:
    """Return the weights `(5, rays)` of the room with an object and its shadow."""
    weights = room.copy()
    near = np.hypot(point[0], point[1]) < _SHADOW_RADIUS * size
    floor = np.flatnonzero(near & (room[_FLOOR] > 0))
    in_shadow = np.isfinite(_distance(shape, size, point[:, floor], _LIGHT[:, None]))
    weights[_FLOOR, floor[in_shadow]] = 0.32

    to_axis = abs(eye[0] * rays[1] - eye[1] * rays[0]) / np.hypot(rays[0], rays[1])
    hit = np.flatnonzero(to_axis < _SURFACE_RADIUS * size)
    distance = _distance(shape, size, eye, rays[:, hit])
    is_hit = np.isfinite(distance)
    hit, distance = hit[is_hit], distance[is_hit]
    normal = _normal(shape, size, eye + rays[:, hit] * distance)
    half = _LIGHT[:, None] - rays[:, hit]
    cosine = _LIGHT @ normal
    gloss = (half * normal).sum(0) / np.linalg.norm(half, axis=0)
    weights[:, hit] = 0
    weights[_OBJECT, hit] = 0.74 + 0.34 * cosine
    weights[_HIGHLIGHT, hit] = 0.12 * np.where(cosine > 0, gloss.clip(0), 0) ** 30
    return weights


def _extent(shape: str, size: float) -> tuple[float, float]:
    """Return the radius, or half the side, and the height of an object."""
    radius, height = {
        "cube": (0.85, 1.7),
        "cylinder": (0.82, 2.0),
        "sphere": (1.0, 2.0),
        "capsule": (0.66, 3.1),
    }[shape]
    return radius * size, height * size


def _distance(shape: str, size: float, start: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Return the distance to an object along rays from outside; infinite if they miss it."""
    radius, height = _extent(shape, size)
    if shape == "cube":
        low, high = [-radius, -radius, 0.0], [radius, radius, height]
        return _first(*(_slab(*axis) for axis in zip(start, ray, low, high, strict=True)))
    pillar = _round(start[:2], ray[:2], radius)
    if shape == "cylinder":
        return _first(pillar, _slab(start[2], ray[2], 0.0, height))
    # A sphere is a capsule whose two balls coincide.
    low_ball, high_ball = (
        _first(_round(start - [[0.0], [0.0], [center]], ray, radius))
        for center in (radius, height - radius)
    )
    side = _first(pillar, _slab(start[2], ray[2], radius, height - radius))
    return np.minimum(side, np.minimum(low_ball, high_ball))


_Span = tuple[np.ndarray, np.ndarray]  # distances at which rays enter and leave a body


def _first(*spans: _Span) -> np.ndarray:
    """Return where rays enter the intersection of spans; infinite if there is none ahead."""
    enter = np.maximum.reduce(np.broadcast_arrays(*(span[0] for span in spans)))
    leave = np.minimum.reduce(np.broadcast_arrays(*(span[1] for span in spans)))
    return np.where((enter < leave) & (leave > 0), enter, np.inf)


def _slab(start: np.ndarray, ray: np.ndarray, low: float, high: float) -> _Span:
    """Return the span between two planes across one axis; no ray is parallel to them."""
    a, b = (low - start) / ray, (high - start) / ray
    return np.minimum(a, b), np.maximum(a, b)


def _round(start: np.ndarray, ray: np.ndarray, radius: float) -> _Span:
    """Return the span within a radius of the origin: a ball in 3D, a pillar in 2D."""
    a = (ray**2).sum(0)
    b = (start * ray).sum(0)
    inside = b**2 - a * ((start**2).sum(0) - radius**2)
    root = np.sqrt(inside.clip(0))
    return np.where(inside > 0, -b - root, np.inf) / a, np.where(inside > 0, root - b, -np.inf) / a


def _normal(shape: str, size: float, point: np.ndarray) -> np.ndarray:
    """Return the outward unit normals `(3, n)` at points of an object's surface."""
    radius, height = _extent(shape, size)
    center = np.zeros_like(point)
    if shape == "cube":
        center[2] = height / 2
        offset = point - center
        return np.sign(offset) * (abs(offset) == abs(offset).max(0))
    if shape == "cylinder":
        top = point[2] > height - 1e-9
        center[2] = np.where(top, 0, point[2])
        return np.where(top, [[0.0], [0.0], [1.0]], (point - center) / radius)
    center[2] = point[2].clip(radius, height - radius)
    return (point - center) / radius
