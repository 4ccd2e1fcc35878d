"""Terms that tie latents to labels, for any VAE here and few labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent.engine import schedules
from keras_disent.engine.fixed import Fixed


@keras.saving.register_keras_serializable("keras_disent")
class Supervision(Fixed):
    """What the labels of some images ask of their latents: latent i carries factor i.

    A VAE made with `supervision=Supervision(...)` learns from `fit(images, labels)`, labels float
    `(n, factors)`, where NaN stands for a label that is not known. Images without any label count
    as they do without supervision.

    Args:
        kind: "cross_entropy" between the sigmoid of the latent's mean and the label, "l2" between
            mean and label, or "covariance": squares of the covariances of latents with other
            latents' factors, and of that with their own less 1.
        weight: of the term in the loss: number of at least 0, or a schedule. The authors' code sums
            cross-entropy and l2 over the labeled batch (64) instead of averaging: its gamma_sup is
            64 * gamma_sup here. For "covariance" the two are the same.
        factor_sizes: number of steps of each factor, by which labels are divided, as published;
            None takes labels as they are, for "cross_entropy" from 0 to 1.

    Logged as `supervision`: summed over factors, averaged over labeled samples; 0 in a batch
    without labels.

    Raises:
        ValueError: an unknown kind, or a size below 1.

    Source: Locatello et al. 2020, "Disentangling factors of variations using few labels",
    section 3. In its code "covariance" leaves out the covariance of a latent with its own factor,
    and "l2" either learns a factor for the means or squashes them by a sigmoid; here neither.

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

    def _instead(self, name: str) -> str:
        return "The weight of a model's supervision is `model.supervision_weight`, which is live."

    def known(self, labels) -> tuple:
        """Return labels as floats, 0 where unknown, and a mask of those that are known: (n, F)."""
        labels = ops.cast(labels, "float32")
        known = ops.cast(ops.logical_not(ops.isnan(labels)), "float32")
        labels = ops.where(known > 0, labels, ops.zeros_like(labels))
        if self.factor_sizes is not None:
            labels = labels / ops.convert_to_tensor(self.factor_sizes, "float32")
        return labels, known

    def __call__(self, mean, labels, known, weights=None):
        """Return the term, a scalar.

        Args:
            mean: (n, D), of the posterior.
            labels, known: (n, factors), at most D factors, as `known` gives them.
            weights: (n, 1), of images, or None.
        """
        if weights is not None:
            if self.kind == "covariance":
                raise ValueError(
                    "Supervision by covariance compares the images of a batch, so an image cannot "
                    "have a weight of its own: leave `sample_weight` out."
                )
            weights = ops.cast(weights, "float32")
        return self._loss(mean[:, : labels.shape[1]], labels, known, weights)

    def check(self, labels: Any, latent_dim: int, name: str = "y") -> None:
        """Check labels before training.

        Raises:
            ValueError: names the argument, the rule and what came.
        """
        if labels is None:
            raise ValueError(f"`{name}` must hold labels (n, factors) for supervision. Got None.")
        given = labels if isinstance(labels, np.ndarray) else ops.convert_to_numpy(labels)
        sizes = self.factor_sizes
        width = f"{len(sizes)}" if sizes else f"1 to {latent_dim}"
        fits = given.ndim == 2 and (given.shape[1] == len(sizes) if sizes else given.shape[1] >= 1)
        if not fits or given.shape[1] > latent_dim:
            raise ValueError(
                f"`{name}` must have shape (n, {width}), at most one factor for each of the "
                f"{latent_dim} latents. Got {given.shape}."
            )
        if given.dtype.kind not in "biuf" or np.isinf(given).any():
            raise ValueError(f"`{name}` must hold finite numbers, or NaN where unknown.")
        low, high = np.nanmin(given, initial=0), np.nanmax(given, initial=0)
        if sizes and (low < 0 or (given > np.array(sizes) - 1).any()):
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


def _per_sample(terms, known, weights):
    """Sum over factors, average over samples with any label."""
    labeled = ops.sum(ops.max(known, axis=1))
    terms = terms * known if weights is None else terms * known * weights
    return ops.sum(terms) / ops.maximum(labeled, 1.0)


def _cross_entropy(mean, labels, known, weights):
    return _per_sample(ops.softplus(mean) - labels * mean, known, weights)


def _l2(mean, labels, known, weights):
    return _per_sample(ops.square(mean - labels), known, weights)


def _covariance(mean, labels, known, weights):
    # A covariance needs whole rows.
    whole = ops.min(known, axis=1, keepdims=True)
    count = ops.maximum(ops.sum(whole), 1.0)

    def centered(columns):
        return (columns - ops.sum(columns * whole, axis=0) / count) * whole

    covariance = ops.matmul(ops.transpose(centered(mean)), centered(labels)) / count
    gap = ops.sum(ops.square(covariance - ops.eye(labels.shape[1], dtype="float32")))
    return ops.where(ops.sum(whole) > 1, gap, 0.0)


KINDS = {"cross_entropy": _cross_entropy, "l2": _l2, "covariance": _covariance}
