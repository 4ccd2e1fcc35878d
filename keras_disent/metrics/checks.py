"""Argument checks that all metrics share. Messages state the rule, then the value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent._utils.checks import check_integer
from keras_disent.metrics.mutual_information import MISSING, discretize, present

Continuous = bool | Sequence[int] | None


class FactorError(ValueError):
    """A factor that cannot be scored.

    Args:
        message: Text with the placeholder `{factor}`, filled in with the column number.
        number: Column of the factor.
    """

    def __init__(self, message: str, number: int) -> None:
        self.message, self.number = message, int(number)
        super().__init__(message.replace("{factor}", f"factor {number}"))

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.message, self.number)  # to come back from another process

    def with_names(self, names: Sequence[str]) -> str:
        """Return the message with the factor's name in place of its number."""
        return self.message.replace("{factor}", f"factor '{names[self.number]}'")


def check_codes(codes: ArrayLike, name: str = "`codes`") -> NDArray[Any]:
    """Return `codes` as a finite array `(samples, latents)`.

    Floats keep their precision, because the edges of histogram bins depend on it. Integers
    become float64.
    """
    array = _with_nan(to_numpy(codes, name))
    check_two_axes(array, name, "latents")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers. Got dtype {array.dtype}.")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    invalid = array.size - np.count_nonzero(np.isfinite(array))
    if invalid:
        raise ValueError(f"{name} must be finite. Got {invalid} NaN or infinite of {array.size}.")
    return array


def check_two_axes(array: NDArray[Any], name: str, columns: str) -> None:
    """Raise a ValueError unless an array is `(samples, columns)`; for one column it says how.

    Args:
        array: Any array.
        name: Its name in the message, such as "`factors`".
        columns: What its columns are.
    """
    if array.ndim == 2:
        return
    one = array.ndim == 1 and name.endswith("`")
    cure = f" Pass one column as {name[:-1]}[:, None]`." if one else ""
    raise ValueError(
        f"{name} must have two axes, (samples, {columns}). Got shape {array.shape}.{cure}"
    )


