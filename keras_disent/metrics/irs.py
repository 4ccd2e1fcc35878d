"""Interventional robustness: does a latent stay put while other factors change?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import Continuous, discrete_arrays, factors_that_vary
from keras_disent.metrics.mutual_information import discretize


class IRS(NamedTuple):
    """Interventional robustness; `float()` of it is `score`.

    Attributes:
        score: mean of `per_latent`, weighted by `max_deviations`.
        matrix: robustness of each kept latent, given each factor, float64
            `(latents kept, factors used)`.
        per_latent: best entry of each row of `matrix`.
        parents: number of the factor that attains it, the first among equals.
        max_deviations: how far each kept latent ever is from its mean, in its own units.
        active: numbers of the latents kept, those that vary at all.
        factors_used: numbers of the factors that take more than one value.
    """

    score: float
    matrix: NDArray[np.float64]
    per_latent: NDArray[np.float64]
    parents: tuple[int, ...]
    max_deviations: NDArray[np.float64]
    active: tuple[int, ...]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.score


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = 20,
    quantile: float = 0.99,
    continuous: Continuous = None,
) -> IRS:
    """Score how little each latent moves while its own factor is held: interventional robustness.

    Samples that share a value of a factor are one group. The deviations of a latent from its
    mean in the group, at their `quantile`, averaged over groups, are compared with its largest
    deviation from its mean over all samples; 1 minus their ratio is the robustness of that
    latent to all factors but that one. Each latent counts for the factor that suits it best,
    weighted by its largest deviation. Suter et al. (2019), "Robustly Disentangled Causal
    Mechanisms", section 4.

    A continuous factor, and one of more than `bins` values, is cut into `bins` equally wide groups
    of values, so that the order of its values matters; with fewer, each value is a group and
    labels are only names.
    Factors with a single value are no columns of the result, and constant latents no rows; the
    others' scores do not change by them. The weights make the score depend on the scale of one
    latent relative to another. Means are taken in the precision of the codes: with float32,
    the order of rows changes the score in the seventh digit.

    Args:
        codes: floats `(samples, latents)`.
        factors: numbers `(samples, factors)`, whole unless continuous.
        bins: most groups that a factor makes.
        quantile: of the deviations in a group, from 0 to 1; 1 is the largest of them.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.

    Returns:
        A score of 1 if each latent is constant as long as one factor is. Codes that know nothing
        do not score 0 but what their outliers leave: the largest deviation exceeds the 99th
        percentile by about a third in Gaussian noise, so that it scores 0.3. 0 if no latent
        varies. Lower than 0 only if groups spread wider than the whole.

    Raises:
        ValueError: for malformed arrays, fewer than two bins, a quantile outside of 0 to 1, or no
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
        nothing = np.zeros(0)
        return IRS(0.0, np.zeros((0, len(used))), nothing, (), nothing, *numbers)
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
    values, group = np.unique(factor, return_inverse=True)
    if len(values) > bins:
        group = discretize(factor[:, None].astype(np.float64), bins)[:, 0]
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _deviation(codes: NDArray[np.floating], quantile: float) -> NDArray[np.float64]:
    """Return the `quantile` of each column's distances from its mean."""
    distances = np.abs(codes - codes.mean(axis=0))
    return np.quantile(distances.astype(np.float64), quantile, axis=0)
