"""Two ways to learn a graph from labels: edges as probabilities, or as real numbers."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from keras_disent.models.causal.likelihood import Likelihood
from keras_disent.models.causal.mechanisms import Mechanisms

QUICK = 10.0  # a gate's log odds move so much faster than a weight
BEGIN = 2.0  # log odds at birth, open or closed: of eight draws, one is the other way
RANGE = 4.0  # of the log odds: at either end, one draw in 55 still tries the other state
COPIES = 8  # of each label in a step, with as many graphs; half of them are tosses of a coin
DRAWN = 16  # graphs in a step, at which each edge is tried


class AnnealedGraph(keras.layers.Layer):
    """Edges that are there with a probability P_ji, which ends near 0 or 1.

    An edge is in the graph if its probability is above 1/2. Each follows what it explains besides
    the others, on average over graphs that are drawn from P. While the entropy of P has a weight,
    edges that explain little stay undecided; as it falls, they are decided in the order of what
    they explain.

    Args:
        superset: (K, K) of 0 and 1, the edges that may be there.
        opened: whether they are there at first: P starts at 0.88, else at 0.12.
        label_noise: float, standard deviation of the noise with which causes are seen.
        seed: int, of the initial weights.

    Source: masked networks and a likelihood over random graphs as in Brouillard et al. 2020,
    "Differentiable causal discovery from interventional data", section 3; annealing as in
    Ueda & Nakano 1998, "Deterministic annealing EM algorithm". There the gradient of P is that of
    relaxed graphs, here the exact one of the likelihood's own estimate of each misfit.
    """

    def __init__(self, superset: np.ndarray, opened: bool, label_noise: float, seed: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.superset, self.label_noise = np.asarray(superset, "float32"), label_noise
        self.gates = self.add_weight(
            shape=self.superset.shape,
            initializer=keras.initializers.Constant((BEGIN if opened else -BEGIN) / QUICK),
            constraint=_Within(RANGE / QUICK),
            name="gates",
        )
        self.likelihood = Likelihood(len(superset), seed)
        self.built = True

    def adjacency(self):
        """Return P: (K, K)."""
        return ops.sigmoid(self._log_odds()) * self._allowed()

    def edges(self):
        """Return the graph, 0 and 1, without gradient: (K, K)."""
        return ops.cast(ops.stop_gradient(self.adjacency()) > 0.5, "float32")

    def label_loss(self, labels, noise):
        """Return the misfit of labels (n, K), nats; for P, its gradient is that of the expectation.

        Half of the graphs have any edge with probability 1/2, so that also causes that are not
        likely now are well known.

        Args:
            noise: a `keras_disent.layers.latents.Noise`.
        """
        graphs = self.draw(noise, (COPIES, ops.shape(labels)[0]), coins=COPIES // 2)
        graphs = ops.reshape(graphs, (-1, *self.superset.shape))
        labels = ops.tile(labels, (COPIES, 1))
        misfit = self.likelihood.misfit(labels, noise.gaussian(labels, self.label_noise), graphs)
        gain = self.likelihood.gain(self.draw(noise, (DRAWN,)))
        lower = ops.sum(gain * self.adjacency())
        return misfit - (lower - ops.stop_gradient(lower))

    def entropy(self):
        """Return the entropy of P, nats, summed over edges."""
        odds = self._log_odds()
        there = ops.sigmoid(odds)
        each = there * ops.softplus(-odds) + (1.0 - there) * ops.softplus(odds)
        return ops.sum(each * self._allowed())

    def draw(self, noise, shape: tuple, coins: int = 0):
        """Return graphs of 0 and 1, drawn edge by edge, without gradient.

        Args:
            noise: a `keras_disent.layers.latents.Noise`.
            shape: how many, such as (copies, n), to get (copies, n, K, K).
            coins: int, so many of the first copies have any edge with probability 1/2.
        """
        coin = ops.convert_to_tensor(np.arange(shape[0]) < coins, dtype="bool")
        coin = ops.reshape(coin, (-1, *[1] * (len(shape) + 1)))
        probability = ops.where(coin, 0.5, ops.stop_gradient(self.adjacency()))
        normal = noise.gaussian(ops.zeros((*shape, *self.superset.shape), dtype="float32"), 1.0)
        drawn = 0.5 * (1.0 + ops.erf(normal / math.sqrt(2))) < probability
        return ops.cast(drawn, "float32") * self._allowed()

    def _log_odds(self):
        return QUICK * ops.convert_to_tensor(self.gates)

    def _allowed(self):
        return ops.convert_to_tensor(self.superset)


class RealGraph(keras.layers.Layer):
    """Edges that are real numbers, starting at 1.

    Args:
        superset: (K, K) of 0 and 1, the edges that may be there.
        seed: int, of the initial weights.
    """

    def __init__(self, superset: np.ndarray, seed: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.superset = np.asarray(superset, "float32")
        self.weight = self.add_weight(shape=self.superset.shape, initializer="ones", name="edges")
        self.mechanisms = Mechanisms(len(superset), 1, summed=True, seed=seed)
        self.built = True

    def adjacency(self):
        """Return A: (K, K)."""
        return ops.convert_to_tensor(self.weight) * ops.convert_to_tensor(self.superset)

    def edges(self):
        """Return A: (K, K)."""
        return self.adjacency()

    def label_loss(self, labels, noise):
        """Return the mean squared error of labels (n, K) given their causes; nothing is random."""
        labels = ops.expand_dims(labels, -1)
        return ops.mean(ops.square(self.mechanisms(labels, self.adjacency()) - labels))

    def entropy(self):
        """Return 0: nothing is random."""
        return 0.0


class _Within(keras.constraints.Constraint):
    """Keep weights within a range."""

    def __init__(self, limit: float):
        self.limit = limit

    def __call__(self, weights):
        return ops.clip(weights, -self.limit, self.limit)
