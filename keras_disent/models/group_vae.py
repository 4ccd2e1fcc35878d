"""Weakly supervised VAEs: they learn from pairs of images that share some of their factors.

A row of a batch is a pair, so `fit` takes (n, 2, height, width, channels), such as the batches of
`keras_disent.datasets.ChangedPairs`. `encode` and all other methods take single images.

The latents that a pair shares get one posterior for both images. Each method defines which latents
are shared (`is_shared`), and what their posterior is (`common`).
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.beta_vae import BetaVAE
from keras_disent.models.options import VAEOptions


class PairVAE(BetaVAE):
    """Minimize reconstruction + beta * KL of both images: the base class of the four methods."""

    pairs = True
    rows_per_sample = 2

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        beta: schedules.WeightValue = 1.0,
        **kwargs: Unpack[VAEOptions],
    ):
        if kwargs.get("supervision") is not None:
            raise ValueError("`supervision` is for models of single images, not of pairs.")
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)

    def common(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the common mean and log-variance (n, 1, D) of pairs of posteriors (n, 2, D)."""
        raise NotImplementedError(f"{type(self).__name__} does not define `common`.")

    def is_shared(self, mean: Tensor, log_variance: Tensor, labels: Tensor) -> Tensor:
        """Return which latents are shared, bool (n, 1, D).

        A latent is shared if its divergence is below the midpoint of the smallest and the largest
        divergence of this pair: Locatello et al. 2020, equation 6.
        """
        divergence = divergences(mean, log_variance)
        smallest = ops.min(divergence, axis=1, keepdims=True)
        largest = ops.max(divergence, axis=1, keepdims=True)
        return (divergence < 0.5 * (smallest + largest))[:, None]

    def encode_batch(self, batch: Any, training: bool) -> tuple[Tensor, Any, Tensor, Tensor]:
        images, labels, *posterior = super().encode_batch(batch, training)
        pairs = [ops.reshape(part, (-1, 2, self.latent_dim)) for part in posterior]
        shared = self.is_shared(pairs[0], pairs[1], labels)
        common = self.common(pairs[0], pairs[1])
        pooled = [ops.where(shared, one, each) for one, each in zip(common, pairs, strict=True)]
        return images, labels, *(ops.reshape(part, (-1, self.latent_dim)) for part in pooled)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images (n, h, w, c) as float32 in [0, 1], the two of a pair in sequence."""
        return super().preprocess(ops.reshape(images, (-1, *self.image_shape)))

    def check_batch(
        self, images: Any, labels: Any = None, name: str = "x", training: bool = False
    ) -> None:
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) != 5 or shape[1] != 2:
            sides = ", ".join(map(str, self.image_shape))
            raise ValueError(
                f"`{name}` must hold pairs of images, (n, 2, {sides}), such as "
                "np.stack([first, second], axis=1) of two arrays of equal length. "
                f"Got {f'shape {shape}' if shape else type(images).__name__}."
            )
        checks.images(images.reshape((-1, *shape[2:])), self.image_shape, name)


class _LabeledPairVAE(PairVAE):
    """Learn from pairs with labels that state which factors differ; latent i encodes factor i."""

    labeled = True

    def is_shared(self, mean: Tensor, log_variance: Tensor, labels: Tensor) -> Tensor:
        """Return which latents are shared, bool (n, 1, D): all but those of factors that differ."""
        padding = self.latent_dim - labels.shape[1]
        differs = ops.pad(ops.cast(labels, "int32"), ((0, 0), (0, padding)))
        return (differs == 0)[:, None]

    def check_batch(
        self, images: Any, labels: Any = None, name: str = "x", training: bool = False
    ) -> None:
        super().check_batch(images, labels, name, training)
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} learns from labels of pairs: 1 for each factor that "
                "differs, such as from `ChangedPairs(data, labels=True)`. Got none."
            )
        labels = np.asarray(keras.ops.convert_to_numpy(labels))
        fits = labels.ndim == 2 and len(labels) == images.shape[0]
        if not fits or not 1 <= labels.shape[1] <= self.latent_dim:
            raise ValueError(
                f"Labels of pairs must be ({images.shape[0]}, factors), with at most one factor "
                f"for each of the {self.latent_dim} latents. Got {labels.shape}."
            )
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("Labels of pairs are 1 for a factor that differs, else 0.")


def divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(first || second) of each latent of a pair, nats: (n, D) from (n, 2, D)."""
    difference = log_variance[:, 0] - log_variance[:, 1]
    square = ops.square(mean[:, 0] - mean[:, 1]) / ops.exp(log_variance[:, 1])
    return 0.5 * (ops.exp(difference) + square - 1 - difference)


