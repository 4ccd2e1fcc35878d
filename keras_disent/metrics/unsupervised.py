"""How much the latents depend on each other: scores that need no labels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import check_at_least, check_codes
from keras_disent.metrics.mutual_information import discretize, mutual_information

DETERMINED = 1e-6
"""A latent counts as determined by others if they leave less than this of its standard deviation.

It is what remains of a copy that went through float32, and a variance of which float64, in a
determinant, keeps no more than four digits.
"""


class UnsupervisedScores(NamedTuple):
    """Dependence of the latents; `float()` of it is `gaussian_total_correlation`.

    Attributes:
        gaussian_total_correlation: of a Gaussian with the covariance of the codes, in nats.
        gaussian_wasserstein_correlation: squared Wasserstein distance of that Gaussian from the
            one with independent latents of the same variances, in squared units of the codes.
        gaussian_wasserstein_correlation_norm: the same divided by the sum of the variances.
        mutual_information: mean over pairs of latents, from histograms, in nats.
    """

    gaussian_total_correlation: float
    gaussian_wasserstein_correlation: float
    gaussian_wasserstein_correlation_norm: float
    mutual_information: float

    def __float__(self) -> float:
        return self.gaussian_total_correlation


def unsupervised_scores(codes: ArrayLike, *, bins: int = 20) -> UnsupervisedScores:
    """Score how far the latents are from independent, without labels.

    Total correlation (Watanabe, 1960) and the Wasserstein correlation (Xiao & Wang, 2019,
    "Disentangled Representation Learning with Wasserstein Total Correlation") of a Gaussian with
    the covariance of the codes, and the mutual information of pairs of latents in equally wide
    bins; as reported in Locatello et al. (2019), "Challenging Common Assumptions in the
    Unsupervised Learning of Disentangled Representations".

    A constant latent depends on nothing: it is left out of the first three, and its pairs count
    as 0 in the mean of the last. A latent that others determine by a linear rule, such as a copy,
    makes the total correlation infinite. The Wasserstein correlations change with the scale of a
    latent; the normed one does not, if all are scaled alike.

    Args:
        codes: floats `(samples, latents)`, at least two latents.
        bins: number of equally wide bins for each latent.

    Returns:
        0 for independent latents, apart from what chance correlates in a finite sample (the
        mutual information most of all, by about `(bins - 1)**2 / (2 * samples)`); more, without
        a limit in the case of the first two, the more they depend on each other.

    Raises:
        ValueError: for malformed codes, fewer than two samples, latents or bins.

    Example:
        >>> codes = np.indices((4, 5)).reshape(2, -1).T
        >>> unsupervised_scores(codes).mutual_information
        0.0
        >>> float(unsupervised_scores(codes[:, [0, 0]]))
        inf
    """
    codes = check_codes(codes)
    check_at_least(2, bins=bins)
    if len(codes) < 2:
        raise ValueError(f"A score needs at least 2 samples. Got {len(codes)}.")
    latents = codes.shape[1]
    if latents < 2:
        raise ValueError(f"Dependence is one of at least 2 latents. Got {latents}.")
    labels = discretize(codes, bins)
    pairs = mutual_information(labels, labels)
    information = float((pairs.sum() - np.trace(pairs)) / (latents**2 - latents))
    varying = codes[:, codes.max(axis=0) > codes.min(axis=0)]
    if not varying.size:
        return UnsupervisedScores(0.0, 0.0, 0.0, information)
    covariance = np.atleast_2d(np.cov(varying, rowvar=False, dtype=np.float64))
    trace = float(np.trace(covariance))
    wasserstein = _wasserstein_correlation(covariance)
    return UnsupervisedScores(
        _total_correlation(varying), wasserstein, wasserstein / trace, information
    )


def _total_correlation(codes: NDArray[Any]) -> float:
    """Sum, over latents, of what the ones before tell about each, assuming a Gaussian."""
    centered = codes - codes.mean(axis=0, dtype=np.float64)
    triangle = np.linalg.qr(centered / np.linalg.norm(centered, axis=0), mode="r")
    # The diagonal holds the share of each latent's deviation that the ones before leave open.
    # Their product is the determinant of the correlations without its loss of precision.
    left = np.abs(np.diagonal(triangle))
    if len(left) < codes.shape[1] or left.min() < DETERMINED:
        return float("inf")
    return max(0.0, -float(np.log(left).sum()))


def _wasserstein_correlation(covariance: NDArray[np.float64]) -> float:
    """Squared Wasserstein distance of two Gaussians: this covariance, and its diagonal alone."""
    deviations = np.sqrt(np.diagonal(covariance))
    # Similar to the product of the two covariances, but symmetric: real eigenvalues, never below 0.
    product = deviations[:, None] * covariance * deviations
    roots = np.sqrt(np.linalg.eigvalsh(product).clip(min=0))
    return max(0.0, 2 * float(np.trace(covariance) - roots.sum()))
