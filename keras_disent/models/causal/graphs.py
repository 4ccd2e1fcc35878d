"""What follows from a graph: effects of effects, the order of causes, and how far two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def total_effects(edges):
    """Return sum_m (A^T)^m, m below K: for A without cycles, (I - A^T)^-1.

    A sum of powers has no poles where a graph that is still being learned has cycles.

    Args:
        edges: A, (K, K).

    Returns:
        (K, K), at [i, j] how much of the independent part of j arrives in i.

    Source: Yang et al. 2021, equation 1.
    """
    size = edges.shape[0]
    once, identity = ops.transpose(edges), ops.eye(size, dtype=edges.dtype)
    total = identity
    for _ in range(size - 1):
        total = identity + ops.matmul(once, total)
    return total


def ancestors_first(graph: np.ndarray, names: tuple[str, ...]) -> list[int]:
    """Return the concepts in an order in which causes come before their effects.

    Args:
        graph: (K, K) of 0 and 1.

    Raises:
        ValueError: if the graph has a cycle.

    >>> ancestors_first(np.array([[0, 0], [1, 0]]), ("shadow", "light"))
    [1, 0]
    """
    order: list[int] = []
    left = list(range(len(graph)))
    while left:
        free = [i for i in left if not graph[left, i].any()]
        if not free:
            raise ValueError(
                "An intervention needs a graph without cycles. The learned one has a cycle among "
                f"{', '.join(names[i] for i in left)}: train on, or give a `graph`."
            )
        order += free
        left = [i for i in left if i not in free]
    return order


def hamming(graph: Any, true: Any) -> int:
    """Return the structural Hamming distance: edges missing, too many, or the other way round.

    An edge the other way round counts once.

    Args:
        graph, true: (K, K) of 0 and 1.

    Raises:
        ValueError: if they are not square and alike.

    Source: Tsamardinos et al. 2006, "The max-min hill-climbing algorithm", section 5.

    >>> hamming([[0, 1], [0, 0]], [[0, 0], [1, 0]])
    1
    """
    found, wanted = np.asarray(graph) != 0, np.asarray(true) != 0
    if found.ndim != 2 or found.shape[0] != found.shape[1] or found.shape != wanted.shape:
        raise ValueError(
            f"Two graphs must be square and alike. Got shapes {found.shape} and {wanted.shape}."
        )
    differ = found != wanted
    return int(np.triu(differ | differ.T).sum())