def _with_nan(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array with NaN in place of masked values."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    return np.where(np.ma.getmaskarray(array), np.nan, array.filled(0))


def check_factors(
    factors: ArrayLike, continuous: Continuous = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return `factors` `(samples, factors)` and a mask of the continuous columns `(factors,)`.

    The array is int64, or float64 if a column is continuous. Discrete columns may be floats with
    integer values. NaN or a mask says that a sample has no value of a factor; in an int64 array,
    `MISSING` takes its place.

    Args:
        factors: Numbers `(samples, factors)`.
        continuous: Continuous columns: all (True), none (False) or their numbers; default, the
            columns with a non-integer value.
    """
    array = _with_nan(to_numpy(factors, "`factors`"))
    check_two_axes(array, "`factors`", "factors")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`factors` must hold numbers. Got dtype {array.dtype}.")
    is_integer = np.ones(array.shape, np.bool_)
    if array.dtype.kind == "f":
        invalid = array[np.isinf(array)]
        if invalid.size:
            raise ValueError(f"`factors` must hold finite numbers. Got {invalid[0]}.")
        is_integer = np.isnan(array) | (array == np.round(array))
    columns = array.shape[1]
    mask = np.zeros(columns, np.bool_)
    if continuous is None:
        mask |= ~is_integer.all(axis=0)
    elif isinstance(continuous, bool | np.bool_):
        mask |= bool(continuous)
    else:
        numbers = list(continuous)
        for number in numbers:
            is_column = isinstance(number, int | np.integer) and 0 <= number < columns
            if isinstance(number, bool) or not is_column:
                raise ValueError(
                    "`continuous` is True, False, or column numbers of `factors` from 0 to "
                    f"{columns - 1}. Got {number!r}."
                )
        mask[numbers] = True
    invalid_columns = np.flatnonzero(~is_integer.all(axis=0) & ~mask)
    if invalid_columns.size:
        column = invalid_columns[0]
        raise FactorError(
            "{factor} must hold whole numbers unless it is named in `continuous`. "
            f"Got {array[~is_integer[:, column], column][0]}.",
            column,
        )
    if mask.any():
        return np.where(present(array), array, np.nan), mask
    labels = np.full(array.shape, MISSING)
    rows = present(array)
    labels[rows] = array[rows]
    return labels, mask


def check_arrays(
    codes: ArrayLike, factors: ArrayLike, continuous: Continuous = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Validate codes and factors; return them with a mask of the continuous factors.

    Raises:
        ValueError: If an array does not have two axes or finite numbers, for unequal numbers of
            rows, fewer than two rows, or an error of `check_factors`.
    """
    codes = check_codes(codes)
    factors, mask = check_factors(factors, continuous)
    if len(codes) != len(factors):
        raise ValueError(
            f"`factors` needs one row per code. Got {len(factors)} rows for {len(codes)} codes."
        )
    if len(codes) < 2:
        raise ValueError(f"A score needs at least 2 samples. Got {len(codes)}.")
    return codes, factors, mask


def discrete_arrays(
    codes: ArrayLike, factors: ArrayLike, continuous: Continuous, bins: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Validate codes and factors, and sort continuous factors into bins of equal width."""
    check_counts(2, bins=bins)
    codes, factors, mask = check_arrays(codes, factors, continuous)
    return codes, in_bins(factors, mask, bins)


def in_bins(
    factors: NDArray[Any],
    continuous: NDArray[np.bool_],
    bins: int,
    reference: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Sort the continuous columns of `factors` into bins of equal width.

    Args:
        factors: `(samples, factors)`.
        continuous: Mask of the continuous columns, `(factors,)`.
        bins: Number of bins.
        reference: Factors whose ranges are cut into bins; default, `factors`. Numbers beyond these
            ranges are in the outermost bins.
    """
    has_value = present(factors)
    labels = np.where(has_value, factors, MISSING).astype(np.int64)
    reference = factors if reference is None else reference
    for column in np.flatnonzero(continuous):
        ends = reference[present(reference[:, column]), column]
        rows = has_value[:, column]
        if ends.size:
            inside = factors[rows, column].clip(ends.min(), ends.max())
            labels[rows, column] = discretize(inside[:, None], bins, ends[:, None])[:, 0]
    return labels


def check_at_least(least: float, **arguments: float) -> None:
    """Raise ValueError for the first argument that is below `least` (or NaN)."""
    for name, value in arguments.items():
        if not value >= least:
            raise ValueError(f"`{name}` must be at least {least}. Got {value}.")


def check_counts(least: int, **counts: Any) -> None:
    """Raise ValueError for the first argument that is no integer of at least `least`."""
    for name, value in counts.items():
        check_integer(name, value, least)


def check_labeled(data: Any, *names: str) -> None:
    """Raise ValueError if `data` has no ground-truth factor that varies, as `names` need."""
    if not names:
        return
    if not len(getattr(data, "factor_sizes", ())):
        raise ValueError(
            f"{' and '.join(map(repr, names))} compare codes with ground-truth factors, so "
            f"`data` must be labeled (have `factor_sizes`). Got {type(data).__name__}."
        )
    if max(data.factor_sizes, default=0) < 2:
        raise ValueError(
            f"{' and '.join(map(repr, names))} need a factor with more than one value. "
            f"Got `factor_sizes` {tuple(data.factor_sizes)} of {', '.join(data.factor_names)}."
        )


def check_grid(data: Any, *names: str) -> None:
    """Raise ValueError if `data` lacks some combination of factors, as `names` need all."""
    if names and not hasattr(data, "sample_factors"):
        raise ValueError(
            f"{' and '.join(map(repr, names))} need an image of every combination of factors. "
            f"{why_no_grid(data)} Metrics that draw no combinations of their own, such as 'mig', "
            "'dci' and 'factor_vae_score', can do without."
        )


def has_groups(data: Any) -> bool:
    """Return whether groups of images can share one of several factors: always on a grid."""
    kinds = getattr(data, "factor_kinds", ("",) * len(data.factor_sizes))
    classes = zip(data.factor_sizes, kinds, strict=True)
    shared = sum(size > 1 and kind != "continuous" for size, kind in classes)
    return hasattr(data, "sample_factors") or shared > 1


def check_groups(data: Any, *names: str) -> None:
    """Raise ValueError if groups of images of `data` cannot share one of several factors."""
    if names and not has_groups(data):
        raise ValueError(
            f"{' and '.join(map(repr, names))} tell factors apart, so they need two factors that "
            f"are not continuous. Got {', '.join(data.factor_names)}."
        )


def combinations(data: Any) -> tuple[NDArray[np.int64], int]:
    """Return the combinations of factors that have an image, sorted, and the number of all."""
    steps = np.asarray(data.factors(np.arange(len(data))))
    rows = np.unique(steps[(steps >= 0).all(axis=1)], axis=0)
    return rows, math.prod(map(int, data.factor_sizes))


def why_no_grid(data: Any) -> str:
    """Return a sentence on what a labeled data set lacks to be a grid: values or combinations."""
    names = tuple(data.factor_names)
    text = f"'{getattr(data, 'name', type(data).__name__)}' has labels, but no grid:"
    for name, kind in zip(names, getattr(data, "factor_kinds", ()), strict=False):
        if kind == "continuous":
            return f"{text} '{name}' is continuous."
    steps = np.asarray(data.factors(np.arange(len(data))))
    for name, count in zip(names, np.sum(steps < 0, axis=0), strict=True):
        if count:
            return f"{text} {count} images have no value of '{name}'."
    rows, total = combinations(data)
    if len(rows) == total:
        return f"{text} {len(steps):,} images of {total:,} combinations."
    sizes = list(map(int, data.factor_sizes))
    strides = [min(math.prod(sizes[i + 1 :]), 2**62) for i in range(len(sizes))]
    expected = np.arange(len(rows) + 1)[:, None] // strides % sizes  # the first combinations
    missing = expected[np.append((rows != expected[:-1]).any(axis=1), True).argmax()]
    values = getattr(data, "factor_values", {})
    steps_of = zip(names, missing, strict=True)
    parts = [f"{name} {values[name][step] if name in values else step}" for name, step in steps_of]
    first = ", ".join(parts[:10]) + (", ..." if len(parts) > 10 else "")
    return f"{text} {len(rows):,} of {total:,} combinations have an image, and {first} has none."


def varying(factors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the columns of `factors` with more than one value."""
    has_value = present(factors)
    columns = zip(factors.T, has_value.T, strict=True)
    values = [column[rows] for column, rows in columns]
    return np.array([len(v) > 0 and v.max() > v.min() for v in values], np.bool_)


def train_and_test(
    codes: ArrayLike,
    factors: ArrayLike,
    test: tuple[ArrayLike, ArrayLike] | None,
    seed: int,
    continuous: Continuous = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Split codes and factors into training and test sets; mask the continuous factors.

    Without `test`, a third of the rows, drawn with `seed`, is for testing.

    Returns:
        Training codes and factors, test codes and factors, and the mask `(factors,)`.

    Raises:
        ValueError: As `check_arrays`; if the test arrays have other columns; or for fewer than 3
            samples to split.
    """
    codes, factors, mask = check_arrays(codes, factors, continuous)
    if test is None:
        if len(codes) < 3:
            raise ValueError(
                f"A third of the samples is for testing, which takes at least 3. Got {len(codes)}."
            )
        train_rows, test_rows = split_rows(len(codes), seed)
        return codes[train_rows], factors[train_rows], codes[test_rows], factors[test_rows], mask
    if len(test) != 2:
        raise ValueError(f"`test` is a pair (codes, factors). Got {len(test)} parts.")
    test_codes, test_factors = (to_numpy(part, "`test`") for part in test)
    has_same_columns = test_factors.shape[1:] == factors.shape[1:]
    columns = np.flatnonzero(mask).tolist() if has_same_columns else None
    test_codes, test_factors, _ = check_arrays(test_codes, test_factors, columns)
    if test_codes.shape[1] != codes.shape[1] or test_factors.shape[1] != factors.shape[1]:
        raise ValueError(
            f"`test` needs {codes.shape[1]} latents and {factors.shape[1]} factors, as those to "
            f"train on. Got {test_codes.shape[1]} and {test_factors.shape[1]}."
        )
    return codes, factors, test_codes, test_factors, mask


def split_rows(samples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of training rows, and of a third of the rows for testing."""
    order = np.random.default_rng(seed).permutation(samples)
    test_rows, train_rows = np.split(order, [samples // 3])
    return train_rows, test_rows


def factors_that_vary(factors: NDArray[Any], metric: str) -> NDArray[np.int64]:
    """Return the numbers of the factors with more than one value.

    Raises:
        ValueError: If there is none.
    """
    used = np.flatnonzero(varying(factors))
    if not used.size:
        raise ValueError(
            f"{metric} needs a factor with more than one value. Got none in `factors`."
        )
    return used


def check_values(
    factors: NDArray[np.int64], test_factors: NDArray[np.int64], used: NDArray[np.int64]
) -> None:
    """Raise FactorError if one of the `used` factors has more values than training samples."""
    for number in used:
        columns = (factors[:, number], test_factors[:, number])
        train, test = (column[present(column)] for column in columns)
        values = len(np.union1d(train, test))
        if values > len(train):
            raise FactorError(
                "A classifier needs at least one sample per value of a factor to train on. "
                f"Got {len(train)} samples for {values} values of {{factor}}.",
                number,
            )
