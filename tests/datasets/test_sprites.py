"""Sprites: pixels are compared with the geometry, and indices with factors."""

import copy
import pickle

import numpy as np
import pytest

from keras_disent.datasets import Sprites

SIZES = (3, 6, 40, 32, 32)


@pytest.fixture(params=[64, 32])
def sprites(request):
    return Sprites(request.param)


def inside(shape, x, y, steps=512):
    """Return which points (in canvas widths at scale 1, y up) are inside, and which too close."""
    if shape == 0:
        margin = 0.14999 - np.maximum(abs(x), abs(y))
    elif shape == 1:
        margin = 1 - (x / 0.19947) ** 2 - (y / 0.1127) ** 2
    else:
        # x = w sin^3 t gives t for the upper boundary and pi - t for the lower one.
        t = np.arcsin(np.clip(np.cbrt(abs(x) / 0.149913), 0, 1))

        def boundary(t):
            terms = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
            return 0.01035023 * terms + 0.02245434

        margin = np.minimum(boundary(t) - y, y - boundary(np.pi - t))
        margin = np.minimum(margin, 0.149913 - abs(x))
    return margin > 0, abs(margin) < 2e-5


def slow_sprite(factors, size):
    """Render an image pixel by pixel from the geometry, and mark pixels that are uncertain."""
    shape, scale, orientation, i, j = factors
    centers = (np.arange(size) + 0.5) * 64 / size
    right = (centers[None, :] - 16 - 32 * i / 31) / 64
    up = -(centers[:, None] - 16 - 32 * j / 31) / 64
    angle = 2 * np.pi * orientation / 39
    x = right * np.cos(angle) + up * np.sin(angle)
    y = up * np.cos(angle) - right * np.sin(angle)
    ratio = 0.5 + 0.1 * scale
    return inside(shape, x / ratio, y / ratio)


def test_sprites_match_the_geometry_pixel_by_pixel(sprites):
    factors = sprites.sample_factors(600, np.random.default_rng(1))
    doubtful = 0
    for row, image in zip(factors, sprites.observe(factors), strict=True):
        expected, close = slow_sprite(row, sprites.image_size)
        wrong = (image[..., 0] == 255) != expected
        assert not (wrong & ~close).any(), row
        doubtful += (wrong & close).sum()
    assert doubtful <= 5


def test_every_sprite_matches_the_geometry_in_one_position():
    data = Sprites()
    factors = np.stack(np.unravel_index(np.arange(720), (3, 6, 40)), 1)
    factors = np.hstack([factors, np.full((720, 1), 13), np.full((720, 1), 22)])
    for row, image in zip(factors, data.observe(factors), strict=True):
        expected, close = slow_sprite(row, 64)
        assert ((image[..., 0] == 255) == expected)[~close].all(), row


def test_sprites_are_black_and_white_and_cover_four_per_cent(sprites):
    images = sprites.images(np.random.default_rng(0).integers(len(sprites), size=20_000))
    assert images.dtype == np.uint8
    assert set(np.unique(images)) == {0, 255}
    assert (images > 0).mean() == pytest.approx(0.0425, abs=2e-4)


def test_no_sprite_is_empty_or_touches_the_border(sprites):
    corners = np.array(
        [
            (a, s, o, x, y)
            for a in range(3)
            for s in (0, 5)
            for o in range(40)
            for x in (0, 31)
            for y in (0, 31)
        ]
    )
    images = sprites.observe(corners)[..., 0]
    assert images.any(axis=(1, 2)).all()
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()


def test_last_orientation_is_the_first_one(sprites):
    factors = sprites.sample_factors(3000, np.random.default_rng(2), fixed={"orientation": 0})
    turned = factors.copy()
    turned[:, 2] = 39
    assert (sprites.observe(factors) == sprites.observe(turned)).all()


