"""Mutual information gaps: MIG, MIG-sup and DCIMIG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import Continuous, discrete_arrays, factors_that_vary
from keras_disent.metrics.mutual_information import discretize, entropy, mutual_information
from keras_disent.metrics.results import keeps_names


@keeps_names
def mig(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = 20, continuous: Continuous = None
) -> float:
    """Score how much one latent alone informs about each factor: the mutual information gap.

    For every factor, the mutual information of the best latent minus that of the second best,
    divided by the entropy of the factor, all estimated from histograms; then the mean over
    factors. Chen et al. (2018), "Isolating Sources of Disentanglement in Variational
    Autoencoders", equation 6, with point codes in place of the whole posterior.

    Factors with a single value are skipped. Continuous factors are sorted into bins of equal
    width, like latents. So a latent equal to the factor scores 1 for any distribution of the
    factor; Carbonneau et al. (2022), "Measuring Disentanglement: A Review of Metrics", do the same.
    Extreme values leave few bins to the other values: use ranks of such factors.

    Args:
        codes: Floats `(samples, latents)`, at least two latents.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        bins: Number of equal-width bins for each latent and for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.

    Returns:
        1 if each factor is determined by one latent and no other latent informs about it; 0 if
        each factor has two equally informative latents, or none. A latent that carries two
        factors is not penalized. A factor with more values than `bins` scores below 1.

    Raises:
        ValueError: For malformed arrays, fewer than two latents or bins, or no factor that varies.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> round(mig(factors.astype("float32"), factors), 6)
        1.0
        >>> mig(factors[:, [0, 0]], factors)
        0.0
    """
    codes, factors = discrete_arrays(codes, factors, continuous, bins)
    if codes.shape[1] < 2:
        raise ValueError(
            "MIG compares the two best latents of a factor, so `codes` needs at least 2 latents. "
            f"Got {codes.shape[1]}."
        )
    factors = factors[:, factors_that_vary(factors, "MIG")]
    information = mutual_information(discretize(codes, bins), factors)
    second, first = np.sort(information, axis=0)[-2:]
    return float(np.mean((first - second) / entropy(factors)))


@keeps_names
def mig_sup(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = 20, continuous: Continuous = None
) -> float:
    """Score how exclusively each latent informs about one factor: the gap between factors.

    Mutual information from histograms, divided by the entropy of the factor; for every latent,
    the gap between the factor it informs about most and the next; then the mean over latents.
    Unlike MIG, it penalizes a latent that carries two factors. Li et al. (2020), "Progressive
    Learning and Disentanglement of Hierarchical Representations", section 4.

    Factors with a single value are skipped. A constant latent has a gap of 0 and counts in the
    mean.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        bins, continuous: As in `mig`.

    Returns:
        1 if each latent determines one factor and informs about no other (several latents may
        carry the same factor); 0 if each informs equally about two factors, or about none. Noise
        scores slightly above 0 in a finite sample.

    Raises:
        ValueError: For malformed arrays, no latent, fewer than two bins, or fewer than two
            factors that vary.

    Example:
        >>> factors = np.indices((4, 4)).reshape(2, -1).T
        >>> round(mig_sup(factors[:, [0, 0, 1]], factors), 6)
        1.0
        >>> round(mig_sup(factors.sum(axis=1, keepdims=True), factors), 6)
        0.0
    """
    information, entropies = _information_and_entropies(codes, factors, bins, continuous, "MIG-sup")
    second, first = np.sort(information / entropies, axis=1)[:, -2:].T
    return float(np.mean(first - second))


@keeps_names
def dcimig(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = 20, continuous: Continuous = None
) -> float:
    """Score how much of the factors is encoded by latents that carry one factor alone.

    Each latent is assigned to the factor it informs about most. Its gap is the difference of
    mutual information (from histograms) to the next factor. Each factor gets the largest gap of
    its latents. The score is the sum of these, divided by the sum of the factors' entropies.
    Sepliarskaia et al. (2019), "How to Not Measure Disentanglement", in the form of the review
    of Carbonneau et al. (2022), "Measuring Disentanglement: A Review of Metrics".

    Factors with a single value are skipped. Constant and copied latents change nothing.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        bins, continuous: As in `mig`.

    Returns:
        1 if each factor is determined by a latent that informs about no other factor; 0 if all
        latents inform equally about two factors, or about none. A factor with more values than
        `bins` scores below 1; noise scores slightly above 0.

    Raises:
        ValueError: For malformed arrays, no latent, fewer than two bins, or fewer than two
            factors that vary.

    Example:
        >>> factors = np.indices((4, 4)).reshape(2, -1).T
        >>> round(dcimig(factors[:, [1, 0, 0]], factors), 6)
        1.0
        >>> round(dcimig(factors[:, :1], factors), 6)
        0.5
    """
    information, entropies = _information_and_entropies(codes, factors, bins, continuous, "DCIMIG")
    second, first = np.sort(information, axis=1)[:, -2:].T
    gaps = np.zeros_like(information)
    gaps[np.arange(len(gaps)), information.argmax(axis=1)] = first - second
    return float(gaps.max(axis=0).sum() / entropies.sum())


def _information_and_entropies(
    codes: ArrayLike, factors: ArrayLike, bins: int, continuous: Continuous, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mutual information `(latents, factors)` and entropies of the varying factors."""
    codes, factors = discrete_arrays(codes, factors, continuous, bins)
    if not codes.shape[1]:
        raise ValueError(f"{metric} needs a latent. Got none in `codes`.")
    factors = factors[:, factors_that_vary(factors, metric)]
    if factors.shape[1] < 2:
        raise ValueError(
            f"{metric} compares the two best factors of a latent, so `factors` needs at least 2 "
            f"that vary. Got {factors.shape[1]}."
        )
    return mutual_information(discretize(codes, bins), factors), entropy(factors)
