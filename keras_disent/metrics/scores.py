"""Container of scores with the settings that reproduce them."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_disent._utils.registry import lookup
from keras_disent.metrics.results import Interval, Result
from keras_disent.metrics.tables import Cell, Table, Tabular, in_columns, with_intervals


class Scores(Tabular, Mapping[str, float]):
    """Mapping from names to scores that prints as a table and saves as JSON.

    Attributes:
        results: Result of each metric, such as a `DCI`.
        settings: Settings that reproduce each score.
        intervals: Confidence interval of each score, if requested.
        failures: Reason in one line for each requested metric without a score.
    """

    def __init__(
        self,
        results: dict[str, Any],
        settings: dict[str, dict[str, Any]],
        intervals: dict[str, Interval] | None = None,
        failures: dict[str, str] | None = None,
    ) -> None:
        self.results = results
        self.settings = settings
        self.intervals = intervals or {}
        self.failures = failures or {}

    def __getitem__(self, name: str) -> float:
        if name in self.failures:
            raise KeyError(f"{name!r} has no score: {self.failures[name]}")
        return float(self.results[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return `{name: {"value": float, "detail": {...}, "settings": {...}}}`.

        `detail` holds the fields of a result, with arrays as nested lists. `interval` holds the
        ends of the confidence interval, if requested, and `detail_intervals` those of the fields. A
        metric without a score has the value "nan" and the reason as `error`.
        """
        entries = {}
        for name, result in self.results.items():
            entry: dict[str, Any] = {"value": _plain(self[name])}
            if name in self.intervals:
                entry["interval"] = list(self.intervals[name])
            if isinstance(result, Result):
                entry["detail"] = _plain(result)
                if result.intervals:
                    entry["detail_intervals"] = _plain(result.intervals)
            entries[name] = {**entry, "settings": _plain(self.settings[name])}
        for name, reason in self.failures.items():
            settings = _plain(self.settings[name])
            entries[name] = {"value": "nan", "error": reason, "settings": settings}
        return entries

    def to_json(self) -> str:
        """Return `as_dict()` as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def __str__(self) -> str:
        width = max(map(len, [*self, *self.failures]), default=0)
        lines = []
        for name, value in self.items():
            line = f"{name:<{width}}  {value:8.4f}"
            if name in self.intervals:
                low, high = self.intervals[name]
                line += f"  [{low:.4f}, {high:.4f}]"
            lines.append(line)
        lines += [f"{name:<{width}}  no score: {why}" for name, why in self.failures.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _table(self, part: str | None) -> Table:
        if part is None:
            values = {**self, **dict.fromkeys(self.failures)}
            ends = map(self.intervals.get, values)
            return with_intervals(values, zip(values.values(), ends, strict=True))
        rows: dict[str, tuple[Any, Any]] = {}
        for name in lookup(part, {"all": list(self), **{name: [name] for name in self}}, "part"):
            result = self.results[name]
            fields = result.scalars() if isinstance(result, Result) else {}
            for field, value in fields.items():
                row = f"{name}.{field}" if part == "all" else field
                rows[row] = value, result.intervals.get(field)
            if not fields:
                rows[name] = self[name], self.intervals.get(name)
        return with_intervals(rows, rows.values())

    def _repr_html_(self) -> str:
        reasons = [f"{name}: {why}" for name, why in self.failures.items()]
        return super()._repr_html_() + "".join(f"<p>{html.escape(text)}</p>" for text in reasons)


class Comparison(Tabular, Mapping[str, Scores]):
    """Scores of several codes, side by side: a row for each, and a column for each score.

    Args:
        scores: Scores by the name of the codes.

    Raises:
        ValueError: If there are none, or something else.

    Example:
        >>> from keras_disent.metrics import score
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> rows = {"factors": factors, "one twice": factors[:, [0, 0]]}
        >>> Comparison({n: score(codes, factors, ["mig", "mcc"]) for n, codes in rows.items()})
                   mig     mcc
        factors    1.0000  1.0000
        one twice  0.0000  0.5000
    """

    def __init__(self, scores: Mapping[str, Scores]) -> None:
        others = [repr(name) for name, one in scores.items() if not isinstance(one, Scores)]
        if others or not scores:
            raise ValueError(
                "A comparison needs `Scores` for at least one name. "
                f"Got {'others for ' + ', '.join(others) if others else 'none'}."
            )
        self.scores = dict(scores)

    def __getitem__(self, name: str) -> Scores:
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return in_columns(self._table(None))

    def _table(self, part: str | None) -> Table:
        columns = []
        for scores in self.scores.values():
            rows, _, cells = scores._table(part)
            columns.append({row: cell for row, (cell,) in zip(rows, cells, strict=True)})
        names = tuple(dict.fromkeys(name for column in columns for name in column))
        cells = tuple(tuple(c.get(name, Cell(None)) for name in names) for c in columns)
        return Table(tuple(self.scores), names, cells)


def _plain(value: Any) -> Any:
    """Convert arrays, tuples and NumPy numbers to JSON types."""
    if isinstance(value, Result):
        value = value.fields()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has neither infinity nor NaN
    return value
