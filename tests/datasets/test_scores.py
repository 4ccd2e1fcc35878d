"""Scores of data sets that are not a grid, or that have nuisance factors."""

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent.datasets import Images, Sprites, labeled, pixels, transform_images
from keras_disent.metrics.sampling import group_sampler


def means(images):
    """Encode images of `spots`: the brightness of the left and of the right half."""
    half = images.shape[2] // 2
    return np.stack(
        [images[:, :, :half].mean((1, 2, 3)), images[:, :, half:].mean((1, 2, 3))], 1
    ).astype("float64")


def spots(rows):
    """Make images whose halves have the brightness of two factors, for some rows of their grid."""
    steps = np.stack(np.unravel_index(rows, (8, 8)), 1)
    images = np.zeros((len(rows), 4, 4), np.uint8)
    images[:, :, :2] = 30 * steps[:, :1, None]
    images[:, :, 2:] = 30 * steps[:, 1:, None]
    return labeled(images, {"left": steps[:, 0], "right": steps[:, 1]}, "spots")


def test_scores_of_labels_without_a_grid():
    data = spots(np.arange(60))
    scores = metrics.evaluate(
        means, data, ["mig", "sap", "modularity"], n_samples=2000, n_test_samples=500
    )
    assert scores["mig"] > 0.9
    assert scores["modularity"] > 0.95
    assert scores.settings["mig"]["factors_used"] == ["left", "right"]


@pytest.mark.parametrize("name", ["irs", "strong_downstream", "fairness"])
def test_scores_that_need_a_grid(name):
    reason = (
        f"'{name}' need.* 'spots' has labels, but no grid: 60 of 64 combinations have an image, "
        "and left 7, right 4 has none"
    )
    with pytest.raises(ValueError, match=reason):
        metrics.evaluate(means, spots(np.arange(60)), [name])
    with pytest.warns(UserWarning, match=f"'{name}' has no score: {reason}"):
        scores = metrics.evaluate(means, spots(np.arange(60)), ["mig", name])
    assert list(scores) == ["mig"]
    assert "no grid" in scores.failures[name]
    with pytest.raises(ValueError, match="must be labeled"):
        metrics.evaluate(means, Images(np.zeros((9, 4, 4))), [name])


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"x": [0, 0, 1, 1], "y": [0, 1, 0, 0]}, "3 of 4 combinations have an image, and x 1, y 1"),
        ({"x": [0, 0, 1, 1], "y": [0, None, 0, 1]}, "1 images have no value of 'y'"),
        ({"x": [0, 1] * 30, "y": np.linspace(0, 1, 60)}, "'y' is continuous"),
        ({"x": [0, 1, 0, 1]}, "4 images of 2 combinations"),
        ({f"x{i}": [0] * 9 + [1] for i in range(70)}, "2 of 1,180,591,620,717,411,303,424 comb"),
    ],
)
def test_why_labels_are_no_grid(labels, reason):
    data = labeled(np.zeros((len(next(iter(labels.values()))), 4, 4)), labels)
    with pytest.raises(ValueError, match=f"has labels, but no grid: {reason}"):
        metrics.evaluate(means, data, ["fairness"])


GROUPS = ("beta_vae_score", "factor_vae_score", "z_max")


@pytest.mark.parametrize(
    "view",
    [
        lambda: spots(np.arange(60)),  # holes
        lambda: spots(np.tile(np.arange(64), 2)),  # two images of each combination
        lambda: spots(np.arange(64)).split(0.2)[0],
        lambda: spots(np.arange(64)).hold_out({"left": [1, 2], "right": [3]})[0],
        lambda: spots(np.arange(60)).only("right", "left").resized(2),
    ],
)
def test_groups_are_drawn_from_images_that_exist(view):
    data = view()
    scores = metrics.evaluate(means, data, GROUPS)
    assert dict(scores) == dict.fromkeys(GROUPS, 1.0)
    for name in GROUPS:
        assert scores.settings[name]["factors_used"] == list(data.factor_names)
        assert scores.settings[name]["drawn_from"].endswith("of 64 combinations")

    def mixed(images):
        return means(images) @ np.array([[1, 1], [1, -1]])

    entangled = metrics.evaluate(mixed, data, GROUPS)
    assert max(entangled.values()) < 0.8  # two factors: chance is a half


