"""Faces: images are compared with drawings of single portraits, and with what a factor says."""

import subprocess
import sys

import numpy as np
import pytest

from keras_disent.datasets import Faces, load
from keras_disent.datasets.rendered import portrait

DATA = Faces(32)
SIZES = (15, 8, 8, 3, 3, 5, 4, 6)
FRONT = (7, 3, 3, 2, 1, 1, 0, 3)  # looks at the viewer, with open eyes
ALL_SIZES = (32, 48, 64, 96, 128)


def traversal(data, factor, context):
    """Return float images of all steps of a factor; the other factors are those of `context`."""
    column = data.factor_names.index(factor)
    rows = np.tile(context, (data.factor_sizes[column], 1))
    rows[:, column] = np.arange(len(rows))
    return data.observe(rows).astype(np.float64)


def contexts(n, seed=0, **fixed):
    """Return random steps of all factors."""
    return DATA.sample_factors(n, np.random.default_rng(seed), fixed)


def shares(rows, size):
    turn, mouth, _, eyes, length = rows.T[:5]
    return portrait.shares(5.0 * (turn - 7), mouth / 7, eyes / 2, length / 2, size)


# -- the drawing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64])
def test_images_match_single_drawings(size):
    rows = contexts(40, seed=size)
    for row, drawn in zip(rows, shares(rows, size), strict=True):
        colors = portrait.colors(8)[row[2], row[5], row[6], row[7]]
        expected = drawn.astype(np.float64) @ colors
        difference = abs(Faces(size).observe([row])[0] - expected)
        # A paint's share is a multiple of 1/128, and the fixed colors of a pixel are rounded.
        assert difference.max() < 2.5, row
        assert difference.mean() < 0.4, row


def test_paints_share_out_every_pixel():
    drawn = shares(contexts(20), 48)
    fixed, paints = drawn[..., :3], drawn[..., 3:]
    assert paints.min() >= 0
    assert paints.sum(-1).max() < 1 + 1e-6
    assert fixed.min() >= 0
    assert (fixed <= 253 * (1 - paints.sum(-1, keepdims=True)) + 1e-3).all()
    plain = fixed.max(-1) < 1e-6
    assert paints[plain].sum(-1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", ALL_SIZES)
def test_mouth_and_eyes_change_different_rows(size):
    rows = np.repeat(contexts(3), 3, axis=0)
    rows[:, [1, 3]] = [[0, 0], [7, 0], [0, 2]] * 3
    closed, mouth, eyes = shares(rows, size).reshape(3, 3, size, -1).swapaxes(0, 1)
    split = portrait.upper_rows(size)
    assert (mouth[:, :split] == closed[:, :split]).all()
    assert (mouth[:, split:] != closed[:, split:]).any()
    assert (eyes[:, split:] == closed[:, split:]).all()
    assert (eyes[:, :split] != closed[:, :split]).any()


def test_the_drawing_stays_as_it_is():
    """Scores on one drawing cannot be compared with scores on another."""
    data = Faces(64)
    images = data.images(np.linspace(0, len(data) - 1, 6).astype(int))
    expected = [
        (205.25, 160.13, 151.29),
        (186.86, 136.34, 126.09),
        (184.27, 133.62, 126.22),
        (183.16, 132.50, 126.37),
        (184.46, 134.04, 126.32),
        (186.50, 136.86, 126.06),
    ]
    np.testing.assert_allclose(images.mean((1, 2)), expected, atol=0.1)


# -- what the factors show ------------------------------------------------------------------------


@pytest.mark.parametrize("person", [0, 67, 141, 292, 359])
def test_eyes_and_mouth_turn_with_the_head(person):
    data = Faces(64, person=person)
    turns = np.arange(15)[:, None]
    x = np.arange(64) + 0.5
    for column, steps in ((1, (0, 7)), (3, (0, 2))):
        rows = np.hstack([turns, np.tile((3, 3, 2, 0, 0, 0, 0), (15, 1))])
        images = []
        for rows[:, column] in steps:
            images.append(data.observe(rows).astype(float))
        changed = abs(images[1] - images[0]).sum((1, 3))
        centers = changed @ x / changed.sum(1)
        assert (np.diff(centers) > 0.5).all(), DATA.factor_names[column]
        assert centers[7] == pytest.approx(32, abs=1.5)
        assert centers[-1] - centers[0] > 14


def test_a_wider_mouth_changes_more():
    for context in contexts(10):
        images = traversal(DATA, "mouth_opening", context)
        assert (np.diff((images != images[0]).any(-1).sum((1, 2))) >= 0).all()
        steps = np.sqrt((np.diff(images, axis=0) ** 2).sum((1, 2, 3)))
        assert steps.min() > 100
        assert steps.max() < 3 * steps.min()


def test_cheeks_turn_from_skin_to_rose():
    for context in contexts(30, head_turn=7, mouth_opening=0, hair_length=0):
        images = traversal(DATA, "blush", context)
        red, green, blue = np.moveaxis(images, -1, 0)
        cheeks = abs(images[7] - images[0]).max(-1) > 20
        assert 80 < cheeks.sum() < 160  # pixels, of 1,024
        redder = (red - (green + blue) / 2)[:, cheeks]
        assert (np.diff(redder.mean(1)) > 3).all()
        step = np.diff(images, axis=0)
        assert abs(step - step.mean(0)).max() <= 2  # all steps are equal but for rounding


def test_open_eyes_are_white():
    for context in contexts(20, skin_tone=4, head_turn=7):
        images = traversal(Faces(64), "eye_opening", context)[:, 15:36]
        white = (images.min(-1) > 190).sum((1, 2))
        assert (np.diff(white) > 3).all()


def test_longer_hair_covers_more():
    for context in contexts(10):
        colored = [traversal(DATA, "hair_color", [*context[:4], n, *context[5:]]) for n in range(3)]
        areas = [(images[3] != images[0]).any(-1).sum() for images in colored]
        assert (np.diff(areas) > 30).all()


def test_skin_gets_darker():
    for context in contexts(10, head_turn=7):
        images = traversal(DATA, "skin_tone", context)
        neck = images[:, 27, 14:18].mean((1, 2))
        assert (np.diff(neck) < -12).all()
        assert (images[:, 0, 0] == images[0, 0, 0]).all()


def test_the_background_has_its_hue():
    values = DATA.factor_values["background_hue"]
    for context in contexts(5):
        images = traversal(DATA, "background_hue", context)
        assert [hue(image[0, 0]) for image in images] == pytest.approx(values, abs=3)
        changed = (images != images[0]).any(-1).any(0)
        assert changed[[0, 0, 12, 12], [0, -1, 0, -1]].all()
        assert not changed[10:20, 14:18].any()  # the face


def hue(rgb):
    """Return the hue in degrees of OKLCH (Ottosson 2020)."""
    linear = np.where(rgb / 255 > 0.04045, ((rgb / 255 + 0.055) / 1.055) ** 2.4, rgb / 255 / 12.92)
    lms = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ linear
    )
    a = [1.9779984951, -2.4285922050, 0.4505937099] @ lms
    b = [0.0259040371, 0.7827717662, -0.8086757660] @ lms
    return np.degrees(np.arctan2(b, a)) % 360


