"""beta-VAE, and its annealed variant with a growing capacity of the latents."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE


@keras.saving.register_keras_serializable("keras_disent")
class BetaVAE(VAE):
    """Train a beta-VAE: minimize reconstruction + beta * KL.

    Args:
        beta: Weight of the KL: a number of at least 0, or a schedule
            (`keras_disent.engine.schedules`).
        Others: As `VAE`.

    Raises:
        ValueError: If `beta` is negative; else as `VAE`.

    Source: Higgins et al. 2017, "beta-VAE", equation 4.

    >>> BetaVAE((32, 32, 1), latent_dim=4, beta=8.0).beta
    8.0
    """

    supports_sample_weight = True
    beta = schedules.Weight()
    tunable = {"beta": Range(0.5, 32.0), **VAE.tunable}

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        beta: schedules.WeightValue = 4.0,
        **kwargs: Unpack[VAEOptions],
    ):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.beta = beta

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        return self.current("beta") * kl, {}


@keras.saving.register_keras_serializable("keras_disent")
class AnnealedVAE(VAE):
    """Train an annealed VAE: minimize reconstruction + gamma * |KL - C| with a growing capacity C.

    Args:
        gamma: Weight of the distance to the capacity: a number of at least 0, or a schedule.
        capacity: Capacity C in nats: a number of at least 0, or a schedule. Default: from 0 to 25
            nats in 100,000 steps.
        Others: As `VAE`.

    Raises:
        ValueError: If `gamma` or `capacity` is negative; else as `VAE`.

    Source: Burgess et al. 2018, "Understanding disentangling in beta-VAE", equation 8.

    >>> model = AnnealedVAE((32, 32, 1), 4, capacity=schedules.Linear(0, 10, steps=1000))
    >>> model.gamma
    1000.0
    """

    gamma, capacity = schedules.Weight(), schedules.Weight()
    tunable = {
        "gamma": Range(10.0, 1000.0),
        "capacity": Range(5.0, 100.0, grows=True),
        **VAE.tunable,
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        gamma: schedules.WeightValue = 1000.0,
        capacity: schedules.WeightValue | None = None,
        **kwargs: Unpack[VAEOptions],
    ):
        super().__init__(image_shape, latent_dim, **kwargs)
        if capacity is None:
            capacity = schedules.Linear(0.0, 25.0, steps=100_000)
        self.gamma, self.capacity = gamma, capacity

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        return self.current("gamma") * ops.abs(kl - self.current("capacity")), {}
