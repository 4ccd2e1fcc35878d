"""HTML of objects, which notebooks show, and what pages share."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; cells are escaped.

    >>> table(["name"], [["<a>"]])
    '<table><tr><th>name</th></tr><tr><td>&lt;a&gt;</td></tr></table>'
    """
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def paragraph(text: str) -> str:
    """Return a paragraph of escaped text."""
    return f"<p>{html.escape(text)}</p>"


def png(content: bytes, alt: str) -> str:
    """Return a PNG file as an image that needs no other file."""
    url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<img src="{url}" alt="{html.escape(alt)}" style="max-width:100%">'


def colors() -> str:
    """Return the style sheet with the colors of all pages, on light and dark paper.

    >>> "--accent" in colors()
    True
    """
    return resources.files(__package__).joinpath("colors.css").read_text()


def _row(kind: str, cells: Sequence[Any]) -> str:
    parts = "".join(f"<{kind}>{html.escape(str(cell))}</{kind}>" for cell in cells)
    return f"<tr>{parts}</tr>"
