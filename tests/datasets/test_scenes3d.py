"""Scenes3D: images are compared with a simple ray marcher."""

import colorsys
import subprocess
import sys

import numpy as np
import pytest

from keras_disent.datasets.rendered.scenes3d import Scenes3D

DATA = Scenes3D()
SIZES = (10, 10, 10, 8, 4, 15)
EYE = 0.566
LIGHT = np.array([-0.40, 0.10, 1.0]) / np.sqrt(0.16 + 0.01 + 1)
MATERIALS = ("floor", "wall", "object", "sky", "highlight")


def outside(scale, shape, x, y, z):
    """Return the signed distance from points to an object, negative inside."""
    s = 0.068 + 0.067 * scale / 7
    if shape == 0:
        h = 0.85 * s
        d = np.stack([abs(x) - h, abs(y) - h, abs(z - h) - h])
    elif shape == 1:
        d = np.stack([np.hypot(x, y) - 0.82 * s, abs(z - s) - s])
    elif shape == 2:
        return np.sqrt(x**2 + y**2 + (z - s) ** 2) - s
    else:
        along = np.clip(z, 0.66 * s, 3.1 * s - 0.66 * s)
        return np.sqrt(x**2 + y**2 + (z - along) ** 2) - 0.66 * s
    return np.linalg.norm(np.maximum(d, 0), axis=0) + np.minimum(d.max(0), 0)


def march(scale, shape, start, direction):
    """Return the distances at which rays hit the object; infinite for rays that miss it."""
    shape_of_rays = np.broadcast(*start, *direction).shape
    rays = np.array([np.broadcast_to(part, shape_of_rays).ravel() for part in (*start, *direction)])
    at, going = np.zeros(rays.shape[1]), np.arange(rays.shape[1])
    while going.size:
        x, y, z, dx, dy, dz = rays[:, going]
        t = at[going]
        left = outside(scale, shape, x + t * dx, y + t * dy, z + t * dz)
        at[going] += left
        going = going[(left > 1e-9) & (t < 10)]
    return np.where(at < 10, at, np.inf).reshape(shape_of_rays)


def slow_scene(scale, shape, orientation):
    """Return the weight of each material in every pixel: `{material: (64, 64)}`."""
    turn = np.radians(30 - 60 * orientation / 14)
    row, column = np.mgrid[0.25:64:0.5, 0.25:64:0.5]
    ahead, aside, dz = 62.8, column - 32, 33.3 - row
    dx = ahead * np.sin(turn) + aside * np.cos(turn)
    dy = ahead * np.cos(turn) - aside * np.sin(turn)
    length = np.sqrt(dx**2 + dy**2 + dz**2)
    dx, dy, dz = dx / length, dy / length, dz / length
    eye = -EYE * np.sin(turn), -EYE * np.cos(turn), 0.171

    to = {}
    to["floor"] = np.where(dz < 0, -eye[2] / dz, np.inf)
    sides = [((side - e) / d) for e, d in ((eye[0], dx), (eye[1], dy)) for side in (-1, 1)]
    to["wall"] = np.min([np.where(t > 0, t, np.inf) for t in sides], axis=0)
    to["object"] = march(scale, shape, eye, (dx, dy, dz))
    nearest = np.array(["floor", "wall", "object"])[np.argmin(list(to.values()), axis=0)]
    t = np.min(list(to.values()), axis=0)
    x, y, z = eye[0] + t * dx, eye[1] + t * dy, eye[2] + t * dz
    nearest[(nearest == "wall") & (z > 0.566)] = "sky"

    # Away from the object the distance grows along its normal.
    e = 1e-6
    around = [(e, 0, 0), (0, e, 0), (0, 0, e)]
    normal = [
        (outside(scale, shape, x + a, y + b, z + c) - outside(scale, shape, x - a, y - b, z - c))
        / (2 * e)
        for a, b, c in around
    ]
    cosine = sum(n * m for n, m in zip(normal, LIGHT, strict=True))
    half = LIGHT[0] - dx, LIGHT[1] - dy, LIGHT[2] - dz
    gloss = sum(n * h for n, h in zip(normal, half, strict=True)) / np.sqrt(sum(h**2 for h in half))
    shadow = np.isfinite(march(scale, shape, (x, y, 0 * z), LIGHT))
    lit = np.clip(1.12 - 0.22 * np.hypot(x, y), 0.6, 1)
    value = {
        "floor": np.where(shadow, 0.32, lit),
        "wall": np.full_like(t, 0.66),
        "object": 0.74 + 0.34 * cosine,
        "sky": np.ones_like(t),
        "highlight": np.where(cosine > 0, 0.12 * np.clip(gloss, 0, 1) ** 30, 0),
    }
    shows = {name: nearest == name for name in value}
    shows["highlight"] = shows["object"]
    return {
        name: np.where(shows[name], value[name], 0).reshape(64, 2, 64, 2).mean((1, 3))
        for name in MATERIALS
    }


def slow_image(factors):
    """Render one image as floats, without rounding."""
    weights = slow_scene(*factors[3:])
    hues = [colorsys.hsv_to_rgb(step / 10, 1, 1) for step in factors[:3]]
    colors = [*hues, (153 / 255, 226 / 255, 249 / 255), (1, 1, 1)]
    image = sum(np.multiply.outer(weights[m], c) for m, c in zip(MATERIALS, colors, strict=True))
    return np.minimum(255 * image, 255)


