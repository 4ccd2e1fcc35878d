"""Variational autoencoder, the base class of most models here."""

from __future__ import annotations

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks, seeds
from keras_disent._utils.types import Distribution, KerasOptions, Tensor
from keras_disent.engine import schedules
from keras_disent.layers import latents
from keras_disent.models.batching import batched
from keras_disent.models.coder import Coder
from keras_disent.models.supervision import Supervision


@keras.saving.register_keras_serializable("keras_disent")
class VAE(Coder):
    """Train a variational autoencoder: minimize reconstruction + KL.

    Args:
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of latents D (int).
        encoder: Name of a network in `networks.ENCODERS` or a Keras model: images (n, h, w, c),
            floats in [0, 1], to features (n, f). Default "conv".
        decoder: Name of a network in `networks.DECODERS` or a Keras model: codes (n, D) to
            (n, h, w, c) real numbers. Default "conv".
        likelihood: "bernoulli", "continuous_bernoulli", "gaussian", "gaussian_learned_scale", one
            with its arguments such as "gaussian(scale=0.05)", or a
            `keras_disent.layers.latents.Likelihood`.
        seed: Random seed (int), at least 0, of the initial weights, the sampling noise, and the
            order of arrays in `fit`. None draws one, as Keras does, and stores it as `model.seed`.
        supervision: A `keras_disent.models.supervision.Supervision`, to learn from labels too.

    Reads images (n, height, width, channels) as uint8 in 0..255 or floats in [0, 1]. Called on
    images it returns their reconstructions, floats in [0, 1].

    Attributes:
        supervision_weight: Weight of `supervision`, a number or a schedule.

    Logs (nats, means over samples): `loss`; `reconstruction`, -log p(x|z) summed over pixels and
    channels; `kl`, KL(q(z|x) || p(z)) summed over latents; and, in all models here, the weights of
    the objective under their names.

    Raises:
        ValueError: Names the argument, the rule and what came.

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", equation 8.

    >>> model = VAE((32, 32, 1), latent_dim=4)
    >>> model.compile()
    >>> images = np.zeros((8, 32, 32, 1), "uint8")
    >>> history = model.fit(images, batch_size=4, verbose=0)
    >>> model.encode(images).shape
    (8, 4)
    """

    terms: tuple[str, ...] = ("loss", "reconstruction", "kl")
    players: dict[str, tuple[str, ...]] = {
        "loss": ("encoder", "posterior_head", "decoder", "likelihood")
    }
    encoding = ("mean", "log_variance")
    importance_unit = "nats"
    supports_sample_weight = True
    supervision_weight = schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        encoder: str | keras.Model | None = None,
        decoder: str | keras.Model | None = None,
        likelihood: str | latents.Likelihood = "bernoulli",
        seed: int | None = None,
        supervision: Supervision | None = None,
        **kwargs: Unpack[KerasOptions],
    ):
        if isinstance(supervision, dict):
            supervision = keras.saving.deserialize_keras_object(supervision)
        super().__init__(image_shape, latent_dim, encoder, decoder, likelihood, seed, **kwargs)
        self.supervision, self.labeled = supervision, self.labeled or supervision is not None
        if supervision is not None:
            self.add_term("supervision")
            self.supervision_weight = supervision.weight
        self.posterior_head = latents.GaussianPosterior(
            self.latent_dim, seed=self.part_seed("head")
        )
        self.posterior_head.build((None, self.features))
        self.prior = latents.StandardNormalPrior(self.latent_dim)
        self.built = True

    # -- learning ---------------------------------------------------------------------------------

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        images, labels, mean, log_variance = self.encode_batch(batch, training)
        codes = self.noise.gaussian(mean, ops.exp(0.5 * log_variance))
        reconstruction = self.reconstruction(images, codes, training)
        kl = self.mean(ops.sum(self.prior.kl(mean, log_variance), axis=-1))
        loss, terms = self.penalty(codes, mean, log_variance, kl)
        if self.supervision is not None:
            labels, mask = self.supervision.split_labels(labels)
            mean, labels, mask = self.all_gather(mean, labels, mask)
            terms["supervision"] = self.supervision(mean, labels, mask, self._sample_weight)
            loss = loss + self.current("supervision_weight") * terms["supervision"]
        return {
            "loss": reconstruction + loss,
            "reconstruction": reconstruction,
            "kl": kl,
            **terms,
        }

    def encode_batch(self, batch: Any, training: bool) -> tuple[Any, Any, Any, Any]:
        """Encode a batch: images (n, h, w, c), labels or None, mean and log-variance (n, D)."""
        images, labels = batch if self.labeled else (batch, None)
        images = self.preprocess(images)
        return images, labels, *self.posterior_head(self.encoder(images, training=training))

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Any, dict[str, Any]]:
        """Return the part of the objective besides the reconstruction, and the terms to log.

        Args:
            codes, mean, log_variance: One sample of the posterior, its mean and log-variance, each
                (n, D).
            kl: KL, summed over latents, averaged over samples: a scalar.
        """
        return kl, {}

    # -- tensors ----------------------------------------------------------------------------------

    def encode_tensors(self, images: Tensor, training: bool = False) -> tuple[Any, ...]:
        return self.posterior_head(self.encoder(self.preprocess(images), training=training))

    def posterior(self, images: Tensor) -> Distribution:
        """Return q(z|x) of one batch as the backend's distribution: batch (n,), event (D,)."""
        self.check_images(images)
        dtype = keras.backend.standardize_dtype(images.dtype)
        images = self.preprocess(ops.convert_to_tensor(images, dtype=dtype))
        return self.posterior_head.distribution(*self.posterior_head(self.encoder(images)))

    # -- NumPy arrays in, NumPy arrays out, in batches of bounded memory --------------------------

    def encode(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the posterior means of images: (n, D) float32."""
        return self.posterior_parameters(images, batch_size)[0]

    def posterior_parameters(
        self, images: Tensor, batch_size: int = 256
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of q(z|x): two arrays (n, D) float32."""
        self.check_images(images, check_values=True)
        mean, log_variance = batched(self._encode, images, batch_size)
        return mean, log_variance

    def sample(self, n: int, seed: int | None = None, dtype: str = "float32") -> np.ndarray:
        """Decode `n` codes drawn from the prior: images, float32 in [0, 1], or "uint8"."""
        n = checks.check_integer("n", n, at_least=1)
        codes = seeds.generator(seed).standard_normal((n, self.latent_dim))
        return self.decode(codes, dtype=dtype)

    def latent_kl(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the mean KL of each latent over the images, its cost: (D,) float32, nats.

        It is `latent_importance`, plus what the latent costs because its codes do not have the
        mean 0 and the variance 1 of the prior.
        """
        mean, log_variance = self.posterior_parameters(images, batch_size)
        return np.mean(0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1), axis=0)

    def latent_importance(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the information of each latent about an image: (D,) float32, nats.

        It is the mutual information of image and latent if the latent is Gaussian over the images,
        and never less than that: half the log of the variance of the codes over all images,
        minus its mean within an image. It is about 0 for an unused latent, also for one whose
        posterior differs from the prior but is the same for all images.

        Source: Hoffman & Johnson 2016, "ELBO surgery", equation 5, with a Gaussian for the
        aggregated posterior.
        """
        mean, log_variance = self.posterior_parameters(images, batch_size)
        mean, log_variance = mean.astype("float64"), log_variance.astype("float64")
        variance = np.var(mean, axis=0) + np.mean(np.exp(log_variance), axis=0)
        return (0.5 * (np.log(variance) - np.mean(log_variance, axis=0))).astype("float32")

    # -- configuration ----------------------------------------------------------------------------

    def check_batch(
        self, images: Tensor, labels: Any = None, name: str = "x", training: bool = False
    ) -> None:
        super().check_batch(images, labels, name, training)
        if self.supervision is not None:
            self.supervision.check(labels, self.latent_dim)
            if labels.shape[0] != images.shape[0]:
                raise ValueError(
                    f"`y` must hold one row of labels for each of the {images.shape[0]} images. "
                    f"Got {labels.shape[0]}."
                )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        supervision = keras.saving.serialize_keras_object(self.supervision)
        if supervision is not None:
            supervision["config"]["weight"] = config.pop("supervision_weight")
        return {**config, "supervision": supervision}
