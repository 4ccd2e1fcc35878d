"""Show results as tables: in notebooks, as data frames of pandas, and in LaTeX."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

DIGITS = 4
"""Digits after the point in notebooks and texts."""

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


class Cell(NamedTuple):
    """A value, a number or None, and its confidence interval if it has one."""

    value: Any
    interval: tuple[Any, Any] | None = None


class Table(NamedTuple):
    """Cells with names of rows and columns.

    Attributes:
        rows: Name of each row.
        columns: Name of each column.
        cells: For each row one cell per column.
    """

    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    cells: tuple[tuple[Cell, ...], ...]


class Tabular:
    """Base of results, which are shown as tables."""

    def _table(self, part: str | None) -> Table:
        raise NotImplementedError

    def to_frame(self, part: str | None = None) -> Any:
        """Return a `pandas.DataFrame`, with the ends of intervals in columns of their own.

        They are "low" and "high" of a column "value", "mig_low" and "mig_high" of a column "mig".

        Args:
            part: Which part of the result; default, its numbers. A result of a metric has its
                fields as parts, such as "importance" of `DCI`, with names of latents and factors if
                they are known. `Scores` have the names of metrics, with all fields of each, and
                "all" for the fields of all metrics.

        Raises:
            ImportError: If pandas is not installed.
            ValueError: If there is no such part.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "`to_frame` needs pandas: pip install 'keras-disent[studies]'."
            ) from None
        rows, columns, cells = self._table(part)
        data: dict[Any, list[Any]] = {}
        for number, column in enumerate(columns):
            entries = [row[number] for row in cells]
            data[column] = [math.nan if cell.value is None else cell.value for cell in entries]
            if any(cell.interval for cell in entries):
                prefix = "" if column == "value" else f"{column}_"
                for end, name in enumerate(("low", "high")):
                    ends = [cell.interval[end] if cell.interval else math.nan for cell in entries]
                    data[f"{prefix}{name}"] = ends
        return pandas.DataFrame(data, index=list(rows))

    def to_latex(self, part: str | None = None, *, digits: int = 3) -> str:
        r"""Return the source of a LaTeX table, with the rules of the package `booktabs`.

        Args:
            part: As in `to_frame`.
            digits: Digits after the point.

        Raises:
            ValueError: If there is no such part.
        """
        table = self._table(part)
        head, *body = [
            " & ".join([_latex(name), *(_latex(text).replace("-", "$-$") for text in row)]) + r" \\"
            for name, *row in _texts(table, digits)
        ]
        lines = [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule", head]
        return "\n".join([*lines, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])

    def _repr_html_(self) -> str:
        head, *body = [
            [html.escape(text) for text in row] for row in _texts(self._table(None), DIGITS)
        ]
        lines = ["".join(f"<th>{text}</th>" for text in head)]
        lines += [
            f"<th>{row}</th>" + "".join(f"<td>{t}</td>" for t in texts) for row, *texts in body
        ]
        return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def in_columns(table: Table) -> str:
    """Return a table as text.

    >>> print(in_columns(Table(("PCA",), ("mig", "sap"), ((Cell(0.5, (0.4, 0.6)), Cell(None)),))))
         mig                      sap
    PCA  0.5000 [0.4000, 0.6000]  -
    """
    texts = _texts(table, DIGITS)
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        for row in texts
    ]
    return "\n".join(map(str.rstrip, lines))


def with_intervals(rows: Iterable[Any], cells: Iterable[tuple[Any, Any]]) -> Table:
    """Return a table of one column of values with their intervals."""
    return Table(tuple(rows), ("value",), tuple((Cell(*cell),) for cell in cells))


def text_of(value: Any, digits: int) -> str:
    """Return a number as text.

    >>> text_of(0.25, 3), text_of(7, 3), text_of(np.inf, 3), text_of(None, 3)
    ('0.250', '7', 'inf', '-')
    """
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


def _texts(table: Table, digits: int) -> list[list[str]]:
    """Return the header and the rows of a table, with the names of rows, as texts."""
    rows = [
        [str(name), *(_text_of_cell(cell, digits) for cell in cells)]
        for name, cells in zip(table.rows, table.cells, strict=True)
    ]
    return [["", *map(str, table.columns)], *rows]


def _text_of_cell(cell: Cell, digits: int) -> str:
    value = text_of(cell.value, digits)
    if cell.interval is None:
        return value
    return f"{value} [{', '.join(text_of(end, digits) for end in cell.interval)}]"
