"""Unsupervised disentanglement ranking (UDR): agreement of the latents of several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent.metrics.checks import check_at_least, check_codes
from keras_disent.metrics.correlation import absolute_correlations
from keras_disent.metrics.results import Result

INACTIVE_KL = 0.01
"""Latents with at most this divergence, in nats, are set to 0 before models are compared."""


class UDR(Result):
    """Agreement of models; `float()` of it is the mean of `model_scores`.

    Attributes:
        model_scores: Median of each column of `pairwise` without the diagonal, float64
            `(models,)`; the score to rank models by.
        pairwise: Agreement of models `[i, j]` when `j` is explained by `i`, float64
            `(models, models)`; the diagonal is 0.
        correlations: Strength of the relation of each latent of `i` with each latent of `j`, for
            every ordered pair `[i, j]` of different models, float64 `(latents, latents)`.
    """

    model_scores: NDArray[np.float64]
    pairwise: NDArray[np.float64]
    correlations: dict[tuple[int, int], NDArray[np.float64]]

    def __float__(self) -> float:
        return float(self.model_scores.mean())


def udr(
    means: Sequence[ArrayLike],
    kls: Sequence[ArrayLike],
    *,
    method: Literal["lasso", "spearman"] = "lasso",
    alpha: float = 0.1,
    threshold: float = 0.01,
    filter_low_kl: bool = True,
    tolerance: float = 1e-4,
) -> UDR:
    """Score how well the latents of several models match one to one, without labels.

    Disentangled models share their latents up to order and sign; other models have different
    mixtures. For every ordered pair of models, a matrix relates the standardized latents of one to
    those of the other, by absolute weights of a lasso or rank correlations. For each row and column
    of this matrix, the square of the largest entry divided by the sum measures how strong and how
    exclusive the relation is. Their mean is the score of the pair, and the median over partners
    that of the model. Duan et al. (2020), "Unsupervised Model Selection for
    Variational Disentangled Representation Learning", equations 2 and 3.

    The models have the same settings and other seeds (UDR), or all settings and seeds (UDR-A2A).
    They may have different numbers of latents.

    Constant latents, and those with a divergence of 0.01 or less, are set to 0: they explain
    nothing. A pair in which a model has no other latent scores 0. With "spearman" and without the
    filter, a latent set to 0 has no correlation and sets the score of each of its rows or columns
    to 0, as in the reference implementation. Copied latents divide their weights and lower the
    score. The lasso stops at a finite tolerance, so that the order of latents changes scores by
    about that much; 1e-10 removes this effect.

    Args:
        means: Posterior means of each model, at least two, on the same samples: floats
            `(samples, latents)`.
        kls: Divergence of each latent's posterior from the prior, mean over samples, in nats:
            floats `(latents,)` for each model.
        method: Relation of latents: "lasso", or "spearman" for rank correlation.
        alpha: Penalty of the lasso.
        threshold: Maximum divergence of the latents excluded by `filter_low_kl`.
        filter_low_kl: Whether to exclude latents of low divergence from the comparison.
        tolerance: Relative tolerance of the lasso.

    Returns:
        Scores of 1 if the latents of all models are the same up to order, sign and scale
        (`1 - alpha` with "lasso", whose penalty shrinks the weights); near 0 if no two
        latents are alike.

    Raises:
        ValueError: For fewer than two models, malformed means, unequal numbers of samples or
            fewer than two, divergences that do not fit the means, an unknown method, or negative
            settings.

    Example:
        >>> model = np.indices((6, 6)).reshape(2, -1).T
        >>> result = udr([model, -model[:, ::-1]], [[1.0, 1.0], [1.0, 1.0]])
        >>> result.model_scores.round(6), result.correlations[0, 1].round(6)
        (array([0.9, 0.9]), array([[0. , 0.9],
               [0.9, 0. ]]))
    """
    if method not in ("lasso", "spearman"):
        raise ValueError(f"`method` must be 'lasso' or 'spearman'. Got {method!r}.")
    check_at_least(0, alpha=alpha, threshold=threshold, tolerance=tolerance)
    codes, divergences = _models(means, kls)
    models = [
        _standardize(code) * (kl > INACTIVE_KL) for code, kl in zip(codes, divergences, strict=True)
    ]
    if method == "lasso":
        models = _summarize(models)
    lowest = threshold if filter_low_kl else -np.inf
    is_active = [kl > lowest for kl in divergences]

    pairwise = np.zeros((len(models), len(models)))
    correlations = {}
    for i, source in enumerate(models):
        for j, target in enumerate(models):
            if i == j:
                continue
            if method == "lasso":
                strength = _lasso_weights(source, target, alpha, tolerance)
                undefined = np.zeros_like(strength, dtype=bool)
            else:
                strength = absolute_correlations(source, target, "spearman")
                undefined = np.all(source == 0, axis=0)[:, None] | np.all(target == 0, axis=0)
            correlations[i, j] = strength
            strength = np.where(undefined, np.nan, strength)[np.ix_(is_active[i], is_active[j])]
            pairwise[i, j] = _one_to_one(strength)
    others = pairwise.T[~np.eye(len(models), dtype=bool)].reshape(len(models), -1)
    return UDR(np.median(others, axis=1), pairwise, correlations)


def _models(
    means: Sequence[ArrayLike], kls: Sequence[ArrayLike]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Validate codes and divergences of all models."""
    if len(means) < 2:
        raise ValueError(f"UDR compares at least 2 models. Got {len(means)}.")
    if len(kls) != len(means):
        raise ValueError(
            f"`kls` needs one array per model. Got {len(kls)} for {len(means)} models."
        )
    codes = [check_codes(array, f"`means[{m}]`") for m, array in enumerate(means)]
    divergences = []
    for m, (code, kl) in enumerate(zip(codes, kls, strict=True)):
        kl = to_numpy(kl, f"`kls[{m}]`").astype(np.float64)
        if len(code) != len(codes[0]) or len(code) < 2:
            raise ValueError(
                "All models need codes of the same samples, at least 2. "
                f"Got {len(codes[0])} for model 0 and {len(code)} for model {m}."
            )
        if kl.shape != code.shape[1:] or not np.isfinite(kl).all():
            raise ValueError(
                f"`kls[{m}]` needs one finite number per latent. Got {kl} for "
                f"{code.shape[1]} latents."
            )
        divergences.append(kl)
    return codes, divergences


