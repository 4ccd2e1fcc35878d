"""Layers that learn a graph from labels, with edges as probabilities or as real numbers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.layers.latents import Noise
from keras_disent.models.causal.likelihood import Likelihood
from keras_disent.models.causal.mechanisms import Mechanisms

SPEEDUP = 10.0  # factor by which the log odds of a gate change faster than a weight
INITIAL_LOG_ODDS = 2.0  # positive or negative: one draw in eight has the other state
MAX_LOG_ODDS = 4.0  # at either limit, one draw in 55 still has the other state
COPIES = 8  # of each label in a step, each with its own graph; half of the graphs are uniform
GAIN_GRAPHS = 16  # graphs in a step, for which the gain of each edge is computed


class AnnealedGraph(keras.layers.Layer):
    """Learn a probability P_ji of each edge, which ends near 0 or 1.

    An edge is in the graph if its probability is above 1/2. The probability is updated by what the
    edge explains in addition to the others, on average over graphs drawn from P. While the entropy
    of P has a weight, edges that explain little stay undecided. As the weight falls, edges are
    decided in the order of what they explain.

    Args:
        superset: Allowed edges, (K, K) of 0 and 1.
        opened: Whether training starts with all allowed edges: P starts at 0.88, else at 0.12.
        label_noise: Standard deviation of the noise on observed causes (float).
        seed: Random seed of the initial weights (int).

    Source: masked networks and a likelihood over random graphs as in Brouillard et al. 2020,
    "Differentiable causal discovery from interventional data", section 3; annealing as in
    Ueda & Nakano 1998, "Deterministic annealing EM algorithm". There the gradient of P is that of
    relaxed graphs, here the exact one of the likelihood's own estimate of each misfit.
    """

    def __init__(
        self, superset: np.ndarray, opened: bool, label_noise: float, seed: int, **kwargs: Any
    ):
        super().__init__(dtype="float32", **kwargs)
        self.superset, self.label_noise = np.asarray(superset, "float32"), label_noise
        self.gates = self.add_weight(
            shape=self.superset.shape,
            initializer=keras.initializers.Constant(
                (INITIAL_LOG_ODDS if opened else -INITIAL_LOG_ODDS) / SPEEDUP
            ),
            constraint=_Clip(MAX_LOG_ODDS / SPEEDUP),
            name="gates",
        )
        self.likelihood = Likelihood(len(superset), seed)
        self.built = True

    def adjacency(self) -> Tensor:
        """Return P: (K, K)."""
        return ops.sigmoid(self._log_odds()) * self._allowed()

    def edges(self) -> Tensor:
        """Return the graph, 0 and 1, without gradient: (K, K)."""
        return ops.cast(ops.stop_gradient(self.adjacency()) > 0.5, "float32")

    def label_loss(self, labels: Tensor, noise: Noise) -> Tensor:
        """Return the misfit of labels (n, K), nats; for P, its gradient is that of the expectation.

        Half of the graphs have any edge with probability 1/2, so that the networks also learn from
        causes that are unlikely at present.

        Args:
            labels: Standardized labels (n, K).
            noise: A `keras_disent.layers.latents.Noise`.
        """
        graphs = self.draw(noise, (COPIES, ops.shape(labels)[0]), uniform=COPIES // 2)
        graphs = ops.reshape(graphs, (-1, *self.superset.shape))
        labels = ops.tile(labels, (COPIES, 1))
        misfit = self.likelihood.misfit(labels, noise.gaussian(labels, self.label_noise), graphs)
        gain = self.likelihood.gain(self.draw(noise, (GAIN_GRAPHS,)))
        expected_gain = ops.sum(gain * self.adjacency())
        return misfit - (expected_gain - ops.stop_gradient(expected_gain))

    def entropy(self) -> Tensor:
        """Return the entropy of P, nats, summed over edges."""
        odds = self._log_odds()
        probability = ops.sigmoid(odds)
        entropy = probability * ops.softplus(-odds) + (1.0 - probability) * ops.softplus(odds)
        return ops.sum(entropy * self._allowed())

    def draw(self, noise: Noise, shape: tuple[Any, ...], uniform: int = 0) -> Tensor:
        """Draw graphs of 0 and 1, edge by edge, without gradient.

        Args:
            noise: A `keras_disent.layers.latents.Noise`.
            shape: Shape of the draws, such as (copies, n), to get (copies, n, K, K).
            uniform: Number (int) of the first copies in which any edge has probability 1/2.
        """
        is_uniform = ops.convert_to_tensor(np.arange(shape[0]) < uniform, dtype="bool")
        is_uniform = ops.reshape(is_uniform, (-1, *[1] * (len(shape) + 1)))
        probability = ops.where(is_uniform, 0.5, ops.stop_gradient(self.adjacency()))
        normal = noise.gaussian(ops.zeros((*shape, *self.superset.shape), dtype="float32"), 1.0)
        edges = 0.5 * (1.0 + ops.erf(normal / math.sqrt(2))) < probability
        return ops.cast(edges, "float32") * self._allowed()

    def _log_odds(self) -> Tensor:
        return SPEEDUP * ops.convert_to_tensor(self.gates)

    def _allowed(self) -> Tensor:
        return ops.convert_to_tensor(self.superset)


class RealGraph(keras.layers.Layer):
    """Learn edges as real numbers, starting at 1.

    Args:
        superset: Allowed edges, (K, K) of 0 and 1.
        seed: Random seed of the initial weights (int).
    """

    def __init__(self, superset: np.ndarray, seed: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.superset = np.asarray(superset, "float32")
        self.weight = self.add_weight(shape=self.superset.shape, initializer="ones", name="edges")
        self.mechanisms = Mechanisms(len(superset), 1, summed=True, seed=seed)
        self.built = True

    def adjacency(self) -> Tensor:
        """Return A: (K, K)."""
        return ops.convert_to_tensor(self.weight) * ops.convert_to_tensor(self.superset)

    def edges(self) -> Tensor:
        """Return A: (K, K)."""
        return self.adjacency()

    def label_loss(self, labels: Tensor, noise: Noise) -> Tensor:
        """Return the mean squared error of labels (n, K) given their causes; `noise` is unused."""
        labels = ops.expand_dims(labels, -1)
        return ops.mean(ops.square(self.mechanisms(labels, self.adjacency()) - labels))

    def entropy(self) -> float:
        """Return 0: the edges are not random."""
        return 0.0


class _Clip(keras.constraints.Constraint):
    """Clip weights to [-limit, limit]."""

    def __init__(self, limit: float):
        self.limit = limit

    def __call__(self, weights: Tensor) -> Tensor:
        return ops.clip(weights, -self.limit, self.limit)
