"""Running mean and variance, and standardization by them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend


class RunningStandardization(keras.layers.Layer):
    """Standardize columns by a running mean and standard deviation, which `update` maintains.

    Before the first update values are returned unchanged.

    Args:
        columns: Number of columns (int).
        window: Number of rows of the running moments: beyond it, they are those of about the last
            `window` rows.

    Call: (n, columns) -> (n, columns).

    >>> layer = RunningStandardization(1)
    >>> layer.update(ops.convert_to_tensor([[1.0], [5.0]]))
    >>> ops.convert_to_numpy(layer(ops.convert_to_tensor([[5.0]]))).tolist()
    [[1.0]]
    """

    def __init__(self, columns: int, window: float = 1e6, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.window = window
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
                ("shift", (columns,), "zeros"),
                ("variance", (columns,), "ones"),
            )
        )
        self.built = True

    def update(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Update the moments by values (n, columns), weighted by `weights` (n, 1) or equally.

        Source: Chan et al. 1979, "Updating formulae", equation 2.1.
        """
        values = backend.all_gather(ops.stop_gradient(values))
        if weights is None:
            n = ops.cast(ops.shape(values)[0], "float32")
            mean, variance = ops.mean(values, axis=0), ops.var(values, axis=0)
        else:
            weights = backend.all_gather(ops.cast(weights, "float32"))
            n = ops.sum(weights)
            fractions = weights / ops.maximum(n, 1e-12)
            mean = ops.sum(fractions * values, axis=0)
            variance = ops.sum(fractions * ops.square(values - mean), axis=0)
        count, shift, old_variance = (
            ops.convert_to_tensor(v) for v in (self.count, self.shift, self.variance)
        )
        total = count + n
        fraction, gap = n / ops.maximum(total, 1e-12), mean - shift
        # In the first update `old_variance` is a placeholder, but `fraction` is 1.
        new_variance = old_variance + fraction * (
            variance - old_variance + (1 - fraction) * ops.square(gap)
        )
        self.variance.assign(new_variance)
        self.shift.assign(shift + fraction * gap)
        self.count.assign(ops.minimum(total, self.window))

    def call(self, values: Tensor) -> Tensor:
        return (values - self.shift) / self._scale()

    def inverse(self, standardized: Tensor) -> Tensor:
        """Map standardized values (n, columns) back to the original scale."""
        return standardized * self._scale() + self.shift

    def _scale(self) -> Tensor:
        return ops.sqrt(ops.maximum(ops.convert_to_tensor(self.variance), 1e-12))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of every column: two arrays (columns,)."""
        shift, variance = (ops.convert_to_numpy(v) for v in (self.shift, self.variance))
        return shift, np.sqrt(np.maximum(variance, 1e-12))
