"""Scores of Gaussian posteriors instead of their means: RMIG, JEMMIG, active units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import (
    Continuous,
    check_at_least,
    check_codes,
    check_counts,
    discrete_arrays,
    factors_that_vary,
)
from keras_disent.metrics.mutual_information import entropy, present
from keras_disent.metrics.results import Result, keeps_names

CHUNK = 10_000
"""Number of samples whose bin probabilities are computed at a time."""

ROUNDING = 1e-12
"""Information below this, in nats, is a rounding error and set to 0."""


class JEMMIG(Result):
    """Joint entropy minus mutual information gap; `float()` of it is `score`.

    Attributes:
        score: Mean of `per_factor`; higher is better.
        raw: Mean over factors before normalization, in nats; lower is better.
        per_factor: Normalized score of each factor used, float64.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {"per_factor": ("factors_used",)}

    score: float
    raw: float
    per_factor: NDArray[np.float64]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.score


class ActiveUnits(Result):
    """Active latents; `float()` of it is `number`.

    Attributes:
        number: Number of active latents.
        active: Numbers of the active latents.
        variances: Variance of every latent's posterior mean over the samples, float64.
    """

    axes = {"variances": ("latents",)}

    number: int
    active: tuple[int, ...]
    variances: NDArray[np.float64]

    def __float__(self) -> float:
        return float(self.number)


@keeps_names
def rmig(
    means: ArrayLike,
    log_variances: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = 100,
    limits: tuple[float, float] = (-4.0, 4.0),
    factor_bins: int = 20,
    continuous: Continuous = None,
) -> float:
    """Score how much one latent alone informs about each factor, given the whole posterior.

    The robust mutual information gap: as MIG, the information of the best latent about a factor
    minus that of the second best, divided by the entropy of the factor, averaged over factors.
    Here a latent is drawn from its posterior `N(mean, exp(log_variance))`: each sample is spread
    over the bins with the probabilities of the Gaussian, so that posterior noise lowers the score.
    Do & Tran (2020), "Theory and Evaluation Metrics for Learning Disentangled Representations".

    Bins have equal width between `limits`, on the scale of the prior; the outermost bins extend to
    infinity. So the scale of the latents matters, and so do signs if the limits are not symmetric.
    Factors with a single value are skipped.

    Args:
        means: Floats `(samples, latents)`, at least two latents.
        log_variances: Floats of the same shape, natural logarithms.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        bins: Number of bins for each latent.
        limits: Lower and upper end of the range that is cut into bins.
        factor_bins: Number of equal-width bins for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.

    Returns:
        1 if each factor is determined by a draw of one latent and no other latent informs about it;
        0 if each factor has two equally informative latents, such as copies, or none, such as
        collapsed latents.

    Raises:
        ValueError: For malformed arrays, log variances of another shape than the means, fewer
            than two latents or bins, limits that do not increase, or no factor that varies.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> means = factors - factors.mean(axis=0)
        >>> round(rmig(means, np.full((20, 2), -9.0), factors), 6)
        1.0
        >>> round(rmig(means, np.full((20, 2), 0.0), factors), 2)
        0.31
    """
    factor_settings = factor_bins, continuous
    information, _, entropies, _ = _posterior(
        means, log_variances, factors, bins, limits, factor_settings, "RMIG"
    )
    second, first = np.sort(information, axis=0)[-2:]
    return float(np.mean((first - second) / entropies))


@keeps_names
def jemmig(
    means: ArrayLike,
    log_variances: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = 100,
    limits: tuple[float, float] = (-4.0, 4.0),
    factor_bins: int = 20,
    continuous: Continuous = None,
) -> JEMMIG:
    """Score whether each factor has one latent that encodes it and nothing else.

    Let `z` be the latent that informs most about factor `y`, and `z'` the next. `raw` is the joint
    entropy `H(z, y)` minus the gap `I(z; y) - I(z'; y)`, in nats. The score is 1 minus its ratio to
    the largest possible value, `H(y) + log(bins)`. Other information in `z`, such as another factor
    or noise, raises the joint entropy. So unlike RMIG, it penalizes latents with two factors. Do &
    Tran (2020), "Theory and Evaluation Metrics for Learning Disentangled Representations".

    Latents are spread over bins as in `rmig`; so the scale of the latents matters. Factors with
    a single value are skipped.

    Args:
        means: Floats `(samples, latents)`, at least two latents.
        log_variances: Floats of the same shape, natural logarithms.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        bins: Number of bins for each latent.
        limits: Lower and upper end of the range that is cut into bins.
        factor_bins: Number of equal-width bins for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.

    Returns:
        A score of 1 if each factor has a latent with one bin for each of its values, and no other
        latent informs about it; near 0 for uninformative latents that spread over all bins.
        Latents collapsed to one point for all samples score `log(bins) / (H(y) + log(bins))`:
        they encode neither the factor nor anything else.

    Raises:
        ValueError: As `rmig`.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> means = factors - factors.mean(axis=0)
        >>> result = jemmig(means, np.full((20, 2), -9.0), factors)
        >>> round(float(result), 2), round(result.raw, 2)
        (0.95, 0.29)
    """
    factor_settings = factor_bins, continuous
    information, joint, entropies, used = _posterior(
        means, log_variances, factors, bins, limits, factor_settings, "JEMMIG"
    )
    second, first = np.sort(information, axis=0)[-2:]
    # Of equally informative latents, the one with the least joint entropy.
    columns = zip(information.T, joint.T, strict=True)
    least = np.array([joints[shared == shared.max()].min() for shared, joints in columns])
    raw = least - first + second
    per_factor = 1 - raw / (entropies + np.log(bins))
    return JEMMIG(float(per_factor.mean()), float(raw.mean()), per_factor, tuple(used.tolist()))


