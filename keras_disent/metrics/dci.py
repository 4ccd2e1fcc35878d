"""DCI: disentanglement, completeness and informativeness."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent.metrics.checks import (
    Continuous,
    check_counts,
    factors_that_vary,
    train_and_test,
)
from keras_disent.metrics.predictors import (
    TREES,
    Fit,
    check_predictor,
    fit_predictors,
    train_and_test_accuracy,
)
from keras_disent.metrics.results import Result, keeps_names

Matrix = NDArray[np.float64]


class Arrays(NamedTuple):
    """Training and test samples of the factors with more than one value."""

    codes: NDArray[Any]
    factors: NDArray[Any]
    test_codes: NDArray[Any]
    test_factors: NDArray[Any]
    continuous: NDArray[np.bool_]


class DCI(Result):
    """Scores from 0 to 1; `float()` of them is `disentanglement`.

    Attributes:
        disentanglement: Degree to which each latent is important for one factor only; mean over
            latents, weighted by importance.
        completeness: Degree to which one latent alone is important for each factor.
        informativeness_train: Accuracy of the predictors on the training samples, mean over
            factors; R² (at least 0) for a continuous factor.
        informativeness_test: The same on the test samples.
        importance: float64 `(latents, factors used)`; each column sums to 1.
        factors_used: Numbers of the factors with more than one value; others are skipped.
        predictor: Name of the predictors.
    """

    axes = {"importance": ("latents", "factors_used")}

    disentanglement: float
    completeness: float
    informativeness_train: float
    informativeness_test: float
    importance: Matrix
    factors_used: tuple[int, ...]
    predictor: str

    def __float__(self) -> float:
        return self.disentanglement


@keeps_names
def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str = "boosting",
    continuous: Continuous = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> DCI:
    """Score whether each latent serves one factor only, and each factor needs one latent only.

    Gradient-boosted trees are fitted from all latents to each factor. Their feature importances
    form a matrix, and the entropies of its rows and columns give the scores. Eastwood & Williams
    (2018), "A Framework for the Quantitative Evaluation of Disentangled Representations", section
    2; with the predictors, and accuracy in place of error, of Locatello et al. (2019),
    "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations".
    Continuous factors have regression trees instead, as all factors have in Eastwood & Williams.

    Factors with a single value are skipped. A constant latent has no importance: it leaves
    disentanglement as it is, but counts as a latent in the entropies of completeness. Copies of a
    latent share its importance, which lowers completeness.

    Args:
        codes: Floats `(samples, latents)`, at least two latents. They are rounded to float32.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        test: Codes and factors that test the predictors; default, a third of the rows, which are
            then not used for fitting.
        predictor: "boosting" for `BoostedTrees` or `BoostedRegression`. "exact_boosting" for
            scikit-learn's `GradientBoostingClassifier` or `GradientBoostingRegressor`: about 20
            times slower, and values closer than 1e-7 are equal, so that scale can matter. Their
            scores differ by less than 0.01 as a rule, up to 0.02. "coarse_boosting" for trees on
            at most 64 bins of each latent: about 3 times faster, with scores that differ by up to
            0.05. Bootstrap intervals of "boosting" have the spread of these.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of the split. "exact_boosting" also draws between equally good latents.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        1 in disentanglement and completeness if latents and factors correspond one to one.
        Uninformative codes have values near 0, and a test accuracy of chance.

    Raises:
        ValueError: For malformed arrays, fewer than two latents or two factors that vary, an
            unknown predictor or fewer than one job.

    Example:
        >>> factors = np.indices((4, 5, 3)).reshape(3, -1).T
        >>> result = dci(factors.astype("float32"), factors, test=(factors, factors))
        >>> round(float(result), 6), round(result.completeness, 6), result.informativeness_test
        (1.0, 1.0, 1.0)
        >>> twice = dci(factors[:, [0, 0, 1, 2]], factors)
        >>> round(twice.disentanglement, 6), round(twice.completeness, 6)
        (1.0, 0.833333)
    """
    check_predictor(predictor, TREES)
    check_counts(1, n_jobs=n_jobs)
    arrays, used = prepare(codes, factors, test, seed, continuous, "DCI")
    models = fit_factors(predictor, arrays, seed, n_jobs)
    importance = np.stack([model.feature_importances_ for model in models], axis=1)
    accuracies = [
        train_and_test_accuracy(model, arrays.codes, labels, arrays.test_codes, *rest)
        for model, labels, *rest in zip(
            models, arrays.factors.T, arrays.test_factors.T, arrays.continuous, strict=True
        )
    ]
    train_accuracy, test_accuracy = np.mean(accuracies, axis=0).tolist()
    return DCI(
        disentanglement(importance)[0],
        completeness(importance)[0],
        train_accuracy,
        test_accuracy,
        importance,
        used,
        predictor,
    )


def disentanglement(importance: ArrayLike) -> tuple[float, Matrix]:
    """Score how concentrated each row of a matrix `(latents, factors)` is on one entry.

    For each latent, 1 minus the entropy of its importance over factors, divided by the entropy of
    equal importance; then the mean, weighted by the sum of each row.

    Args:
        importance: Non-negative numbers, at least two factors.

    Returns:
        The score, and that of each latent, float64 `(latents,)`, from 0 to 1. A row of zeros
        scores 0 with weight 0; if all rows are zero, the score is 0.

    Raises:
        ValueError: For fewer than two factors, or a matrix that is not finite and non-negative.

    Example:
        >>> score, per_latent = disentanglement([[3, 0], [1, 1], [0, 0]])
        >>> round(score, 6), per_latent.round(6)
        (0.6, array([1., 0., 0.]))
    """
    return _row_concentration(
        to_numpy(importance, "`importance`").astype(np.float64), "Disentanglement", "factors"
    )


def completeness(importance: ArrayLike) -> tuple[float, Matrix]:
    """Score how concentrated each column of a matrix `(latents, factors)` is on one entry.

    As `disentanglement`, with the roles of latents and factors exchanged.

    Example:
        >>> score, per_factor = completeness([[3, 1], [0, 1]])
        >>> round(score, 6), per_factor.round(6)
        (0.6, array([1., 0.]))
    """
    return _row_concentration(
        to_numpy(importance, "`importance`").astype(np.float64).T, "Completeness", "latents"
    )


def _row_concentration(matrix: Matrix, score: str, columns: str) -> tuple[float, Matrix]:
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise ValueError(
            f"{score} takes a matrix (latents, factors) with at least 2 {columns}. "
            f"Got {matrix.shape[1] if matrix.ndim == 2 else f'{matrix.ndim} axes'}."
        )
    if not (np.isfinite(matrix).all() and np.all(matrix >= 0)):
        raise ValueError(f"{score} needs finite importance of at least 0. Got {matrix.min()}.")
    proportions = matrix + 1e-11  # as in the published code; a row of zeros becomes uniform
    proportions /= proportions.sum(axis=1, keepdims=True)
    per_row = 1 + np.sum(proportions * np.log(proportions), axis=1) / np.log(matrix.shape[1])
    weights = matrix.sum(axis=1) if matrix.any() else np.ones(len(matrix))
    return float(np.sum(per_row * weights) / weights.sum()), per_row


def prepare(
    codes: ArrayLike,
    factors: ArrayLike,
    test: tuple[ArrayLike, ArrayLike] | None,
    seed: int,
    continuous: Continuous,
    metric: str,
) -> tuple[Arrays, tuple[int, ...]]:
    """Validate and split the data; return the varying factors and their numbers."""
    codes, factors, test_codes, test_factors, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    used = factors_that_vary(factors, metric)
    if codes.shape[1] < 2 or len(used) < 2:
        raise ValueError(
            f"{metric} compares latents, and factors, so there must be at least 2 latents and 2 "
            f"factors that vary. Got {codes.shape[1]} and {len(used)}."
        )
    arrays = Arrays(codes, factors[:, used], test_codes, test_factors[:, used], mask[used])
    return arrays, tuple(used.tolist())


def fit_factors(predictor: str, arrays: Arrays, seed: int, n_jobs: int) -> list[Any]:
    """Fit a predictor to each factor."""
    fits = [
        Fit(predictor, arrays.codes, labels, seed, is_continuous)
        for labels, is_continuous in zip(arrays.factors.T, arrays.continuous, strict=True)
    ]
    return fit_predictors(fits, n_jobs)
