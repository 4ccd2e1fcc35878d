"""Properties of causal graphs: total effects, topological order, and structural distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor


def total_effects(edges: Tensor) -> Tensor:
    """Return sum_m (A^T)^m, m below K: for A without cycles, (I - A^T)^-1.

    Unlike the inverse, a sum of powers has no poles where the graph has cycles during training.

    Args:
        edges: Matrix A, (K, K).

    Returns:
        Total effects (K, K), at [i, j] that of the independent part of j on i.

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
        ValueError: If the graph has a cycle.

    >>> ancestors_first(np.array([[0, 0], [1, 0]]), ("shadow", "light"))
    [1, 0]
    """
    order: list[int] = []
    remaining = list(range(len(graph)))
    while remaining:
        roots = [i for i in remaining if not graph[remaining, i].any()]
        if not roots:
            raise ValueError(
                "An intervention needs a graph without cycles. The learned one has a cycle among "
                f"{', '.join(names[i] for i in remaining)}: train longer, or pass a `graph`."
            )
        order += roots
        remaining = [i for i in remaining if i not in roots]
    return order


def hamming(graph: Any, true: Any) -> int:
    """Return the structural Hamming distance: missing, additional and reversed edges.

    A reversed edge counts once.

    Args:
        graph, true: Graphs (K, K) of 0 and 1.

    Raises:
        ValueError: If they are not square and of the same shape.

    Source: Tsamardinos et al. 2006, "The max-min hill-climbing algorithm", section 5.

    >>> hamming([[0, 1], [0, 0]], [[0, 0], [1, 0]])
    1
    """
    edges, true_edges = np.asarray(graph) != 0, np.asarray(true) != 0
    shape, true_shape = edges.shape, true_edges.shape
    if len(shape) != 2 or shape[0] != shape[1] or shape != true_shape:
        raise ValueError(
            f"Two graphs must be square and of the same shape. Got shapes {shape} and {true_shape}."
        )
    differ = edges != true_edges
    return int(np.triu(differ | differ.T).sum())
