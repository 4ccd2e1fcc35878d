"""Weakly supervised VAEs: they see images in pairs that are known to share some of their factors.

A row of a batch is a pair, so `fit` takes (n, 2, height, width, channels), such as the batches of
`keras_disent.datasets.ChangedPairs`. `encode` and everything else take images as ever.

The latents that a pair shares get one posterior for both images. Each method answers two questions:
which latents are shared (`is_shared`), and what their posterior is (`common`).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent.models.beta_vae import BetaVAE


class PairVAE(BetaVAE):
    """What the four methods have in common. Minimizes reconstruction + beta * KL of both images."""

    pairs = True
    rows_per_sample = 2

    def __init__(self, image_shape=(64, 64, 1), latent_dim=10, beta: Any = 1.0, **kwargs):
        if kwargs.get("supervision") is not None:
            raise ValueError("`supervision` is for models of single images, not of pairs.")
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)

    def common(self, mean, log_variance):
        """Return mean and log-variance (n, 1, D) of both from those of each, (n, 2, D)."""
        raise NotImplementedError(f"{type(self).__name__} does not define `common`.")

    def is_shared(self, mean, log_variance, labels):
        """Return which latents are shared, bool (n, 1, D).

        Here those whose posteriors diverge by less than halfway between the least and the most
        that latents of this pair do: Locatello et al. 2020, equation 6.
        """
        divergence = divergences(mean, log_variance)
        least = ops.min(divergence, axis=1, keepdims=True)
        most = ops.max(divergence, axis=1, keepdims=True)
        return (divergence < 0.5 * (least + most))[:, None]

    def inferred(self, batch, training: bool):
        images, labels, *posterior = super().inferred(batch, training)
        own = [ops.reshape(part, (-1, 2, self.latent_dim)) for part in posterior]
        shared = self.is_shared(own[0], own[1], labels)
        both = self.common(*own)
        pooled = [ops.where(shared, one, each) for one, each in zip(both, own, strict=True)]
        return images, labels, *(ops.reshape(part, (-1, self.latent_dim)) for part in pooled)

    def preprocess(self, images):
        """Return images (n, h, w, c) as float32 in [0, 1]; the two of a pair follow each other."""
        return super().preprocess(ops.reshape(images, (-1, *self.image_shape)))

    def check_batch(self, images, labels=None, name="x", training=False) -> None:
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) != 5 or shape[1] != 2:
            sides = ", ".join(map(str, self.image_shape))
            raise ValueError(
                f"`{name}` must hold pairs of images, (n, 2, {sides}), such as "
                "np.stack([first, second], axis=1) of two arrays of equal length. "
                f"Got {f'shape {shape}' if shape else type(images).__name__}."
            )
        checks.images(images.reshape((-1, *shape[2:])), self.image_shape, name)


class _KnownPairs(PairVAE):
    """Pairs whose labels tell, for each factor, whether it differs; latent i carries factor i."""

    labeled = True

    def is_shared(self, mean, log_variance, labels):
        """Return which latents are shared, bool (n, 1, D): not those of factors that differ."""
        more = self.latent_dim - labels.shape[1]
        differs = ops.pad(ops.cast(labels, "int32"), ((0, 0), (0, more)))
        return (differs == 0)[:, None]

    def check_batch(self, images, labels=None, name="x", training=False) -> None:
        super().check_batch(images, labels, name, training)
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} learns from labels of pairs: 1 for each factor that "
                "differs, such as from `ChangedPairs(data, labels=True)`. Got none."
            )
        given = np.asarray(keras.ops.convert_to_numpy(labels))
        fits = given.ndim == 2 and len(given) == images.shape[0]
        if not fits or not 1 <= given.shape[1] <= self.latent_dim:
            raise ValueError(
                f"Labels of pairs must be ({images.shape[0]}, factors), with at most one factor "
                f"for each of the {self.latent_dim} latents. Got {given.shape}."
            )
        if not np.isin(given, (0, 1)).all():
            raise ValueError("Labels of pairs are 1 for a factor that differs, else 0.")


def divergences(mean, log_variance):
    """KL(first || second) of each latent of a pair, nats: (n, D) from (n, 2, D)."""
    difference = log_variance[:, 0] - log_variance[:, 1]
    square = ops.square(mean[:, 0] - mean[:, 1]) / ops.exp(log_variance[:, 1])
    return 0.5 * (ops.exp(difference) + square - 1 - difference)


@keras.saving.register_keras_serializable("keras_disent")
class AdaGVAE(PairVAE):
    """Ada-GVAE: shared latents, found by their divergence, get the average posterior.

    Takes pairs (n, 2, height, width, channels) that share all but a few factors, without labels.

    Args:
        beta: number of at least 0, or a schedule.
        Others: as `VAE`, without `supervision`.

    Logs: as `BetaVAE`; means over images.

    Raises:
        ValueError: if `fit` gets anything but pairs; else as `BetaVAE`.

    Source: Locatello et al. 2020, "Weakly-supervised disentanglement without compromises",
    section 4; Hosoya 2019 for the average.

    >>> model = AdaGVAE((32, 32, 1), latent_dim=4)
    >>> model.compile()
    >>> pairs = np.zeros((8, 2, 32, 32, 1), "uint8")
    >>> history = model.fit(pairs, batch_size=4, verbose=0)
    """

    def common(self, mean, log_variance):
        variance = ops.mean(ops.exp(log_variance), axis=1, keepdims=True)
        return ops.mean(mean, axis=1, keepdims=True), ops.log(variance)


@keras.saving.register_keras_serializable("keras_disent")
class AdaMLVAE(PairVAE):
    """Ada-ML-VAE: shared latents, found by their divergence, get the product of the posteriors.

    Takes pairs (n, 2, height, width, channels) that share all but a few factors, without labels.

    Args:
        beta: number of at least 0, or a schedule.
        variance: "exact", that of the product of two Gaussians, or "doubled", as public code has.
        Others: as `VAE`, without `supervision`.

    Logs: as `BetaVAE`; means over images.

    Raises:
        ValueError: if `fit` gets anything but pairs; for another `variance`; else as `BetaVAE`.

    Source: Locatello et al. 2020, "Weakly-supervised disentanglement without compromises",
    section 4; Bouchacourt et al. 2018 for the product.

    >>> AdaMLVAE((32, 32, 1), latent_dim=4).variance
    'exact'
    """

    def __init__(
        self,
        image_shape=(64, 64, 1),
        latent_dim=10,
        beta: Any = 1.0,
        variance: str = "exact",
        **kwargs,
    ):
        self._factor = lookup(variance, VARIANCES, "variance")
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)
        self.variance = variance

    def common(self, mean, log_variance):
        precision = ops.exp(-log_variance)
        total = ops.sum(precision, axis=1, keepdims=True)
        product = ops.sum(precision * mean, axis=1, keepdims=True) / total
        return product, math.log(self._factor) - ops.log(total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "variance": self.variance}


VARIANCES = {"exact": 1.0, "doubled": 2.0}


@keras.saving.register_keras_serializable("keras_disent")
class GVAE(_KnownPairs, AdaGVAE):
    """GVAE: `AdaGVAE` that is told what differs.

    `fit(pairs, differs)` takes pairs (n, 2, h, w, c) and (n, factors) of 1 and 0, such as batches
    of `keras_disent.datasets.ChangedPairs(data, labels=True)`. Latent i is that of factor i;
    latents beyond the factors are always shared.

    Args: as `AdaGVAE`.

    Raises:
        ValueError: if labels are missing or malformed; else as `AdaGVAE`.

    Source: Hosoya 2019, "Group-based learning of disentangled representations"; with labels as in
    Locatello et al. 2020.

    >>> GVAE((32, 32, 1), latent_dim=4).labeled
    True
    """


@keras.saving.register_keras_serializable("keras_disent")
class MLVAE(_KnownPairs, AdaMLVAE):
    """ML-VAE: `AdaMLVAE` that is told what differs, as `GVAE` is.

    Args: as `AdaMLVAE`.

    Raises:
        ValueError: if labels are missing or malformed; else as `AdaMLVAE`.

    Source: Bouchacourt et al. 2018, "Multi-level variational autoencoder"; with labels as in
    Locatello et al. 2020.

    >>> MLVAE((32, 32, 1), latent_dim=4).labeled
    True
    """
