"""Which values of a hyperparameter a search may try."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """All values from `low` to `high`, both ends included.

    Attributes:
        low, high: numbers, `low` below `high`.
        scale: "log" if equal factors are equal steps, which needs `low` above 0; "linear"; or
            "whole" for whole numbers.
        grows: whether the value is where a weight ends that rises from 0, in equal parts, over the
            steps of a run.

    Raises:
        ValueError: if the range is empty, inverted or not finite, or does not fit its scale.

    >>> Range(1, 16).spread(3)
    (1.0, 4.0, 16.0)
    >>> Range(2, 6, "whole").spread(3)
    (2, 4, 6)
    """

    low: float
    high: float
    scale: str = "log"
    grows: bool = False

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if self.scale not in ("log", "linear", "whole"):
            raise ValueError(f"`scale` is 'log', 'linear' or 'whole'. Got {self.scale!r}.")
        if not all(_finite(end) for end in ends) or not self.low < self.high:
            raise ValueError(
                f"A range goes from a number up to a higher one. Got {self.low!r} to {self.high!r}."
            )
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"A range on a log scale starts above 0. Got {self.low!r}.")
        if self.scale == "whole" and any(end != int(end) for end in ends):
            raise ValueError(
                f"A range of whole numbers ends at whole numbers. Got {self.low!r} to "
                f"{self.high!r}."
            )

    def spread(self, n: int) -> tuple[float, ...]:
        """Return `n` values (fewer if there are not as many) in equal steps of the scale."""
        shares = [i / (n - 1) for i in range(n)] if n > 1 else [0.5]
        if self.scale == "log":
            values = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            values = [self.low + (self.high - self.low) * share for share in shares]
        return tuple(dict.fromkeys(self.rounded(value) for value in values))

    def rounded(self, value: float) -> float:
        """Return a value with four digits that count, or whole."""
        return round(value) if self.scale == "whole" else float(f"{value:.4g}")


@dataclasses.dataclass(frozen=True)
class Values:
    """A few values, numbers or names.

    Raises:
        ValueError: if there is none, or one comes twice.

    >>> Values((1, 4, 16)).spread(2)
    (1, 4, 16)
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        kinds = {type(value) for value in self.values} - {int, float}
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"A list of values holds at least one, each once. Got {self.values}.")
        if kinds and len({type(value) for value in self.values}) > 1:
            raise ValueError(f"Values are all numbers or all names. Got {self.values}.")

    def spread(self, n: int) -> tuple[Any, ...]:
        """Return all values: their number is their own."""
        return self.values

    def rounded(self, value: Any) -> Any:
        """Return the value as it was given: 4, where a search made 4.0 of it."""
        return self.values[self.values.index(value)]


def chosen(given: Any, declared: Range | None) -> Range | Values:
    """Return what a user gives for a hyperparameter as a range or values.

    Args:
        given: None for what the model declares; `(low, high)`, on the scale that it declares, or
            else log if `low` is above 0 and linear if not; a list of values; or a `Range` or
            `Values`.
        declared: the range that the model declares, if any.

    Raises:
        ValueError: for anything else.

    >>> chosen((2, 8), Range(1, 32))
    Range(low=2, high=8, scale='log', grows=False)
    >>> chosen([1, 2, 4], None)
    Values(values=(1, 2, 4))
    """
    if isinstance(given, Range | Values):
        return given
    if given is None and declared is not None:
        return declared
    if isinstance(given, list):
        return Values(tuple(given))
    if not isinstance(given, tuple) or len(given) != 2 or not all(map(_finite, given)):
        raise ValueError(f"A range is (low, high), or a list of values. Got {given!r}.")
    if declared is not None:
        scale = declared.scale
        if scale == "log" and given[0] == 0:
            scale = "linear"
        return dataclasses.replace(declared, low=given[0], high=given[1], scale=scale)
    return Range(*given, scale="log" if given[0] > 0 else "linear")


def _finite(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)