def test_groups_share_what_they_should():
    rows = np.setdiff1d(np.arange(64), [5, 17, 18, 19, 40])
    data = spots(rows)
    rng = np.random.default_rng(0)
    for others in (False, True):
        sampler = group_sampler(data, "a metric", rng, others=others)
        labels, indices = sampler.groups(500, (2, 7))
        assert indices.shape == (500, 2, 7)
        factors = data.factors(indices.reshape(-1)).reshape(500, 2, 7, 2)
        same = (factors[:, 0] == factors[:, 1]).all(axis=1)  # (groups, factors)
        assert same[np.arange(500), 1 - labels if others else labels].all()
        assert not same[np.arange(500), labels if others else 1 - labels].any()
        assert set(np.unique(indices)) == set(range(59))  # each image has its turn


def test_groups_leave_out_what_images_do_not_share():
    n = 60
    rng = np.random.default_rng(0)
    left, right = rng.integers(4, size=(2, n))
    labels = {
        "name": [f"image {i}" for i in range(n)],
        "left": [None, *left[1:].tolist()],
        "right": right,
        "size": np.linspace(0, 1, n),
    }
    images = np.zeros((n, 4, 4), np.uint8)
    images[:, :, :2], images[:, :, 2:] = 60 * left[:, None, None], 60 * right[:, None, None]
    data = labeled(images, labels)
    scores = metrics.evaluate(means, data, ["factor_vae_score", "beta_vae_score"])
    assert scores.settings["beta_vae_score"]["factors_used"] == ["left", "right"]
    assert scores.settings["factor_vae_score"]["factors_skipped"] == ["name", "size"]
    assert dict(scores) == {"factor_vae_score": 1.0, "beta_vae_score": 1.0}
    with pytest.raises(ValueError, match=r"all factors but one, for two.* images for none of name"):
        metrics.evaluate(means, data, ["z_max"])
    with pytest.raises(ValueError, match=r"for two factors. Got such images for left of name"):
        metrics.evaluate(means, data.only("name", "left"), ["factor_vae_score"])
    with pytest.raises(ValueError, match=r"tell factors apart.* Got size, left"):
        metrics.evaluate(means, data.only("size", "left"), ["factor_vae_score"])
    assert metrics.applicable(GROUPS, data.only("size", "left")) == ("unsupervised",)
    with pytest.raises(ValueError, match="with `legacy_stream` needs a grid"):
        metrics.evaluate(means, data, ["factor_vae_score"], legacy_stream=True)


def test_applicable_scores():
    names = ("mig", "factor_vae_score", "irs")
    assert metrics.applicable(names, Sprites(32)) == names
    assert metrics.applicable(names, spots(np.arange(60))) == names[:2]
    assert metrics.applicable(names, Images(np.zeros((9, 4, 4)))) == ("unsupervised",)


def test_scores_sample_nuisance_factors():
    grid = spots(np.arange(64))
    right_halves = []

    def encoder(images):
        right_halves.append(images[:, 0, -1, 0])
        return means(images)

    settings = {"variance_samples": 500, "train_votes": 200, "eval_votes": 200}
    scores = metrics.evaluate(
        encoder,
        grid.only("left"),
        {"mcc": {}, "factor_vae_score": settings},
        n_samples=2000,
        seed=1,
    )
    assert scores["factor_vae_score"] == 1.0
    counts = np.bincount(np.concatenate(right_halves) // 30, minlength=8)
    assert counts.min() > 0.8 * counts.mean()  # all values of "right" are equally frequent
    assert scores["mcc"] > 0.99


def test_scores_of_noisy_images_depend_on_the_seed_only():
    data = transform_images(
        Sprites(32).subgrid({"shape": [0], "orientation": [0]}), pixels.RandomColor()
    )
    first, second = (metrics.evaluate(means, data, ["mig"], n_samples=500, seed=4) for _ in "12")
    assert first == second