@keeps_names
def active_units(means: ArrayLike, *, threshold: float = 0.01) -> ActiveUnits:
    """Count the latents whose posterior mean varies over samples.

    A latent is active if the variance of its posterior mean over samples exceeds `threshold`.
    Burda et al. (2016), "Importance Weighted Autoencoders", section 5.1. It depends on the scale
    of the latents: the default threshold is for a prior of variance 1.

    Args:
        means: Floats `(samples, latents)`, at least two samples.
        threshold: Minimum variance of an active latent, in squared units of the latents.

    Returns:
        The active latents, from none to all, and all variances. Each copy of a latent counts.

    Raises:
        ValueError: For malformed means, fewer than two samples, or a negative threshold.

    Example:
        >>> active_units([[0.0, 1.0], [0.01, 2.0]]).active
        (1,)
    """
    means = check_codes(means, "`means`")
    check_at_least(0, threshold=threshold)
    if len(means) < 2:
        raise ValueError(f"A variance needs at least 2 samples. Got {len(means)}.")
    variances = means.var(axis=0, ddof=1, dtype=np.float64)
    active = tuple(np.flatnonzero(variances > threshold).tolist())
    return ActiveUnits(len(active), active, variances)


def _posterior(
    means: ArrayLike,
    log_variances: ArrayLike,
    factors: ArrayLike,
    bins: int,
    limits: tuple[float, float],
    factor_settings: tuple[int, Continuous],
    metric: str,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Compute mutual information of binned latents and factors, with their entropies, in nats.

    Returns:
        Mutual information and joint entropy `(latents, factors)` of every latent and every factor
        with more than one value; entropies of these factors; and their numbers.
    """
    from scipy.sparse import csr_array
    from scipy.special import entr, ndtr

    means, log_variances = (
        check_codes(means, "`means`"),
        check_codes(log_variances, "`log_variances`"),
    )
    check_counts(2, bins=bins)
    factor_bins, continuous = factor_settings
    check_counts(2, factor_bins=factor_bins)
    means, factors = discrete_arrays(means, factors, continuous, factor_bins)
    if means.shape != log_variances.shape:
        raise ValueError(
            f"`log_variances` must have the shape of `means`. Got {log_variances.shape} for "
            f"{means.shape}."
        )
    if len(limits) != 2 or not -np.inf < limits[0] < limits[1] < np.inf:
        raise ValueError(f"`limits` must be a lower and a higher finite number. Got {limits}.")
    samples, latents = means.shape
    if latents < 2:
        raise ValueError(
            f"{metric} compares the two best latents of a factor, so `means` needs at least 2 "
            f"latents. Got {latents}."
        )
    used = factors_that_vary(factors, metric)
    factors = factors[:, used]

    # One indicator column per value of each factor, to sum over the samples with that value.
    # Samples without a value have weight 0.
    has_value = present(factors)
    labels = []
    for factor, mask in zip(factors.T, has_value.T, strict=True):
        label = np.zeros(samples, np.int64)
        label[mask] = np.unique(factor[mask], return_inverse=True)[1]
        labels.append(label)
    starts = np.cumsum([0] + [label.max() + 1 for label in labels])
    columns = np.stack(labels, axis=1) + starts[:-1]
    rows = np.arange(0, columns.size + 1, len(used))
    weights = has_value / has_value.sum(axis=0)
    indicator = csr_array((weights.ravel(), columns.ravel(), rows), shape=(samples, starts[-1]))

    edges = np.linspace(*limits, bins + 1)
    edges[0], edges[-1] = -np.inf, np.inf
    deviations = np.exp(np.clip(log_variances.astype(np.float64) / 2, -300, 300))
    entropies = entropy(factors)
    information, joint_entropy = np.empty((2, latents, len(used)))
    for latent in range(latents):
        mass = np.zeros((starts[-1], bins))
        for start in range(0, samples, CHUNK):
            chunk = slice(start, start + CHUNK)
            z = (edges - means[chunk, latent, None]) / deviations[chunk, latent, None]
            mass += indicator[chunk].T @ np.diff(ndtr(z), axis=1)
        for factor, joint in enumerate(np.split(mass, starts[1:-1])):
            joint_entropy[latent, factor] = entr(joint).sum()
            information[latent, factor] = entr(joint.sum(axis=0)).sum()
    information += entropies - joint_entropy
    information[information < ROUNDING] = 0
    return information, joint_entropy, entropies, used
