"""Labels of concepts: what they must be, and their scale over all that was seen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class Standardiser(keras.layers.Layer):
    """Labels less their mean, over their scale, both over all that `update` has seen.

    Before the first update it changes nothing.
    """

    def __init__(self, concepts: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.count, self.shift, self.variance = (
            self.add_weight(
                shape=shape,
                initializer=initial,
                trainable=False,
                aggregation="mean",
                name=name,
            )
            for name, shape, initial in (
                ("count", (), "zeros"),
                ("shift", (concepts,), "zeros"),
                ("variance", (concepts,), "ones"),
            )
        )
        self.built = True

    def update(self, labels) -> None:
        """Take labels (n, K) into account.

        Source: Chan et al. 1979, "Updating formulae", equation 2.1.
        """
        n = ops.cast(ops.shape(labels)[0], "float32")
        mean, variance = ops.mean(labels, axis=0), ops.var(labels, axis=0)
        count, shift, before = (
            ops.convert_to_tensor(v) for v in (self.count, self.shift, self.variance)
        )
        total = count + n
        new, gap = n / total, mean - shift
        # Before the first update the variance is not one of labels, but `new` is 1.
        after = before + new * (variance - before + (1 - new) * ops.square(gap))
        self.variance.assign(after)
        self.shift.assign(shift + new * gap)
        self.count.assign(ops.minimum(total, 1e6))  # beyond, float32 would not count on

    def call(self, labels):
        variance = ops.convert_to_tensor(self.variance)
        return (labels - self.shift) / ops.sqrt(ops.maximum(variance, 1e-12))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale of every label: two arrays (K,)."""
        shift, variance = (ops.convert_to_numpy(v) for v in (self.shift, self.variance))
        return shift, np.sqrt(np.maximum(variance, 1e-12))


def check_labels(labels: Any, names: tuple[str, ...], rows: int, vary: bool) -> None:
    """Check labels (n, K) for n images; with `vary`, also that none is constant.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    wanted = f"`y` must hold labels (n, {len(names)}), one column for each of {', '.join(names)}."
    if labels is None:
        raise ValueError(f"{wanted} Got None.")
    if not hasattr(labels, "shape"):
        raise ValueError(f"{wanted} Got {type(labels).__name__}.")
    given = labels if isinstance(labels, np.ndarray) else ops.convert_to_numpy(labels)
    if given.ndim != 2 or given.shape[1] != len(names):
        raise ValueError(f"{wanted} Got shape {given.shape}.")
    if given.shape[0] != rows:
        raise ValueError(
            f"`y` must hold one row of labels for each of the {rows} images. Got {given.shape[0]}."
        )
    if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
        raise ValueError("`y` must hold finite numbers only.")
    still = [name for name, column in zip(names, given.T, strict=True) if np.ptp(column) == 0]
    if vary and still:
        raise ValueError(
            "`y` must vary in every column, or a label cannot be standardised. "
            f"Got only one value for {', '.join(still)}."
        )
