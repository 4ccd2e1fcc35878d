"""FactorVAE: a VAE against a discriminator that sees the total correlation of its codes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_disent.engine import backend, schedules
from keras_disent.layers import networks
from keras_disent.models.hyperparameters import Range
from keras_disent.models.vae import VAE


@keras.saving.register_keras_serializable("keras_disent")
class FactorVAE(VAE):
    """FactorVAE: minimizes reconstruction + KL + gamma * total correlation.

    The total correlation is estimated by a discriminator that learns to tell codes from codes with
    each column shuffled: TC = mean(logit joint - logit permuted). In a training step the VAE moves
    first, on one half of the batch, then the discriminator on the other half, with codes encoded
    anew. So `batch_size=128` is the published two batches of 64.

    Args:
        gamma: number of at least 0, or a schedule.
        discriminator: a Keras model, codes (n, D) to 2 logits (joint, permuted). Default: six
            layers of 1000 units.
        Others: as `VAE`.

    Logs, besides those of `VAE`: `total_correlation`, the estimate in nats;
    `discriminator_loss`, cross-entropy in nats (log 2 when it sees nothing);
    `discriminator_accuracy`, 0.5 when it sees nothing, 1 when it sees all.

    Raises:
        ValueError: if `gamma` is negative, or `discriminator` gives no two logits; else as `VAE`.

    Source: Kim & Mnih 2018, "Disentangling by factorizing". In its algorithm 2 the discriminator
    compares codes of the first half, made before the VAE moved, with shuffled ones of the second;
    here both are codes of the second half, made after it.

    >>> small = networks.discriminator(4, units=50)
    >>> model = FactorVAE((32, 32, 1), latent_dim=4, gamma=10.0, discriminator=small)
    >>> model.compile(keras.optimizers.Adam(1e-4))
    """

    terms = (*VAE.terms, "total_correlation", "discriminator_loss", "discriminator_accuracy")
    players = {**VAE.players, "discriminator_loss": ("discriminator",)}
    tunable = {"gamma": Range(5.0, 100.0), **VAE.tunable}
    min_player_batch = 2
    gamma = schedules.Weight()

    def __init__(
        self,
        image_shape=(64, 64, 1),
        latent_dim=10,
        gamma: Any = 35.0,
        discriminator: Any = None,
        **kwargs,
    ):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.gamma = gamma
        if isinstance(discriminator, dict):
            discriminator = keras.saving.deserialize_keras_object(discriminator)
        self._own_discriminator = discriminator is not None
        if discriminator is None:
            seed = self.part_seed("discriminator")
            with networks.precision(self.dtype_policy):
                discriminator = networks.discriminator(latent_dim, seed=seed)
        networks.check_discriminator(discriminator, latent_dim)
        self.discriminator = discriminator

    @classmethod
    def with_networks(
        cls,
        image_shape: tuple[int, int, int],
        latent_dim: Any,
        network: str,
        width: float = 1.0,
        seed: int = 0,
        **options,
    ):
        """Return a model with networks of any width, as `VAE.with_networks`.

        The width is also that of the discriminator, which has 1000 units in each layer at width 1.
        """
        if width != 1.0 and options.get("discriminator") is None:
            with networks.precision(options.get("dtype")):
                part_seed = networks.part_seed(seed, "discriminator")
                options["discriminator"] = networks.discriminator(
                    latent_dim, seed=part_seed, width=width
                )
        return super().with_networks(image_shape, latent_dim, network, width, seed, **options)

    def default_optimizer(self, learning_rate: float | None = None, player: str | None = None):
        """Return a new optimizer: Adam, learning rate 1e-4; of the discriminator betas (0.5, 0.9).

        Source: Kim & Mnih 2018, appendix A.
        """
        if player == "discriminator_loss":
            rate = 1e-4 if learning_rate is None else learning_rate
            return keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9)
        return super().default_optimizer(learning_rate)

    def objective(self, player: str, batch, training: bool) -> dict[str, Any]:
        if player == "loss":
            return super().objective(player, batch, training)
        _, _, mean, log_variance = self.inferred(batch, training)
        codes = ops.stop_gradient(self.noise.gaussian(mean, ops.exp(0.5 * log_variance)))
        return self.judge(codes, training)

    def judge(self, codes, training: bool) -> dict[str, Any]:
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

    def penalty(self, codes, mean, log_variance, kl):
        logits = self.discriminator(codes, training=False)
        total_correlation = ops.mean(logits[:, 0] - logits[:, 1])
        return kl + self.current("gamma") * total_correlation, {
            "total_correlation": total_correlation
        }

    def get_config(self) -> dict[str, Any]:
        own = keras.saving.serialize_keras_object(self.discriminator)
        return {
            **super().get_config(),
            "discriminator": own if self._own_discriminator else None,
        }
