"""InfoVAE: a penalty pulls the aggregate posterior, not each posterior, toward the prior."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE


@keras.saving.register_keras_serializable("keras_disent")
class InfoVAE(VAE):
    """Train an InfoVAE: minimize reconstruction + (1 - alpha) * KL + (alpha + lambda - 1) * MMD.

    MMD is the maximum mean discrepancy between the codes of a batch and as many draws from the
    prior. The estimate is unbiased, so it may be slightly below 0. With `alpha=1` the KL has no
    weight: MMD-VAE.

    Args:
        alpha: Weight alpha: a number from 0 to 1, or a schedule.
        mmd_weight: Weight lambda: a number of at least 0, or a schedule.
        kernel: "rbf", exp(-|x - y|^2 / 2D), or "imq", 2D / (2D + |x - y|^2), which is more
            sensitive to distant codes.
        Others: As `VAE`.

    Logs, besides those of `VAE`: `mmd`.

    Raises:
        ValueError: If `alpha` is not from 0 to 1, `mmd_weight` is negative, their sum is below 1,
            or for another kernel; else as `VAE`.

    Source: Zhao, Song & Ermon 2019, "InfoVAE: balancing learning and inference in variational
    autoencoders", equation 6; for "imq" Tolstikhin et al. 2018, section 4.

    >>> InfoVAE((32, 32, 1), latent_dim=4, alpha=1.0, mmd_weight=100.0).terms[-1]
    'mmd_weight'
    """

    terms = (*VAE.terms, "mmd")
    tunable = {"mmd_weight": Range(10.0, 10_000.0), **VAE.tunable}
    min_player_batch = 2
    alpha, mmd_weight = schedules.Weight(at_most=1.0), schedules.Weight()

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        alpha: schedules.WeightValue = 1.0,
        mmd_weight: schedules.WeightValue = 1000.0,
        kernel: str = "rbf",
        **kwargs: Unpack[VAEOptions],
    ):
        lookup(kernel, KERNELS, "kernel")
        super().__init__(image_shape, latent_dim, **kwargs)
        self.alpha, self.mmd_weight = alpha, mmd_weight
        self.kernel = kernel

    def penalty(
        self, codes: Tensor, mean: Tensor, log_variance: Tensor, kl: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        (codes,) = self.all_gather(codes)
        prior = self.noise.gaussian(ops.zeros_like(codes), ops.ones_like(codes))
        discrepancy = mmd(codes, prior, self.kernel)
        alpha = self.current("alpha")
        weight = alpha + self.current("mmd_weight") - 1
        return (1 - alpha) * kl + weight * discrepancy, {"mmd": discrepancy}

    def check_weights(self, weights: dict[str, Any]) -> None:
        alpha, mmd_weight = weights.get("alpha"), weights.get("mmd_weight")
        if not (isinstance(alpha, float) and isinstance(mmd_weight, float)):
            return
        if alpha + mmd_weight < 1:
            raise ValueError(
                "`alpha` + `mmd_weight` of InfoVAE are at least 1, or a greater discrepancy would "
                f"be a smaller loss. Got {alpha:g} + {mmd_weight:g}."
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel": self.kernel}


def mmd(first: Tensor, second: Tensor, kernel: str = "rbf") -> Tensor:
    """Estimate the squared maximum mean discrepancy of samples (n, D) and (m, D), unbiased.

    Source: Gretton et al. 2012, "A kernel two-sample test", lemma 6.

    >>> apart = mmd(ops.zeros((4, 2)), ops.ones((4, 2)))
    >>> round(float(apart), 4)  # 2 - 2 exp(-1/2)
    0.7869
    """

    def within(sample: Tensor) -> Tensor:
        count = ops.cast(ops.shape(sample)[0], "float32")
        # The kernel of a sample with itself is 1: the diagonal is excluded.
        return (ops.sum(_kernel(sample, sample, kernel)) - count) / (count * (count - 1))

    return within(first) + within(second) - 2 * ops.mean(_kernel(first, second, kernel))


def _kernel(first: Tensor, second: Tensor, kernel: str) -> Tensor:
    squares = ops.sum(ops.square(first[:, None] - second[None]), axis=-1)
    return KERNELS[kernel](squares, 2.0 * first.shape[1])


KERNELS = {
    "rbf": lambda squares, scale: ops.exp(-squares / scale),
    "imq": lambda squares, scale: scale / (scale + squares),
}
