"""What causes do: a network for each concept, from its causes to the concept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import keras
import numpy as np
from keras import ops


class ConceptNetworks(keras.layers.Layer):
    """One ELU network for each concept, all of the same sizes.

    Args:
        concepts: int, K.
        sizes: numbers of inputs, hidden units of each layer, and outputs.
        seed: int, of the initial weights (Glorot uniform); biases start at 0.
        quick: how much faster than other weights these are learned, under Adam.

    Call: (K, n, inputs) -> (K, n, outputs).
    """

    def __init__(
        self,
        concepts: int,
        sizes: Sequence[int],
        seed: int | None = None,
        quick: float = 1.0,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.quick = quick
        draw = np.random.default_rng(seed)
        self.kernels, self.biases = [], []
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            limit = math.sqrt(6 / (fan_in + fan_out)) / quick
            initial = keras.initializers.RandomUniform(-limit, limit, int(draw.integers(2**31)))
            shape = (concepts, fan_in, fan_out)
            self.kernels.append(
                self.add_weight(shape=shape, initializer=initial, name=f"kernel_{i}")
            )
            self.biases.append(
                self.add_weight(shape=(concepts, 1, fan_out), initializer="zeros", name=f"bias_{i}")
            )
        self.built = True

    def call(self, x):
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = self.quick * (ops.matmul(ops.elu(x) if i else x, kernel) + bias)
        return x


class Mechanisms(keras.layers.Layer):
    """From the causes of each concept to the concept.

    Args:
        concepts: int, K.
        dim: int, dimensions k of a concept.
        summed: the networks see the sum of the causes, A^T z, and have one hidden layer of 32
            units, as in the public code; else they see the causes side by side, A_i o z, and have
            two of 64. With one hidden layer the errors that sets of causes leave on Pendulum are
            .25 nats off (root mean square), more than tells the true graph from the next best.
        seed: int, of the initial weights.

    Call: z (n, K, k) and A, (K, K) or one for each sample (n, K, K) -> (n, K, k).

    Source: Yang et al. 2021, equation 3.
    """

    def __init__(
        self,
        concepts: int,
        dim: int,
        summed: bool = False,
        seed: int | None = None,
        quick: float = 1.0,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.summed = summed
        sizes = (dim, 32, dim) if summed else (concepts * (dim + 1), 64, 64, dim)
        self.networks = ConceptNetworks(concepts, sizes, seed, quick)
        self.built = True

    def call(self, values, adjacency):
        if len(adjacency.shape) == 2:
            adjacency = ops.expand_dims(adjacency, 0)
        weights = ops.expand_dims(ops.transpose(adjacency, (2, 0, 1)), -1)  # (effect, n, cause, 1)
        seen = weights * ops.expand_dims(values, 0)
        if self.summed:
            seen = ops.sum(seen, axis=2)
        else:
            # A cause that is masked is not a cause that is 0: the network is told which.
            told = weights + 0.0 * seen[..., :1]
            seen = ops.concatenate([seen, told], axis=-1)
            size, inputs = seen.shape[0], seen.shape[2] * seen.shape[3]
            seen = ops.reshape(seen, (size, -1, inputs))
        return ops.transpose(self.networks(seen), (1, 0, 2))
