"""beta-TCVAE: the KL term split into three parts, with a separate weight of each."""

from __future__ import annotations

import math
from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.layers.latents import gaussian_log_density
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE


def weighted(size: int, dataset_size: int | None) -> Tensor:
    """Return the log weights of minibatch-weighted sampling, 1 / (N M) for each pair: (1, 1).

    Source: Chen et al. 2018, equation 6.
    """
    return (
        ops.zeros((1, 1), "float32")
        - math.log(dataset_size or 1)
        - ops.log(ops.cast(size, "float32"))
    )


def stratified(size: int, dataset_size: int) -> Tensor:
    """Return the log weights of minibatch-stratified sampling for a batch of M + 1: (M + 1, M + 1).

    The posterior of the sample itself (the diagonal) has weight 1/N. Of the M others, M - 1 have
    weight 1/M each, and the last, here the next in the batch, (N - M) / (N M). Each row sums to 1.

    Source: Chen et al. 2018, appendix C.2.

    >>> rows = ops.sum(ops.exp(stratified(4, 100)), axis=1)
    >>> [round(float(row), 5) for row in rows]
    [1.0, 1.0, 1.0, 1.0]
    """
    others = ops.maximum(ops.cast(size, "float32") - 1.0, 1.0)
    places = ops.arange(size, dtype="int32")
    row, column = places[:, None], places[None, :]
    rest = ops.where(
        ops.equal((row + 1) % size, column),
        (dataset_size - others) / (dataset_size * others),
        1.0 / others,
    )
    return ops.log(ops.where(ops.equal(row, column), 1.0 / dataset_size, rest))


ESTIMATORS: dict[str, Any] = {"mws": weighted, "mss": stratified}


def decompose(
    codes: Tensor, mean: Tensor, log_variance: Tensor, log_weights: Tensor
) -> tuple[Any, Any, Any]:
    """Split E[log q(z|x) - log p(z)] into three parts, in nats.

    Args:
        codes, mean, log_variance: Arrays (M, D); row j is the posterior of sample j and one draw
            from it.
        log_weights: Log weights (M, M) or (1, 1) of posterior j (column) for code i (row).

    Returns:
        (mutual information, total correlation, dimension-wise KL), three scalars whose sum is
        exactly the mean of log q(z|x) - log p(z).

    Source: Chen et al. 2018, equations 2 and 6. The weight of a pair enters log q(z) once, and
    log q(z_d) once for each d.
    """
    pairs = gaussian_log_density(codes[:, None], mean[None], log_variance[None])  # (i, j, d)
    log_q = ops.logsumexp(ops.sum(pairs, axis=2) + log_weights, axis=1)
    log_q_product = ops.sum(ops.logsumexp(pairs + log_weights[:, :, None], axis=1), axis=1)
    log_q_given_x = ops.sum(gaussian_log_density(codes, mean, log_variance), axis=1)
    log_prior = ops.sum(gaussian_log_density(codes, ops.zeros_like(codes), 0.0), axis=1)
    return (
        ops.mean(log_q_given_x - log_q),
        ops.mean(log_q - log_q_product),
        ops.mean(log_q_product - log_prior),
    )


@keras.saving.register_keras_serializable("keras_disent")
class BetaTCVAE(VAE):
    """Train a beta-TCVAE: minimize reconstruction + MI + beta * TC + dimension-wise KL.

    The three parts sum to a one-sample estimate of the KL. All are computed over the player batch.

    Args:
        beta: Weight of the total correlation TC: a number of at least 0, or a schedule.
        mutual_information_weight, dimension_wise_kl_weight: Weights of the other two parts: numbers
            of at least 0, or schedules.
        estimator: "mws", minibatch-weighted sampling (weights 1 / (N M)), or "mss",
            minibatch-stratified sampling, which has less bias and needs `dataset_size`.
        dataset_size: Number N of training images (int). Under "mws" it shifts the logged parts and
            changes no gradient; None uses 1 for N.
        Others: As `VAE`.

    Logs, besides those of `VAE`: `mutual_information_E`, `total_correlation_E`,
    `dimension_wise_kl_E`, in nats, where E is the estimator, since values of two estimators are not
    comparable.

    Raises:
        ValueError: If a weight is negative, the estimator is unknown, or "mss" has no
            `dataset_size`; else as `VAE`.

    Source: Chen et al. 2018, "Isolating sources of disentanglement", equation 4.

    >>> BetaTCVAE((32, 32, 1), latent_dim=4, estimator="mss", dataset_size=1000).terms[4]
    'total_correlation_mss'
    """

    min_player_batch = 2
    beta = schedules.Weight()
    mutual_information_weight, dimension_wise_kl_weight = schedules.Weight(), schedules.Weight()
    tunable = {"beta": Range(0.5, 32.0), **VAE.tunable}

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        beta: schedules.WeightValue = 6.0,
        mutual_information_weight: schedules.WeightValue = 1.0,
        dimension_wise_kl_weight: schedules.WeightValue = 1.0,
        estimator: str = "mws",
        dataset_size: int | None = None,
        **kwargs: Unpack[VAEOptions],
    ):
        lookup(estimator, ESTIMATORS, "estimator")
        if dataset_size is not None:
            checks.check_integer("dataset_size", dataset_size, at_least=2)
        elif estimator == "mss":
            raise ValueError(
                "The estimator 'mss' needs `dataset_size`, the number of training images. Got None."
            )
        super().__init__(image_shape, latent_dim, **kwargs)
        parts = ("mutual_information", "total_correlation", "dimension_wise_kl")
        self._parts = tuple(f"{part}_{estimator}" for part in parts)
        for part in self._parts:
            self.add_term(part)
        self.beta = beta
        self.mutual_information_weight = mutual_information_weight
        self.dimension_wise_kl_weight = dimension_wise_kl_weight
        self.estimator, self.dataset_size = estimator, dataset_size

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        codes, mean, log_variance = self.all_gather(codes, mean, log_variance)
        log_weights = ESTIMATORS[self.estimator](ops.shape(codes)[0], self.dataset_size)
        parts = decompose(codes, mean, log_variance, log_weights)
        weights = ("mutual_information_weight", "beta", "dimension_wise_kl_weight")
        total = sum(
            self.current(weight) * part for weight, part in zip(weights, parts, strict=True)
        )
        return total, dict(zip(self._parts, parts, strict=True))

    def check_batch_size(self, size: int) -> None:
        most = size if self.dataset_size is None else self.dataset_size + 1
        if self.estimator == "mss" and size > most:
            raise ValueError(
                "The estimator 'mss' is for batches of at most `dataset_size` + 1 images, here "
                f"{most}: choose a smaller `batch_size`, or 'mws'. Got {size}."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "estimator": self.estimator,
            "dataset_size": self.dataset_size,
        }
