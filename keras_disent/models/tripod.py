"""Tripod: quantized, independent latents whose effects on the image do not interact."""

from __future__ import annotations

import math
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.layers.latents import LOG_TWO_PI
from keras_disent.models.autoencoder import Autoencoder
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import CoderOptions
from keras_disent.models.qlae import QuantizedAutoencoder

PERTURBATIONS, STEP = 2, 0.1  # as published; the step in standard deviations of a latent


@keras.saving.register_keras_serializable("keras_disent")
class Tripod(QuantizedAutoencoder):
    """Train a Tripod: an autoencoder with three inductive biases.

    Minimizes, with P the number of pixels and channels,

        reconstruction
        + P * (information_weight * multiinformation + hessian_weight * normalized Hessian penalty)

    where each latent, a hyperbolic tangent, is rounded to one of `values` even steps from -1 to 1,
    and gradients pass straight through. The multiinformation (total correlation) of a batch of
    codes is estimated by Gaussian kernels. The Hessian penalty is small if, in every hidden layer
    of the decoder, second derivatives by two different latents are small relative to all of them.

    A training step decodes eight more codes for each image, so it takes several times as long.

    The published networks are `encoder="tripod", decoder="tripod"`. Their decoder is smooth. The
    second derivatives of a ReLU decoder are 0 except at its kinks, where the penalty cannot measure
    them well.

    Args:
        values: Number of values of a latent (int), at least 2.
        information_weight, hessian_weight: Weights: numbers of at least 0, or schedules. As
            published, they are relative to a reconstruction averaged over pixels and channels,
            hence the P. Published values: 1e-10 to 1e-4 and 1e-8 to 1e-2, by data set.
        Others: As `Autoencoder`.

    Logs, besides those of `Autoencoder`: `multiinformation`, in nats, with kernels as published
    (see `multiinformation`), and `hessian`, summed over layers, both before their weights.

    Raises:
        ValueError: Names the argument, the rule and what came.

    Published trainings take 250,000 steps of 64 images.

    Source: Hsu et al. 2024, "Tripod: three complementary inductive biases for disentangled
    representation learning", sections 4.1 to 4.3; bandwidths and perturbations as in its code.

    >>> model = Tripod((16, 16, 1), latent_dim=3, values=5, encoder="mlp", decoder="mlp")
    >>> images = np.random.default_rng(0).integers(256, size=(50, 16, 16, 1)).astype("uint8")
    >>> all(len(np.unique(column)) <= 5 for column in model.encode(images).T)
    True
    """

    terms = (*Autoencoder.terms, "multiinformation", "hessian")
    tunable = {
        "information_weight": Range(1e-10, 1e-4),
        "hessian_weight": Range(1e-8, 1e-2),
        **Autoencoder.tunable,
    }
    min_player_batch = 2
    information_weight, hessian_weight = schedules.Weight(), schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        values: int = 12,
        information_weight: schedules.WeightValue = 1e-4,
        hessian_weight: schedules.WeightValue = 1e-2,
        **kwargs: Unpack[CoderOptions],
    ):
        super().__init__(image_shape, latent_dim, values, **kwargs)
        self.information_weight, self.hessian_weight = information_weight, hessian_weight
        # Not tracked: its layers are those of the decoder.
        object.__setattr__(self, "_hidden", _hidden_layers(self.decoder))

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the published optimizer: Adam, learning rate 2e-4, epsilon 1e-8 * P.

        Only the published clipping of each number of the gradient is omitted, as in `QLAE`.
        """
        rate = 2e-4 if learning_rate is None else learning_rate
        return keras.optimizers.Adam(rate, epsilon=1e-8 * math.prod(self.image_shape))

    def to_codes(self, raw: Tensor, training: bool) -> Tensor:
        continuous = ops.tanh(raw)
        steps = self.nearest_codes(continuous)
        return continuous + ops.stop_gradient(steps - continuous) if training else steps

    def nearest_codes(self, codes: Tensor) -> Tensor:
        most = self.values - 1
        steps = ops.round((ops.clip(codes, -1.0, 1.0) + 1) / 2 * most)
        return 2 * steps / most - 1

    def levels(self) -> np.ndarray:
        return np.tile(np.linspace(-1.0, 1.0, self.values), (self.latent_dim, 1))

    def penalty(self, raw: Tensor, codes: Tensor) -> tuple[Tensor, dict[str, Any]]:
        all_raw, all_codes = self.all_gather(raw, codes)
        scale = ops.sqrt(ops.var(ops.tanh(all_raw), axis=0) + 1e-12)
        information = multiinformation(all_codes, scale)
        hessian = self.hessian_penalty(codes, scale)
        loss = self.current("information_weight") * information
        loss = loss + self.current("hessian_weight") * hessian
        terms = {"multiinformation": information, "hessian": hessian}
        return math.prod(self.image_shape) * loss, terms

    def hessian_penalty(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Compute the normalized Hessian penalty, summed over hidden layers: a scalar.

        For a layer f the variances of v' H v over random signs v, and over Gaussian v, are twice
        the sums of H_ij^2 over i not j, and over all i and j. The penalty is their quotient, with
        second derivatives by central differences, averaged over codes.

        Args:
            codes: Codes (n, D).
            scale: Standard deviations (D,) of the latents.
        """
        signs, normal = self.noise.directions(ops.shape(codes)[0], self.latent_dim, PERTURBATIONS)
        steps = STEP * scale * ops.concatenate([signs, normal])  # (2k, n, D)
        perturbed = ops.concatenate([codes[None], codes + steps, codes - steps])
        total: Any = 0.0
        ends = [1, 2 * PERTURBATIONS + 1]
        hidden = self._hidden(ops.reshape(perturbed, (-1, self.latent_dim)), training=False)
        for outputs in keras.tree.flatten(hidden):
            outputs = ops.cast(outputs, "float32")
            units = math.prod(outputs.shape[1:])
            outputs = ops.reshape(outputs, (4 * PERTURBATIONS + 1, -1, units))
            center, forward, backward = ops.split(outputs, ends)
            curvatures = (forward - 2 * center + backward) / STEP**2  # (2k, n, units)
            off_diagonal = ops.mean(ops.var(curvatures[:PERTURBATIONS], axis=0), axis=-1)
            full = ops.mean(ops.var(curvatures[PERTURBATIONS:], axis=0), axis=-1)
            total = total + ops.mean(off_diagonal / (full + 1e-10))
        return total


