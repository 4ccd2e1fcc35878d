"""Downstream tasks: how well classifiers tell the factors from codes, or from part of them."""

from collections.abc import Sequence
from functools import cache
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
    check_predictor,
    fit_predictor,
    train_and_test_accuracy,
)


class Downstream(NamedTuple):
    """Accuracies by number of training samples; `float()` is the mean test one at the largest.

    Attributes:
        sizes: numbers of training samples, ascending.
        train_accuracy: share of the training samples told right (of a continuous factor, R², or 0
            if it is below), `(sizes, factors)`.
        test_accuracy: the same for the test samples, `(sizes, factors)`.
        factors_used: numbers of the factors, those that vary.
    """

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
        """That of the worst factor, `(sizes,)`."""
        return self.train_accuracy.min(axis=1)

    @property
    def min_test_accuracy(self) -> NDArray[np.float64]:
        """That of the worst factor, `(sizes,)`."""
        return self.test_accuracy.min(axis=1)

    def __float__(self) -> float:
        return float(self.mean_test_accuracy[-1])


def downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str = "boosting",
    sizes: Sequence[int] = (10, 100, 1000, 10_000),
    continuous: Continuous = None,
    seed: int = 0,
) -> Downstream:
    """Score how well a classifier tells each factor from the codes, after few samples and many.

    One classifier for every factor and training size, on the codes as they are; regressors for
    continuous factors. Locatello et
    al. (2019), "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations", section 5.5.

    Factors with a single value are skipped. A factor of which the first few samples show one
    value only is answered with that value. Constant and duplicated latents change nothing but
    ties. The score does not depend on the scale of latents, except for "logistic".

    Args:
        codes: floats `(samples, latents)`.
        factors: numbers `(samples, factors)`, whole unless continuous.
        test: codes and factors that judge the predictors, instead of a third of the rows, which
            are then not used for fitting.
        predictor: "boosting", "exact_boosting" (scikit-learn's own, about 20 times slower) or
            "logistic".
        sizes: numbers of training samples. As many are taken from the start of the training
            samples, which are in random order if they were split off, or else as given. A size
            beyond all samples means all of them; `sizes` of the result says what was used.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.
        seed: of the split, and of ties in the classifier.

    Returns:
        Accuracies of 1 if each factor can be told from the codes, entangled or not; about the
        share of its most frequent value if they know nothing of it.

    Raises:
        ValueError: for malformed arrays, no factor that varies, an unknown predictor, or sizes
            below 1.

    Example:
        >>> factors = np.indices((4, 5, 3)).reshape(3, -1).T
        >>> result = downstream(factors.astype("float32"), factors, sizes=(10, 1000))
        >>> result.sizes, float(result)
        ((10, 40), 1.0)
    """
    check_predictor(predictor)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"`sizes` are numbers of samples, at least 1 each. Got {tuple(sizes)}.")
    codes, factors, test_codes, test_factors, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    used = factors_that_vary(factors, "A downstream task")
    numbers = sorted({min(int(size), len(codes)) for size in sizes})
    train_accuracy, test_accuracy = np.empty((2, len(numbers), used.size))
    for s, n in enumerate(numbers):
        for i, factor in enumerate(used):
            seen, labels = codes[:n], factors[:n, factor]
            model = fit_predictor(predictor, seen, labels, seed, mask[factor])
            train_accuracy[s, i], test_accuracy[s, i] = train_and_test_accuracy(
                model, seen, labels, test_codes, test_factors[:, factor], mask[factor]
            )
    return Downstream(tuple(numbers), train_accuracy, test_accuracy, tuple(used.tolist()))


class ReducedDownstream(NamedTuple):
    """Accuracies without the latents of one factor; `float()` is the gap they leave.

    Attributes:
        train_accuracy: share of the training samples told right (of a continuous factor, R², or 0
            if it is below), `(factors, factors)`: rows by the factor whose latents are removed,
            columns by the factor that is told.
        test_accuracy: the same for the test samples.
        removed_latents: numbers of the latents removed for each factor, in order,
            `(factors, n_removed)`.
        factors_used: numbers of the factors, those that vary.
    """

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


def reduced_downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    predictor: str = "boosting",
    n_removed: int = 1,
    continuous: Continuous = None,
    seed: int = 0,
) -> ReducedDownstream:
    """Score how much of one factor, and of no other, is lost with the latents most important to it.

    For every factor, the latent most important to boosted trees that tell it is removed, then
    the next one, trained again on what remains, up to `n_removed`. Classifiers, and regressors for
    continuous factors, then tell all factors from the remaining latents. This is
    `reduced_downstream_task` of disentanglement_lib.

    Factors with a single value are skipped. A constant latent is removed last. A duplicated
    latent keeps its factor alive until both are removed; which of equally important latents
    goes first is a matter of their order.

    Args:
        codes: floats `(samples, latents)`, more latents than are removed.
        factors: numbers `(samples, factors)`, whole unless continuous.
        test: codes and factors that judge the predictors, instead of a third of the rows, which
            are then not used for fitting.
        predictor: "boosting", "exact_boosting" (scikit-learn's own, about 20 times slower) or
            "logistic". The first two say themselves which latents are important.
        n_removed: Number of latents removed for each factor.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.
        seed: of the split, and of ties in the classifier.

    Returns:
        A gap near 1 if each factor of many values lives in `n_removed` latents of its own; 0 if
        the codes know nothing, or the remaining latents make good for all that is removed.
        It may be below 0.

    Raises:
        ValueError: for malformed arrays, fewer than two factors that vary, an unknown predictor,
            or too few latents.

    Example:
        >>> factors = np.indices((4, 4, 4)).reshape(3, -1).T
        >>> result = reduced_downstream(factors.astype("float32"), factors, test=(factors, factors))
        >>> result.removed_latents.T, result.other_accuracy, result.reduced_accuracy
        (array([[0, 1, 2]]), 1.0, 0.25)
    """
    check_predictor(predictor)
    check_at_least(1, n_removed=n_removed)
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

    # Different factors often lose the same latents, and trees that tell importance tell factors.
    @cache
    def fit(name: str, latents: tuple[int, ...], factor: int) -> Any:
        return fit_predictor(name, codes[:, latents], factors[:, factor], seed, mask[factor])

    @cache
    def told(latents: tuple[int, ...], factor: int) -> tuple[float, float]:
        return train_and_test_accuracy(
            fit(predictor, latents, factor),
            codes[:, latents],
            factors[:, factor],
            test_codes[:, latents],
            test_factors[:, factor],
            mask[factor],
        )

    gone, scores = [], []
    for factor in used.tolist():
        latents = tuple(range(codes.shape[1]))
        lost: list[int] = []
        for _ in range(n_removed):
            worth = fit(importance_by, latents, factor).feature_importances_
            lost.append(latents[int(np.argmax(worth))])
            latents = tuple(latent for latent in latents if latent != lost[-1])
        gone.append(lost)
        scores.append([told(latents, other) for other in used.tolist()])
    train_accuracy, test_accuracy = np.moveaxis(np.array(scores), 2, 0)
    return ReducedDownstream(train_accuracy, test_accuracy, np.array(gone), tuple(used.tolist()))
