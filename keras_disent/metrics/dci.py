"""DCI: disentanglement, completeness and informativeness."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import (
    Continuous,
    check_at_least,
    factors_that_vary,
    train_and_test,
)
from keras_disent.metrics.predictors import (
    TREES,
    check_predictor,
    fit_predictor,
    train_and_test_accuracy,
)

Matrix = NDArray[np.float64]


class Arrays(NamedTuple):
    """What predictors are fitted to, and what they are tested on; factors vary, all of them."""

    codes: NDArray[Any]
    factors: NDArray[Any]
    test_codes: NDArray[Any]
    test_factors: NDArray[Any]
    continuous: NDArray[np.bool_]


class DCI(NamedTuple):
    """Scores from 0 to 1; `float()` of them is `disentanglement`.

    Attributes:
        disentanglement: how far each latent is important for one factor only, mean weighted by
            importance.
        completeness: how far one latent alone is important for each factor.
        informativeness_train: accuracy of the predictors (of a continuous factor, R², or 0 if it
            is below), mean over factors, on the samples they were fitted to.
        informativeness_test: the same on the test samples.
        importance: float64 `(latents, factors used)`; each column adds up to 1.
        factors_used: numbers of the factors that vary; others are skipped.
        predictor: Name of the predictors.
    """

    disentanglement: float
    completeness: float
    informativeness_train: float
    informativeness_test: float
    importance: Matrix
    factors_used: tuple[int, ...]
    predictor: str

    def __float__(self) -> float:
        return self.disentanglement


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
    """Score whether each latent matters for one factor only, and each factor needs one latent.

    Gradient-boosted trees are fitted from all latents to each factor. How much each latent
    contributes to them makes a matrix of importance, and its entropies make the scores.
    Eastwood & Williams (2018), "A Framework for the Quantitative Evaluation of Disentangled
    Representations", section 2; with the predictors, and accuracy in place of error, of Locatello
    et al. (2019), "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations". Continuous factors have regression trees instead, as Eastwood & Williams
    have for all.

    Factors with a single value are skipped. A constant latent has no importance: it leaves
    disentanglement as it is, but is one more latent over which completeness could be spread. A
    latent that is there twice has half the importance each time, which costs completeness.

    Args:
        codes: floats `(samples, latents)`, at least two latents. They are rounded to float32.
        factors: numbers `(samples, factors)`, whole unless continuous; at least two that vary.
        test: codes and factors on which to judge the predictors, instead of a third of the rows,
            which are then not used for fitting.
        predictor: "boosting" for `BoostedTrees` or `BoostedRegression`. "exact_boosting" for
            scikit-learn's `GradientBoostingClassifier` or `GradientBoostingRegressor`: about 20
            times slower, and values closer than 1e-7 are equal, so that scale can matter. Their
            scores differ by less than 0.01 as a rule, up to 0.02.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.
        seed: Random seed of the split. "exact_boosting" also draws between equally good latents.
        n_jobs: number of factors to fit at a time, in threads. It does not change the result.

    Returns:
        1 in disentanglement and completeness if latents and factors belong together one by one.
        Codes that know nothing have values near 0, and a test accuracy of chance.

    Raises:
        ValueError: for malformed arrays, fewer than two latents or two factors that vary, an
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
    check_at_least(1, n_jobs=n_jobs)
    arrays, used = prepared(codes, factors, test, seed, continuous, "DCI")
    models = fitted(predictor, arrays, seed, n_jobs)
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
    """Score how far each row of a matrix `(latents, factors)` has one entry only.

    For each latent, 1 minus the entropy of its importance among factors, in units of the entropy
    of equal importance; then the mean, weighted by the sum of each row.

    Args:
        importance: numbers, not negative, at least two factors.

    Returns:
        The score, and that of each latent, float64 `(latents,)`, from 0 to 1. A row of zeros
        scores 0 without weight; if there is nothing else, all scores are 0.

    Raises:
        ValueError: for fewer than two factors, or a matrix that is not finite and non-negative.

    Example:
        >>> score, per_latent = disentanglement([[3, 0], [1, 1], [0, 0]])
        >>> round(score, 6), per_latent.round(6)
        (0.6, array([1., 0., 0.]))
    """
    return _one_entry_a_row(np.asarray(importance, np.float64), "Disentanglement", "factors")


def completeness(importance: ArrayLike) -> tuple[float, Matrix]:
    """Score how far each column of a matrix `(latents, factors)` has one entry only.

    As `disentanglement`, with the roles of latents and factors exchanged.

    Example:
        >>> score, per_factor = completeness([[3, 1], [0, 1]])
        >>> round(score, 6), per_factor.round(6)
        (0.6, array([1., 0.]))
    """
    return _one_entry_a_row(np.asarray(importance, np.float64).T, "Completeness", "latents")


def _one_entry_a_row(matrix: Matrix, score: str, columns: str) -> tuple[float, Matrix]:
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise ValueError(
            f"{score} takes a matrix (latents, factors) with at least 2 {columns}. "
            f"Got {matrix.shape[1] if matrix.ndim == 2 else f'{matrix.ndim} axes'}."
        )
    if not (np.isfinite(matrix).all() and np.all(matrix >= 0)):
        raise ValueError(f"{score} needs finite importance of at least 0. Got {matrix.min()}.")
    shares = matrix + 1e-11  # as is published; a row of zeros comes out even
    shares /= shares.sum(axis=1, keepdims=True)
    per_row = 1 + np.sum(shares * np.log(shares), axis=1) / np.log(matrix.shape[1])
    weights = matrix.sum(axis=1) if matrix.any() else np.ones(len(matrix))
    return float(np.sum(per_row * weights) / weights.sum()), per_row


def prepared(
    codes: ArrayLike,
    factors: ArrayLike,
    test: tuple[ArrayLike, ArrayLike] | None,
    seed: int,
    continuous: Continuous,
    metric: str,
) -> tuple[Arrays, tuple[int, ...]]:
    """Check and split the data; return the factors that vary, and which these are."""
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


def fitted(predictor: str, arrays: Arrays, seed: int, n_jobs: int) -> list[Any]:
    """Fit a predictor to each factor."""
    from joblib import Parallel, delayed

    fit = delayed(fit_predictor)
    fits = (
        fit(predictor, arrays.codes, labels, seed, is_continuous)
        for labels, is_continuous in zip(arrays.factors.T, arrays.continuous, strict=True)
    )
    return list(Parallel(n_jobs=n_jobs, prefer="threads")(fits))
