"""A causal graph of three concepts, and what its parts compute, in NumPy."""

import numpy as np
from keras import ops

RNG = np.random.default_rng(0)


NAMES = ("light", "shadow", "mood")


CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])  # light, shadow, mood: one after the other


LABELS = np.array([3.0, -1.0, 0.0]) + RNG.normal(size=(12, 3)) * [1.0, 10.0, 0.1]


def number(tensor):
    return ops.convert_to_numpy(tensor)


def by_hand(networks, x):
    """Networks in loops: (K, n, inputs) to (K, n, outputs)."""
    x = networks.speedup * (x @ number(networks.kernels[0]) + number(networks.biases[0]))
    for kernel, bias in zip(networks.kernels[1:], networks.biases[1:], strict=True):
        x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        x = networks.speedup * (x @ number(kernel) + number(bias))
    return x


def mechanisms_by_hand(layer, values, adjacency):
    """Values (n, K, k) and A (K, K), or one for each sample, to (n, K, k)."""
    n, size, _ = values.shape
    adjacency = np.broadcast_to(adjacency, (n, size, size))
    seen = [[] for _ in range(size)]
    for s, i in np.ndindex(n, size):
        causes = [adjacency[s, j, i] * values[s, j] for j in range(size)]
        told = [np.append(z, adjacency[s, j, i]) for j, z in enumerate(causes)]
        seen[i].append(np.sum(causes, axis=0) if layer.summed else np.concatenate(told))
    return by_hand(layer.networks, np.array(seen)).transpose(1, 0, 2)


def closed_form(a):
    size = len(a)
    once = np.eye(size) + a * a / size
    h = np.trace(np.linalg.matrix_power(once, size)) - size
    return h, np.linalg.matrix_power(once, size - 1).T * 2 * a


def log_variance_by_hand(layer, drawn):
    """Graphs (g, K, K) to (g, K)."""
    return by_hand(layer.variance_network, 2.0 * drawn.transpose(2, 0, 1) - 1.0)[..., 0].T
