"""The codes of an InfoGAN: continuous and categorical, as columns and as latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent.engine import backend
from keras_disent.layers import latents


class Codes:
    """Codes uniform on (-1, 1), then categorical ones, and the prior of all of them.

    As *columns*, which the generator reads, a categorical code is one-hot. As *latents* every code
    is one number, in standard deviations of its prior: a continuous code is multiplied by sqrt(3),
    class k of K becomes (k - (K - 1) / 2) / sqrt((K^2 - 1) / 12).

    Args:
        number: int, codes of either kind, and so latents.
        categorical: the number of classes of each categorical code, at least 2; these come last.

    Attributes:
        continuous: int, codes uniform on (-1, 1).
        width: int, columns.
        entropy: float, H(c) in nats.

    Raises:
        ValueError: names the argument, the rule and what came.

    >>> codes = Codes(2, (3,))
    >>> columns = codes.columns(ops.convert_to_tensor([[3**0.5, 0.0]]))
    >>> np.round(ops.convert_to_numpy(columns), 4).tolist()
    [[1.0, 0.0, 1.0, 0.0]]
    """

    def __init__(self, number: int, categorical: Sequence[int] = ()):
        if not isinstance(categorical, (tuple, list)):
            raise ValueError(
                "`categorical` holds the number of classes of each categorical code, such as "
                f"(10,). Got {categorical!r}."
            )
        classes = [checks.check_integer("categorical", k, at_least=2) for k in categorical]
        number = checks.check_integer("latent_dim", number, at_least=1)
        if number < len(classes):
            raise ValueError(
                "`latent_dim` counts all codes, continuous and categorical, so it is at least "
                f"{len(classes)}, the number of `categorical` ones. Got {number}."
            )
        self.number, self.categorical = number, tuple(classes)
        self.continuous = number - len(classes)
        self.width = self.continuous + sum(classes)
        self.entropy = self.continuous * math.log(2) + sum(math.log(k) for k in classes)

    def of_draws(self, draws):
        """Return columns of draws (n, D) uniform on (-1, 1), one for each code."""
        numbers = [
            ops.floor((draws[:, i] + 1) / 2 * k)
            for i, k in enumerate(self.categorical, self.continuous)
        ]
        return self._joined(draws[:, : self.continuous], numbers)

    def columns(self, codes):
        """Return columns of latents (n, D); what lies outside of the prior is the nearest code."""
        values = ops.clip(codes[:, : self.continuous] / math.sqrt(3), -1.0, 1.0)
        numbers = [
            ops.round(codes[:, i] * _stddev(k) + (k - 1) / 2)
            for i, k in enumerate(self.categorical, self.continuous)
        ]
        return self._joined(values, numbers)

    def most_probable(self, belief):
        """Return latents (n, D) of what q(c|x) says: the means, and the most probable classes.

        Args:
            belief: (n, width), means of the continuous codes, then a logit for each class.
        """
        columns = [
            (ops.cast(largest(logits), "float32")[:, None] - (k - 1) / 2) / _stddev(k)
            for logits, k in zip(self._by_code(belief), self.categorical, strict=True)
        ]
        return ops.concatenate([belief[:, : self.continuous] * math.sqrt(3), *columns], axis=-1)

    def log_density(self, columns, belief, stddev: float):
        """Return log q(c|x) of columns (n, width), summed over codes: (n,), nats.

        Args:
            belief: as for `most_probable`.
            stddev: of the Gaussian around each mean.
        """
        values, means = columns[:, : self.continuous], belief[:, : self.continuous]
        log_variances = ops.full_like(means, 2 * math.log(stddev))
        total = ops.sum(latents.gaussian_log_density(values, means, log_variances), axis=-1)
        for logits, one_hot in zip(self._by_code(belief), self._by_code(columns), strict=True):
            total = total + ops.sum(one_hot * ops.log_softmax(logits), axis=-1)
        return total

    def _by_code(self, columns) -> list:
        """Cut out the columns of each categorical code."""
        ends = self.continuous + np.cumsum(self.categorical, dtype=int)
        return [columns[:, end - k : end] for k, end in zip(self.categorical, ends, strict=True)]

    def _joined(self, values, numbers: list[Any]):
        parts = [
            ops.one_hot(ops.cast(ops.clip(number, 0, k - 1), "int32"), k, dtype="float32")
            for number, k in zip(numbers, self.categorical, strict=True)
        ]
        return ops.concatenate([values, *parts], axis=-1)


class CodeNoise(latents.Noise):
    """The noise and codes that the generator learns from.

    With `enabled = False` the draws are the same each time: a lattice spread over the cube.
    """

    def uniform(self, rows, columns: int):
        """Draw (rows, columns) numbers uniform on (-1, 1)."""
        if self.enabled:
            return keras.random.uniform(
                (rows, columns), -1.0, 1.0, dtype="float32", seed=self.seed_generator
            )
        golden = (math.sqrt(5) - 1) / 2
        steps = np.mod(golden * np.arange(1, columns + 1), 1).astype("float32")
        first = 1 + rows * backend.replica()
        multiples = ops.cast(ops.arange(rows) + first, "float32")[:, None]
        return 2 * ops.mod(multiples * ops.convert_to_tensor(steps), 1.0) - 1


def largest(values):
    """Return where the largest number of each row is: (..., k) to (...,) int32.

    Keras's own `argmax` looks at the bits of real numbers, for which exported graphs have no name.
    """
    return ops.top_k(values, 1)[1][..., 0]


def _stddev(k: int) -> float:
    """Return the standard deviation of the uniform distribution on 0 .. k - 1."""
    return math.sqrt((k * k - 1) / 12)