@keras.saving.register_keras_serializable("keras_disent")
class AdaGVAE(PairVAE):
    """Train an Ada-GVAE: latents of small divergence get the average posterior of a pair.

    Learns from pairs (n, 2, height, width, channels) that share all but a few factors, without
    labels.

    Args:
        beta: Weight of the KL: a number of at least 0, or a schedule.
        Others: As `VAE`, without `supervision`.

    Logs: As `BetaVAE`; means over images.

    Raises:
        ValueError: If `fit` gets anything but pairs; else as `BetaVAE`.

    Source: Locatello et al. 2020, "Weakly-supervised disentanglement without compromises",
    section 4; Hosoya 2019 for the average.

    >>> model = AdaGVAE((32, 32, 1), latent_dim=4)
    >>> model.compile()
    >>> pairs = np.zeros((8, 2, 32, 32, 1), "uint8")
    >>> history = model.fit(pairs, batch_size=4, verbose=0)
    """

    def common(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        variance = ops.mean(ops.exp(log_variance), axis=1, keepdims=True)
        return ops.mean(mean, axis=1, keepdims=True), ops.log(variance)


@keras.saving.register_keras_serializable("keras_disent")
class AdaMLVAE(PairVAE):
    """Train an Ada-ML-VAE: latents of small divergence get the product of a pair's posteriors.

    Learns from pairs (n, 2, height, width, channels) that share all but a few factors, without
    labels.

    Args:
        beta: Weight of the KL: a number of at least 0, or a schedule.
        variance: "exact" for the variance of the product of two Gaussians, or "doubled" for twice
            that, as in public code.
        Others: As `VAE`, without `supervision`.

    Logs: As `BetaVAE`; means over images.

    Raises:
        ValueError: If `fit` gets anything but pairs, or for another `variance`; else as `BetaVAE`.

    Source: Locatello et al. 2020, "Weakly-supervised disentanglement without compromises",
    section 4; Bouchacourt et al. 2018 for the product.

    >>> AdaMLVAE((32, 32, 1), latent_dim=4).variance
    'exact'
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        beta: schedules.WeightValue = 1.0,
        variance: str = "exact",
        **kwargs: Unpack[VAEOptions],
    ):
        self._factor = lookup(variance, VARIANCES, "variance")
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)
        self.variance = variance

    def common(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        precision = ops.exp(-log_variance)
        total = ops.sum(precision, axis=1, keepdims=True)
        product = ops.sum(precision * mean, axis=1, keepdims=True) / total
        return product, math.log(self._factor) - ops.log(total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "variance": self.variance}


VARIANCES = {"exact": 1.0, "doubled": 2.0}


@keras.saving.register_keras_serializable("keras_disent")
class GVAE(_LabeledPairVAE, AdaGVAE):
    """Train a GVAE: an `AdaGVAE` with labels that state which factors of a pair differ.

    `fit(pairs, differs)` takes pairs (n, 2, h, w, c) and labels (n, factors) of 1 and 0, such as
    batches of `keras_disent.datasets.ChangedPairs(data, labels=True)`. Latent i belongs to factor
    i; further latents are always shared.

    Args: As `AdaGVAE`.

    Raises:
        ValueError: If labels are missing or malformed; else as `AdaGVAE`.

    Source: Hosoya 2019, "Group-based learning of disentangled representations"; with labels as in
    Locatello et al. 2020.

    >>> GVAE((32, 32, 1), latent_dim=4).labeled
    True
    """


@keras.saving.register_keras_serializable("keras_disent")
class MLVAE(_LabeledPairVAE, AdaMLVAE):
    """Train an ML-VAE: an `AdaMLVAE` with labels that state which factors differ, as `GVAE`.

    Args: As `AdaMLVAE`.

    Raises:
        ValueError: If labels are missing or malformed; else as `AdaMLVAE`.

    Source: Bouchacourt et al. 2018, "Multi-level variational autoencoder"; with labels as in
    Locatello et al. 2020.

    >>> MLVAE((32, 32, 1), latent_dim=4).labeled
    True
    """
