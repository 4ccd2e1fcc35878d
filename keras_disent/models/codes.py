"""Continuous and categorical codes of an InfoGAN, and their prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.types import Tensor
from keras_disent.engine import backend
from keras_disent.layers import latents


class Codes:
    """Convert codes between columns, which a generator reads, and latents.

    Continuous codes, uniform on (-1, 1), come first, then categorical ones. As *columns* a
    categorical code is one-hot. As *latents* every code is one number, in standard deviations of
    its prior: a continuous code is multiplied by sqrt(3), and class k of K becomes
    (k - (K - 1) / 2) / sqrt((K^2 - 1) / 12).

    Args:
        count: Number of codes of both kinds (int), which is the number of latents.
        categorical: Number of classes of each categorical code, at least 2; these come last.

    Attributes:
        continuous: Number of codes uniform on (-1, 1) (int).
        width: Number of columns (int).
        entropy: Entropy H(c) of the prior in nats (float).

    Raises:
        ValueError: Names the argument, the rule and what came.

    >>> codes = Codes(2, (3,))
    >>> columns = codes.columns(ops.convert_to_tensor([[3**0.5, 0.0]]))
    >>> np.round(ops.convert_to_numpy(columns), 4).tolist()
    [[1.0, 0.0, 1.0, 0.0]]
    """

    def __init__(self, count: int, categorical: Sequence[int] = ()):
        if not isinstance(categorical, (tuple, list)):
            raise ValueError(
                "`categorical` holds the number of classes of each categorical code, such as "
                f"(10,). Got {categorical!r}."
            )
        classes = [checks.check_integer("categorical", k, at_least=2) for k in categorical]
        count = checks.check_integer("latent_dim", count, at_least=1)
        if count < len(classes):
            raise ValueError(
                "`latent_dim` counts all codes, continuous and categorical, so it is at least "
                f"{len(classes)}, the number of `categorical` ones. Got {count}."
            )
        self.count, self.categorical = count, tuple(classes)
        self.continuous = count - len(classes)
        self.width = self.continuous + sum(classes)
        self.entropy = self.continuous * math.log(2) + sum(math.log(k) for k in classes)

    def from_uniform(self, draws: Tensor) -> Tensor:
        """Convert draws (n, D) uniform on (-1, 1), one for each code, to columns."""
        numbers = [
            ops.floor((draws[:, i] + 1) / 2 * k)
            for i, k in enumerate(self.categorical, self.continuous)
        ]
        return self._concatenate(draws[:, : self.continuous], numbers)

    def columns(self, codes: Tensor) -> Tensor:
        """Convert latents (n, D) to columns; others become the nearest code."""
        values = ops.clip(codes[:, : self.continuous] / math.sqrt(3), -1.0, 1.0)
        numbers = [
            ops.round(codes[:, i] * _stddev(k) + (k - 1) / 2)
            for i, k in enumerate(self.categorical, self.continuous)
        ]
        return self._concatenate(values, numbers)

    def most_probable(self, q_parameters: Tensor) -> Tensor:
        """Return the latents (n, D) of q(c|x): the means, and the most probable classes.

        Args:
            q_parameters: Parameters of q, (n, width): means of the continuous codes, then a logit
                for each class.
        """
        columns = [
            (ops.cast(argmax(logits), "float32")[:, None] - (k - 1) / 2) / _stddev(k)
            for logits, k in zip(self._by_code(q_parameters), self.categorical, strict=True)
        ]
        return ops.concatenate(
            [q_parameters[:, : self.continuous] * math.sqrt(3), *columns], axis=-1
        )

    def values(self) -> list[np.ndarray | None]:
        """Return the values of each latent, one for each class; None if it is continuous."""
        classes = [(np.arange(k) - (k - 1) / 2) / _stddev(k) for k in self.categorical]
        return [*[None] * self.continuous, *classes]

    def log_density(self, columns: Tensor, q_parameters: Tensor, stddev: float) -> Tensor:
        """Return log q(c|x) of columns (n, width), summed over codes: (n,), nats.

        Args:
            columns: Codes (n, width).
            q_parameters: Parameters of q, as for `most_probable`.
            stddev: Standard deviation of the Gaussian around each mean.
        """
        values, means = columns[:, : self.continuous], q_parameters[:, : self.continuous]
        log_variances = ops.full_like(means, 2 * math.log(stddev))
        total = ops.sum(latents.gaussian_log_density(values, means, log_variances), axis=-1)
        for logits, one_hot in zip(
            self._by_code(q_parameters), self._by_code(columns), strict=True
        ):
            total = total + ops.sum(one_hot * ops.log_softmax(logits), axis=-1)
        return total

    def _by_code(self, columns: Tensor) -> list[Any]:
        """Return the columns of each categorical code."""
        ends = self.continuous + np.cumsum(self.categorical, dtype=int)
        return [columns[:, end - k : end] for k, end in zip(self.categorical, ends, strict=True)]

    def _concatenate(self, values: Tensor, numbers: list[Any]) -> Tensor:
        """Concatenate continuous codes with the one-hot columns of class numbers."""
        parts = [
            ops.one_hot(ops.cast(ops.clip(number, 0, k - 1), "int32"), k, dtype="float32")
            for number, k in zip(numbers, self.categorical, strict=True)
        ]
        return ops.concatenate([values, *parts], axis=-1)


class CodeNoise(latents.Noise):
    """Draw the noise and codes of a generator's training.

    With `enabled = False` the draws are constant: a lattice that fills the cube evenly.
    """

    def uniform(self, rows: int, columns: int) -> Tensor:
        """Draw (rows, columns) numbers uniform on (-1, 1)."""
        if self.enabled:
            return keras.random.uniform(
                (rows, columns), -1.0, 1.0, dtype="float32", seed=self.seed_generator
            )
        golden = (math.sqrt(5) - 1) / 2
        steps = np.mod(golden * np.arange(1, columns + 1), 1).astype("float32")
        first = 1 + rows * backend.replica()
        multiples = ops.cast(ops.arange(rows, dtype="int32") + first, "float32")[:, None]
        return 2 * ops.mod(multiples * ops.convert_to_tensor(steps), 1.0) - 1


def argmax(values: Tensor) -> Tensor:
    """Return the index of the largest number of each row: (..., k) to (...,) int32.

    Keras's `argmax` reads the bits of real numbers, for which exported graphs have no operation.
    """
    return ops.top_k(values, 1)[1][..., 0]


def _stddev(k: int) -> float:
    """Return the standard deviation of the uniform distribution on 0 .. k - 1."""
    return math.sqrt((k * k - 1) / 12)
