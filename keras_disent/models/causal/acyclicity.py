"""Acyclicity: a smooth function that is 0 for graphs without cycles, and a constraint by it."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.types import Tensor
from keras_disent.engine.arguments import FrozenArguments


def acyclicity(adjacency: Tensor) -> Tensor:
    """Return h(A) = tr[(I + A o A / K)^K] - K: 0 if A has no cycle, else above.

    Args:
        adjacency: A, (K, K).

    Returns:
        a scalar.

    Source: Yu et al. 2019, "DAG-GNN", equation 13, with alpha = 1 / K; H(A) of Yang et al. 2021.

    >>> float(acyclicity(ops.convert_to_tensor([[0.0, 5.0], [0.0, 0.0]])))
    0.0
    >>> float(acyclicity(ops.convert_to_tensor([[0.0, 1.0], [1.0, 0.0]])))
    0.5
    """
    size = adjacency.shape[0]
    once = ops.eye(size, dtype=adjacency.dtype) + ops.square(adjacency) / size
    power = once
    for _ in range(size - 1):
        power = ops.matmul(power, once)
    return ops.trace(power) - size


@keras.saving.register_keras_serializable("keras_disent")
class AugmentedLagrangian(FrozenArguments, keras.layers.Layer):
    """Compute multiplier * h + penalty / 2 * h^2, and increase both weights during training.

    Every `every` steps the multiplier increases by penalty * h. If h has not fallen to `progress`
    of its value at the previous update, the penalty is multiplied by `growth`, up to `maximum`.
    Both are variables of the model, stored in its files.

    Args:
        multiplier, penalty: Initial values, floats of at least 0.
        every: Number of steps between two updates (int); 0 never updates.
        growth: Factor of the penalty, a float of at least 1.
        progress: Required ratio of h to its previous value, a float in (0, 1].
        maximum: Maximum of the penalty (float).

    Raises:
        ValueError: If a number is out of its range.

    Source: Yu et al. 2019, "DAG-GNN", section 3.4; Zheng et al. 2018, "DAGs with NO TEARS",
    algorithm 1. There each update waits until the inner problem is solved, here for `every` steps.

    >>> lagrangian = AugmentedLagrangian(multiplier=3.0, penalty=1.0)
    >>> float(lagrangian(ops.convert_to_tensor(2.0)))
    8.0
    """

    def __init__(
        self,
        multiplier: float = 0.0,
        penalty: float = 0.1,
        every: int = 50,
        growth: float = 1.5,
        progress: float = 0.5,
        maximum: float = 1e4,
        **kwargs: Any,
    ):
        for name, value in {"multiplier": multiplier, "penalty": penalty}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"`{name}` is a number of at least 0. Got {value!r}.")
        if not 1 <= growth < math.inf:
            raise ValueError(f"`growth` is a number of at least 1. Got {growth!r}.")
        if not 0 < progress <= 1:
            raise ValueError(f"`progress` is a number in (0, 1]. Got {progress!r}.")
        if not maximum >= penalty:
            raise ValueError(f"`maximum` is at least `penalty`. Got {maximum!r}.")
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.every = checks.check_integer("every", every, at_least=0)
        self.growth, self.progress, self.maximum = float(growth), float(progress), float(maximum)
        self._begin = {"multiplier": float(multiplier), "penalty": float(penalty)}
        self.multiplier, self.penalty, self.last = (
            self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                aggregation="only_first_replica",
                name=name,
            )
            for name, value in {**self._begin, "last": math.inf}.items()
        )
        self.built = True

    def call(self, acyclicity: Tensor) -> Tensor:
        """Return the penalty of a graph with this acyclicity, both scalars."""
        return self.multiplier * acyclicity + 0.5 * self.penalty * ops.square(acyclicity)

    def update(self, acyclicity: Tensor, step: int | Tensor) -> None:
        """Update the weights by h of training step `step` (the first is 0), if an update is due."""
        if not self.every:
            return
        h = ops.stop_gradient(acyclicity)
        due = ops.equal(ops.mod(ops.convert_to_tensor(step) + 1, self.every), 0)
        multiplier, penalty, last = (
            ops.convert_to_tensor(v) for v in (self.multiplier, self.penalty, self.last)
        )
        larger = ops.minimum(penalty * self.growth, self.maximum)
        self.multiplier.assign(ops.where(due, multiplier + penalty * h, multiplier))
        grows = ops.logical_and(due, h > self.progress * last)
        self.penalty.assign(ops.where(grows, larger, penalty))
        self.last.assign(ops.where(due, h, last))

    def get_config(self) -> dict[str, Any]:
        names = ("every", "growth", "progress", "maximum")
        settings = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **self._begin, **settings}
