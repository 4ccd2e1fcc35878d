"""Views of data sets: what each view keeps, and what it changes."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_disent.datasets import (
    DATASETS,
    Concatenation,
    GroundTruth,
    Images,
    Rows,
    Sprites,
    labeled,
    load,
    pixels,
    transform_images,
)
from keras_disent.datasets.source import ImageSource


class Coded(GroundTruth):
    """Images of 4 x 5 pixels whose first pixels are the steps of their factors."""

    name = "coded"
    image_shape = (4, 5, 1)

    def __init__(self, sizes=(3, 4, 1, 5)):
        self.factor_names = tuple("abcdefgh"[: len(sizes)])
        self.factor_sizes = tuple(sizes)

    def images(self, indices):
        factors = self.factors(indices)
        images = np.zeros((len(factors), 20), np.uint8)
        images[:, : factors.shape[1]] = factors
        return images.reshape(-1, 4, 5, 1)


def decode(images, factors=4):
    """Read the factors from images of `Coded`."""
    return images.reshape(len(images), -1)[:, :factors].astype(int)


def check_source(data):
    """Check the rules that every data set follows, on a few of its indices."""
    rng = np.random.default_rng(0)
    indices = rng.integers(len(data), size=30)
    images = data.images(indices)
    assert images.dtype == np.uint8
    assert images.shape == (30, *data.image_shape)
    assert (images[5:] == data.images(indices[5:])).all()
    observations = data.observations(indices, np.random.default_rng(1))
    assert (observations == data.observations(indices, np.random.default_rng(1))).all()
    if not data.stochastic:
        assert (observations == images).all()
    with pytest.raises(IndexError):
        data.images([len(data)])
    batches = data.batches(7, seed=3, steps=2)
    assert (batches.at(1) == data.batches(7, seed=3).at(1)).all()
    assert (pickle.loads(pickle.dumps(data)).images(indices) == images).all()
    if data.factor_names:
        width = len(data.factor_names)
        assert len(data.factor_sizes) == len(data.factor_kinds) == width
        assert list(data.factor_values) == list(data.factor_names)
        assert tuple(map(len, data.factor_values.values())) == data.factor_sizes
        assert ((data.factors(indices) >= 0) & (data.factors(indices) < data.factor_sizes)).all()
        batch, labels = data.batches(7, seed=3, labels=True).at(1)
        assert len(batch) == len(labels) == 7
    if isinstance(data, GroundTruth):
        indices = np.arange(len(data))
        assert (data.indices(data.factors(indices)) == indices).all()


VIEWS = {
    "subgrid": lambda d: d.subgrid({d.factor_names[-1]: [1, 0]}),
    "marginal": lambda d: d.only(*{d.factor_names[i]: i for i in (-1, 0)}),
    "correlated": lambda d: d.correlated({(d.factor_names[0], d.factor_names[-1]): 0.3}),
    "rows": lambda d: Rows(d, np.arange(len(d))[::-2]),
    "labels": lambda d: Rows(d, np.arange(len(d))).only(d.factor_names[-1]),
    "resized": lambda d: d.resized(4),
    "color": lambda d: d.with_channels(3),
    "noise": lambda d: transform_images(d, pixels.NoisyBackground()),
    "concatenation": lambda d: Concatenation([d, d]),
    "split": lambda d: d.split(0.3)[0],
    "held out": lambda d: d.hold_out({d.factor_names[-1]: [0]})[0],
}


@pytest.mark.parametrize("first", [None, *VIEWS])
@pytest.mark.parametrize("second", VIEWS)
def test_views_of_views_are_data_sets(first, second):
    data = Coded() if first is None else VIEWS[first](Coded())
    if second in ("subgrid", "correlated") and not isinstance(data, GroundTruth):
        assert not hasattr(data, second)
    elif second == "noise" and data.image_shape[2] == 3:
        with pytest.raises(ValueError, match=r"with one channel. Got 3 channels"):
            VIEWS[second](data)
    else:
        check_source(VIEWS[second](data))


@pytest.mark.parametrize("name", [n for n, make in DATASETS.items() if not make.card.download])
def test_data_sets_without_a_download(name):
    data = load(name, image_size=32)
    assert data.name == name
    check_source(data)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_factors_and_indices_of_any_grid_are_inverse(draw):
    sizes = draw.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    data = Coded(sizes)
    indices = np.arange(len(data))
    factors = data.factors(indices)
    assert (data.indices(factors) == indices).all()
    assert len(np.unique(factors, axis=0)) == len(data)
    assert (decode(data.images(indices), len(sizes)) == factors).all()
    selection = {
        name: draw.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
        for name, size in zip(data.factor_names, sizes, strict=True)
        if draw.draw(st.booleans())
    }
    part = data.subgrid(selection)
    steps = [selection.get(n, range(s)) for n, s in zip(data.factor_names, sizes, strict=True)]
    assert part.factor_sizes == tuple(map(len, steps))
    factors_of_part = part.factors(np.arange(len(part)))
    decoded = decode(part.images(np.arange(len(part))), len(sizes))
    columns = zip(steps, factors_of_part.T, strict=True)
    assert (decoded == np.stack([np.array(s)[column] for s, column in columns], 1)).all()
    assert (part.labels(np.arange(len(part))) == decoded).all()  # labels are those of the grid


def test_subgrid_accepts_names_and_keeps_their_order():
    data = Sprites(32).subgrid({"shape": ["heart", 0], "orientation": [0], "scale": (1, 3, 5)})
    assert data.factor_sizes == (2, 3, 1, 32, 32)
    assert data.factor_kinds == ("categorical", "ordinal", "constant", "ordinal", "ordinal")
    assert data.factor_values["shape"].tolist() == ["heart", "square"]
    assert data.factor_values["scale"] == pytest.approx([0.6, 0.8, 1.0])
    (image,) = data.observe([[0, 2, 0, 3, 4]])
    assert (image == Sprites(32).observe([[2, 5, 0, 3, 4]])[0]).all()


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ({"color": [0]}, "names from shape, .*. Got 'color'"),
        ({"shape": ["circle"]}, "'shape' needs .* or square, ellipse, heart. Got 'circle'"),
        ({"shape": "heart"}, "needs a list .* Got 'heart'"),
        ({"scale": []}, r"'scale' needs .*. Got \[\]"),
        ({"scale": [1, 1]}, r"different steps .* Got \[1, 1\]"),
        ({"shape": ["square", 0]}, r"Got \['square', 0\]"),
        ({"scale": [6]}, "steps from 0 to 5. Got 6"),
        ({"scale": [-1]}, "Got -1"),
        ({"scale": [0.5]}, "Got 0.5"),
        ({"scale": ["square"]}, "Got 'square'"),
        ({"scale": [True]}, "Got True"),
        ({"scale": 3}, "needs a list .* Got 3"),
    ],
)
def test_wrong_subgrids(subset, message):
    with pytest.raises(ValueError, match=message):
        Sprites().subgrid(subset)


def test_only_keeps_the_others_as_nuisance_factors():
    data = Coded().only("d", "a")
    assert (data.factor_sizes, len(data), data.stochastic) == ((5, 3), 15, True)
    indices = np.repeat(np.arange(15), 400)
    for images in (
        data.images(np.arange(15).repeat(2)),
        data.observations(indices, np.random.default_rng(0)),
    ):
        decoded = decode(images)
        factors = data.factors(np.arange(15).repeat(len(decoded) // 15))
        assert (decoded[:, [3, 0]] == factors).all()
    counts = np.array([np.bincount(row, minlength=4) for row in decoded[:, 1].reshape(15, 400)])
    assert (abs(counts - 100) < 45).all()  # 5 standard deviations
    assert len(np.unique(decode(data.images(np.arange(15)))[:, 1])) > 1
    assert (data.images([3, 3])[0] == data.images([3])[0]).all()
    assert not Coded((3, 1, 1)).only("a").stochastic
    with pytest.raises(ValueError, match=r"'coded' needs different names from a, b, c, d. Got 'z"):
        Coded().only("z")
    with pytest.raises(ValueError, match="Got none"):
        Coded().only()


def test_split_parts_are_disjoint_and_complete():
    data = Coded()
    train, test = data.split(0.25, seed=3)
    assert (len(train), len(test)) == (45, 15)
    rows = np.concatenate([decode(part.images(np.arange(len(part)))) for part in (train, test)])
    assert (data.indices(rows[np.lexsort(rows.T[::-1])]) == np.arange(60)).all()
    assert (train.factors([0, 5]) == decode(train.images([0, 5]))).all()
    assert (data.split(0.25, seed=3)[1].indices == test.indices).all()
    assert (data.split(0.25, seed=4)[1].indices != test.indices).any()
    for proportion in (0, 1, -0.5, 0.001, 0.999, float("nan")):
        with pytest.raises(ValueError, match="`test` needs a proportion between 0 and 1"):
            data.split(proportion)


def test_hold_out_by_value_gives_two_grids():
    train, test = Coded().hold_out({"b": [3, 1]})
    assert (train.factor_sizes, test.factor_sizes) == ((3, 2, 1, 5), (3, 2, 1, 5))
    assert set(decode(train.images(np.arange(len(train))))[:, 1]) == {0, 2}
    assert set(decode(test.images(np.arange(len(test))))[:, 1]) == {1, 3}
    assert set(test.labels(np.arange(len(test)))[:, 1]) == {1, 3}


def test_hold_out_by_combination():
    train, test = Coded().hold_out({"a": [0], "d": [1, 2]})
    assert (len(train), len(test)) == (52, 8)
    assert isinstance(test, GroundTruth)
    assert not isinstance(train, GroundTruth)
    for part, held_out in ((train, False), (test, True)):
        decoded = decode(part.images(np.arange(len(part))))
        assert (((decoded[:, 0] == 0) & np.isin(decoded[:, 3], [1, 2])) == held_out).all()
    # Training shows each step, but not their combination.
    assert set(decode(train.images(np.arange(52)))[:, 0]) == {0, 1, 2}
    for wrong, message in (
        ({}, "at least one factor"),
        ({"z": [0]}, "names from a, b, c, d"),
        ({"a": [0, 1, 2]}, "all steps of 'a' leaves no training images"),
        ({"a": [0, 1, 2], "c": [0]}, "leaves no training images"),
        ({"a": [3]}, "steps from 0 to 2. Got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            Coded().hold_out(wrong)


def test_hold_out_without_a_grid():
    data = labeled(
        np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((4, 4), "u1"),
        {
            "who": ["ann", "bob", "ann"],
            "hat": [1, 1, 1],
        },
    )
    train, test = data.hold_out({"who": ["bob"]})
    assert train.images([0, 1])[:, 0, 0, 0].tolist() == [0, 2]
    assert test.images([0])[0, 0, 0, 0] == 1
    assert train.only("hat").factors([0]).tolist() == [[0]]


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_correlated_samples_follow_the_formula(sigma):
    data = Coded((3, 4, 1, 5)).correlated({("a", "d"): sigma})
    factors = data.factors(data.sample(60_000, np.random.default_rng(0)))
    counts = np.zeros((3, 5))
    np.add.at(counts, (factors[:, 0], factors[:, 3]), 1)
    expected = np.array(
        [[np.exp(-((i / 2 - j / 4) ** 2) / (2 * sigma**2)) for j in range(5)] for i in range(3)]
    )
    expected *= 60_000 / expected.sum()
    assert (abs(counts - expected) <= 5 * np.sqrt(expected) + 1).all()
    assert np.bincount(factors[:, 1]) == pytest.approx([15_000] * 4, rel=0.05)
    independent = data.sample_factors(60_000, np.random.default_rng(0))
    assert abs(np.corrcoef(independent[:, 0], independent[:, 3])[0, 1]) < 0.02
    batch = decode(data.batches(5000, seed=1).at(0))
    assert (np.corrcoef(batch[:, 0], batch[:, 3])[0, 1] > 0.7) == (sigma == 0.1)


def test_several_correlations_are_multiplied():
    data = Coded((3, 3, 3)).correlated({("a", "b"): 0.2, ("b", "c"): 0.4})
    steps = np.arange(3) / 2
    one = np.exp(-((steps[:, None] - steps) ** 2) / (2 * 0.2**2))
    two = np.exp(-((steps[:, None] - steps) ** 2) / (2 * 0.4**2))
    expected = one[:, :, None] * two[None]
    assert data.probabilities == pytest.approx(expected / expected.sum())


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({}, "at least one pair"),
        ({("a", "z"): 0.1}, "names from a, b, c, d. Got 'a', 'z'"),
        ({("a", "a"): 0.1}, r"pairs of two factors. Got \('a', 'a'\)"),
        ({"ab": 0.1}, "pairs of two factors. Got 'ab'"),
        ({("a", "b"): 0}, "numbers above 0. Got 0"),
        ({("a", "b"): float("nan")}, "numbers above 0. Got nan"),
    ],
)
def test_wrong_correlations(strengths, message):
    with pytest.raises(ValueError, match=message):
        Coded().correlated(strengths)


def test_concatenation():
    grid, other = Coded(), Images(np.full((3, 4, 5), 99, np.uint8), "nines")
    both = Concatenation([other, grid])
    assert (len(both), both.name, both.factor_names) == (63, "nines + coded", ())
    assert both.images([62, 0, 3])[:, 0, 0, 0].tolist() == [2, 99, 0]
    with pytest.raises(ValueError, match="without labels"):
        both.factors([0])
    twice = Concatenation([grid, grid])
    assert (twice.factors([61]) == grid.factors([1])).all()
    for wrong in ([], [grid, Sprites(32)]):
        with pytest.raises(ValueError, match="`parts` needs"):
            Concatenation(wrong)


def test_resized_and_channels():
    bright = Images(np.full((2, 6, 8, 3), (200, 100, 50), np.uint8))
    gray = bright.with_channels(1)
    assert (gray.images([1]) == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    small = bright.resized(4)
    assert small.image_shape == (4, 4, 3)
    assert (small.images([0]) == (200, 100, 50)).all()
    assert bright.with_channels(3) is bright
    assert Sprites(32).resized(32).image_shape == (32, 32, 1)
    assert Sprites(32).resized((16, 24)).images([0, 5]).shape == (2, 16, 24, 1)
    big = Sprites().resized(32)
    mean = Sprites().images([99_999])[0, ..., 0].reshape(32, 2, 32, 2).mean((1, 3))
    assert abs(big.images([99_999])[0, ..., 0] - mean).mean() < 4  # Hamming against block means
    with pytest.raises(ValueError, match="`size` must be an integer"):
        bright.resized(0)
    with pytest.raises(ValueError, match="`channels` is 1"):
        bright.with_channels(2)


def test_random_colors_noise_and_pictures():
    sprites = Sprites(32)
    indices = np.arange(0, len(sprites), 7001)
    masks = sprites.images(indices)[..., 0] > 0
    rng = np.random.default_rng(0)
    color = transform_images(sprites, pixels.RandomColor(), "color_sprites")
    for images in (color.images(indices), color.observations(indices, rng)):
        assert (images[~masks] == 0).all()
        per_image = np.array([i[m][0] for i, m in zip(images, masks, strict=True)])
        assert all((i[m] == c).all() for i, m, c in zip(images, masks, per_image, strict=True))
        assert per_image.min() >= 127
        assert per_image.mean() == pytest.approx(191, abs=8)
        assert per_image.std() == pytest.approx(255 / 4 / np.sqrt(3), rel=0.15)
    assert (color.images(indices[:3]) == color.images(indices)[:3]).all()
    assert (color.observations(indices, rng) != color.observations(indices, rng)).any()

    noisy = transform_images(sprites, pixels.NoisyBackground()).images(indices)
    assert (noisy[masks] == 255).all()
    assert noisy[~masks].mean() == pytest.approx(127.5, abs=0.5)
    assert len(np.unique(noisy[~masks][:, 0])) == 256

    picture = np.random.default_rng(1).integers(256, size=(40, 50, 3), dtype=np.uint8)
    transform = pixels.PictureBackground(picture)
    uniforms = np.array([[0, 0, 0, 0.5, 1], [0.999, 0.999, 1, 1, 1]])
    transformed = transform(sprites.images(indices[:2]), uniforms).astype(float)
    for image, mask, corner, mix in zip(
        transformed, masks, ((0, 0), (8, 18)), uniforms[:, 2:], strict=False
    ):
        crop = picture[corner[0] :, corner[1] :][:32, :32]
        mixed = (crop + 255 * mix) / 2
        expected = np.where(mask[..., None], 255 - mixed, mixed)
        assert abs(image - expected).max() <= 0.5
    scream = transform_images(sprites, pixels.PictureBackground())
    assert scream.images([0]).std() > 10


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((40, 40), np.uint8), r"uint8 \(height, width, 3\). Got uint8 \(40, 40\)"),
        (np.zeros((40, 40, 3)), "Got float64"),
        (np.zeros((40, 31, 3), np.uint8), "at least 32 x 32 pixels, as the images. Got 40 x 31"),
    ],
)
def test_wrong_pictures(picture, message):
    with pytest.raises(ValueError, match=message):
        transform_images(Sprites(32), pixels.PictureBackground(picture))


def test_images_without_labels():
    data = Images(np.zeros((4, 4, 4)))
    assert isinstance(data, ImageSource)
    assert (data.factor_names, data.factor_sizes, data.factor_kinds) == ((), (), ())
    with pytest.raises(ValueError, match="'images' has images without labels"):
        data.batches(2, labels=True)
    with pytest.raises(ValueError, match="its factors, but it has none"):
        data.hold_out({"a": [0]})
