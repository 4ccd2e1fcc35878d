"""Images in arrays, with and without labels."""

import numpy as np
import pytest

from keras_disent.datasets import GroundTruth, Images, labeled


def test_images_from_bytes_and_floats():
    pixels = np.random.default_rng(0).integers(256, size=(7, 4, 6), dtype=np.uint8)
    for source in (pixels, pixels[..., None], pixels / 255, (pixels / 255).astype("f4")):
        data = Images(source)
        assert (len(data), data.image_shape) == (7, (4, 6, 1))
        assert (data.images([3, 0])[..., 0] == pixels[[3, 0]]).all()
        assert data.images([3]).dtype == np.uint8
    data.images([0])[:] = 0
    assert (data.images([0])[..., 0] == pixels[0]).all()
    with pytest.raises(IndexError, match=r"from 0 to 6. Got 7"):
        data.images([7])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((4, 4)), ValueError, r"needs the shape .* Got \(4, 4\)"),
        (np.zeros((0, 4, 4)), ValueError, "at least one pixel"),
        (np.zeros((2, 4, 4), int), TypeError, r"uint8, .* Got int64: pass pixel_range=\(black"),
        (np.zeros((2, 4, 4), complex), TypeError, "needs numbers. Got complex128"),
        (np.full((2, 4, 4), np.nan), ValueError, "without NaN. Got values from nan to nan"),
        (np.full((2, 4, 4), 255.0), ValueError, "Got values from 255.0 to 255.0"),
        (np.full((2, 4, 4), -0.5), ValueError, "Got values from -0.5 to -0.5"),
    ],
)
def test_wrong_images(images, error, message):
    with pytest.raises(error, match=message):
        Images(images)


def test_labels_that_cover_a_grid():
    rng = np.random.default_rng(0)
    order = rng.permutation(12)
    values = np.stack(np.unravel_index(order, (3, 4)), 1)
    pixels = (10 * values[:, 0] + values[:, 1]).astype(np.uint8)[:, None, None] * np.ones(
        (4, 4), np.uint8
    )
    shapes = np.array(["a", "b", "c"])
    data = labeled(pixels, {"shape": shapes[values[:, 0]], "size": 0.5 * values[:, 1]}, "grid")
    assert isinstance(data, GroundTruth)
    assert (data.name, data.factor_names, data.factor_sizes) == ("grid", ("shape", "size"), (3, 4))
    assert data.factor_values["shape"].tolist() == ["a", "b", "c"]
    assert data.factor_values["size"].tolist() == [0, 0.5, 1, 1.5]
    assert data.factor_kinds == ("categorical", "ordinal")
    factors = data.factors(np.arange(12))
    assert (data.observe(factors)[:, 0, 0, 0] == 10 * factors[:, 0] + factors[:, 1]).all()


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 3, 3]])
def test_labels_that_cover_no_grid(rows):
    values = np.stack(np.unravel_index(rows, (2, 2)), 1)
    pixels = np.arange(len(rows), dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    data = labeled(pixels, {"a": values[:, 0], "b": values[:, 1]})
    assert not isinstance(data, GroundTruth)
    assert (data.factors(np.arange(len(rows))) == values).all()
    assert (data.images([len(rows) - 1]) == len(rows) - 1).all()
    images, labels = data.batches(3, labels=True).at(0)
    assert labels.dtype == np.int32
    assert (values[images[:, 0, 0, 0]] == labels).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "at least one factor"),
        ({"a": [1]}, r"'a' needs one label for each of the 2 images. Got shape \(1,\)"),
        ({"a": [np.nan, None]}, "'a' needs a label for at least one image. Got none"),
        ({"a": [1, "x"]}, "'a' needs labels of one type: .* Got 'x' in row 1"),
        ({"a": [1, 2**80]}, "'a' needs integers of at most 64 bits"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        labeled(np.zeros((2, 4, 4)), labels)


def test_kinds_of_labels():
    rng = np.random.default_rng(0)
    n = 60
    labels = {
        "angle": rng.uniform(0, 90, n),
        "tenths": rng.integers(9, size=n) / 10,  # few values
        "repeated": np.round(rng.uniform(0, 9, n), 1),
        "count": rng.integers(1000, size=n),
        "whole": rng.integers(1000, size=n).astype(float),
        "name": [f"n{i}" for i in range(n)],
        "light": np.full(n, 0.3),
    }
    data = labeled(np.zeros((n, 4, 4)), labels)
    expected = ("continuous", "ordinal", "continuous", "ordinal", "ordinal", "categorical")
    assert data.factor_kinds == (*expected, "constant")
    assert data.factor_sizes[0] == n  # steps are ranks
    values = data.factor_values["angle"][data.factors(np.arange(n))[:, 0]]
    np.testing.assert_array_equal(values, labels["angle"])
    kinds = {
        "count": "continuous",
        "angle": "ordinal",
        "tenths": "circular",
        "whole": "categorical",
    }
    custom = labeled(np.zeros((n, 4, 4)), labels, kinds=kinds)
    expected = ("ordinal", "circular", "continuous", "continuous", "categorical", "categorical")
    assert custom.factor_kinds == (*expected, "constant")
    for view in (custom.split(0.5)[0], custom.resized(2)):
        assert view.factor_kinds == custom.factor_kinds
    assert custom.only("count").factor_kinds == ("continuous",)


def test_floats_of_a_grid_are_ordinal():
    steps = np.stack(np.unravel_index(np.arange(75), (25, 3)), 1)
    labels = {"x": steps[:, 0] / 7, "y": steps[:, 1]}
    pixels = np.zeros((75, 4, 4))
    assert labeled(pixels, labels).factor_kinds == ("ordinal", "ordinal")
    grid = labeled(pixels, labels, kinds={"x": "continuous"})
    assert isinstance(grid, GroundTruth)
    assert grid.factor_kinds == ("continuous", "ordinal")
    incomplete = {name: column[:-1] for name, column in labels.items()}
    assert labeled(pixels[:-1], incomplete).factor_kinds == ("continuous", "ordinal")
    single = labeled(pixels[::3], {"x": labels["x"][::3]})
    assert single.factor_kinds == ("continuous",)  # one factor alone is not a grid


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"b": "ordinal"}, "`kinds` needs names from a. Got 'b'"),
        ({"a": "continuous"}, "'a' holds texts, so its kind is categorical. Got 'continuous'"),
    ],
)
def test_wrong_kinds(kinds, message):
    with pytest.raises(ValueError, match=message):
        labeled(np.zeros((2, 4, 4)), {"a": ["x", "y"]}, kinds=kinds)
    with pytest.raises(ValueError, match=r"'a' needs finite numbers.* Got inf in row 1"):
        labeled(np.zeros((2, 4, 4)), {"a": [1.0, np.inf]})