SAMPLE = [
    [0, 5, 9, 7, 0, 0],
    [1, 8, 3, 2, 0, 7],
    [2, 4, 6, 5, 0, 13],
    [3, 3, 3, 0, 1, 4],
    [9, 0, 1, 7, 1, 14],
    [4, 7, 2, 7, 2, 0],
    [6, 6, 8, 1, 2, 10],
    [7, 2, 5, 7, 3, 2],
    [5, 1, 4, 3, 3, 9],
    [8, 9, 0, 0, 3, 14],
]


def test_images_match_a_ray_marcher():
    sample = DATA.sample_factors(30, np.random.default_rng(7))
    for factors in [*SAMPLE, *sample.tolist()]:
        difference = abs(DATA.observe([factors])[0] - slow_image(factors))
        # Each material of a pixel is rounded before the sum is.
        assert difference.max() < 2, factors
        assert difference.mean() < 0.2, factors


@pytest.mark.parametrize("geometry", [(7, 0, 2), (4, 3, 12)])
def test_hues_change_only_their_own_surface(geometry):
    weights = slow_scene(*geometry)
    base = DATA.observe([[0, 0, 0, *geometry]])[0]
    for column, material in enumerate(("floor", "wall", "object")):
        changed = np.zeros((64, 64), bool)
        for step in range(1, 10):
            row = [0, 0, 0, *geometry]
            row[column] = step
            changed |= (DATA.observe([row])[0] != base).any(-1)
        assert (changed == (weights[material] > 0)).all(), material


def test_grid():
    assert DATA.name == "scenes3d"
    assert DATA.factor_sizes == SIZES
    assert len(DATA) == 480_000
    assert DATA.image_shape == (64, 64, 3)
    assert DATA.factor_kinds == (*["circular"] * 3, "ordinal", "categorical", "ordinal")
    values = DATA.factor_values
    assert tuple(values) == DATA.factor_names
    assert tuple(map(len, values.values())) == SIZES
    for name in DATA.factor_names[:3]:
        np.testing.assert_allclose(values[name], np.arange(10) / 10)
    np.testing.assert_allclose(values["scale"][[0, -1]], [0.75, 1.25])
    assert values["shape"].tolist() == ["cube", "cylinder", "sphere", "capsule"]
    np.testing.assert_allclose(np.diff(values["orientation"]), 60 / 14)
    assert values["orientation"][0] == -30


def test_factor_values_are_copies():
    DATA.factor_values["orientation"][:] = 0
    assert DATA.factor_values["orientation"][0] == -30


def test_every_index_has_its_own_factors():
    factors = DATA.factors(np.arange(480_000))
    assert (factors == np.indices(SIZES).reshape(6, -1).T).all()
    assert (DATA.indices(factors) == np.arange(480_000)).all()


def test_all_geometries_differ():
    images = DATA.images(np.arange(480) + 480 * 357)
    assert len({image.tobytes() for image in images}) == 480


def test_all_colors_differ():
    rows = np.indices((10, 10, 10)).reshape(3, -1).T
    images = DATA.observe(np.hstack([rows, np.tile([3, 2, 7], (1000, 1))]))
    assert len({image.tobytes() for image in images}) == 1000


def test_objects_grow_with_the_scale():
    for shape in range(4):
        rows = [[6, 6, hue, scale, shape, 5] for hue in (0, 3) for scale in range(8)]
        red, green = DATA.observe(rows).reshape(2, 8, 64, 64, 3)
        areas = (red != green).any(-1).sum((1, 2))
        assert (np.diff(areas) > 0).all()
        # Not the very square of the sizes: pixels at the edge count, and the eye is near.
        assert areas[7] / areas[0] == pytest.approx((0.135 / 0.068) ** 2, rel=0.25)


def test_the_corner_moves_from_right_to_left():
    # The wall looks lowest where it is farthest, and the smallest cube does not reach its top.
    images = DATA.observe([[0, 0, 0, 0, 0, step] for step in range(15)])
    sky = (images == (153, 226, 249)).all(-1).sum(1)
    corner = [np.flatnonzero(columns == columns.max()).mean() + 0.5 for columns in sky[[0, 14]]]
    assert corner == pytest.approx([43.9, 64 - 43.9], abs=2)
    assert (sky == sky[::-1, ::-1]).all()


def test_an_image_does_not_depend_on_its_batch():
    rng = np.random.default_rng(0)
    indices = rng.integers(len(DATA), size=300)
    together = DATA.images(indices)
    assert together.dtype == np.uint8
    assert together.shape == (300, 64, 64, 3)
    assert (DATA.images(indices[::-1]) == together[::-1]).all()
    for index, image in zip(indices, together, strict=True):
        assert (DATA.images([index])[0] == image).all()
    again = rng.permutation(np.repeat(np.arange(300), 3))
    assert (DATA.images(indices[again]) == together[again]).all()
    assert (Scenes3D().images(indices) == together).all()


def test_images_are_copies():
    first = DATA.images([5])
    copy = first.copy()
    first[:] = 0
    assert (DATA.images([5]) == copy).all()


def test_empty_indices():
    assert DATA.images([]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize(
    ("indices", "error"),
    [([480_000], IndexError), ([-1], IndexError), ([0.5], TypeError), ([[0]], ValueError)],
)
def test_wrong_indices(indices, error):
    with pytest.raises(error, match="`indices` needs"):
        DATA.images(indices)


PROGRAM = """
import pathlib
from keras_disent.datasets.rendered.scenes3d import Scenes3D
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
before = peak()
data = Scenes3D()
print(peak() - before)
data.images([0])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_tables_are_computed_on_demand_and_are_small():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    created, rendered = map(float, done.stdout.split())
    assert created < 1
    assert 1 < rendered < 50
