"""Data sets of TensorFlow Datasets, from a mock of the package."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from support.grids import colors_of, grid_of

from keras_disent.datasets import GroundTruth
from keras_disent.datasets.arrays import LabeledImages
from keras_disent.datasets.published.tfds import from_tfds


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Use an empty cache for every test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(folder))
    return folder


def files_in(cache):
    return sorted(cache.iterdir()) if cache.exists() else []


def assert_error(make, message, cache, error=ValueError):
    with pytest.raises(error, match=message):
        make()
    assert not files_in(cache)


def check_grid(data, sizes):
    """Check the factors of all indices, and the names, kinds and values of the factors."""
    indices = np.arange(len(data))
    assert isinstance(data, GroundTruth)
    assert data.factor_sizes == sizes
    assert (data.factors(indices) == grid_of(sizes)).all()
    assert tuple(data.factor_values) == data.factor_names
    assert tuple(map(len, data.factor_values.values())) == sizes
    assert len(data.factor_kinds) == len(sizes)


def feature(shape=(), dtype=np.int64, names=None):
    return types.SimpleNamespace(shape=shape, np_dtype=dtype, names=names)


class Builder:
    """A mock of a builder of TensorFlow Datasets 4.9, with shuffled examples."""

    def __init__(self, name, folder, features, examples, splits=None):
        self.name, self.data_dir, self._examples = name, str(folder), examples
        count = len(examples["image"])
        parts = {"all": slice(None)} if splits is None else splits
        self._parts = parts
        sizes = {k: len(range(count)[part]) for k, part in parts.items()}
        infos = {k: types.SimpleNamespace(num_examples=n) for k, n in sizes.items()}
        self.info = types.SimpleNamespace(splits=infos, features=features)
        self.reads = 0

    def download_and_prepare(self):
        Path(self.data_dir).mkdir(parents=True)
        (Path(self.data_dir) / "data").write_bytes(b"x")

    def as_dataset(self, split, batch_size, shuffle_files):
        assert not shuffle_files
        self.reads += 1
        count = len(self._examples["image"])
        order = np.random.default_rng(1).permutation(np.arange(count)[self._parts[split]])
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            yield {key: value[rows] for key, value in self._examples.items()}


@pytest.fixture
def tfds(monkeypatch, tmp_path):
    """Replace the package by a mock with the builders that a test adds."""
    module = types.ModuleType("tensorflow_datasets")
    module.builders = {}
    module.builder = lambda name, data_dir: module.builders[name.partition(":")[0]]
    module.as_numpy = iter
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)

    def add(name, features, examples, splits=None):
        builder = Builder(name, tmp_path / name, features, examples, splits)
        builder.download_and_prepare()
        module.builders[name] = builder
        return builder

    module.add = add
    return module


def sprite_examples(sizes=(3, 6, 4, 5, 2)):
    steps = grid_of(sizes)
    names = ["shape", "scale", "orientation", "x_position", "y_position"]
    features = {f"label_{name}": feature() for name in names}
    examples = {f"label_{n}": column for n, column in zip(names, steps.T, strict=True)}
    number = np.arange(len(steps), dtype=">u2").view(np.uint8).reshape(-1, 2)
    examples["image"] = np.unpackbits(number, axis=1).reshape(-1, 4, 4, 1)
    return features | {"image": feature((4, 4, 1), np.uint8)}, examples


def test_tfds_dsprites(tfds, cache):
    features, examples = sprite_examples()
    builder = tfds.add("dsprites", features, examples)
    data = from_tfds("dsprites:2.0.0")
    assert data.factor_names == ("shape", "scale", "orientation", "position_x", "position_y")
    check_grid(data, (3, 6, 4, 5, 2))
    assert (data.images(np.arange(len(data))) == examples["image"] * np.uint8(255)).all()
    assert data.factor_values["scale"].tolist() == np.linspace(0.5, 1, 6).tolist()
    assert data.factor_kinds[2] == "circular"
    reloaded = from_tfds("dsprites")
    assert (reloaded.images([3]) == data.images([3])).all()
    assert builder.reads == 1
    assert len(files_in(cache)) == 1


def test_tfds_with_real_values(tfds):
    steps = grid_of((2, 3, 2, 2, 4, 5))
    names = ["floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"]
    features = {"image": feature((2, 1, 3), np.uint8)}
    examples = {"image": colors_of(len(steps))}
    for name, column in zip(names, steps.T, strict=True):
        features |= {f"label_{name}": feature(), f"value_{name}": feature((), np.float32)}
        examples |= {f"label_{name}": column, f"value_{name}": (column / 8).astype(np.float32)}
    tfds.add("shapes3d", features, examples)
    data = from_tfds("shapes3d")
    check_grid(data, (2, 3, 2, 2, 4, 5))
    assert (data.images(np.arange(len(data))) == colors_of(len(data))).all()
    assert data.factor_values["orientation"].tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert data.factor_values["shape"][3] == "capsule"


def test_tfds_splits(tfds):
    steps = grid_of((5, 4, 3, 2, 2))
    keys = ["label_category", "instance", "label_elevation", "label_azimuth", "label_lighting"]
    features = dict.fromkeys(keys, feature()) | {"image": feature((2, 1, 3), np.uint8)}
    order = np.argsort(steps[:, 1] % 2, kind="stable")  # even instances first
    examples = dict(zip(keys, steps[order].T, strict=True)) | {"image": colors_of(240)[order]}
    splits = {"train": slice(0, 120), "test": slice(120, 240), "all": slice(None)}
    tfds.add("smallnorb", features, examples, splits)
    check_grid(from_tfds("smallnorb"), (5, 4, 3, 2, 2))
    data = from_tfds("smallnorb", "test")
    check_grid(data, (5, 2, 3, 2, 2))
    assert data.factor_values["instance"].tolist() == [1, 3]
    assert data.factor_values["azimuth"].tolist() == [0, 20]
    assert (data.images(np.arange(120)) == colors_of(240)[steps[:, 1] % 2 == 1]).all()


def test_tfds_of_other_builders(tfds):
    steps = grid_of((2, 300))
    features = {
        "image": feature((2, 1, 3), np.uint8),
        "label_side": feature(names=["right", "left"]),
        "label_x": feature(names=[str(i) for i in range(300)]),
        "id": feature((), np.str_),
    }
    examples = {"image": colors_of(600), "label_side": steps[:, 0], "label_x": steps[:, 1]}
    splits = {"all": slice(None), "some": slice(0, 450)}
    tfds.add("sides", features, examples, splits)
    data = from_tfds("sides")
    check_grid(data, (2, 300))
    assert (data.images(np.arange(600)) == colors_of(600)).all()
    assert data.factor_values["side"].tolist() == ["right", "left"]
    assert data.factor_kinds == ("categorical", "ordinal")
    subset = from_tfds("sides", "some")
    assert type(subset) is LabeledImages
    assert (
        subset.factors(np.arange(450))
        == steps[subset.images(np.arange(450))[:, 0, 0] @ [1, 256, 0]]
    ).all()


IMAGE = {"image": feature((4, 4, 1), np.uint8)}
FEATURES, EXAMPLES = sprite_examples()
WRONG_TFDS = [
    ("dsprites", FEATURES, {"image": EXAMPLES["image"] * 255}, "pixels of 0 and 1. Got 255"),
    ("dsprites", IMAGE, {}, "an integer feature 'label_shape'. Got None"),
    ("other", IMAGE, {}, r"integer features 'label_\*'. Got image"),
    ("dsprites", {"label_shape": feature()}, {}, ".* of fixed size. Got label_shape"),
    (
        "dsprites",
        {"image": feature((None, None, 3), np.uint8)},
        {},
        "a uint8 feature 'image' of fixed size. Got .*None",
    ),
    (
        "dsprites",
        FEATURES | {"label_scale": feature((), np.float32)},
        {},
        "an integer feature 'label_scale'",
    ),
]


@pytest.mark.parametrize(("name", "features", "examples", "message"), WRONG_TFDS)
def test_wrong_tfds(tfds, cache, name, features, examples, message):
    tfds.add(name, features, EXAMPLES | examples)
    assert_error(lambda: from_tfds(name), f"'{name}' needs {message}", cache)


def test_tfds_labels_without_a_value(tfds):
    shifted = {"label_shape": EXAMPLES["label_shape"] + 1}
    tfds.add("dsprites", FEATURES, EXAMPLES | shifted)
    with pytest.raises(ValueError, match=r"labels from 0 to 2 in 'label_shape'. Got 1 to 3"):
        from_tfds("dsprites")


def test_tfds_of_wrong_metadata(tfds, cache, monkeypatch):
    builder = tfds.add("dsprites", FEATURES, EXAMPLES)
    for count in (721, 719, 0):
        builder.info.splits["all"].num_examples = count
        assert_error(lambda: from_tfds("dsprites"), f"needs {count or ''} ?examples", cache)
    builder.info.splits.clear()
    message = "Use `download=True`, or run: tfds build dsprites"
    assert_error(lambda: from_tfds("dsprites"), message, cache, FileNotFoundError)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = "pip install tensorflow-datasets"
    assert_error(lambda: from_tfds("dsprites"), message, cache, ImportError)
