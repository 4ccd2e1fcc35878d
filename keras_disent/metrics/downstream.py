"""Downstream tasks: predict the factors from codes, or from some of the latents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import (
    Continuous,
    check_counts,
    factors_that_vary,
    train_and_test,
)
from keras_disent.metrics.predictors import (
    Fit,
    check_predictor,
    fit_predictors,
    train_and_test_accuracy,
)
from keras_disent.metrics.results import Result, keeps_names


class Downstream(Result):
    """Accuracies by training size; `float()` is the mean test accuracy at the largest size.

    Attributes:
        sizes: Numbers of training samples, ascending.
        train_accuracy: Accuracy on the training samples, `(sizes, factors)`; R² (at least 0) for a
            continuous factor.
        test_accuracy: The same on the test samples, `(sizes, factors)`.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {
        "train_accuracy": ("sizes", "factors_used"),
        "test_accuracy": ("sizes", "factors_used"),
    }

    sizes: tuple[int, ...]
    train_accuracy: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    factors_used: tuple[int, ...]

    @property
    def mean_train_accuracy(self) -> NDArray[np.float64]:
        """Mean over factors, `(sizes,)`."""
        return self.train_accuracy.mean(axis=1)

    @property
    def mean_test_accuracy(self) -> NDArray[np.float64]:
        """Mean over factors, `(sizes,)`."""
        return self.test_accuracy.mean(axis=1)

    @property
    def min_train_accuracy(self) -> NDArray[np.float64]:
        """Minimum over factors, `(sizes,)`."""
        return self.train_accuracy.min(axis=1)

    @property
    def min_test_accuracy(self) -> NDArray[np.float64]:
        """Minimum over factors, `(sizes,)`."""
        return self.test_accuracy.min(axis=1)

    def __float__(self) -> float:
        return float(self.mean_test_accuracy[-1])


@keeps_names
def downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str = "boosting",
    sizes: Sequence[int] = (10, 100, 1000, 10_000),
    continuous: Continuous = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> Downstream:
    """Score how well each factor is predicted from the codes, by number of training samples.

    One classifier is fitted for every factor and training size, on unscaled codes; continuous
    factors have regressors. Locatello et al. (2019), "Challenging Common Assumptions in the
    Unsupervised Learning of Disentangled Representations", section 5.5.

    Factors with a single value are skipped. If the training samples have one value of a factor,
    that value is the prediction. Constant and duplicated latents change nothing but ties. The
    score does not depend on the scale of latents, except for "logistic".

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        test: Codes and factors that test the predictors; default, a third of the rows, which are
            then not used for fitting.
        predictor: "boosting", "exact_boosting" (that of scikit-learn, about 20 times slower) or
            "logistic".
        sizes: Numbers of training samples, taken from the start of the training set. It is in
            random order if it was split off, otherwise in the order of `codes`. Larger sizes mean
            all samples; `sizes` of the result has the sizes used.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of the split, and of ties in the classifier.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        Accuracies of 1 if each factor is predictable from the codes, entangled or not; about the
        frequency of the most frequent value for uninformative codes.

    Raises:
        ValueError: For malformed arrays, no factor that varies, an unknown predictor, or sizes
            below 1.

    Example:
        >>> factors = np.indices((4, 5, 3)).reshape(3, -1).T
        >>> result = downstream(factors.astype("float32"), factors, sizes=(10, 1000))
        >>> result.sizes, float(result)
        ((10, 40), 1.0)
    """
    check_predictor(predictor)
    check_counts(1, n_jobs=n_jobs)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"`sizes` are numbers of samples, at least 1 each. Got {tuple(sizes)}.")
    codes, factors, test_codes, test_factors, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    used = factors_that_vary(factors, "A downstream task")
    numbers = sorted({min(int(size), len(codes)) for size in sizes})
    fits = [
        Fit(predictor, codes[:n], factors[:n, factor], seed, mask[factor])
        for n in numbers
        for factor in used
    ]
    accuracies = [
        train_and_test_accuracy(
            model, fit.codes, fit.labels, test_codes, test_labels, fit.continuous
        )
        for fit, model, test_labels in zip(
            fits, fit_predictors(fits, n_jobs), cycle(test_factors[:, used].T), strict=False
        )
    ]
    table = np.reshape(accuracies, (len(numbers), used.size, 2))
    train_accuracy, test_accuracy = np.moveaxis(table, 2, 0)
    return Downstream(tuple(numbers), train_accuracy, test_accuracy, tuple(used.tolist()))


