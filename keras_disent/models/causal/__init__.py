"""Causal graphs among concepts: learning them from labels, and comparing them.

A is (K, K) over K concepts, A[j, i] the edge from cause j to effect i; concepts z are (n, K, k).

>>> from keras_disent import causal
>>> causal.hamming([[0, 1], [0, 0]], [[0, 1], [0, 0]])
0
"""

from keras_disent.models.causal.acyclicity import AugmentedLagrangian as AugmentedLagrangian
from keras_disent.models.causal.acyclicity import acyclicity as acyclicity
from keras_disent.models.causal.graphs import hamming as hamming

__all__ = ["AugmentedLagrangian", "acyclicity", "hamming"]


def __dir__() -> list[str]:
    return sorted(__all__)
