"""Scores of whole posteriors, Gaussian in each latent, rather than of their means alone."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import (
    Continuous,
    check_at_least,
    check_codes,
    discrete_arrays,
    factors_that_vary,
)
from keras_disent.metrics.mutual_information import entropy

CHUNK = 10_000
"""Rows whose probabilities of all bins are held at a time."""

ROUNDING = 1e-12
"""Less information than this, in nats, is an error of rounding."""


class JEMMIG(NamedTuple):
    """Joint entropy minus mutual information gap; `float()` of it is `score`.

    Attributes:
        score: mean of `per_factor`; higher is better.
        raw: mean over factors, in nats, before it is turned round and normalized; lower is
            better.
        per_factor: normalized score of each factor used, float64.
        factors_used: numbers of the factors that take more than one value.
    """

    score: float
    raw: float
    per_factor: NDArray[np.float64]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.score


class ActiveUnits(NamedTuple):
    """Latents in use; `float()` of it is `number`.

    Attributes:
        number: how many there are.
        active: which, by number.
        variances: variance of every latent's posterior mean over the samples, float64.
    """

    number: int
    active: tuple[int, ...]
    variances: NDArray[np.float64]

    def __float__(self) -> float:
        return float(self.number)


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
    """Score how far one latent alone informs about each factor, by the whole posterior.

    The robust mutual information gap: as MIG, the information of the best latent about a factor
    minus that of the second best, divided by the entropy of the factor, averaged over factors.
    Here a latent is drawn from its posterior `N(mean, exp(log_variance))`: each sample spreads
    over the bins with the Gaussian's probabilities, so that noise the posterior adds counts.
    Do & Tran (2020), "Theory and Evaluation Metrics for Learning Disentangled Representations".

    Bins are equally wide between `limits`, on the scale of the prior; the outermost hold what
    lies beyond. So the scale of the latents matters, and limits that are not symmetric make
    signs matter. Factors with a single value are skipped.

    Args:
        means: floats `(samples, latents)`, at least two latents.
        log_variances: floats of the same shape, natural logarithms.
        factors: numbers `(samples, factors)`, whole unless continuous.
        bins: number of bins for each latent.
        limits: lower and upper end of the range that is cut into bins.
        factor_bins: number of equally wide bins for each continuous factor.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.

    Returns:
        1 if each factor is known from a draw of one latent and no other latent tells anything
        about it; 0 if each factor has two latents that tell equally much (or nothing, as in
        copied or collapsed latents).

    Raises:
        ValueError: for malformed arrays, log variances of another shape than the means, fewer
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
    """Score how well each factor has one latent that knows it and knows nothing else.

    With `z` the latent that informs most about factor `y`, and `z'` the next: the joint entropy
    `H(z, y)` minus the gap `I(z; y) - I(z'; y)`, in nats (`raw`); then 1 minus its ratio to the
    largest possible value, `H(y) + log(bins)`. What `z` carries besides `y`, another factor or
    noise, raises the joint entropy, so that latents with two factors are punished as they are
    not by RMIG. Do & Tran (2020), "Theory and Evaluation Metrics for Learning Disentangled
    Representations".

    Latents are spread over bins as in `rmig`; so the scale of the latents matters. Factors with
    a single value are skipped.

    Args:
        means: floats `(samples, latents)`, at least two latents.
        log_variances: floats of the same shape, natural logarithms.
        factors: numbers `(samples, factors)`, whole unless continuous.
        bins: number of bins for each latent.
        limits: lower and upper end of the range that is cut into bins.
        factor_bins: number of equally wide bins for each continuous factor.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.

    Returns:
        A score of 1 if each factor has a latent with one narrow value (within a bin) for each of
        the factor's, and no other latent knows it; near 0 for latents that spread over all bins
        and know nothing. Latents collapsed to a point, the same for all samples, score
        `log(bins) / (H(y) + log(bins))`: they know nothing, but nothing else either.

    Raises:
        ValueError: as `rmig`.

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
    # Among latents that inform equally much, the one that carries least besides.
    columns = zip(information.T, joint.T, strict=True)
    least = np.array([both[known == known.max()].min() for known, both in columns])
    raw = least - first + second
    per_factor = 1 - raw / (entropies + np.log(bins))
    return JEMMIG(float(per_factor.mean()), float(raw.mean()), per_factor, tuple(used.tolist()))


def active_units(means: ArrayLike, *, threshold: float = 0.01) -> ActiveUnits:
    """Count the latents whose posterior mean moves with the sample.

    A latent is active if the variance of its posterior mean over samples exceeds `threshold`.
    Burda et al. (2016), "Importance Weighted Autoencoders", section 5.1. It depends on the scale
    of the latents: the threshold belongs to a prior of variance 1.

    Args:
        means: floats `(samples, latents)`, at least two samples.
        threshold: of the variance, in squared units of the latents.

    Returns:
        The number of active latents, from 0 to all, with their numbers and all variances. Copies
        count each.

    Raises:
        ValueError: for malformed means, fewer than two samples, or a negative threshold.

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
    """Return, in nats, mutual information and joint entropy of every binned latent with every
    factor that varies `(latents, factors)`, the entropies of the factors, and their numbers.
    """
    from scipy.sparse import csr_array
    from scipy.special import entr, ndtr

    means, log_variances = (
        check_codes(means, "`means`"),
        check_codes(log_variances, "`log_variances`"),
    )
    check_at_least(2, bins=bins)
    factor_bins, continuous = factor_settings
    check_at_least(2, factor_bins=factor_bins)
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

    # One indicator column for each value of each factor sums the samples of that value.
    labels = [np.unique(factor, return_inverse=True)[1] for factor in factors.T]
    starts = np.cumsum([0] + [label.max() + 1 for label in labels])
    columns = np.stack(labels, axis=1) + starts[:-1]
    rows = np.arange(0, columns.size + 1, len(used))
    ones = np.full(columns.size, 1 / samples)
    indicator = csr_array((ones, columns.ravel(), rows), shape=(samples, starts[-1]))

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
