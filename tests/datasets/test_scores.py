"""Scores of data sets that are not a grid, or that have nuisance factors."""

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent.datasets import Images, Sprites, labeled, pixels, transform_images


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


@pytest.mark.parametrize("name", ["factor_vae_score", "beta_vae_score", "irs", "z_max", "fairness"])
def test_scores_that_need_a_grid(name):
    reason = f"'{name}' need.* 'spots' has labels, but no grid"
    with pytest.raises(ValueError, match=reason):
        metrics.evaluate(means, spots(np.arange(60)), [name])
    with pytest.warns(UserWarning, match=f"'{name}' has no score: {reason}"):
        scores = metrics.evaluate(means, spots(np.arange(60)), ["mig", name])
    assert list(scores) == ["mig"]
    assert "no grid" in scores.failures[name]
    with pytest.raises(ValueError, match="must be labeled"):
        metrics.evaluate(means, Images(np.zeros((9, 4, 4))), [name])


def test_applicable_scores():
    names = ("mig", "factor_vae_score")
    assert metrics.applicable(names, Sprites(32)) == names
    assert metrics.applicable(names, spots(np.arange(60))) == ("mig",)
    assert metrics.applicable(names, Images(np.zeros((9, 4, 4)))) == metrics.LABEL_FREE


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