def _standardize(codes: NDArray[Any]) -> NDArray[np.float64]:
    """Standardize columns to mean 0 and variance 1; constant columns become 0."""
    varies = codes.max(axis=0) > codes.min(axis=0)
    codes = codes.astype(np.float64)
    return (codes - codes.mean(axis=0)) * varies / np.where(varies, codes.std(axis=0), 1)


def _summarize(models: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return few rows with the same covariances, on which alone the lasso depends."""
    samples = len(models[0])
    covariance = np.block([[a.T @ b / samples for b in models] for a in models])
    variances, axes = np.linalg.eigh(covariance)
    rows = np.sqrt(variances.clip(min=0) * len(variances))[:, None] * axes.T
    ends = np.cumsum([model.shape[1] for model in models])
    return np.split(rows, ends[:-1], axis=1)


def _lasso_weights(
    source: NDArray[np.float64], target: NDArray[np.float64], alpha: float, tolerance: float
) -> NDArray[np.float64]:
    """Return absolute lasso weights `(latents of source, latents of target)`."""
    from sklearn.linear_model import Lasso

    model = Lasso(alpha=alpha, fit_intercept=False, precompute=True, tol=tolerance)
    return np.abs(np.atleast_2d(model.fit(source, target).coef_)).T


def _one_to_one(strength: NDArray[np.float64]) -> float:
    """Score how strong and exclusive the largest entry of each row and column is."""
    if not strength.size:
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = [strength.max(axis=axis) ** 2 / strength.sum(axis=axis) for axis in (0, 1)]
    return float(np.mean([np.nan_to_num(score).mean() for score in scores]))
