"""HFS: the support of the codes is drawn toward a box, whatever is correlated inside of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent.engine import schedules
from keras_disent.models.beta_vae import BetaVAE
from keras_disent.models.hyperparameters import Range


@keras.saving.register_keras_serializable("keras_disent")
class HFSVAE(BetaVAE):
    """Hausdorff factorized support: minimizes reconstruction + beta * KL + gamma * HFS + scale.

    HFS asks that every combination of values that two latents take in a batch lies near to one that
    they take together: their support is a product, though they may be correlated. The values are
    posterior means, so a latent that the KL has switched off, with the same mean for all images,
    costs nothing. The last term, delta * sum_d max(0, 1 - standard deviation of mean d), keeps
    codes from shrinking, which would make all distances small.

    Args:
        beta: weight of the KL: number of at least 0, or a schedule. The published grid: 0, 1, 2, 4,
            6, 8, 10, 16.
        gamma: weight of the support, summed over all D (D - 1) / 2 pairs of latents: likewise. The
            published code draws 25 pairs in each step and sums those. So for more than 25 pairs
            (D above 7) a published gamma is 25 / pairs of itself here: divide by 1.8 at D = 10. Its
            grid runs from 0.1 to 10,000.
        delta: weight of the scale: likewise; 0 as published.
        Others: as `VAE`.

    Logs, besides those of `BetaVAE`: `support`, HFS summed over pairs of latents, and `scale`, both
    unweighted.

    A batch of n images takes memory in proportion to D^2 n^2, and time to at most D^2 n^3.

    Raises:
        ValueError: if a weight is negative, or there are fewer than 2 latents; else as `VAE`.

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
        (mean,) = self.all_gather(mean)
        support = factorized_support(mean)
        deviation = ops.sqrt(ops.var(mean, axis=0) + 1e-8)
        scale = ops.sum(ops.relu(1 - deviation))
        loss = loss + self.current("gamma") * support
        loss = loss + self.current("delta") * scale
        return loss, {**terms, "support": support, "scale": scale}


def factorized_support(codes):
    """Return the squared Hausdorff distance of codes (n, D) to the product of their values.

    For latents i < j: the greatest distance, over all samples a and b, of the point (z_ai, z_bj) to
    the nearest (z_ci, z_cj); summed over pairs. Only that point and the nearest have a gradient.

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


def _farthest(left, right):
    """Return, for each pair, a and b (pairs,) of the point (left_a, right_b) farthest from all c.

    The distances to some c bound those to the nearest. So: look at the point with the largest bound
    and find its nearest c. If that one is among those looked at, the bound is the distance, and no
    other point is farther. Else it lowers the bounds. What takes the memory is a bound for every
    a and b; all c are looked at in the worst case, and for Gaussian codes a few dozens.

    Args:
        left, right: (pairs, n), the two latents of each pair.
    """
    pairs, count = ops.shape(left)

    def lower(bounds, c):
        return ops.minimum(bounds, _squares(left, c)[:, :, None] + _squares(right, c)[:, None])

    def step(bounds, seen, place, finished):
        place = ops.argmax(ops.reshape(bounds, (pairs, -1)), axis=-1)
        a, b = ops.floor_divide(place, count), ops.mod(place, count)
        c = ops.argmin(_squares(left, a) + _squares(right, b), axis=-1)
        new = ops.one_hot(c, count, dtype="float32")
        finished = ops.all(ops.sum(seen * new, axis=-1) > 0)
        return lower(bounds, c), ops.maximum(seen, new), place, finished

    start = ops.zeros((pairs,), "int32")
    bounds = lower(np.inf, start)
    seen = ops.one_hot(start, count, dtype="float32")
    state = (bounds, seen, start, False)
    _, _, place, _ = ops.while_loop(lambda *state: ops.logical_not(state[-1]), step, state)
    return ops.floor_divide(place, count), ops.mod(place, count)


def _squares(values, place):
    """Return squared distances of values (pairs, n) to the one at place (pairs,) of their row."""
    return ops.square(values - ops.take_along_axis(values, place[:, None], axis=1))
