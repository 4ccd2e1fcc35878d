"""QLAE: an autoencoder with quantized latents and strong weight decay."""

from __future__ import annotations

import math
from typing import Any, Unpack

import keras
import numpy as np
from keras import layers, ops

from keras_disent._utils import checks, seeds
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.autoencoder import Autoencoder
from keras_disent.models.codes import argmax
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import CoderOptions


class QuantizedAutoencoder(Autoencoder):
    """Restrict each latent of an autoencoder to few values: the base class of QLAE and Tripod.

    Args:
        values: Number of values of a latent (int), at least 2.
        Others: As `Autoencoder`.
    """

    importance_unit = "nats"
    discrete_codes = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        values: int,
        **kwargs: Unpack[CoderOptions],
    ):
        values = checks.check_integer("values", values, at_least=2)
        super().__init__(image_shape, latent_dim, **kwargs)
        self.values = values

    def levels(self) -> np.ndarray:
        """Return the possible values of each latent, as raw codes: (D, values)."""
        raise NotImplementedError(f"{type(self).__name__} does not define `levels`.")

    def latent_values(self) -> list[np.ndarray | None]:
        """Return the values of each latent, as codes, ascending; None for all after `fit_ica`."""
        unmixing = ops.convert_to_numpy(self.code_transform.unmixing)
        if not np.array_equal(unmixing, np.eye(self.latent_dim)):
            return super().latent_values()  # a component mixes the values of all latents
        raw = ops.convert_to_tensor(np.asarray(self.levels().T, "float32"))
        return [np.unique(column) for column in ops.convert_to_numpy(self.code_transform(raw)).T]

    def sample(self, n: int, seed: int | None = None, dtype: str = "float32") -> np.ndarray:
        """Decode `n` codes drawn uniformly and independently: images in [0, 1], or "uint8"."""
        n = checks.check_integer("n", n, at_least=1)
        indices = seeds.generator(seed).integers(self.values, size=(n, self.latent_dim))
        columns = zip(self.levels(), indices.T, strict=True)
        raw = np.stack([levels[column] for levels, column in columns], axis=1)
        raw = ops.convert_to_tensor(raw.astype("float32"))
        return self.decode(ops.convert_to_numpy(self.code_transform(raw)), dtype=dtype)

    def latent_importance(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the entropy of each latent over the images: (D,) float32, nats.

        It is 0 for a latent with one value for all images.
        """
        return entropies(self.encode(images, batch_size))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "values": self.values}


@keras.saving.register_keras_serializable("keras_disent")
class QLAE(QuantizedAutoencoder):
    """Train a quantized-latent autoencoder (QLAE): each latent takes one of a few learned values.

    Minimizes, with P the number of pixels and channels,

        reconstruction + P * (quantize_weight * quantization + commit_weight * commitment)

    under strong weight decay, which is part of the method. The default optimizer is
    AdamW(1e-3, weight_decay=0.1). Biases and the values of latents are not decayed. The time
    constant of the decay is 1 / (learning rate * decay) = 10,000 steps; the published training has
    200,000 steps of 128 images. Gradients of the reconstruction pass straight through the
    quantization.

    The published networks are `encoder="qlae", decoder="qlae"`.

    Codes are standardized, as those of `Autoencoder`. Codes between two values are decoded as the
    nearer one.

    Args:
        latent_dim: Number of latents D (int); published: twice the number of factors.
        values: Number of values of a latent (int), at least 2.
        quantize_weight, commit_weight: Weights: numbers of at least 0, or schedules. As published,
            they are relative to a reconstruction averaged over pixels and channels, hence the P.
        Others: As `Autoencoder`.

    Logs, besides those of `Autoencoder`: `quantization`, mean squared distance of values to raw
    codes, which trains the values, and `commitment`, the same number, which trains the encoder.

    Raises:
        ValueError: Names the argument, the rule and what came.

    Source: Hsu et al. 2023, "Disentanglement via latent quantization", equations 2 to 7.

    >>> model = QLAE((32, 32, 1), latent_dim=4, values=5)
    >>> images = np.random.default_rng(0).integers(256, size=(50, 32, 32, 1)).astype("uint8")
    >>> all(len(np.unique(column)) <= 5 for column in model.encode(images).T)
    True
    """

    terms = (*Autoencoder.terms, "quantization", "commitment")
    players = {"loss": (*Autoencoder.players["loss"], "quantizer")}
    tunable = {
        "quantize_weight": Range(1e-3, 1.0),
        "commit_weight": Range(1e-3, 1.0),
        **Autoencoder.tunable,
    }
    exclude_from_decay = ("bias", "beta", "latent_values", "log_scale")
    supports_sample_weight = True
    quantize_weight, commit_weight = schedules.Weight(), schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        values: int = 10,
        quantize_weight: schedules.WeightValue = 0.01,
        commit_weight: schedules.WeightValue = 0.01,
        **kwargs: Unpack[CoderOptions],
    ):
        super().__init__(image_shape, latent_dim, values, **kwargs)
        self.quantize_weight, self.commit_weight = quantize_weight, commit_weight
        self.quantizer = LatentQuantizer(self.latent_dim, self.values)

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the published optimizer: AdamW with weight decay 0.1, learning rate 1e-3.

        Its epsilon is 1e-8 * P: as published, for a loss averaged over pixels. Only the published
        clipping of each number of that gradient to 1 is omitted.
        """
        rate = 1e-3 if learning_rate is None else learning_rate
        epsilon = 1e-8 * math.prod(self.image_shape)
        return keras.optimizers.AdamW(rate, weight_decay=0.1, epsilon=epsilon)

    def to_codes(self, raw: Tensor, training: bool) -> Tensor:
        values = self.quantizer(raw)
        # Equal up to rounding; outside of training the values must be exact.
        return raw + ops.stop_gradient(values - raw) if training else values

    def nearest_codes(self, codes: Tensor) -> Tensor:
        return self.quantizer(codes)

    def levels(self) -> np.ndarray:
        return ops.convert_to_numpy(self.quantizer.table)

    def penalty(self, raw: Tensor, codes: Tensor) -> tuple[Tensor, dict[str, Any]]:
        values = self.quantizer(raw)
        gap = ops.square(values - ops.stop_gradient(raw))
        quantization = self.mean(ops.mean(gap, axis=1))
        gap = ops.square(raw - ops.stop_gradient(values))
        commitment = self.mean(ops.mean(gap, axis=1))
        loss = self.current("quantize_weight") * quantization
        loss = loss + self.current("commit_weight") * commitment
        terms = {"quantization": quantization, "commitment": commitment}
        return math.prod(self.image_shape) * loss, terms


class LatentQuantizer(layers.Layer):
    """Round each latent to the nearest of its learned values, initially evenly spaced in +-1/2.

    Gradients reach the values, not the input.

    Args:
        latent_dim: Number of latents D (int).
        values: Number of values of each latent (int).

    Call: (n, D) -> (n, D).
    """

    def __init__(self, latent_dim: int, values: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        start = np.tile(np.linspace(-0.5, 0.5, values), (latent_dim, 1))
        self.table = self.add_weight(
            shape=start.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(start, dtype),
            name="latent_values",
        )
        self.built = True

    def call(self, raw: Tensor) -> Tensor:
        distances = ops.abs(raw[:, :, None] - self.table[None])  # (n, D, values)
        nearest = ops.one_hot(argmax(-distances), self.table.shape[1], dtype="float32")
        # Keep the axis and drop it afterward: OpenVINO (2026.4) fuses a sum over the last axis with
        # the next operation, and then reads wrong numbers for all rows but the first.
        return ops.sum(nearest * self.table[None], axis=-1, keepdims=True)[..., 0]


def entropies(codes: np.ndarray) -> np.ndarray:
    """Return the entropy of each column of discrete codes (n, D): (D,) float32, nats.

    >>> halves = entropies(np.array([[0.5, 1.0], [0.5, 2.0]]))
    >>> bool(np.allclose(halves, [0, np.log(2)]))
    True
    """
    frequencies = [np.unique(column, return_counts=True)[1] / len(codes) for column in codes.T]
    return np.array([np.sum(-p * np.log(p)) for p in frequencies], "float32") + 0.0
