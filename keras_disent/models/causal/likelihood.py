"""Likelihood of labels given any sets of causes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.models.causal.mechanisms import ConceptNetworks, Mechanisms

FLOOR = 1e-3  # added to squared errors of standardized labels: smaller errors gain little
_SPEEDUP = 3.0  # labels are learned faster than images: edges need good estimates early


class Likelihood(keras.layers.Layer):
    """Model each label as Gaussian given any set of other labels as its causes.

    The mean is a mechanism that knows which causes are in the set. The variance is a network's
    estimate of the squared error that this set leaves, for all sets at once. So what a set of
    causes explains does not depend on a batch.

    Args:
        concepts: Number of concepts K (int).
        seed: Random seed of the initial weights (int).
    """

    def __init__(self, concepts: int, seed: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.mechanisms = Mechanisms(concepts, 1, seed=seed, speedup=_SPEEDUP)
        self.variance_network = ConceptNetworks(concepts, (concepts, 32, 1), seed + 1, _SPEEDUP)
        self.built = True

    def log_variance(self, graphs: Tensor) -> Tensor:
        """Return the log variance of each label given its causes in each graph: (K, g).

        Args:
            graphs: Graphs (g, K, K) of 0 and 1.
        """
        causes = ops.transpose(graphs, (2, 0, 1))
        return self.variance_network(2.0 * causes - 1.0)[..., 0]

    def misfit(self, labels: Tensor, observed: Tensor, graphs: Tensor) -> Tensor:
        """Return the mean over samples of sum_i -log p(u_i | causes) - log(2 pi) / 2, nats.

        A squared error e counts as e + FLOOR, which bounds the likelihood of a label.

        Args:
            labels: Standardized labels u, (n, K).
            observed: Labels (n, K) with noise, which the mechanisms read.
            graphs: Causes of each sample, (n, K, K) of 0 and 1.
        """
        predictions = self.mechanisms(ops.expand_dims(observed, -1), graphs)[..., 0]
        log_variance = ops.transpose(self.log_variance(graphs))
        errors = ops.square(predictions - labels) + FLOOR
        each = 0.5 * (log_variance + errors * ops.exp(-log_variance))
        return ops.mean(ops.sum(each, axis=1))

    def gain(self, graphs: Tensor) -> float:
        """Return the decrease of the misfit by each edge, nats: (K, K), without gradient.

        At [j, i] it is the mean over graphs of i's misfit without cause j, minus that with j: the
        derivative of the expected misfit with respect to the probability of j -> i.

        Args:
            graphs: Graphs (g, K, K) that define the other causes.
        """
        size = graphs.shape[-1]
        row = ops.reshape(ops.eye(size, dtype="float32"), (size, 1, size, 1))  # (j, 1, cause, 1)
        without = graphs * (1.0 - row)  # (j, g, cause, effect)
        log_variances = (
            self.log_variance(ops.reshape(g, (-1, size, size))) for g in (without, without + row)
        )
        gain = 0.5 * (next(log_variances) - next(log_variances))
        gain = ops.reshape(gain, (size, size, -1))  # (effect, j, g)
        return ops.stop_gradient(ops.transpose(ops.mean(gain, axis=2)))