def test_directions_of_factors():
    data = Sprites()

    def center(**steps):
        row = [steps.get(name, 0) for name in data.factor_names]
        ys, xs = np.nonzero(data.observe([row])[0, ..., 0])
        return xs.mean() + 0.5, ys.mean() + 0.5

    assert center() == pytest.approx((16, 16), abs=0.5)
    assert center(position_x=31) == pytest.approx((48, 16), abs=0.5)
    assert center(position_y=31) == pytest.approx((16, 48), abs=0.5)
    areas = (data.observe([[0, s, 0, 9, 9] for s in range(6)]) > 0).sum((1, 2, 3))
    assert (np.diff(areas) > 0).all()
    # A heart's point is below; a quarter turn counter-clockwise brings it to the right.
    heart = data.observe([[2, 5, 10, 16, 16]])[0, ..., 0] > 0
    columns = heart.sum(0)[heart.any(0)]
    assert columns[-1] < columns[0]


def test_factors_and_indices_are_inverse(sprites):
    indices = np.arange(len(sprites))
    factors = sprites.factors(indices)
    assert len(sprites) == 737_280
    assert sprites.factor_sizes == SIZES
    assert factors.dtype == np.int64
    assert (factors[1] == [0, 0, 0, 0, 1]).all()
    assert (sprites.indices(factors) == indices).all()
    for column, size in zip(factors.T, SIZES, strict=True):
        assert (np.bincount(column) == len(sprites) // size).all()


@pytest.mark.parametrize("indices", [[5, 0, 5], range(3), np.array([7], np.uint8), (2**16,)])
def test_indices_of_any_integer_type(sprites, indices):
    wide = np.array(list(indices), np.int64)
    assert (sprites.images(indices) == sprites.images(wide)).all()
    assert (sprites.factors(indices) == sprites.factors(wide)).all()


def test_empty_indices(sprites):
    assert sprites.images([]).shape == (0, *sprites.image_shape)
    assert sprites.factors([]).shape == (0, 5)


def test_images_do_not_depend_on_chunks():
    data = Sprites(32)
    indices = np.random.default_rng(0).integers(len(data), size=2500)
    whole = data.images(indices)
    assert (whole[1020:1030] == data.images(indices[1020:1030])).all()
    assert (whole[-1:] == data.images(indices[-1:])).all()


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 737_280], IndexError, "from 0 to 737279. Got 737280"),
        ([0, -1], IndexError, "from 0 to 737279. Got -1"),
        ([0.0], TypeError, "needs integers. Got float64"),
        ([True], TypeError, "needs integers. Got bool"),
        (3, ValueError, r"one dimension. Got shape \(\)"),
        ([[1]], ValueError, r"one dimension. Got shape \(1, 1\)"),
        (np.array([2**63], np.uint64), IndexError, "Got 9223372036854775808"),
    ],
)
@pytest.mark.parametrize("method", ["images", "factors"])
def test_wrong_indices(method, indices, error, message):
    with pytest.raises(error, match=message):
        getattr(Sprites(), method)(indices)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        ([[0, 6, 0, 0, 0]], ValueError, "from 0 to 5 for 'scale'. Got 6"),
        ([[0, 0, 0, 0, -1]], ValueError, "from 0 to 31 for 'position_y'. Got -1"),
        ([[0, 0, 0, 0]], ValueError, r"5 columns \(shape, .*\). Got shape \(1, 4\)"),
        ([0, 0, 0, 0, 0], ValueError, r"Got shape \(5,\)"),
        ([[0.0, 0, 0, 0, 0]], TypeError, "integers for 'shape'. Got float64"),
    ],
)
def test_wrong_factors(factors, error, message):
    for method in (Sprites().indices, Sprites().observe):
        with pytest.raises(error, match=message):
            method(factors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 48}, r"one of \(64, 32\). Got 48"),
    ],
)
def test_wrong_sprites(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sprites(**arguments)


def test_sprites_can_be_pickled(sprites):
    small = sprites.subgrid({"shape": ["heart"]})
    indices = np.arange(0, len(small), 9973)
    text = pickle.dumps(small)
    assert len(text) < 5000
    for other in (pickle.loads(text), copy.deepcopy(small)):
        assert (other.images(indices) == small.images(indices)).all()
        assert other.factor_sizes == small.factor_sizes
