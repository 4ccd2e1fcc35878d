"""Mean and scale of all that was seen, batch by batch."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_disent.engine import backend


class RunningStandardization(keras.layers.Layer):
    """Values less their mean, over their standard deviation, both over what `update` has seen.

    Before the first update it changes nothing.

    Args:
        columns: int.
        window: After how many rows the moments become those of about the last so many.

    Call: (n, columns) -> (n, columns).

    >>> layer = RunningStandardization(1)
    >>> layer.update(ops.convert_to_tensor([[1.0], [5.0]]))
    >>> ops.convert_to_numpy(layer(ops.convert_to_tensor([[5.0]]))).tolist()
    [[1.0]]
    """

    def __init__(self, columns: int, window: float = 1e6, **kwargs):
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

    def update(self, values, weights=None) -> None:
        """Take values (n, columns) into account, each as often as its weight (n, 1) says.

        Source: Chan et al. 1979, "Updating formulae", equation 2.1.
        """
        values = backend.all_gather(ops.stop_gradient(values))
        if weights is None:
            n = ops.cast(ops.shape(values)[0], "float32")
            mean, variance = ops.mean(values, axis=0), ops.var(values, axis=0)
        else:
            weights = backend.all_gather(ops.cast(weights, "float32"))
            n = ops.sum(weights)
            parts = weights / ops.maximum(n, 1e-12)
            mean = ops.sum(parts * values, axis=0)
            variance = ops.sum(parts * ops.square(values - mean), axis=0)
        count, shift, before = (
            ops.convert_to_tensor(v) for v in (self.count, self.shift, self.variance)
        )
        total = count + n
        new, gap = n / ops.maximum(total, 1e-12), mean - shift
        # Before the first update the variance is not one of values, but `new` is 1.
        after = before + new * (variance - before + (1 - new) * ops.square(gap))
        self.variance.assign(after)
        self.shift.assign(shift + new * gap)
        self.count.assign(ops.minimum(total, self.window))

    def call(self, values):
        return (values - self.shift) / self._scale()

    def inverse(self, standardized):
        """Return the values (n, columns) of standardized ones."""
        return standardized * self._scale() + self.shift

    def _scale(self):
        return ops.sqrt(ops.maximum(ops.convert_to_tensor(self.variance), 1e-12))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of every column: two arrays (columns,)."""
        shift, variance = (ops.convert_to_numpy(v) for v in (self.shift, self.variance))
        return shift, np.sqrt(np.maximum(variance, 1e-12))
