"""Mean correlation coefficient of matched latents and factors, or of two models."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, column_names, to_numpy
from keras_disent.metrics.checks import check_codes
from keras_disent.metrics.mutual_information import present
from keras_disent.metrics.results import Result, keeps_names

Kind = Literal["pearson", "spearman"]


class MCC(Result):
    """Mean correlation coefficient; `float()` of it is `score`.

    Attributes:
        score: Mean absolute correlation of the matched pairs.
        matrix: Absolute correlation of every column of `codes` with every column of `others`,
            float64 `(p, q)`.
        pairs: Matched pairs of column numbers, `(column of codes, column of others)`.
    """

    axes = {"matrix": ("latents", "factors")}

    score: float
    matrix: NDArray[np.float64]
    pairs: tuple[tuple[int, int], ...]

    def __float__(self) -> float:
        return self.score


@keeps_names
def mcc(codes: ArrayLike, others: ArrayLike, *, kind: Kind = "pearson") -> MCC:
    """Score how well latents correspond one to one to factors, or to another model's latents.

    Columns are paired so that the sum of their absolute correlations is largest (the assignment
    problem); the score is the mean over pairs, as many as the narrower array has columns. Order
    and signs of latents do not matter, which is how two runs of a model can be compared.
    Hyvärinen & Morioka (2016), "Unsupervised Feature Extraction by Time-Contrastive Learning and
    Nonlinear ICA", section 6.

    A constant column has correlation 0 with all others. Of copied latents, one is matched. The
    values of a factor are treated as numbers, so relabeling them changes the score, unless `kind`
    is "spearman" and their order is preserved or reversed.

    Args:
        codes: Floats `(samples, p)`.
        others: Numbers `(samples, q)` for the same samples: factors, or codes of another model.
            Masked samples of a masked array, and missing values of a table, are left out of the
            correlations of their column.
        kind: "pearson" for linear, "spearman" for monotonic relations (ranks, with ties averaged).

    Returns:
        1 if every pair is perfectly related; for independent columns, the largest correlations
        by chance, less than about `1 / sqrt(samples)` times a few.

    Raises:
        ValueError: For malformed arrays, unequal numbers of rows, fewer than two rows, an array
            without columns, or an unknown kind.

    Example:
        >>> codes = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0], [3.0, 0.0]])
        >>> result = mcc(codes, -codes[:, ::-1] ** 3, kind="spearman")
        >>> round(float(result), 6), result.pairs
        (1.0, ((0, 1), (1, 0)))
    """
    from scipy.optimize import linear_sum_assignment

    codes = check_codes(codes)
    is_table = bool(column_names(others))
    others = to_numpy(others, "`others`")
    if is_table:
        others = np.ma.masked_where(np.isnan(others), others)
    gaps = np.ma.getmaskarray(others)
    others = np.where(gaps, np.nan, check_codes(np.ma.filled(others, 0), "`others`"))
    if len(codes) != len(others):
        raise ValueError(
            f"`others` needs one row per code. Got {len(others)} rows for {len(codes)} codes."
        )
    if len(codes) < 2:
        raise ValueError(f"A correlation needs at least 2 samples. Got {len(codes)}.")
    if not codes.shape[1] or not others.shape[1]:
        raise ValueError(
            "A correlation needs at least one column in `codes` and in `others`. "
            f"Got {codes.shape[1]} and {others.shape[1]}."
        )
    matrix = absolute_correlations(codes, others, kind)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    pairs = tuple(zip(rows.tolist(), columns.tolist(), strict=True))
    return MCC(float(matrix[rows, columns].mean()), matrix, pairs)


def absolute_correlations(
    first: NDArray[Any], second: NDArray[Any], kind: Kind = "pearson"
) -> NDArray[np.float64]:
    """Return the absolute correlation of every column of `first` with every one of `second`.

    Args:
        first: Finite floats `(samples, p)`.
        second: Floats `(samples, q)`, finite or NaN. Samples with NaN in a column are left out of
            its correlations.
        kind: "pearson", or "spearman" for the correlation of ranks.

    Returns:
        From 0 to 1, float64 `(p, q)`; 0 for constant columns.

    Raises:
        ValueError: For another kind.

    Example:
        >>> first = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
        >>> absolute_correlations(first, -first[:, :1])
        array([[1.],
               [0.]])
    """
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"`kind` must be 'pearson' or 'spearman'. Got {kind!r}.")
    has_value = present(second)
    if not has_value.all():
        columns = [
            absolute_correlations(first[rows], column[rows, None], kind)
            if rows.any()
            else np.zeros((first.shape[1], 1))
            for column, rows in zip(second.T, has_value.T, strict=True)
        ]
        return np.concatenate(columns, axis=1)
    if kind == "spearman":
        from scipy.stats import rankdata

        first, second = rankdata(first, axis=0), rankdata(second, axis=0)
    return np.minimum(np.abs(_unit(first).T @ _unit(second)), 1.0)


def _unit(columns: NDArray[Any]) -> NDArray[np.float64]:
    """Center columns and scale them to length 1, or to 0 where they are constant."""
    centered = columns - columns.mean(axis=0, dtype=np.float64)
    centered[:, columns.max(axis=0) == columns.min(axis=0)] = 0
    length = np.linalg.norm(centered, axis=0)
    return centered / np.where(length > 0, length, 1)
