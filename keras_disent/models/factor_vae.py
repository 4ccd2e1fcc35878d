"""FactorVAE: a VAE with a discriminator that estimates the total correlation of its codes."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.types import Tensor
from keras_disent.engine import backend, schedules
from keras_disent.layers import networks
from keras_disent.layers.acceleration import accelerate
from keras_disent.layers.custom_networks import check_discriminator
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE


@keras.saving.register_keras_serializable("keras_disent")
class FactorVAE(VAE):
    """Train a FactorVAE: minimize reconstruction + KL + gamma * total correlation.

    The total correlation is estimated by a discriminator that learns to distinguish codes from
    codes with each column shuffled: TC = mean(logit joint - logit permuted). In a training step the
    VAE is updated first, then the discriminator, with codes encoded anew. `batch_size=128` gives
    the published player batches of 64 (docs/training.md, "Player batch").

    Args:
        gamma: Weight of the total correlation: a number of at least 0, or a schedule.
        discriminator: Keras model from codes (n, D) to 2 logits (joint, permuted), or the number of
            units of each of its six layers. Default: 1000 units, times `width` of `with_networks`.
        Others: As `VAE`.

    Logs, besides those of `VAE`: `total_correlation`, the estimate in nats;
    `discriminator_loss`, cross-entropy in nats (log 2 at chance); `discriminator_accuracy`, 0.5 at
    chance, 1 if all codes are distinguished.

    Raises:
        ValueError: If `gamma` is negative, or `discriminator` does not return two logits; else as
            `VAE`.

    Source: Kim & Mnih 2018, "Disentangling by factorizing". In its algorithm 2 the discriminator
    compares codes of the first player batch, encoded before the VAE's update, with shuffled codes
    of the second. Here both are codes of the second player batch, encoded after the update.

    >>> model = FactorVAE((32, 32, 1), latent_dim=4, gamma=10.0, discriminator=50)
    >>> model.compile(keras.optimizers.Adam(1e-4))
    """

    terms = (*VAE.terms, "total_correlation", "discriminator_loss", "discriminator_accuracy")
    players = {**VAE.players, "discriminator_loss": ("discriminator",)}
    tunable = {"gamma": Range(5.0, 100.0), **VAE.tunable}
    min_player_batch = 2
    gamma = schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        gamma: schedules.WeightValue = 35.0,
        discriminator: int | keras.Model | None = None,
        **kwargs: Unpack[VAEOptions],
    ):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.gamma = gamma
        if isinstance(discriminator, dict):
            discriminator = keras.saving.deserialize_keras_object(discriminator)
        self._custom_discriminator = discriminator is not None
        if discriminator is None or isinstance(discriminator, int):
            units = 1000
            if discriminator is not None:
                units = checks.check_integer("discriminator", discriminator, at_least=1)
            seed = self.part_seed("discriminator")
            with networks.precision(self.dtype_policy):
                discriminator = networks.discriminator(latent_dim, units=units, seed=seed)
        check_discriminator(discriminator, latent_dim)
        self.discriminator: keras.Model = accelerate(discriminator)

    @classmethod
    def network_options(
        cls, latent_dim: Any, width: float, seed: int, options: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Give the discriminator the width too; it has 1000 units in each layer at width 1."""
        if width != 1.0 and options.get("discriminator") is None:
            with networks.precision(options.get("dtype")):
                part_seed = networks.part_seed(seed, "discriminator")
                discriminator = networks.discriminator(latent_dim, seed=part_seed, width=width)
            options = {**options, "discriminator": discriminator}
        return latent_dim, options

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the default optimizer: Adam, 1e-4; betas (0.5, 0.9) for the discriminator.

        Source: Kim & Mnih 2018, appendix A.
        """
        if player == "discriminator_loss":
            rate = 1e-4 if learning_rate is None else learning_rate
            return keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9)
        return super().default_optimizer(learning_rate)

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        if player == "loss":
            return super().objective(player, batch, training)
        _, _, mean, log_variance = self.encode_batch(batch, training)
        codes = ops.stop_gradient(self.noise.gaussian(mean, ops.exp(0.5 * log_variance)))
        return self.discriminator_terms(codes, training)

    def discriminator_terms(self, codes: Tensor, training: bool) -> dict[str, Any]:
        """Return the discriminator's terms on codes (n, D) and their permutation."""
        permuted = backend.local_shard(self.noise.permute(backend.all_gather(codes)))
        both = ops.concatenate([codes, permuted])
        logits = self.discriminator(both, training=training)
        # Two classes, so the margin alone decides; softplus(-margin) is the cross-entropy.
        ones = ops.ones_like(codes[:, 0])
        margins = (logits[:, 0] - logits[:, 1]) * ops.concatenate([ones, -ones])
        return {
            "discriminator_loss": ops.mean(ops.softplus(-margins)),
            "discriminator_accuracy": ops.mean(ops.cast(margins > 0, "float32")),
        }

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        logits = self.discriminator(codes, training=False)
        total_correlation = ops.mean(logits[:, 0] - logits[:, 1])
        return kl + self.current("gamma") * total_correlation, {
            "total_correlation": total_correlation
        }

    def get_config(self) -> dict[str, Any]:
        discriminator = keras.saving.serialize_keras_object(self.discriminator)
        return {
            **super().get_config(),
            "discriminator": discriminator if self._custom_discriminator else None,
        }
