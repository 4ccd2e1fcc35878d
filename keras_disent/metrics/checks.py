"""What every metric asks of its arguments. Each message states the rule, then what came."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.mutual_information import discretize

Continuous = bool | Sequence[int] | None


class FactorError(ValueError):
    """A factor that cannot be scored.

    Args:
        message: text with the placeholder `{factor}`, filled in with the column number.
        number: column of the factor.
    """

    def __init__(self, message: str, number: int) -> None:
        self.message, self.number = message, int(number)
        super().__init__(message.replace("{factor}", f"factor {number}"))

    def with_names(self, names: Sequence[str]) -> str:
        """Return the message with the factor's name in place of its number."""
        return self.message.replace("{factor}", f"factor '{names[self.number]}'")


def check_codes(codes: ArrayLike, name: str = "`codes`") -> NDArray[Any]:
    """Return `codes` as a finite array `(samples, latents)`.

    Floats keep their precision, because the edges of histogram bins depend on it. Integers
    become float64.
    """
    array = np.asarray(codes)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two axes, (samples, latents). Got shape {array.shape}.")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers. Got dtype {array.dtype}.")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    strange = array.size - np.count_nonzero(np.isfinite(array))
    if strange:
        raise ValueError(f"{name} must be finite. Got {strange} NaN or infinite of {array.size}.")
    return array


def check_factors(
    factors: ArrayLike, continuous: Continuous = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return `factors` `(samples, factors)`, and which columns are continuous `(factors,)`.

    The array is int64, or float64 if a column is continuous. Floats are welcome in a discrete
    column as long as they are whole numbers.

    Args:
        factors: numbers `(samples, factors)`.
        continuous: the continuous columns: all (True), none (False) or their numbers. By default,
            those that hold a number that is not whole.
    """
    array = np.asarray(factors)
    if array.ndim != 2:
        raise ValueError(
            f"`factors` must have two axes, (samples, factors). Got shape {array.shape}."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`factors` must hold numbers. Got dtype {array.dtype}.")
    whole = np.ones(array.shape, np.bool_)
    if array.dtype.kind == "f":
        strange = array[~np.isfinite(array)]
        if strange.size:
            raise ValueError(f"`factors` must hold finite numbers. Got {strange[0]}.")
        whole = array == np.round(array)
    columns = array.shape[1]
    mask = np.zeros(columns, np.bool_)
    if continuous is None:
        mask |= ~whole.all(axis=0)
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
    broken = np.flatnonzero(~whole.all(axis=0) & ~mask)
    if broken.size:
        raise FactorError(
            "{factor} must hold whole numbers unless it is named in `continuous`. "
            f"Got {array[~whole[:, broken[0]], broken[0]][0]}.",
            broken[0],
        )
    return array.astype(np.float64 if mask.any() else np.int64), mask


def check_arrays(
    codes: ArrayLike, factors: ArrayLike, continuous: Continuous = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return codes, factors and which of these are continuous, checked; rows are samples.

    Raises:
        ValueError: for another number of axes than two, numbers that are not finite, unequal
            numbers of rows, fewer than two rows, or what `check_factors` raises.
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
    """Return codes and factors as `check_arrays`, with continuous factors in equal-width bins."""
    check_at_least(2, bins=bins)
    codes, factors, mask = check_arrays(codes, factors, continuous)
    return codes, in_bins(factors, mask, bins)


def in_bins(
    factors: NDArray[Any],
    continuous: NDArray[np.bool_],
    bins: int,
    fitted: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Return factors with the continuous columns sorted into bins of equal width.

    Args:
        factors: `(samples, factors)`.
        continuous: which columns are continuous, `(factors,)`.
        bins: number of bins.
        fitted: factors whose ranges are cut into bins; default, `factors`. Numbers beyond them
            are in the outermost bins.
    """
    labels = factors.astype(np.int64)
    if continuous.any():
        ranges = (factors if fitted is None else fitted)[:, continuous]
        inside = factors[:, continuous].clip(ranges.min(axis=0), ranges.max(axis=0))
        labels[:, continuous] = discretize(inside, bins, ranges)
    return labels


def check_at_least(least: float, **arguments: float) -> None:
    """Raise ValueError for the first argument that is below `least` (or NaN)."""
    for name, value in arguments.items():
        if not value >= least:
            raise ValueError(f"`{name}` must be at least {least}. Got {value}.")


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
            f"{' and '.join(map(repr, names))} ask for a factor with more than one value. "
            f"Got `factor_sizes` {tuple(data.factor_sizes)} of {', '.join(data.factor_names)}."
        )


def check_grid(data: Any, *names: str) -> None:
    """Raise ValueError if `data` cannot show every combination of factors, as `names` need."""
    if names and not hasattr(data, "sample_factors"):
        raise ValueError(
            f"{' and '.join(map(repr, names))} ask for images of any combination of factors, so "
            "`data` must be a grid of them (have `sample_factors`). "
            f"'{getattr(data, 'name', type(data).__name__)}' has labels, but no grid. "
            "Scores of a sample, such as 'mig', 'dci' and 'sap', can do without."
        )


def varying(factors: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which columns of `factors` take more than one value."""
    return factors.max(axis=0) > factors.min(axis=0)


def train_and_test(
    codes: ArrayLike,
    factors: ArrayLike,
    test: tuple[ArrayLike, ArrayLike] | None,
    seed: int,
    continuous: Continuous = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return codes and factors to fit, those to test on, and which factors are continuous.

    Without `test`, a third of the rows, drawn with `seed`, is for testing.

    Raises:
        ValueError: as `check_arrays`; if the test arrays have other columns; or fewer than 3
            samples are to be split.
    """
    codes, factors, mask = check_arrays(codes, factors, continuous)
    if test is None:
        if len(codes) < 3:
            raise ValueError(
                f"A third of the samples is for testing, which takes at least 3. Got {len(codes)}."
            )
        order = np.random.default_rng(seed).permutation(len(codes))
        tested, fitted = np.split(order, [len(codes) // 3])
        return codes[fitted], factors[fitted], codes[tested], factors[tested], mask
    if len(test) != 2:
        raise ValueError(f"`test` is a pair (codes, factors). Got {len(test)} parts.")
    same = np.shape(test[1])[1:] == factors.shape[1:]
    columns = np.flatnonzero(mask).tolist() if same else None
    test_codes, test_factors, _ = check_arrays(*test, columns)
    if test_codes.shape[1] != codes.shape[1] or test_factors.shape[1] != factors.shape[1]:
        raise ValueError(
            f"`test` needs {codes.shape[1]} latents and {factors.shape[1]} factors, as those to "
            f"train on. Got {test_codes.shape[1]} and {test_factors.shape[1]}."
        )
    return codes, factors, test_codes, test_factors, mask


def factors_that_vary(factors: NDArray[Any], metric: str) -> NDArray[np.int64]:
    """Return the numbers of the factors that take more than one value.

    Raises:
        ValueError: if there is none.
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
    """Raise FactorError if one of the factors `used` has more values than there are samples."""
    for number in used:
        values = len(np.union1d(factors[:, number], test_factors[:, number]))
        if values > len(factors):
            raise FactorError(
                "A classifier needs at least one sample per value of a factor to train on. "
                f"Got {len(factors)} samples for {values} values of {{factor}}.",
                number,
            )
