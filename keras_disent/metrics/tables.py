"""Show results as tables: in notebooks, as data frames of pandas, and in LaTeX."""

from __future__ import annotations

import html
import math
from typing import Any, NamedTuple

import numpy as np

DIGITS = 4
"""Digits after the point in notebooks."""

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "∞": r"$\infty$",
}


class Table(NamedTuple):
    """Cells with names of rows and columns.

    Attributes:
        rows: Name of each row.
        columns: Name of each column.
        cells: For each row its cells: numbers, texts, None, or pairs of the ends of an interval.
    """

    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    cells: tuple[tuple[Any, ...], ...]


class Tabular:
    """Base of results, which are shown as tables."""

    def _table(self, part: str | None) -> Table:
        raise NotImplementedError

    def to_frame(self, part: str | None = None) -> Any:
        """Return a `pandas.DataFrame`, with the ends of intervals as columns "low" and "high".

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
            values = [row[number] for row in cells]
            if column == "interval":
                for end, name in enumerate(("low", "high")):
                    data[name] = [math.nan if v is None else float(v[end]) for v in values]
            else:
                data[column] = [math.nan if v is None else v for v in values]
        return pandas.DataFrame(data, index=list(rows))

    def to_latex(self, part: str | None = None, *, digits: int = 3) -> str:
        r"""Return the source of a LaTeX table, with the rules of the package `booktabs`.

        Args:
            part: As in `to_frame`.
            digits: Digits after the point.

        Raises:
            ValueError: If there is no such part.
        """
        names, columns, cells = self._table(part)
        rows = [("", *columns), *((name, *row) for name, row in zip(names, cells, strict=True))]
        lines = [" & ".join(_latex(cell, digits) for cell in row) + r" \\" for row in rows]
        return "\n".join(
            [
                rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )

    def _repr_html_(self) -> str:
        rows, columns, cells = self._table(None)
        head = "".join(f"<th>{html.escape(str(column))}</th>" for column in ("", *columns))
        body = "".join(
            f"<tr><th>{html.escape(str(name))}</th>"
            + "".join(f"<td>{html.escape(text_of(cell, DIGITS))}</td>" for cell in row)
            + "</tr>"
            for name, row in zip(rows, cells, strict=True)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def with_intervals(rows: tuple[Any, ...], cells: list[tuple[Any, Any]]) -> Table:
    """Return a table of values, with a column of their intervals if there are any."""
    if all(interval is None for _, interval in cells):
        return Table(rows, ("value",), tuple((value,) for value, _ in cells))
    return Table(rows, ("value", "interval"), tuple(cells))


def text_of(cell: Any, digits: int) -> str:
    """Return a cell as text.

    >>> text_of(0.25, 3), text_of((0.1, 0.4), 2), text_of(None, 3), text_of(7, 3)
    ('0.250', '[0.10, 0.40]', '-', '7')
    """
    if isinstance(cell, tuple):
        return f"[{', '.join(text_of(end, digits) for end in cell)}]"
    if cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell)):
        return "-"
    if isinstance(cell, float | np.floating):
        if math.isinf(cell):
            return "∞" if cell > 0 else "-∞"
        return f"{cell:.{digits}f}"
    return str(cell)


def _latex(cell: Any, digits: int) -> str:
    text = "".join(_LATEX.get(c, c) for c in text_of(cell, digits))
    is_negative = isinstance(cell, float | np.floating) and text.startswith("-")
    return f"${text}$" if is_negative and "$" not in text else text
