"""Search spaces of hyperparameters: ranges and lists of values."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

__all__ = ["Range", "Values"]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclasses.dataclass(frozen=True)
class Range:
    """Define a search space of all values from `low` to `high`, both included.

    Attributes:
        low, high: Ends of the range, `low` below `high`.
        scale: "log" for logarithmic steps, which needs `low` above 0; "linear"; or "whole" for
            integers.
        grows: Whether the value is the end of a linear schedule from 0 over the steps of a run.

    Raises:
        ValueError: If the range is empty, inverted or not finite, or does not fit its scale.

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
        """Return up to `n` different values in equal steps of the scale."""
        fractions = [i / (n - 1) for i in range(n)] if n > 1 else [0.5]
        if self.scale == "log":
            values = [self.low * (self.high / self.low) ** fraction for fraction in fractions]
        else:
            values = [self.low + (self.high - self.low) * fraction for fraction in fractions]
        return tuple(dict.fromkeys(self.rounded(value) for value in values))

    def rounded(self, value: float) -> float:
        """Round a value to four significant digits, or to an integer."""
        return round(value) if self.scale == "whole" else float(f"{value:.4g}")


@dataclasses.dataclass(frozen=True)
class Values:
    """Define a search space of a few values, numbers or names.

    Raises:
        ValueError: If there is no value, or a duplicate.

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
        """Return all values, independent of `n`."""
        return self.values

    def rounded(self, value: Any) -> Any:
        """Return the value in its original type: 4, where a search converted it to 4.0."""
        return self.values[self.values.index(value)]


def as_space(value: Any, default: Range | None) -> Range | Values:
    """Convert a user's search space of a hyperparameter to a range or values.

    Args:
        value: None for the default; `(low, high)`, on the scale of the default, or without one log
            if `low` is above 0 and linear if not; a list of values; or a `Range` or `Values`.
        default: Range that the model declares, if any.

    Raises:
        ValueError: For anything else.

    >>> as_space((2, 8), Range(1, 32))
    Range(low=2, high=8, scale='log', grows=False)
    >>> as_space([1, 2, 4], None)
    Values(values=(1, 2, 4))
    """
    if isinstance(value, Range | Values):
        return value
    if value is None and default is not None:
        return default
    if isinstance(value, list):
        return Values(tuple(value))
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_finite, value)):
        raise ValueError(f"A range is (low, high), or a list of values. Got {value!r}.")
    if default is not None:
        scale = default.scale
        if scale == "log" and value[0] == 0:
            scale = "linear"
        return dataclasses.replace(default, low=value[0], high=value[1], scale=scale)
    return Range(*value, scale="log" if value[0] > 0 else "linear")


def _finite(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)
