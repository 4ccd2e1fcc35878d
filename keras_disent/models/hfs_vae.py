"""HFS: the support of the codes is drawn towards a box, whatever is correlated inside of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent import schedules
from keras_disent.models.beta_vae import BetaVAE
from keras_disent.ranges import Range


@keras.saving.register_keras_serializable("keras_disent")
class HFSVAE(BetaVAE):
    """Hausdorff factorized support: minimises reconstruction + beta * KL + gamma * HFS + scale.

    HFS asks that every combination of values that two latents take in a batch lies near to one that
    they take together: their support is a product, though they may be correlated. The last term,
    delta * sum_d max(0, 1 - standard deviation of latent d), keeps codes from shrinking, which
    would make all distances small.

    Args:
        beta: of the KL: number of at least 0, or a schedule. The published grid includes 0.
        gamma: of the support: likewise.
        delta: of the scale: likewise.
        Others: as `VAE`.

    Logs, besides those of `BetaVAE`: `support`, HFS summed over pairs of latents, and `scale`, both
    unweighted.

    Raises:
        ValueError: if a weight is negative, or there are fewer than 2 latents; else as `VAE`.

    Source: Roth et al. 2023, "Disentanglement of correlated factors via Hausdorff factorized
    support", equations 4 and 5; squared distances and the scale as in its code.

    >>> HFSVAE((32, 32, 1), latent_dim=4, gamma=100.0).terms[3:5]
    ('support', 'scale')
    """

    terms = (*BetaVAE.terms, "support", "scale")
    tunable = {**BetaVAE.tunable, "beta": Range(0.05, 5.0), "gamma": Range(1.0, 1000.0)}
    samples_per_turn = 2
    gamma, delta = schedules.Weight(), schedules.Weight()

    def __init__(
        self,
        image_shape=(64, 64, 1),
        latent_dim=10,
        beta: Any = 1.0,
        gamma: Any = 10.0,
        delta: Any = 0.0,
        **kwargs,
    ):
        if latent_dim == 1:
            raise ValueError(
                "The support of pairs of latents needs `latent_dim` of 2 or more. Got 1."
            )
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)
        self.gamma, self.delta = gamma, delta

    def penalty(self, codes, mean, log_variance, kl):
        loss, terms = super().penalty(codes, mean, log_variance, kl)
        (codes,) = self.whole(codes)
        support = factorized_support(codes)
        deviation = ops.sqrt(ops.var(codes, axis=0) + 1e-8)
        scale = ops.sum(ops.relu(1 - deviation))
        loss = loss + self.current("gamma") * support
        loss = loss + self.current("delta") * scale
        return loss, {**terms, "support": support, "scale": scale}


def factorized_support(codes):
    """Squared Hausdorff distance of codes (n, D) to the product of their values, pair by pair.

    For latents i < j: the greatest distance, over all samples a and b, of the point (z_ai, z_bj) to
    the nearest (z_ci, z_cj); summed over pairs. Only that point and the nearest have a gradient.

    >>> square = ops.convert_to_tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> float(factorized_support(square)), float(factorized_support(square[:3]))
    (0.0, 1.0)
    """
    count, latents = codes.shape[0] or ops.shape(codes)[0], codes.shape[1]
    first, second = np.triu_indices(latents, 1)
    columns = ops.transpose(codes)
    left, right = ops.take(columns, first, axis=0), ops.take(columns, second, axis=0)  # (pairs, n)
    still = ops.stop_gradient(columns)
    squares = ops.square(still[:, :, None] - still[:, None])  # (D, n, n)
    a_to_c = ops.take(squares, first, axis=0)[:, :, None]
    b_to_c = ops.take(squares, second, axis=0)[:, None]
    distances = a_to_c + b_to_c  # (pairs, n, n, n)
    farthest = ops.argmax(ops.reshape(ops.min(distances, axis=-1), (len(first), -1)), axis=-1)
    a, b = ops.floor_divide(farthest, count), ops.mod(farthest, count)

    def at(values, places):
        return ops.take_along_axis(values, places[:, None], axis=1)

    corner = ops.square(at(left, a) - left) + ops.square(at(right, b) - right)  # (pairs, n)
    return ops.sum(ops.min(corner, axis=-1))
