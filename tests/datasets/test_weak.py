"""Pairs and groups: which factors they share, which differ, and how often."""

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import (
    ChangedPairs,
    Faces,
    Flow,
    Images,
    MatchedGroups,
    Pendulum,
    RankedPairs,
    Scenes3D,
    Sprites,
    open_folder,
)

DATA = {
    "sprites": lambda: Sprites(32),
    "subgrid": lambda: Sprites(32).subgrid({"shape": [0], "scale": [0, 5]}),
    "scenes": Scenes3D,
    "faces": lambda: Faces(32),
    "person": lambda: Faces(32, person=292),
    "pendulum": lambda: Pendulum(32),
    "flow": lambda: Flow(32),
}


@pytest.mark.parametrize("k", [1, 2, None])
@pytest.mark.parametrize("name", DATA)
def test_pairs_differ_in_exactly_k_factors(name, k):
    data = DATA[name]()
    columns = np.flatnonzero(np.array(data.factor_sizes) > 1)
    pairs, differs = ChangedPairs(data, k).sample(10_000, np.random.default_rng(0))
    different = pairs[:, 0] != pairs[:, 1]
    assert (different == differs).all()
    counts = different.sum(1)
    count = len(columns)
    assert (counts == k).all() if k else set(counts) == set(range(1, count))
    assert (data.indices(pairs.reshape(20_000, -1)) < len(data)).all()
    frequency = different[:, columns].mean(0)
    assert frequency == pytest.approx([(k or count / 2) / count] * count, abs=0.03)
    # A factor changes to any other step with the same probability.
    column = columns[-1]
    size = data.factor_sizes[column]
    changed_steps = pairs[different[:, column]][:, :, column]
    steps = np.bincount((changed_steps[:, 1] - changed_steps[:, 0]) % size, minlength=size)
    assert steps[0] == 0
    total = len(changed_steps)
    assert (abs(steps[1:] - total / (size - 1)) < 5.5 * np.sqrt(total / size) + 2).all()


def test_only_listed_factors_change():
    pairs = ChangedPairs(Sprites(32), None, factors=["scale", "position_x", "shape"])
    factors, differs = pairs.sample(1000, np.random.default_rng(0))
    assert not differs[:, [2, 4]].any()
    assert set(differs.sum(1)) == {1, 2}
    assert (factors[:, 0] != factors[:, 1]).any(0).tolist() == [True, True, False, True, False]


def test_images_and_labels_of_pairs():
    data = Sprites(32)
    pairs = ChangedPairs(data, 1, labels=True)
    images, differs = pairs.draw(20, np.random.default_rng(5))
    factors, expected = pairs.sample(20, np.random.default_rng(5))
    assert (differs == expected).all()
    assert (images[:, 1] == data.observe(factors[:, 1])).all()
    batches = pairs.batches(8, seed=1, steps=3)
    assert (batches.at(7)[0] == pairs.draw(8, np.random.default_rng([1, 7]))[0]).all()
    assert ChangedPairs(data).batches(4).at(0).shape == (4, 2, 32, 32, 1)


def test_groups_share_the_listed_factors():
    data = Sprites(32)
    factors, shared = MatchedGroups(data, ["shape", "scale"], size=5).sample(
        2000, np.random.default_rng(0)
    )
    assert factors.shape == (2000, 5, 5)
    assert (shared == [1, 1, 0, 0, 0]).all()
    same = (factors == factors[:, :1]).all(1)
    assert same[:, :2].all()
    assert (same[:, 2:].mean(0) < 0.01).all()
    factors, shared = MatchedGroups(data).sample(2000, np.random.default_rng(0))
    assert (shared.sum(1) == 1).all()
    assert shared.mean(0) == pytest.approx([0.2] * 5, abs=0.05)
    assert (factors[:, 0] == factors[:, 1])[shared == 1].all()


def test_ranks_compare_both_images():
    pairs = RankedPairs(Sprites(32), ["position_x", "scale"])
    factors, higher = pairs.sample(3000, np.random.default_rng(0))
    assert (higher == (factors[:, 0][:, [3, 1]] >= factors[:, 1][:, [3, 1]])).all()
    assert abs(np.corrcoef(factors[:, 0, 3], factors[:, 1, 3])[0, 1]) < 0.06
    assert RankedPairs(Sprites(32)).sample(5, np.random.default_rng(0))[1].shape == (5, 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda d: ChangedPairs(d, 6), ValueError, "`changed` is at most 5, .*. Got 6"),
        (lambda d: ChangedPairs(d, 0), ValueError, "at least 1. Got 0"),
        (lambda d: ChangedPairs(d, 1, factors=["size"]), ValueError, "Got .'size'"),
        (lambda d: ChangedPairs(d, 1, factors="scale"), ValueError, "Got 'scale'"),
        (lambda d: ChangedPairs(d, None, factors=["scale"]), ValueError, "at least two factors"),
        (
            lambda d: ChangedPairs(d.subgrid({"scale": [0]}), 1, factors=["scale"]),
            ValueError,
            "at least two steps. Got 'scale'",
        ),
        (lambda d: MatchedGroups(d, size=1), ValueError, "`size` must be an integer of at least 2"),
        (lambda d: MatchedGroups(d, ["size"]), ValueError, "Got .'size'"),
        (lambda d: RankedPairs(d, ["shape"]), ValueError, "Got 'shape', which is categorical"),
        (lambda d: RankedPairs(d, ["orientation"]), ValueError, "which is circular"),
        (lambda d: ChangedPairs(d.split()[0]), TypeError, "Groups need a GroundTruth.* Got Rows"),
        (lambda d: ChangedPairs(Images(np.zeros((9, 4, 4)))), TypeError, "Got Images 'images'"),
    ],
)
def test_wrong_groups(make, error, message):
    with pytest.raises(error, match=message):
        make(Sprites(32))


def test_batches_know_how_pictures_were_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    for x in range(2):
        for y in range(2):
            Image.new("L", (9, 9), 90 * x + 80 * y + 20).save(tmp_path / f"{x}{y}.png")
    table = {"file": ["00", "01", "10", "11"], "x": [0, 0, 1, 1], "y": [0, 1, 0, 1]}
    data = open_folder(tmp_path, image_size=8, fit="pad", labels=table)
    assert ChangedPairs(data).batches(4).pictures == data.pictures