def test_hair_and_skin_stay_apart():
    """No person's hair has the color of the face."""
    for skin in range(5):
        for hair in range(4):
            image = Faces(64).observe([[7, 0, 0, 2, 2, skin, hair, 0]])[0].astype(int)
            assert abs(image[6, 32] - image[38, 24]).max() > 30, (skin, hair)


# -- the grid -------------------------------------------------------------------------------------


def test_grid():
    data = Faces()
    assert data.name == "faces"
    assert data.image_shape == (64, 64, 3)
    assert data.factor_sizes == SIZES
    assert len(data) == 1_036_800
    assert data.factor_kinds == (*["ordinal"] * 6, "categorical", "circular")
    values = data.factor_values
    assert tuple(values) == data.factor_names
    assert tuple(map(len, values.values())) == SIZES
    np.testing.assert_allclose(values["head_turn"], np.arange(-35, 36, 5))
    for name in ("mouth_opening", "blush", "eye_opening", "skin_tone"):
        np.testing.assert_allclose(values[name], np.linspace(0, 1, len(values[name])))
    assert values["hair_length"].tolist() == ["ears", "chin", "shoulders"]
    assert values["hair_color"].tolist() == ["black", "brown", "copper", "blond"]
    assert values["background_hue"].tolist() == [30, 90, 150, 210, 270, 330]


def test_factor_values_are_copies():
    DATA.factor_values["head_turn"][:] = 0
    assert DATA.factor_values["head_turn"][0] == -35


@pytest.mark.parametrize("size", ALL_SIZES)
def test_all_shapes_and_all_colors_differ(size):
    data = Faces(size)
    shapes = np.indices((15, 8, 3, 3)).reshape(4, -1).T
    rows = np.tile(FRONT, (len(shapes), 1))
    rows[:, [0, 1, 3, 4]] = shapes
    if size > 64:
        rows = rows[::7]
    assert len({image.tobytes() for image in data.observe(rows)}) == len(rows)
    colors = np.indices((8, 5, 4, 6)).reshape(4, -1).T
    rows = np.tile(FRONT, (len(colors), 1))
    rows[:, [2, 5, 6, 7]] = colors
    assert len({image.tobytes() for image in data.observe(rows)}) == 960


