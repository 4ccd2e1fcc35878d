"""Example images of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_disent.datasets.ground_truth import GroundTruth


def example_images(data: Any, n: int = 256) -> np.ndarray:
    """Draw the images that pictures show and that order the latents; always the same ones.

    The first is the one in the middle of the set, which on a grid has every factor at its middle.
    """
    return data.images(example_indices(data, n))


def example_indices(data: Any, n: int = 256) -> np.ndarray:
    """Return which images `example_images` draws."""
    random_indices = np.random.default_rng(0).integers(len(data), size=n - 1)
    if isinstance(data, GroundTruth):
        (middle,) = data.indices(np.asarray(data.factor_sizes)[None] // 2)
    else:
        middle = 0
    return np.concatenate([[middle], random_indices])
