"""What metrics return: fields by name, names of latents and factors, and intervals."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar, dataclass_transform

import numpy as np

from keras_disent._utils.arrays import column_names
from keras_disent._utils.registry import lookup
from keras_disent.metrics.checks import FactorError
from keras_disent.metrics.tables import Cell, Table, Tabular, with_intervals

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

_LATENTS = ("latents", "active")  # axes that the names of latents are labels of
_FACTORS = ("factors", "factors_used")


class _Ends(NamedTuple):
    low: Any
    high: Any


class Interval(Tabular, _Ends):
    """Lower and upper end of a confidence interval.

    Both are floats; or, for a field that is an array, arrays of its shape.

    >>> low, high = Interval(0.25, 0.75)
    >>> low, Interval(0.25, 0.75)
    (0.25, Interval(low=0.25, high=0.75))
    """

    __slots__ = ()

    def _table(self, part: str | None) -> Table:
        ends = self._asdict()
        columns = tuple(ends) if part is None else (part,)
        values = zip(*(np.ravel(lookup(c, ends, "end")).tolist() for c in columns), strict=True)
        cells = tuple(tuple(map(Cell, row)) for row in values)
        return Table(tuple(range(len(cells))), columns, cells)


@dataclass_transform(frozen_default=True, eq_default=False)
class Result(Tabular):
    """What a metric with several numbers returns: a frozen dataclass that shows as a table.

    `float()` of it is its main score.

    Attributes:
        axes: For each array field the names of its axes. An axis with the name of another field
            has the values of that field as labels.
        latent_names: Names of all latents, if the codes were a table.
        factor_names: Names of all factors, if they were a table, or of a data set.
        intervals: Confidence intervals of fields, if requested.
    """

    axes: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    latent_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    intervals: Mapping[str, Interval] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)

    def __float__(self) -> float:
        raise NotImplementedError

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_short(value)}" for name, value in self.fields().items())
        return f"{type(self).__name__}({fields})"

    def fields(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers and arrays among the fields, by name.

        Those of a result within this one have names such as "importance.mig".
        """
        values: dict[str, Any] = {}
        for name, value in self.fields().items():
            if isinstance(value, Mapping):
                for key, part in value.items():
                    if isinstance(part, Result):
                        values |= {f"{key}.{inner}": v for inner, v in part.numbers().items()}
            elif isinstance(value, np.ndarray | int | float | np.number):
                values[name] = value
        return values

    def scalars(self) -> dict[str, Any]:
        """Return the `numbers` that are no arrays."""
        return {name: value for name, value in self.numbers().items() if np.ndim(value) == 0}

    def labels(self, name: str) -> tuple[tuple[Any, ...], ...]:
        """Return the labels along each axis of one of `numbers`."""
        outer, dot, inner = name.partition(".")
        if dot:
            parts = [v for v in self.fields().values() if isinstance(v, Mapping) and outer in v]
            return parts[0][outer].labels(inner)
        shape = np.shape(getattr(self, name))
        axes = (*self.axes.get(name, ()), *[""] * len(shape))
        return tuple(self._labels_of(*axis) for axis in zip(axes, shape, strict=False))

    def _labels_of(self, axis: str, size: int) -> tuple[Any, ...]:
        numbers = getattr(self, axis, range(size))
        names: tuple[str, ...] = ()
        if axis in _LATENTS:
            names = self.latent_names
        elif axis in _FACTORS:
            names = self.factor_names
        return tuple(names[n] if names else n for n in np.asarray(numbers).tolist())

    def with_names(self, latents: tuple[str, ...], factors: tuple[str, ...]) -> Result:
        """Return a copy that knows the names of all latents and of all factors."""
        result = self._with(latent_names=tuple(latents), factor_names=tuple(factors))
        used = getattr(self, "factors_used", range(len(factors)))
        names = tuple(factors[n] for n in used) if factors else ()
        for name, value in self.fields().items():
            if isinstance(value, Mapping) and any(isinstance(p, Result) for p in value.values()):
                parts = {key: part.with_names(latents, names) for key, part in value.items()}
                result = result._with(**{name: parts})
        return result

    def with_intervals(self, intervals: Mapping[str, Interval]) -> Result:
        """Return a copy with confidence intervals of fields."""
        return self._with(intervals=dict(intervals))

    def _with(self, **attributes: Any) -> Result:
        result = copy.copy(self)
        for name, value in attributes.items():
            object.__setattr__(result, name, value)
        return result

    def _table(self, part: str | None) -> Table:
        if part is None:
            scalars = self.scalars() or {"score": float(self)}
            ends: Iterator[Any] = map(self.intervals.get, scalars)
            return with_intervals(scalars, zip(scalars.values(), ends, strict=True))
        values, labels = lookup(part, self.numbers(), "field"), self.labels(part)
        if np.ndim(values) == 2:
            cells = tuple(tuple(map(Cell, row)) for row in values.tolist())
            return Table(labels[0], labels[1], cells)
        values = np.atleast_1d(values).tolist()
        ends = iter([None] * len(values))
        if part in self.intervals:
            ends = zip(*map(np.atleast_1d, self.intervals[part]), strict=True)
        return with_intervals(labels[0] if labels else (part,), zip(values, ends, strict=True))


def _short(value: Any) -> str:
    """Return a field for a `repr` of one line."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}>"
    if isinstance(value, float | np.floating):
        return repr(round(float(value), 4))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_short(part)}" for key, part in value.items()) + "}"
    return repr(value)


def keeps_names(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Let a metric of arrays keep the column names of tables, in its result and its messages.

    `continuous` takes names of factors then, too.

    Raises (when the function is called):
        ValueError: If the tables in `test` have other columns.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        arguments = signature.bind(*args, **kwargs).arguments
        latents, factors = (
            next((column_names(arguments[name]) for name in names if name in arguments), ())
            for names in (("codes", "means"), ("factors", "others"))
        )
        if not (latents or factors):
            return function(*args, **kwargs)
        check_test(arguments.get("test"), latents, factors)
        continuous = arguments.get("continuous")
        if isinstance(continuous, list | tuple | set | frozenset):
            numbers = {name: number for number, name in enumerate(factors)}
            kwargs["continuous"] = [numbers.get(one, one) for one in continuous]
        try:
            result = function(*args, **kwargs)
        except FactorError as error:
            raise ValueError(error.with_names(factors) if factors else str(error)) from None
        if isinstance(result, Result):
            return result.with_names(latents, factors)  # type: ignore[return-value]
        return result

    return call


def check_test(test: Any, latents: tuple[str, ...], factors: tuple[str, ...]) -> None:
    """Raise ValueError if tables in `test` have other columns than those to train on."""
    if test is None or len(test) != 2:
        return
    for part, expected, what in zip(test, (latents, factors), ("codes", "factors"), strict=True):
        names = column_names(part)
        if names and expected and names != expected:
            raise ValueError(
                f"`test` needs the columns of `{what}`, {', '.join(expected)}, in their order. "
                f"Got {', '.join(names)}."
            )
