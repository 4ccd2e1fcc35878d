"""How well any causes would explain a label."""

from __future__ import annotations

import keras
from keras import ops

from keras_disent.models.causal.mechanisms import ConceptNetworks, Mechanisms

FLOOR = 1e-3  # of a squared error in standardized labels: below it, nothing is gained
_QUICK = 3.0  # labels are learned faster than images, or edges would be decided on poor estimates


class Likelihood(keras.layers.Layer):
    """A Gaussian likelihood of each label given any set of other labels as its causes.

    Its mean is a mechanism that is told which causes it sees; its variance is that of the whole
    set of causes: a running estimate, for every set at once, of the squared error that it leaves.
    So what a set of causes explains is known without regard to a batch.

    Args:
        concepts: int, K.
        seed: int, of the initial weights.
    """

    def __init__(self, concepts: int, seed: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.mechanisms = Mechanisms(concepts, 1, seed=seed, quick=_QUICK)
        self.spread = ConceptNetworks(concepts, (concepts, 32, 1), seed + 1, _QUICK)
        self.built = True

    def log_variance(self, graphs):
        """Return the log variance of each label given its causes in each graph: (K, g).

        Args:
            graphs: (g, K, K) of 0 and 1.
        """
        causes = ops.transpose(graphs, (2, 0, 1))
        return self.spread(2.0 * causes - 1.0)[..., 0]

    def misfit(self, labels, seen, graphs):
        """Return the mean over samples of sum_i -log p(u_i | causes) - log(2 pi) / 2, nats.

        A squared error e counts as e + FLOOR, so that no label can be explained for ever better.

        Args:
            labels: u, (n, K), standardized.
            seen: likewise, as the mechanisms see them.
            graphs: (n, K, K) of 0 and 1, the causes for each sample.
        """
        told = self.mechanisms(ops.expand_dims(seen, -1), graphs)[..., 0]
        log_variance = ops.transpose(self.log_variance(graphs))
        errors = ops.square(told - labels) + FLOOR
        each = 0.5 * (log_variance + errors * ops.exp(-log_variance))
        return ops.mean(ops.sum(each, axis=1))

    def gain(self, graphs):
        """Return by how much each edge lowers the misfit of its effect, nats: (K, K), no gradient.

        At [j, i], the mean over graphs of what i's causes leave without j, less what they leave
        with j: the derivative of the expected misfit with respect to the probability of j -> i.

        Args:
            graphs: (g, K, K), from whose edges the other causes are taken.
        """
        size = graphs.shape[-1]
        row = ops.reshape(ops.eye(size, dtype="float32"), (size, 1, size, 1))  # (j, 1, cause, 1)
        without = graphs * (1.0 - row)  # (j, g, cause, effect)
        left = (
            self.log_variance(ops.reshape(g, (-1, size, size))) for g in (without, without + row)
        )
        lower = ops.reshape(0.5 * (next(left) - next(left)), (size, size, -1))  # (effect, j, g)
        return ops.stop_gradient(ops.transpose(ops.mean(lower, axis=2)))
