"""Modularity (one factor per latent) and explicitness (linearly predictable factors)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics._predictors.logistic import fit_softmax
from keras_disent.metrics.checks import (
    Continuous,
    FactorError,
    check_counts,
    check_values,
    discrete_arrays,
    factors_that_vary,
    in_bins,
    train_and_test,
)
from keras_disent.metrics.mutual_information import discretize, mutual_information, present
from keras_disent.metrics.results import Result, keeps_names


class Explicitness(Result):
    """Areas under the receiver operating curve; `float()` of it is `test`.

    Attributes:
        test: Mean over factors, on the test samples, from 0 to 1.
        train: The same on the training samples.
        per_factor_test: float64, one number for each of `factors_used`.
        per_factor_train: The same on the training samples.
        factors_used: Numbers of the factors with more than one value; others are skipped.
    """

    axes = {
        "per_factor_test": ("factors_used",),
        "per_factor_train": ("factors_used",),
    }

    test: float
    train: float
    per_factor_test: NDArray[np.float64]
    per_factor_train: NDArray[np.float64]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.test


@keeps_names
def modularity(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = 20, continuous: Continuous = None
) -> float:
    """Score how exclusively each latent informs about one factor.

    For every latent, the squares of its mutual information with each of the K factors are
    compared with those of a latent that informs about its best factor only: 1 minus the sum of the
    others, divided by K - 1 times the largest; then the mean over latents. Ridgeway & Mozer
    (2018), "Learning Deep Disentangled Embeddings with the F-Statistic Loss", equation 2.

    A latent whose mutual information is exactly 0 with every factor, such as a constant one,
    scores 0 and counts in the mean. A latent of pure noise has an arbitrary score, because its
    small estimates of information are compared with each other. A duplicated latent counts twice.
    Factors with a single value are skipped, and are not among the K (in disentanglement_lib they
    are). Continuous factors are sorted into bins of equal width, like latents.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        bins: Number of equal-width bins for each latent and for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.

    Returns:
        1 if each latent informs about one factor only; 0 if each informs about all factors
        equally, or about none. Factors without a latent do not matter: a single latent may score 1.

    Raises:
        ValueError: For malformed arrays, fewer than two bins, or fewer than two factors that vary.

    Example:
        >>> factors = np.indices((4, 4)).reshape(2, -1).T
        >>> modularity(factors, factors)
        1.0
        >>> modularity(factors @ [[4, 0], [1, 0]], factors)
        0.0
    """
    codes, factors = discrete_arrays(codes, factors, continuous, bins)
    used = factors_that_vary(factors, "Modularity")
    if len(used) < 2:
        raise ValueError(
            "Modularity compares factors, so at least 2 of them must vary. "
            f"Got {len(used)} that varies of {factors.shape[1]}."
        )
    squares = mutual_information(discretize(codes, bins), factors[:, used]) ** 2
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / (len(used) - 1)
    is_informed = best > 0
    return float(np.sum(1 - others[is_informed] / best[is_informed]) / len(best))


@keeps_names
def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    bins: int = 20,
    continuous: Continuous = None,
    seed: int = 0,
) -> Explicitness:
    """Score how well a linear classifier predicts each factor from the codes.

    For every factor, a logistic regression is fitted to the standardized codes. Each value of the
    factor gets the area under the receiver operating curve of its probability against all other
    values. The score is the mean over values, then over factors. Ridgeway & Mozer (2018),
    "Learning Deep Disentangled Embeddings with the F-Statistic Loss", section 3, but not rescaled:
    chance is 0.5, not 0.

    Latents are standardized by their mean and deviation in training, so their scale does not
    matter. A latent that is constant in training becomes 0; a duplicated one changes little.
    Factors with a single value in training are skipped. The values of a continuous factor are bins
    of equal width over its range in training.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        test: Codes and factors that test the classifiers; default, a third of the rows, which are
            then not used for fitting. The mean is over the values that occur in both training and
            test samples.
        bins: Number of bins for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of that split.

    Returns:
        1 if every value of every factor is separated from the others by a linear function of the
        codes (or nearly: only the order of probabilities counts); about 0.5 for uninformative
        codes.

    Raises:
        ValueError: For malformed arrays, no factor that varies, fewer training samples than a
            factor has values, or a factor with less than two values in the test samples.

    Example:
        >>> factors = np.indices((3, 4, 25)).reshape(3, -1)[:2].T
        >>> round(float(explicitness(factors, factors)), 2)
        1.0
        >>> float(explicitness(np.zeros((300, 1)), factors))
        0.5
    """
    check_counts(2, bins=bins)
    codes, values, test_codes, test_values, mask = train_and_test(
        codes, factors, test, seed, continuous
    )
    factors, test_factors = (in_bins(part, mask, bins, values) for part in (values, test_values))
    used = factors_that_vary(factors, "Explicitness")
    check_values(factors, test_factors, used)
    for number in used:
        labels = np.unique(test_factors[present(test_factors[:, number]), number])
        if len(labels) < 2 or not np.isin(labels, factors[:, number]).any():
            raise FactorError(
                "Explicitness compares the values of a factor, so the test samples need 2 of them, "
                f"with one from training. Got {labels.tolist()} of {{factor}}.",
                number,
            )
    mean, deviation = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    varies = (codes.max(axis=0) > codes.min(axis=0)) & (deviation > 0)
    scale = np.divide(1.0, deviation, out=np.zeros_like(mean), where=varies)
    train_inputs, test_inputs = (codes - mean) * scale, (test_codes - mean) * scale
    areas = np.empty((2, len(used)))
    for i, number in enumerate(used):
        samples = [
            (inputs[present(labels)], labels[present(labels)])
            for inputs, labels in (
                (train_inputs, factors[:, number]),
                (test_inputs, test_factors[:, number]),
            )
        ]
        model = fit_softmax(*samples[0])
        for j, (inputs, labels) in enumerate(samples):
            areas[j, i] = area_under_curve(model.predict_proba(inputs), labels, model.classes)
    train, evaluation = areas
    return Explicitness(
        float(evaluation.mean()), float(train.mean()), evaluation, train, tuple(used.tolist())
    )


def area_under_curve(
    scores: NDArray[np.float64], labels: NDArray[Any], classes: NDArray[Any]
) -> float:
    """Return the area under the curve of one class against the others, averaged over classes.

    It is the probability that a sample of the class scores higher than another sample. Equal
    scores count half.

    Args:
        scores: Floats `(samples, classes)`.
        labels: Integers `(samples,)`, of at least two values.
        classes: Label of each column of `scores`. Classes without samples do not count.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
        >>> area_under_curve(scores, np.array([3, 3, 8]), np.array([3, 8]))
        0.75
    """
    areas = []
    for column, label in zip(scores.T, classes, strict=True):
        positives = column[labels == label]
        size = positives.size
        if size:
            ranked = np.sort(column)
            # Twice the average rank, counted from 0 and among all samples.
            last = np.searchsorted(ranked, positives, side="right")
            ranks = np.searchsorted(ranked, positives) + last - 1
            wins = (ranks.sum() - size * (size - 1)) / 2
            areas.append(wins / (size * (len(labels) - size)))
    return float(np.mean(areas))