class ReducedDownstream(Result):
    """Accuracies after removing the latents of one factor; `float()` is the gap to other factors.

    Attributes:
        train_accuracy: Accuracy on the training samples, `(factors, factors)`; R² (at least 0) for
            a continuous factor. Rows are the factors whose latents are removed, columns are the
            predicted factors.
        test_accuracy: The same on the test samples.
        removed_latents: Numbers of the latents removed for each factor, in order,
            `(factors, n_removed)`.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {
        "train_accuracy": ("factors_used", "factors_used"),
        "test_accuracy": ("factors_used", "factors_used"),
        "removed_latents": ("factors_used",),
    }

    train_accuracy: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    removed_latents: NDArray[np.int64]
    factors_used: tuple[int, ...]

    @property
    def reduced_accuracy(self) -> float:
        """Mean test accuracy on the factor whose latents are removed."""
        return float(np.diag(self.test_accuracy).mean())

    @property
    def other_accuracy(self) -> float:
        """Mean test accuracy on the other factors."""
        return float(self.test_accuracy[~np.eye(len(self.test_accuracy), dtype=bool)].mean())

    def __float__(self) -> float:
        return self.other_accuracy - self.reduced_accuracy


@keeps_names
def reduced_downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str = "boosting",
    n_removed: int = 1,
    continuous: Continuous = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> ReducedDownstream:
    """Score how much accuracy each factor alone loses without its most important latents.

    For every factor, boosted trees are fitted and their most important latent is removed. This is
    repeated on the remaining latents until `n_removed` are gone. Classifiers, and regressors for
    continuous factors, then predict all factors from the remaining latents. This is
    `reduced_downstream_task` of disentanglement_lib.

    Factors with a single value are skipped. A constant latent is removed last. A duplicated
    latent preserves its factor until both copies are removed; of equally important latents, the
    first is removed first.

    Args:
        codes: Floats `(samples, latents)`, more latents than are removed.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        test: Codes and factors that test the predictors; default, a third of the rows, which are
            then not used for fitting.
        predictor: "boosting", "exact_boosting" (that of scikit-learn, about 20 times slower) or
            "logistic". The first two have importances of their own; "logistic" uses those of
            "boosting".
        n_removed: Number of latents removed for each factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of the split, and of ties in the classifier.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        A gap near 1 if each factor of many values has `n_removed` latents of its own; 0 for
        uninformative codes, or if the remaining latents hold all that is removed. It may be below
        0.

    Raises:
        ValueError: For malformed arrays, fewer than two factors that vary, an unknown predictor,
            or too few latents.

    Example:
        >>> factors = np.indices((4, 4, 4)).reshape(3, -1).T
        >>> result = reduced_downstream(factors.astype("float32"), factors, test=(factors, factors))
        >>> result.removed_latents.T, result.other_accuracy, result.reduced_accuracy
        (array([[0, 1, 2]]), 1.0, 0.25)
    """
    check_predictor(predictor)
    check_counts(1, n_removed=n_removed, n_jobs=n_jobs)
    codes, factors, test_codes, test_factors, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    if codes.shape[1] <= n_removed:
        raise ValueError(
            f"`n_removed` must leave a latent. Got {n_removed} to remove of {codes.shape[1]}."
        )
    used = factors_that_vary(factors, "A reduced downstream task")
    if used.size < 2:
        raise ValueError("A reduced downstream task compares at least 2 factors that vary. Got 1.")
    importance_by = "boosting" if predictor == "logistic" else predictor

    def fit(name: str, latents: Sequence[int], factor: int) -> Fit:
        return Fit(name, codes[:, latents], factors[:, factor], seed, mask[factor])

    remaining = {factor: list(range(codes.shape[1])) for factor in used.tolist()}
    removed: dict[int, list[int]] = {factor: [] for factor in remaining}
    for _ in range(n_removed):
        fits = [fit(importance_by, latents, factor) for factor, latents in remaining.items()]
        for factor, model in zip(remaining, fit_predictors(fits, n_jobs), strict=True):
            latent = remaining[factor][int(np.argmax(model.feature_importances_))]
            removed[factor].append(latent)
            remaining[factor].remove(latent)
    cases = [(latents, other) for latents in remaining.values() for other in remaining]
    fits = [fit(predictor, *case) for case in cases]
    models = fit_predictors(fits, n_jobs)
    scores = [
        train_and_test_accuracy(
            model,
            one.codes,
            one.labels,
            test_codes[:, latents],
            test_factors[:, other],
            one.continuous,
        )
        for model, one, (latents, other) in zip(models, fits, cases, strict=True)
    ]
    table = np.reshape(scores, (used.size, used.size, 2))
    train_accuracy, test_accuracy = np.moveaxis(table, 2, 0)
    return ReducedDownstream(
        train_accuracy, test_accuracy, np.array(list(removed.values())), tuple(used.tolist())
    )