def multiinformation(codes: Tensor, scale: Tensor) -> Tensor:
    """Estimate the total correlation of codes (n, D) by kernel densities: a scalar, nats.

    mean_i [log q(z_i) - sum_d log q_d(z_id)] with Gaussian kernels. As published, those of the
    joint density have Silverman's bandwidths for D dimensions, and those of the marginals are as
    wide as the latents. So it is an estimate to minimize, not to report.

    Args:
        codes: Codes (n, D).
        scale: Standard deviations (D,) of the latents.

    >>> codes = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(64, 1)) * [[1.0, 1.0]])
    >>> codes = ops.cast(codes, "float32")
    >>> float(multiinformation(codes, ops.ones((2,)))) > 1
    True
    """
    count, latents = ops.cast(ops.shape(codes)[0], "float32"), codes.shape[1]
    silverman = (4 / ((latents + 2) * count)) ** (1 / (latents + 4))
    squares = ops.square((codes[:, None] - codes[None]) / scale)  # (n, n, D)

    def log_kernels(bandwidth: Tensor | float) -> Tensor:
        return -0.5 * (squares / bandwidth**2 + LOG_TWO_PI) - ops.log(bandwidth * scale)

    joint = ops.logsumexp(ops.sum(log_kernels(silverman), axis=2), axis=1)
    marginals = ops.sum(ops.logsumexp(log_kernels(1.0), axis=1), axis=1)
    return ops.mean(joint - marginals) + (latents - 1) * ops.log(count)


def _hidden_layers(decoder: keras.Model) -> keras.Model:
    """Return a model of the outputs of the decoder's hidden layers that have weights.

    A decoder without accessible layers, or with one layer, is returned unchanged.
    """
    if getattr(decoder, "outputs", None):
        # For a nested model `Layer.output` is the tensor of the decoder, `Model.output` its own.
        output = keras.Layer.output.fget
        *hidden, _ = [output(layer) for layer in decoder.layers if layer.weights]
        if hidden:
            return keras.Model(decoder.inputs, hidden)
    return decoder
