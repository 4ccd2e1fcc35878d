"""HFS-VAE: a penalty pulls the support of the codes toward a box, whatever their correlation."""

from __future__ import annotations

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.beta_vae import BetaVAE
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions


@keras.saving.register_keras_serializable("keras_disent")
class HFSVAE(BetaVAE):
    """Train a VAE with Hausdorff factorized support (HFS).

    Minimizes reconstruction + beta * KL + gamma * HFS + scale. HFS is small if every combination of
    values that two latents take in a batch lies near one that they take together. Then their
    support is a product, though they may be correlated. The values are posterior means, so an
    unused latent, with the same mean for all images, costs nothing. The scale,
    delta * sum_d max(0, 1 - standard deviation of mean d), prevents that codes shrink, which would
    make all distances small.

    Args:
        beta: Weight of the KL: a number of at least 0, or a schedule. The published grid: 0, 1, 2,
            4, 6, 8, 10, 16.
        gamma: Weight of the support, summed over all D (D - 1) / 2 pairs of latents: a number of at
            least 0, or a schedule. The published code draws 25 pairs in each step and sums those.
            So for more than 25 pairs (D above 7) multiply a published gamma by 25 / pairs: divide
            it by 1.8 at D = 10. The published grid runs from 0.1 to 10,000.
        delta: Weight of the scale: a number of at least 0, or a schedule; 0 as published.
        Others: As `VAE`.

    Logs, besides those of `BetaVAE`: `support`, HFS summed over pairs of latents, and `scale`, both
    unweighted.

    A batch of n images takes memory in proportion to D^2 n^2, and time to at most D^2 n^3.

    Raises:
        ValueError: If a weight is negative, or there are fewer than 2 latents; else as `VAE`.

    Source: Roth et al. 2023, "Disentanglement of correlated factors via Hausdorff factorized
    support", equations 4 and 5. Distances are squared and taken between posterior means, and both
    the combination and its nearest neighbor have a gradient, as in the authors' code. The scale is
    that of equation 5; the code takes the deviation over the latents of one image in its place.

    >>> HFSVAE((32, 32, 1), latent_dim=4, gamma=100.0).terms[3:5]
    ('support', 'scale')
    """

    terms = (*BetaVAE.terms, "support", "scale")
    tunable = {**BetaVAE.tunable, "beta": Range(0.05, 5.0), "gamma": Range(1.0, 1000.0)}
    min_player_batch = 2
    gamma, delta = schedules.Weight(), schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        beta: schedules.WeightValue = 1.0,
        gamma: schedules.WeightValue = 10.0,
        delta: schedules.WeightValue = 0.0,
        **kwargs: Unpack[VAEOptions],
    ):
        if latent_dim == 1:
            raise ValueError(
                "The support of pairs of latents needs `latent_dim` of 2 or more. Got 1."
            )
        super().__init__(image_shape, latent_dim, beta=beta, **kwargs)
        self.gamma, self.delta = gamma, delta

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        loss, terms = super().penalty(codes, mean, log_variance, kl)
        (mean,) = self.all_gather(mean)
        support = factorized_support(mean)
        deviation = ops.sqrt(ops.var(mean, axis=0) + 1e-8)
        scale = ops.sum(ops.relu(1 - deviation))
        loss = loss + self.current("gamma") * support
        loss = loss + self.current("delta") * scale
        return loss, {**terms, "support": support, "scale": scale}


def factorized_support(codes: Tensor) -> Tensor:
    """Return the squared Hausdorff distance of codes (n, D) to the product of their values.

    For latents i < j it is the largest distance, over all samples a and b, of the point
    (z_ai, z_bj) to the nearest (z_ci, z_cj). The result is summed over pairs. Only that point and
    its nearest neighbor have a gradient.

    >>> square = ops.convert_to_tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> float(factorized_support(square)), float(factorized_support(square[:3]))
    (0.0, 1.0)
    """
    columns = ops.transpose(codes)
    first, second = (
        ops.convert_to_tensor(part, "int32") for part in np.triu_indices(codes.shape[1], 1)
    )
    left, right = ops.take(columns, first, axis=0), ops.take(columns, second, axis=0)  # (pairs, n)
    a, b = _farthest(ops.stop_gradient(left), ops.stop_gradient(right))
    return ops.sum(ops.min(_squares(left, a) + _squares(right, b), axis=-1))


def _farthest(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each pair, a and b (pairs,) of the point (left_a, right_b) farthest from all c.

    The distances to some c are upper bounds of the distance to the nearest. Each step takes the
    point with the largest bound and computes its nearest c. If this c was visited before, the bound
    is the distance, and no other point is farther. Else it lowers the bounds. Memory is needed for
    one bound for every a and b. In the worst case all c are visited, for Gaussian codes a few
    dozen.

    Args:
        left, right: Values (pairs, n) of the two latents of each pair.
    """
    pairs, count = ops.shape(left)

    def lower(bounds: Tensor | float, c: Tensor) -> Tensor:
        return ops.minimum(bounds, _squares(left, c)[:, :, None] + _squares(right, c)[:, None])

    def step(bounds: Tensor, visited: Tensor, place: Tensor, finished: Tensor) -> Any:
        place = ops.argmax(ops.reshape(bounds, (pairs, -1)), axis=-1)
        a, b = place // count, place % count
        c = ops.argmin(_squares(left, a) + _squares(right, b), axis=-1)
        new = ops.one_hot(c, count, dtype="float32")
        finished = ops.all(ops.sum(visited * new, axis=-1) > 0)
        return lower(bounds, c), ops.maximum(visited, new), place, finished

    start = ops.zeros((pairs,), "int32")
    bounds = lower(np.inf, start)
    visited = ops.one_hot(start, count, dtype="float32")
    state = (bounds, visited, start, False)
    _, _, place, _ = ops.while_loop(lambda *state: ops.logical_not(state[-1]), step, state)
    return place // count, place % count


def _squares(values: Tensor, place: Tensor) -> Tensor:
    """Return squared distances of values (pairs, n) to the one at index `place` (pairs,)."""
    return ops.square(values - ops.take_along_axis(values, place[:, None], axis=1))
