"""Label-free scores of the statistical dependence between latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import check_codes, check_counts
from keras_disent.metrics.mutual_information import discretize, mutual_information
from keras_disent.metrics.results import Result, keeps_names

DETERMINED = 1e-6
"""Maximum relative residual of a latent that other latents determine linearly.

The residual is a standard deviation relative to that of the latent. Copies in float32 have about
this residual, and float64 determinants keep at most four digits of its square.
"""


class UnsupervisedScores(Result):
    """Dependence of the latents; `float()` of it is `gaussian_total_correlation`.

    Attributes:
        gaussian_total_correlation: Total correlation of a Gaussian with the covariance of the
            codes, in nats.
        gaussian_wasserstein_correlation: Squared Wasserstein distance of that Gaussian from the
            one with independent latents of the same variances, in squared units of the codes.
        gaussian_wasserstein_correlation_norm: The same divided by the sum of the variances.
        mutual_information: Mean over pairs of latents, from histograms, in nats.
    """

    gaussian_total_correlation: float
    gaussian_wasserstein_correlation: float
    gaussian_wasserstein_correlation_norm: float
    mutual_information: float

    def __float__(self) -> float:
        return self.gaussian_total_correlation


@keeps_names
def unsupervised_scores(codes: ArrayLike, *, bins: int = 20) -> UnsupervisedScores:
    """Score how strongly the latents depend on each other, without labels.

    Total correlation (Watanabe, 1960) and the Wasserstein correlation (Xiao & Wang, 2019,
    "Disentangled Representation Learning with Wasserstein Total Correlation") of a Gaussian with
    the covariance of the codes, and the mutual information of pairs of latents in bins of equal
    width; as reported in Locatello et al. (2019), "Challenging Common Assumptions in the
    Unsupervised Learning of Disentangled Representations".

    A constant latent is left out of the first three, and its pairs count as 0 in the mean of the
    last. A latent that is a linear function of others, such as a copy, makes the total correlation
    infinite. The Wasserstein correlations depend on the scale of each latent; the normalized one
    does not change if all latents are scaled alike.

    Args:
        codes: Floats `(samples, latents)`, at least two latents.
        bins: Number of equal-width bins for each latent.

    Returns:
        0 for independent latents, apart from chance correlations in a finite sample (about
        `(bins - 1)**2 / (2 * samples)` for mutual information); larger for stronger dependence.
        The first two have no upper limit.

    Raises:
        ValueError: For malformed codes, fewer than two samples, latents or bins.

    Example:
        >>> codes = np.indices((4, 5)).reshape(2, -1).T
        >>> unsupervised_scores(codes).mutual_information
        0.0
        >>> float(unsupervised_scores(codes[:, [0, 0]]))
        inf
    """
    codes = check_codes(codes)
    check_counts(2, bins=bins)
    if len(codes) < 2:
        raise ValueError(f"A score needs at least 2 samples. Got {len(codes)}.")
    latents = codes.shape[1]
    if latents < 2:
        raise ValueError(f"Dependence needs at least 2 latents. Got {latents}.")
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
    """Return the total correlation of a Gaussian with the covariance of the codes."""
    centered = codes - codes.mean(axis=0, dtype=np.float64)
    triangle = np.linalg.qr(centered / np.linalg.norm(centered, axis=0), mode="r")
    # The diagonal holds the relative residual of each latent given the previous ones. Their product
    # is the root of the determinant of the correlation matrix, without its loss of precision.
    residuals = np.abs(np.diagonal(triangle))
    if len(residuals) < codes.shape[1] or residuals.min() < DETERMINED:
        return float("inf")
    return max(0.0, -float(np.log(residuals).sum()))


def _wasserstein_correlation(covariance: NDArray[np.float64]) -> float:
    """Return the squared Wasserstein distance from a Gaussian to its diagonal version."""
    deviations = np.sqrt(np.diagonal(covariance))
    # Similar to the product of the two covariances, but symmetric: real non-negative eigenvalues.
    product = deviations[:, None] * covariance * deviations
    roots = np.sqrt(np.linalg.eigvalsh(product).clip(min=0))
    return max(0.0, 2 * float(np.trace(covariance) - roots.sum()))
