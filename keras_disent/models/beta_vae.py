"""beta-VAE, and its annealed form in which the capacity of the latents grows."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_disent import schedules
from keras_disent.models.vae import VAE
from keras_disent.ranges import Range


@keras.saving.register_keras_serializable("keras_disent")
class BetaVAE(VAE):
    """beta-VAE: minimises reconstruction + beta * KL.

    Args:
        beta: number of at least 0, or a schedule of the step (`keras_disent.schedules`).
        Others: as `VAE`.

    Logs, besides those of `VAE`: `beta`, its value.

    Raises:
        ValueError: if `beta` is negative; else as `VAE`.

    Source: Higgins et al. 2017, "beta-VAE", equation 4.

    >>> BetaVAE((32, 32, 1), latent_dim=4, beta=8.0).beta
    8.0
    """

    terms = (*VAE.terms, "beta")
    tunable = {"beta": Range(0.5, 32.0), **VAE.tunable}

    def __init__(self, image_shape=(64, 64, 1), latent_dim=10, beta: Any = 4.0, **kwargs):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.beta = schedules.weight("beta", beta)

    def penalty(self, codes, mean, log_variance, kl):
        beta = schedules.at(self.beta, self.steps)
        return beta * kl, {"beta": beta}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": schedules.config(self.beta)}


@keras.saving.register_keras_serializable("keras_disent")
class AnnealedVAE(VAE):
    """Annealed VAE: minimises reconstruction + gamma * |KL - C|, with a capacity C that grows.

    Args:
        gamma: number of at least 0, or a schedule.
        capacity: C in nats: a number of at least 0, or a schedule. Default: from 0 to 25 nats in
            100,000 steps.
        Others: as `VAE`.

    Logs, besides those of `VAE`: `capacity` C, in nats.

    Raises:
        ValueError: if `gamma` or `capacity` is negative; else as `VAE`.

    Source: Burgess et al. 2018, "Understanding disentangling in beta-VAE", equation 8.

    >>> model = AnnealedVAE((32, 32, 1), 4, capacity=schedules.Linear(0, 10, steps=1000))
    >>> model.gamma
    1000.0
    """

    terms = (*VAE.terms, "capacity")
    tunable = {
        "gamma": Range(10.0, 1000.0),
        "capacity": Range(5.0, 100.0, grows=True),
        **VAE.tunable,
    }

    def __init__(
        self,
        image_shape=(64, 64, 1),
        latent_dim=10,
        gamma: Any = 1000.0,
        capacity: Any = None,
        **kwargs,
    ):
        super().__init__(image_shape, latent_dim, **kwargs)
        if capacity is None:
            capacity = schedules.Linear(0.0, 25.0, steps=100_000)
        self.gamma = schedules.weight("gamma", gamma)
        self.capacity = schedules.weight("capacity", capacity)

    def penalty(self, codes, mean, log_variance, kl):
        capacity = schedules.at(self.capacity, self.steps)
        gamma = schedules.at(self.gamma, self.steps)
        return gamma * ops.abs(kl - capacity), {"capacity": capacity}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gamma": schedules.config(self.gamma),
            "capacity": schedules.config(self.capacity),
        }
