"""Fairness: whether predictions of one factor depend on a sensitive factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent.metrics.checks import check_counts, check_labeled
from keras_disent.metrics.encoding import Encoder, GroundTruth, codes_by_index
from keras_disent.metrics.predictors import Fit, check_predictor, fit_predictors
from keras_disent.metrics.results import Result
from keras_disent.metrics.sampling import factors_of, generator, sample_factors

Matrix = NDArray[np.float64]


class Fairness(Result):
    """Unfairness by predicted and sensitive factor; `float()` is the mean of `mean`.

    Attributes:
        mean: Dependence of the predictions of the row's factor on the column's factor: total
            variation, mean over values of the latter, `(factors, factors)`; 0 on the diagonal.
        max: The same, maximum over those values.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {
        "mean": ("factors_used", "factors_used"),
        "max": ("factors_used", "factors_used"),
    }

    mean: Matrix
    max: Matrix
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return float(_others(self.mean).mean())

    def as_dict(self) -> dict[str, float]:
        """Return all entries, and their means and maxima over predicted and sensitive factors.

        Keys are those of disentanglement_lib, such as `mean_fairness:pred0:sens2`, or
        `max_fairness:mean_pred:max_sens` for the mean over predicted factors of the maximum over
        sensitive ones.
        """
        matrices = {"mean_fairness": self.mean, "max_fairness": self.max}
        return {
            f"{name}:{key}": value
            for name, matrix in matrices.items()
            for key, value in _summary(matrix, self.factors_used).items()
        }


def fairness(
    encoder: Encoder,
    data: GroundTruth,
    *,
    train_samples: int = 10_000,
    test_samples: int = 100,
    predictor: str = "boosting",
    seed: int = 0,
    legacy_stream: bool = False,
    n_jobs: int = 1,
) -> Fairness:
    """Score how much predictions of a factor depend on a sensitive factor (unfairness).

    A classifier is fitted to one factor. Then images are drawn, and another factor, the sensitive
    one, is set to each of its values. The predictions for each value are compared with those for
    all values, by total variation. This is done for each pair of a predicted and a sensitive
    factor. Locatello et al. (2019), "On the Fairness of Disentangled Representations",
    section 3.

    Factors of size 1 are neither predicted nor sensitive. Constant codes are fair. Codes of noise
    score slightly above 0, because `test_samples` is finite.

    Args:
        encoder: Deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`). Each image
            may be encoded only once if that saves work.
        data: Ground-truth data set.
        train_samples: Number of training images.
        test_samples: Number of images drawn for each pair of factors.
        predictor: "boosting", "exact_boosting" (that of scikit-learn, about 20 times slower) or
            "logistic".
        seed: Random seed of all draws.
        legacy_stream: Draw as disentanglement_lib does from `numpy.random.RandomState(seed)`.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        Unfairness from 0, if no prediction depends on a sensitive factor, to at most 1.

    Raises:
        ValueError: For numbers below 1, an unknown predictor, unlabeled data, fewer than two
            factors that vary, or an encoder that does not return one row of finite codes per
            image.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> one, four = [0], range(0, 32, 8)
        >>> subset = {"shape": one, "scale": one, "orientation": one}
        >>> data = Sprites(32).subgrid({**subset, "position_x": four, "position_y": four})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> float(fairness(center, data, train_samples=200))
        0.0
    """
    check_labeled(data, "fairness")
    check_predictor(predictor)
    check_counts(1, train_samples=train_samples, test_samples=test_samples, n_jobs=n_jobs)
    sizes = np.asarray(data.factor_sizes)
    used = np.flatnonzero(sizes > 1)
    if used.size < 2:
        raise ValueError(
            "'fairness' predicts one factor with another as sensitive, so it needs two with "
            f"more than one value. Got `factor_sizes` {tuple(data.factor_sizes)}."
        )
    random = generator(seed, legacy_stream)
    planned = train_samples + int(sizes[used].sum()) * (used.size - 1) * test_samples
    codes_of = codes_by_index(encoder, data, planned)
    factors = sample_factors(data, train_samples, random)
    codes = codes_of(data.indices(factors))
    models = fit_predictors([Fit(predictor, codes, factors[:, i], seed) for i in used], n_jobs)
    pairs = [(i, j) for i in range(used.size) for j in range(used.size) if i != j]
    samples = {pair: factors_of(data, test_samples, random) for pair in pairs}

    mean, worst = np.zeros((2, used.size, used.size))
    for j, sensitive in enumerate(used):
        values = np.arange(sizes[sensitive])
        targets = [i for i in range(used.size) if i != j]
        # All values for all targets go to the encoder together: (targets, values, samples).
        grid = np.stack([np.repeat(samples[i, j][None], len(values), axis=0) for i in targets])
        grid[..., sensitive] = values[:, None]
        codes = codes_of(data.indices(grid.reshape(-1, grid.shape[-1])))
        for i, part in zip(targets, np.split(codes, len(targets)), strict=True):
            predicted = models[i].predict(part) * len(values) + np.repeat(values, test_samples)
            counts = np.bincount(predicted, minlength=sizes[used[i]] * len(values))
            mean[i, j], worst[i, j] = inter_group_fairness(counts.reshape(-1, len(values)))
    return Fairness(mean, worst, tuple(used.tolist()))


def inter_group_fairness(counts: ArrayLike) -> tuple[float, float]:
    """Return mean and maximum total variation between predictions of each group and of all groups.

    Total variation is half the sum of absolute differences of relative frequencies. The mean is
    weighted by the size of the groups. Empty groups are left out.

    Args:
        counts: Number of predictions of each value in each group, `(values, groups)`.

    Raises:
        ValueError: Unless there are two axes, no negative entries, and a positive one.

    Example:
        >>> inter_group_fairness([[3, 1], [1, 3]])
        (0.25, 0.25)
    """
    counts = to_numpy(counts, "`counts`").astype(np.float64)
    if counts.ndim != 2 or not counts.sum() > 0 or counts.min() < 0:
        raise ValueError(
            "`counts` must have two axes, (values, groups), no negative entry, and a positive "
            f"one. Got {counts.tolist()}."
        )
    size = counts.sum(axis=0)
    counts, size = counts[:, size > 0], size[size > 0]
    overall = counts.sum(axis=1, keepdims=True) / size.sum()
    variation = np.abs(counts / size - overall).sum(axis=0) / 2
    return float(variation @ size / size.sum()), float(variation.max())


def _others(matrix: Matrix) -> Matrix:
    """Return the rows without their diagonal entries."""
    return matrix[~np.eye(len(matrix), dtype=bool)].reshape(len(matrix), -1)


def _summary(matrix: Matrix, numbers: tuple[int, ...]) -> dict[str, float]:
    """Return all entries, means and maxima of one matrix by name."""
    reductions: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max}
    result = {
        f"pred{target}:sens{sensitive}": matrix[i, j]
        for i, target in enumerate(numbers)
        for j, sensitive in enumerate(numbers)
        if i != j
    }
    for side, other, rows in (("pred", "sens", matrix), ("sens", "pred", matrix.T)):
        for inner, reduce in reductions.items():
            parts = reduce(_others(rows), axis=1)
            for number, part in zip(numbers, parts, strict=True):
                result[f"{side}{number}:{inner}_{other}"] = part
            for outer, reduce_parts in reductions.items():
                result[f"{outer}_{side}:{inner}_{other}"] = reduce_parts(parts)
    return {key: float(value) for key, value in result.items()}
