"""Interventional robustness score: latents that stay constant when other factors change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import Continuous, discrete_arrays, factors_that_vary
from keras_disent.metrics.mutual_information import discretize, present
from keras_disent.metrics.results import Result, keeps_names


class IRS(Result):
    """Interventional robustness; `float()` of it is `score`.

    Attributes:
        score: Mean of `per_latent`, weighted by `max_deviations`.
        matrix: Robustness of each active latent, given each factor, float64
            `(active latents, factors used)`.
        per_latent: Maximum of each row of `matrix`.
        parents: Number of the factor that attains it, the first of equal ones.
        max_deviations: Maximum deviation of each active latent from its mean, in its own units.
        active: Numbers of the latents that vary.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {
        "matrix": ("active", "factors_used"),
        "per_latent": ("active",),
        "max_deviations": ("active",),
    }

    score: float
    matrix: NDArray[np.float64]
    per_latent: NDArray[np.float64]
    parents: tuple[int, ...]
    max_deviations: NDArray[np.float64]
    active: tuple[int, ...]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.score


@keeps_names
def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = 20,
    quantile: float = 0.99,
    continuous: Continuous = None,
) -> IRS:
    """Score how little each latent changes while its factor is fixed: interventional robustness.

    Samples that share a value of a factor form a group. In each group, the `quantile` of a latent's
    deviations from its group mean is taken, and averaged over groups. Robustness of the latent to
    all other factors is 1 minus this average divided by the largest deviation of the latent from
    its mean over all samples. Each latent counts for its best factor, weighted by its largest
    deviation. Suter et al. (2019), "Robustly Disentangled Causal
    Mechanisms", section 4.

    A continuous factor, and one of more than `bins` values, is cut into `bins` groups of equal
    width, so that the order of its values matters. With fewer values, each value is a group and the
    order does not matter. Factors with a single value are no columns of the result, and constant
    latents no rows; neither changes the score. The weights make the score depend on the scale of
    one latent relative to another. Means are taken in the precision of the codes: with float32, the
    order of rows changes the score in the seventh digit.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        bins: Maximum number of groups of a factor.
        quantile: Quantile of the deviations in a group, from 0 to 1; 1 is the maximum.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.

    Returns:
        A score of 1 if each latent is constant whenever its factor is. Uninformative codes score
        above 0: in Gaussian noise, the largest deviation exceeds the 99th percentile by about a
        third, so that it scores 0.3. 0 if no latent varies. Below 0 only if deviations within
        groups exceed those over all samples.

    Raises:
        ValueError: For malformed arrays, fewer than two bins, a quantile outside of 0 to 1, or no
            factor that varies.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> result = irs(factors.astype("float32"), factors)
        >>> float(result), result.parents
        (1.0, (0, 1))
        >>> result.matrix
        array([[1., 0.],
               [0., 1.]])
    """
    codes, factors = discrete_arrays(codes, factors, continuous, bins)
    if not 0 <= quantile <= 1:
        raise ValueError(f"`quantile` must be from 0 to 1. Got {quantile}.")
    used = factors_that_vary(factors, "IRS")
    active = np.flatnonzero(codes.max(axis=0) > codes.min(axis=0))
    numbers = tuple(active.tolist()), tuple(used.tolist())
    if not active.size:
        empty = np.zeros(0)
        return IRS(0.0, np.zeros((0, len(used))), empty, (), empty, *numbers)
    codes = codes[:, active]
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0).astype(np.float64)
    typical = np.empty((len(active), len(used)))
    for column, factor in zip(typical.T, factors[:, used].T, strict=True):
        groups = _groups(factor, bins)
        column[:] = np.mean([_deviation(codes[rows], quantile) for rows in groups], axis=0)
    matrix = 1 - typical / largest[:, None]
    per_latent = matrix.max(axis=1)
    parents = tuple(used[matrix.argmax(axis=1)].tolist())
    score = float(np.average(per_latent, weights=largest))
    return IRS(score, matrix, per_latent, parents, largest, *numbers)


def _groups(factor: NDArray[np.int64], bins: int) -> list[NDArray[np.intp]]:
    """Return the rows of each value of a factor, or of each bin if there are more values."""
    rows = np.flatnonzero(present(factor))
    values, group = np.unique(factor[rows], return_inverse=True)
    if len(values) > bins:
        group = discretize(factor[rows, None].astype(np.float64), bins)[:, 0]
    order = np.argsort(group, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(group[order])) + 1)


def _deviation(codes: NDArray[np.floating], quantile: float) -> NDArray[np.float64]:
    """Return the `quantile` of each column's distances from its mean."""
    distances = np.abs(codes - codes.mean(axis=0))
    return np.quantile(distances.astype(np.float64), quantile, axis=0)
