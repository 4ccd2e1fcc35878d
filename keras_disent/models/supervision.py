"""Supervised terms that make latents encode labeled factors, for any VAE here and few labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.engine.arguments import FrozenArguments


@keras.saving.register_keras_serializable("keras_disent")
class Supervision(FrozenArguments):
    """Add a supervised term to a VAE, by which latent i encodes factor i.

    A VAE created with `supervision=Supervision(...)` learns from `fit(images, labels)`, labels
    float `(n, factors)`, where NaN marks an unknown label. Images without any label are trained on
    as without supervision.

    Args:
        kind: "cross_entropy" between the sigmoid of the latent's mean and the label, "l2" between
            mean and label, or "covariance": the squared difference between the covariance matrix of
            latents and factors and the identity.
        weight: Weight of the term in the loss: a number of at least 0, or a schedule. The authors'
            code sums cross-entropy and l2 over the labeled batch (64) instead of averaging: its
            gamma_sup is 64 * gamma_sup here. For "covariance" the two are the same.
        factor_sizes: Number of values of each factor, by which labels are divided, as published.
            None uses labels unchanged, for "cross_entropy" from 0 to 1.

    Logged as `supervision`: summed over factors, averaged over labeled samples; 0 in a batch
    without labels.

    Raises:
        ValueError: For an unknown kind, or a size below 1.

    Source: Locatello et al. 2020, "Disentangling factors of variations using few labels",
    section 3. Its code excludes from "covariance" the covariance of a latent with its own factor,
    and "l2" there either learns a scale of the means or applies a sigmoid to them; here neither.

    >>> from keras_disent import BetaVAE
    >>> model = BetaVAE((16, 16, 1), 4, supervision=Supervision("l2", 10.0, (3, 6)))
    >>> model.compile()
    >>> labels = np.array([[2, 5], [0, np.nan], [np.nan, np.nan], [1, 1]])
    >>> images = np.zeros((4, 16, 16, 1), "uint8")
    >>> sorted(model.fit(images, labels, verbose=0).history)[-2:]
    ['supervision', 'supervision_weight']
    """

    def __init__(
        self,
        kind: str = "cross_entropy",
        weight: Any = 1.0,
        factor_sizes: Sequence[int] | None = None,
    ):
        self.kind = kind
        self._loss = lookup(kind, KINDS, "kind of supervision")
        self.weight = schedules.weight("weight", weight)
        self.factor_sizes = None if factor_sizes is None else tuple(map(int, factor_sizes))
        for size in self.factor_sizes or ():
            checks.check_integer("factor_sizes", size, at_least=1)

    def _remedy(self, name: str) -> str:
        return "Set the weight of a model's supervision as `model.supervision_weight`."

    def split_labels(self, labels: Tensor) -> tuple[Any, ...]:
        """Return labels as floats, 0 where unknown, and the mask of known ones: each (n, F)."""
        labels = ops.cast(labels, "float32")
        mask = ops.cast(ops.logical_not(ops.isnan(labels)), "float32")
        labels = ops.where(mask > 0, labels, ops.zeros_like(labels))
        if self.factor_sizes is not None:
            labels = labels / ops.convert_to_tensor(self.factor_sizes, "float32")
        return labels, mask

    def __call__(
        self, mean: Tensor, labels: Tensor, mask: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute the supervised term, a scalar.

        Args:
            mean: Posterior means (n, D).
            labels, mask: Labels and mask (n, factors), at most D factors, from `split_labels`.
            weights: Weights (n, 1) of the images, or None.
        """
        if weights is not None:
            if self.kind == "covariance":
                raise ValueError(
                    "Supervision by covariance compares the images of a batch, so single images "
                    "cannot be weighted: omit `sample_weight`."
                )
            weights = ops.cast(weights, "float32")
        return self._loss(mean[:, : labels.shape[1]], labels, mask, weights)

    def check(self, labels: Any, latent_dim: int, name: str = "y") -> None:
        """Check labels before training.

        Raises:
            ValueError: Names the argument, the rule and what came.
        """
        if labels is None:
            raise ValueError(f"`{name}` must hold labels (n, factors) for supervision. Got None.")
        array = labels if isinstance(labels, np.ndarray) else ops.convert_to_numpy(labels)
        sizes = self.factor_sizes
        width = f"{len(sizes)}" if sizes else f"1 to {latent_dim}"
        fits = array.ndim == 2 and (array.shape[1] == len(sizes) if sizes else array.shape[1] >= 1)
        if not fits or array.shape[1] > latent_dim:
            cure = f" Pass one factor as `{name}[:, None]`." if array.ndim == 1 else ""
            raise ValueError(
                f"`{name}` must have shape (n, {width}), at most one factor for each of the "
                f"{latent_dim} latents. Got {array.shape}.{cure}"
            )
        if array.dtype.kind not in "biuf" or np.isinf(array).any():
            raise ValueError(f"`{name}` must hold finite numbers, or NaN where unknown.")
        low, high = np.nanmin(array, initial=0), np.nanmax(array, initial=0)
        if sizes and (low < 0 or (array > np.array(sizes) - 1).any()):
            raise ValueError(
                f"`{name}` must hold steps from 0 to below `factor_sizes` {sizes}. "
                f"Got values from {low:g} to {high:g}."
            )
        if not sizes and self.kind == "cross_entropy" and (low < 0 or high > 1):
            raise ValueError(
                f"`{name}` must lie in [0, 1] for cross-entropy without `factor_sizes`. "
                f"Got values from {low:g} to {high:g}."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "weight": schedules.config(self.weight),
            "factor_sizes": self.factor_sizes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Supervision:
        return cls(**config)


def _mean_over_labeled(terms: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    """Sum over factors, and average over samples with any label."""
    labeled = ops.sum(ops.max(mask, axis=1))
    terms = terms * mask if weights is None else terms * mask * weights
    return ops.sum(terms) / ops.maximum(labeled, 1.0)


def _cross_entropy(mean: Tensor, labels: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    return _mean_over_labeled(ops.softplus(mean) - labels * mean, mask, weights)


def _l2(mean: Tensor, labels: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    return _mean_over_labeled(ops.square(mean - labels), mask, weights)


def _covariance(mean: Tensor, labels: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    # A covariance needs rows with all labels.
    complete = ops.min(mask, axis=1, keepdims=True)
    count = ops.maximum(ops.sum(complete), 1.0)

    def centered(columns: Tensor) -> Tensor:
        return (columns - ops.sum(columns * complete, axis=0) / count) * complete

    covariance = ops.matmul(ops.transpose(centered(mean)), centered(labels)) / count
    gap = ops.sum(ops.square(covariance - ops.eye(labels.shape[1], dtype="float32")))
    return ops.where(ops.sum(complete) > 1, gap, 0.0)


KINDS = {"cross_entropy": _cross_entropy, "l2": _l2, "covariance": _covariance}
