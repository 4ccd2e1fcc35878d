"""Estimate mutual information of codes and factors from histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy

MISSING = np.iinfo(np.int64).min
"""Integer label of a sample without a value; in floats, it is NaN."""


def present(factors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask, of the same shape, of the samples that have a value of a factor.

    >>> present(np.array([1.0, np.nan])), present(np.array([MISSING, 3]))
    (array([ True, False]), array([False,  True]))
    """
    return ~np.isnan(factors) if factors.dtype.kind == "f" else factors != MISSING


def discretize(
    codes: ArrayLike, bins: int = 20, ranges: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Sort every column of `codes` into equal-width bins between its minimum and maximum.

    A bin contains its left edge; the last one contains the maximum too. Edges are computed in
    float64 and rounded to the dtype of the codes, which determines the bins of values on an edge. A
    column whose range is too small for `bins` distinct edges counts as constant: one bin.

    Args:
        codes: Finite floats `(samples, latents)`.
        bins: Number of bins.
        ranges: Array with the same columns, whose minima and maxima are the outer edges; `codes`
            must not exceed them. Default, `codes`.

    Returns:
        Bin numbers from 0 to `bins - 1`, of the same shape.

    Example:
        >>> discretize(np.array([[0.0, 7.0], [0.4, 7.0], [0.5, 7.0], [1.0, 7.0]]), bins=2).T
        array([[0, 0, 1, 1],
               [0, 0, 0, 0]])
    """
    codes = to_numpy(codes, "`codes`")
    labels = np.zeros(codes.shape, np.int64)
    ends = codes if ranges is None else to_numpy(ranges, "`ranges`")
    for label, column, end in zip(labels.T, codes.T, ends.T, strict=True):
        edges = np.linspace(float(end.min()), float(end.max()), bins + 1)
        edges = edges.astype(codes.dtype)
        if np.all(edges[1:] > edges[:-1]):
            label[:] = np.searchsorted(edges[:-1], column, side="right") - 1
    return labels


def mutual_information(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Estimate the mutual information of every column of `first` with every one of `second`.

    The plug-in estimate in nats, from the contingency table of each pair. It is never negative. It
    is exactly 0 for a constant column or a table of independent labels. Samples without a value of
    a column of `second` are left out of its estimates.

    Args:
        first: Integer labels `(samples, p)`, such as discretized codes.
        second: Integer labels `(samples, q)`, such as factors, or `MISSING`.

    Returns:
        Mutual information in nats, float64 `(p, q)`.

    Example:
        >>> first = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> (mutual_information(first, first) / np.log(2)).round(6)
        array([[1., 0.],
               [0., 1.]])
    """
    rows, columns = _compact(first), _compact(second)
    result = np.empty((len(rows), len(columns)))
    for j, (column, width, has_value) in enumerate(columns):
        for i, (row, height, _) in enumerate(rows):
            pairs = (row if has_value is None else row[has_value]) * width + column
            joint = np.bincount(pairs, minlength=height * width)
            result[i, j] = _information(joint.reshape(height, width))
    return result


def entropy(labels: ArrayLike) -> NDArray[np.float64]:
    """Estimate the entropy of every column of integer `labels` `(samples, k)`, in nats `(k,)`.

    Samples without a value (`MISSING`) of a column are left out of its estimate.

    Example:
        >>> (entropy(np.array([[0, 5], [1, 5], [2, 5], [3, 5]])) / np.log(2)).round(6)
        array([2., 0.])
    """
    counts = [np.bincount(column) for column, _, _ in _compact(labels)]
    return np.array([_information(np.diag(count)) for count in counts])


def _compact(
    labels: ArrayLike,
) -> list[tuple[NDArray[np.int64], int, NDArray[np.bool_] | None]]:
    """Renumber the labels of each column from 0 without gaps.

    Returns:
        For each column its labels without the missing ones, their number, and the mask of the
        samples that have one (None if all have).
    """
    columns = []
    for column in to_numpy(labels).T:
        has_value = present(column)
        has_all = bool(has_value.all())
        values, inverse = np.unique(column if has_all else column[has_value], return_inverse=True)
        columns.append((inverse, len(values), None if has_all else has_value))
    return columns


def _information(joint: NDArray[np.int64]) -> float:
    """Return the mutual information of a contingency table of counts."""
    total = joint.sum()
    row, column = np.nonzero(joint)
    count = joint[row, column]
    # Products of integers are exact, so independent cells have a ratio of exactly 1.
    ratio = count * total / (joint.sum(axis=1)[row] * joint.sum(axis=0)[column])
    return max(0.0, float(np.sum(count * np.log(ratio)) / total))