@pytest.mark.parametrize("size", [32, 64, 128])
def test_an_image_does_not_depend_on_its_batch(size):
    data = Faces(size)
    rng = np.random.default_rng(0)
    indices = rng.integers(len(data), size=100)
    together = data.images(indices)
    assert together.dtype == np.uint8
    assert together.shape == (100, size, size, 3)
    assert (data.images(indices[::-1]) == together[::-1]).all()
    for index, image in zip(indices, together, strict=True):
        assert (data.images([index])[0] == image).all()
    again = rng.permutation(np.repeat(np.arange(100), 3))
    assert (data.images(indices[again]) == together[again]).all()
    assert (Faces(size).images(indices) == together).all()


def test_images_are_copies():
    first = DATA.images([5])
    copy = first.copy()
    first[:] = 0
    assert (DATA.images([5]) == copy).all()
    assert DATA.images([]).shape == (0, 32, 32, 3)


def test_one_person():
    person = ((2 * 5 + 3) * 4 + 1) * 6 + 4
    one = Faces(32, person=person)
    assert len(one) == 2880
    assert one.factor_names == DATA.factor_names
    assert one.factor_sizes == (15, 8, 8, 3, 1, 1, 1, 1)
    assert one.factor_kinds == (*["ordinal"] * 4, *["constant"] * 4)
    constants = {name: values.tolist() for name, values in list(one.factor_values.items())[4:]}
    assert constants == {
        "hair_length": ["shoulders"],
        "skin_tone": [0.75],
        "hair_color": ["brown"],
        "background_hue": [270],
    }
    rows = one.factors(np.arange(0, 2880, 37))
    assert (one.observe(rows) == DATA.observe(np.add(rows, [0, 0, 0, 0, 2, 3, 1, 4]))).all()
    assert (Faces(32, person=np.int64(person)).images([9]) == one.images([9])).all()


def test_people_differ():
    images = [Faces(32, person=person).images([1440])[0].tobytes() for person in range(360)]
    assert len(set(images)) == 360


@pytest.mark.parametrize("person", [-1, 360, 1.0, True, "anna", [3]])
def test_wrong_people(person):
    with pytest.raises(ValueError, match=r"`person` needs to be an integer from 0 to 359, or None"):
        Faces(person=person)


@pytest.mark.parametrize("size", [16, 33, 65, 256, "64"])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match=r"`image_size` needs to be one of \(64, 32, 48, 96, 128"):
        Faces(size)


@pytest.mark.parametrize(
    ("indices", "error"),
    [([1_036_800], IndexError), ([-1], IndexError), ([0.5], TypeError), ([[0]], ValueError)],
)
def test_wrong_indices(indices, error):
    with pytest.raises(error, match="`indices` needs"):
        DATA.images(indices)
    with pytest.raises(IndexError, match="`indices` needs values from 0 to 2879"):
        Faces(32, person=0).images([2880])


# -- views ----------------------------------------------------------------------------------------


def test_views():
    data = load(
        "faces",
        image_size=32,
        subset={"hair_color": ["copper", "blond"], "hair_length": ["chin"], "head_turn": [0, 14]},
        correlate={("mouth_opening", "blush"): 0.1},
    )
    assert data.factor_sizes == (2, 8, 8, 3, 1, 5, 2, 6)
    factors = data.factors(data.sample(2000, np.random.default_rng(0)))
    assert np.corrcoef(factors[:, 1], factors[:, 2])[0, 1] > 0.85
    rows = factors[:50]
    full = rows.copy()
    full[:, 0] *= 14
    full[:, 4] = 1
    full[:, 6] += 2
    assert (data.observe(rows) == DATA.observe(full)).all()
    marginal = DATA.only("head_turn", "blush")
    assert len(marginal) == 120
    assert marginal.images([0, 119]).shape == (2, 32, 32, 3)


def test_held_out_combinations():
    one = Faces(32, person=292)
    train, test = one.hold_out({"head_turn": range(10, 15), "blush": [6, 7]})
    assert (len(train), len(test)) == (2880 - 240, 240)
    steps = train.factors(np.arange(len(train)))
    assert not ((steps[:, 0] >= 10) & (steps[:, 2] >= 6)).any()
    rows = test.factors(np.arange(0, 240, 11))
    full = np.add(rows, [10, 0, 6, 0, 0, 0, 0, 0])
    assert (test.observe(rows) == one.observe(full)).all()
    assert (train.images([0]) == one.images([0])).all()


# -- memory ---------------------------------------------------------------------------------------

PROGRAM = """
import pathlib
from keras_disent.datasets.rendered.faces import Faces
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
before = peak()
data = Faces()
print(peak() - before)
data.images([0])
print(peak() - before)
Faces(person=7).images(range(2880))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_the_table_is_drawn_on_demand_and_is_small():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    created, first, all_of_one = map(float, done.stdout.split())
    assert created < 1
    assert 10 < first < 50
    assert all_of_one < first + 45  # the images themselves have 34 MiB
