"""DIP-VAE I and II: a penalty pulls the covariance of the codes toward the identity."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE


@keras.saving.register_keras_serializable("keras_disent")
class DIPVAE(VAE):
    """Train a DIP-VAE: minimize reconstruction + KL + a penalty on the covariance C of the codes.

    The penalty is lambda_od * sum_{i != j} C_ij^2 + lambda_d * sum_i (C_ii - 1)^2. C is the
    covariance of the posterior means (variant "i"), or of samples: the same plus the mean posterior
    variances (variant "ii"). It is computed over the player batch.

    Args:
        variant: Variant of the method, "i" or "ii".
        lambda_od: Weight of the off-diagonal: a number of at least 0, or a schedule.
        lambda_d: Weight of the diagonal. Default, as published: 10 * lambda_od for "i", lambda_od
            for "ii".
        Others: As `VAE`.

    Logs, besides those of `VAE`: `off_diagonal`, sum of C_ij^2, and `diagonal`, sum of
    (C_ii - 1)^2, both unweighted.

    Raises:
        ValueError: If a weight is negative or the variant unknown; else as `VAE`.

    Source: Kumar et al. 2018, "Variational inference of disentangled latent concepts", equations 6
    and 7.

    >>> DIPVAE((32, 32, 1), latent_dim=4, variant="i", lambda_od=5.0).lambda_d
    50.0
    """

    terms = (*VAE.terms, "off_diagonal", "diagonal")
    tunable = {"lambda_od": Range(0.5, 100.0), **VAE.tunable}
    min_player_batch = 2
    lambda_od, lambda_d = schedules.Weight(), schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        variant: str = "ii",
        lambda_od: schedules.WeightValue = 10.0,
        lambda_d: schedules.WeightValue | None = None,
        **kwargs: Unpack[VAEOptions],
    ):
        if variant not in ("i", "ii"):
            raise ValueError(f"`variant` of DIP-VAE is 'i' or 'ii'. Got {variant!r}.")
        super().__init__(image_shape, latent_dim, **kwargs)
        self.variant = variant
        self.lambda_od = lambda_od
        if lambda_d is None:
            if isinstance(self.lambda_od, LearningRateSchedule):
                raise ValueError("With a schedule as `lambda_od`, pass `lambda_d` too. Got None.")
            lambda_d = self.lambda_od * (10.0 if variant == "i" else 1.0)
        self.lambda_d = lambda_d

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        mean, log_variance = self.all_gather(mean, log_variance)
        centered = mean - ops.mean(mean, axis=0)
        samples = ops.cast(ops.shape(mean)[0], "float32")
        covariance = ops.matmul(ops.transpose(centered), centered) / samples
        variances = ops.diagonal(covariance)
        off_diagonal = ops.sum(ops.square(covariance)) - ops.sum(ops.square(variances))
        if self.variant == "ii":
            variances = variances + ops.mean(ops.exp(log_variance), axis=0)
        diagonal = ops.sum(ops.square(variances - 1.0))
        penalty = self.current("lambda_od") * off_diagonal + self.current("lambda_d") * diagonal
        return kl + penalty, {"off_diagonal": off_diagonal, "diagonal": diagonal}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "variant": self.variant,
        }
