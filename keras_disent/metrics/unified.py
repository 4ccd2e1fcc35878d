"""All scores of several matrices that relate latents to factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent._utils.registry import lookup
from keras_disent.metrics.checks import (
    Continuous,
    check_counts,
    factors_that_vary,
    in_bins,
    train_and_test,
)
from keras_disent.metrics.dci import Arrays, completeness, disentanglement, fit_factors
from keras_disent.metrics.mutual_information import discretize, entropy, mutual_information
from keras_disent.metrics.results import Result, keeps_names
from keras_disent.metrics.sap import sap_matrix

Matrix = NDArray[np.float64]


class Aggregates(Result):
    """Scores of one matrix `(latents, factors)`; `float()` is `dci_disentanglement`.

    Attributes:
        dci_disentanglement: Concentration of each latent on one factor, weighted by its sum.
        dci_disentanglement_per_code: The same per latent, `(latents,)`.
        dci_completeness: Concentration of each factor on one latent, weighted by its sum.
        dci_completeness_per_factor: The same per factor, `(factors,)`.
        mig: Mean gap between the two largest entries of a factor, divided by its entropy.
        mig_per_factor: The same per factor, `(factors,)`.
        sap: Mean gap between the two largest entries of a factor.
        sap_per_factor: The same per factor, `(factors,)`.
        modularity: Mean over latents of 1 minus the squares beside the largest entry, relative to
            its square and divided by factors - 1.
        modularity_per_code: The same per latent, `(latents,)`.
        area_precision: Area below the curve of precision against threshold. Precision is the
            number of connected groups of latents and factors, by entries of at least the
            threshold. It is the number of factors while each has latents of its own.
        max_precision: Maximum precision over thresholds.
        merges: Number of entries above the threshold at which two factors become connected, int64
            `(factors, factors)`; 0 on the diagonal. This is the dendrogram of the factors.
    """

    axes = {
        "dci_disentanglement_per_code": ("latents",),
        "dci_completeness_per_factor": ("factors",),
        "mig_per_factor": ("factors",),
        "sap_per_factor": ("factors",),
        "modularity_per_code": ("latents",),
        "merges": ("factors", "factors"),
    }

    dci_disentanglement: float
    dci_disentanglement_per_code: Matrix
    dci_completeness: float
    dci_completeness_per_factor: Matrix
    mig: float
    mig_per_factor: Matrix
    sap: float
    sap_per_factor: Matrix
    modularity: float
    modularity_per_code: Matrix
    area_precision: float
    max_precision: int
    merges: NDArray[np.int64]

    def __float__(self) -> float:
        return self.dci_disentanglement


class UnifiedScores(Result):
    """Scores by matrix name; `float()` is the DCI disentanglement of the first matrix.

    Attributes:
        scores: `Aggregates` by matrix name.
        factors_used: Numbers of the factors with more than one value.
    """

    scores: dict[str, Aggregates]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return float(next(iter(self.scores.values())))


@keeps_names
def unified_scores(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    matrices: Sequence[str] = ("importance", "mutual_information", "accuracy"),
    bins: int = 20,
    continuous: Continuous = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> UnifiedScores:
    """Compute all scores of several matrices that relate latents to factors.

    A disentanglement score is a matrix and an aggregation of it. Combining all matrices with all
    aggregations shows which of the two makes scores disagree. Locatello et al. (2020), "A Sober
    Look at the Unsupervised Learning of Disentangled Representations and their Evaluation", section
    6.

    Factors with a single value are skipped. A constant latent has a row of zeros, except in
    "accuracy", where it has the frequency of one value. "accuracy" also depends on the scale of
    latents. Duplicates of a latent divide its importance, and make the gaps of its factor 0.

    Args:
        codes: Floats `(samples, latents)`, at least two latents.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        test: Codes and factors that test the classifiers; default, a third of the rows, which are
            then not used for fitting.
        matrices: "importance" for boosted trees, as in DCI; "mutual_information", as in MIG; or
            "accuracy" of one latent alone, as in SAP.
        bins: Number of equal-width bins for each latent in "mutual_information", and for each
            continuous factor there and in the entropies of MIG.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of the split.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        `Aggregates` for each matrix, most of them 1 at best; SAP and area depend on the matrix.
        Uninformative codes have a DCI disentanglement near 0.

    Raises:
        ValueError: For malformed arrays, fewer than two latents, bins or factors that vary, or
            an unknown matrix.

    Example:
        >>> factors = np.indices((4, 5, 3)).reshape(3, -1).T
        >>> result = unified_scores(factors.astype("float32"), factors, matrices=("importance",))
        >>> scores = result.scores["importance"]
        >>> round(scores.dci_disentanglement, 6), round(scores.sap, 6), scores.max_precision
        (1.0, 1.0, 3)
    """
    if not matrices:
        raise ValueError(f"`matrices` must name at least one. Choose from: {', '.join(MATRICES)}.")
    functions = {name: lookup(name, MATRICES, "matrix") for name in matrices}
    check_counts(2, bins=bins)
    check_counts(1, n_jobs=n_jobs)
    codes, factors, test_codes, test_factors, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    used = factors_that_vary(factors, "A unified score")
    _check_shape((codes.shape[1], used.size))
    arrays = Arrays(codes, factors[:, used], test_codes, test_factors[:, used], mask[used])
    labels = in_bins(arrays.factors, arrays.continuous, bins)
    entropies = entropy(labels)
    scores = {
        name: aggregate(matrix(arrays, labels, bins, n_jobs), entropies)
        for name, matrix in functions.items()
    }
    return UnifiedScores(scores, tuple(used.tolist()))


def aggregate(matrix: ArrayLike, entropies: ArrayLike) -> Aggregates:
    """Compute all scores of a matrix that relates latents to factors.

    Equal entries are merged at the same threshold, so that the order of latents does not matter.

    Args:
        matrix: Non-negative numbers `(latents, factors)`, at least two by two.
        entropies: Entropies of the factors in nats, `(factors,)`.

    Raises:
        ValueError: For a matrix that is too small, or not finite and non-negative, or entropies
            that are not as many positive numbers as it has columns.

    Example:
        >>> scores = aggregate([[0.9, 0.0], [0.0, 0.6], [0.0, 0.1]], [1.0, 1.0])
        >>> round(scores.mig, 6), scores.modularity, scores.max_precision
        (0.7, 1.0, 2)
        >>> scores.merges
        array([[0, 3],
               [3, 0]])
    """
    matrix = to_numpy(matrix, "`matrix`").astype(np.float64)
    entropies = to_numpy(entropies, "`entropies`").astype(np.float64)
    _check_shape(matrix.shape)
    if not (np.isfinite(matrix).all() and matrix.min() >= 0):
        raise ValueError(f"`matrix` must be finite and at least 0. Got {matrix.min()} in it.")
    if entropies.shape != matrix.shape[1:] or not np.all(entropies > 0):
        raise ValueError(
            f"`entropies` are {matrix.shape[1]} positive numbers. Got {entropies.tolist()}."
        )
    second, first = np.sort(matrix, axis=0)[-2:]
    gap = first - second
    # Squares of the entries relative to the largest one of each latent; 1 for rows of zeros.
    largest = matrix.max(axis=1, keepdims=True)
    squares = np.divide(matrix, largest, where=largest > 0, out=np.ones_like(matrix)) ** 2
    modularity = 1 - (squares.sum(axis=1) - 1) / (matrix.shape[1] - 1)
    dci, dci_per_code = disentanglement(matrix)
    completeness_, completeness_per_factor = completeness(matrix)
    area, precision, merges = _connections(matrix)
    return Aggregates(
        dci_disentanglement=dci,
        dci_disentanglement_per_code=dci_per_code,
        dci_completeness=completeness_,
        dci_completeness_per_factor=completeness_per_factor,
        mig=float(np.mean(gap / entropies)),
        mig_per_factor=gap / entropies,
        sap=float(np.mean(gap)),
        sap_per_factor=gap,
        modularity=float(np.mean(modularity)),
        modularity_per_code=modularity,
        area_precision=area,
        max_precision=precision,
        merges=merges,
    )


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(
            "Scores of a matrix need at least 2 latents and 2 factors that vary. "
            f"Got shape {shape}."
        )


def _connections(matrix: Matrix) -> tuple[float, int, NDArray[np.int64]]:
    """Return area below precision, maximum precision, and the merges of factors."""
    latents, factors = matrix.shape
    group = np.arange(latents + factors)  # of each latent, then of each factor
    merges = np.zeros((factors, factors), np.int64)
    thresholds, firsts = np.unique(-matrix, return_inverse=True)
    thresholds = -thresholds
    above = np.concatenate([[0], np.cumsum(np.bincount(firsts.ravel()))])
    precision = np.zeros(len(thresholds), np.int64)
    for i, threshold in enumerate(thresholds):
        for latent, factor in np.argwhere(matrix == threshold):
            first, second = group[latent], group[latents + factor]
            if first != second:
                rows, columns = (np.flatnonzero(group[latents:] == g) for g in (first, second))
                merges[np.ix_(rows, columns)] = above[i]
                merges[np.ix_(columns, rows)] = above[i]
                group[group == second] = first
        # Entries of 0 complete the dendrogram, but do not count for precision.
        precision[i] = np.sum(np.bincount(group) > 1) if threshold > 0 else precision[i - 1]
    area = -float(np.trapezoid(precision, thresholds))
    return area, int(precision.max()), merges


def _importance(arrays: Arrays, labels: NDArray[np.int64], bins: int, n_jobs: int) -> Matrix:
    models = fit_factors("boosting", arrays, 0, n_jobs)
    return np.stack([model.feature_importances_ for model in models], axis=1)


def _information(arrays: Arrays, labels: NDArray[np.int64], bins: int, n_jobs: int) -> Matrix:
    return mutual_information(discretize(arrays.codes, bins), labels)


def _accuracy(arrays: Arrays, labels: NDArray[np.int64], bins: int, n_jobs: int) -> Matrix:
    test = arrays.test_codes, arrays.test_factors
    columns = np.flatnonzero(arrays.continuous).tolist()
    return sap_matrix(arrays.codes, arrays.factors, test=test, continuous=columns)


# Matrices by name, as functions of the arrays, the discretized factors, and the numbers of bins and
# of jobs.
MATRICES: dict[str, Callable[[Arrays, NDArray[np.int64], int, int], Matrix]] = {
    "importance": _importance,
    "mutual_information": _information,
    "accuracy": _accuracy,
}
