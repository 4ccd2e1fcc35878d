"""Parts with numbers and pictures in, one self-contained HTML page out."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from keras_disent._utils.html import colors
from keras_disent.experiments.report import figures

LONGEST = 250
"""Rows of a table on the page; a longer one is in the JSON file alone."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A picture, and the numbers in it.

    Attributes:
        figure: Figure, or a picture as PNG.
        alt: Text for readers who cannot see the picture.
        caption: Text below it.
        key: Key of the numbers in the JSON file.
        rows: Numbers, for a table below the picture.
        wide: Whether it takes the whole width.
    """

    figure: Figure | bytes
    alt: str
    caption: str
    key: str
    rows: Sequence[Mapping[str, Any]]
    wide: bool = False

    @functools.cached_property
    def png(self) -> bytes:
        """The picture as PNG."""
        if isinstance(self.figure, bytes):
            return self.figure
        return figures.png(self.figure, 256 if self.wide else 128)


@dataclasses.dataclass(frozen=True)
class Part:
    """A section of the report.

    Attributes:
        key: Key in the JSON file.
        title: Heading.
        text: Paragraphs.
        data: All numbers, as JSON holds them.
        pictures: Pictures.
        tables: Rows by heading, shown open.
        links: Files beside the report, by the text that leads to them.
    """

    key: str
    title: str
    text: Sequence[str]
    data: Any
    pictures: Sequence[Drawn] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)


def render(title: str, findings: Sequence[str], parts: Sequence[Part], foot: str) -> str:
    """Return the whole page."""
    style = colors() + resources.files(__package__).joinpath("page.css").read_text()
    links = "".join(f'<li><a href="#{p.key}">{html.escape(p.title)}</a></li>' for p in parts)
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in findings)
    body = "".join(map(_section, parts))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<section id="findings"><h2>Findings</h2><ul>{items}</ul></section>
<nav aria-label="Contents"><ol>{links}</ol></nav>
{body}
<footer>{html.escape(foot)}</footer>
</main>
</body>
</html>
"""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as an HTML table: text to the left, numbers to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {n for n in names if all(_numeric(row.get(n)) for row in rows)}
    long = {n for n in names if any(len(_text(row.get(n))) > 40 for row in rows)}
    kind = {n: ' class="n"' if n in numeric else ' class="t"' if n in long else "" for n in names}
    head = "".join(f"<th{kind[n]}>{html.escape(n.replace('_', ' '))}</th>" for n in names)
    lines = [
        "".join(f"<td{kind[n]}>{html.escape(_text(row.get(n)))}</td>" for n in names)
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def plain(value: Any) -> Any:
    """Return what JSON knows: NumPy's numbers and tuples as its own, no NaN or infinity."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _section(part: Part) -> str:
    text = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in part.text)
    text += "".join(
        f'<p><a href="{html.escape(file)}">{html.escape(label)}</a></p>'
        for label, file in part.links.items()
    )
    shown = "".join(
        f"<h3>{html.escape(h)}</h3>{_rows(r, part.key)}" for h, r in part.tables.items()
    )
    pictures = "".join(map(_figure, part.pictures))
    pictures = f'<div class="figures">{pictures}</div>' if pictures else ""
    title = html.escape(part.title)
    return f'<section id="{part.key}"><h2>{title}</h2>{text}{pictures}{shown}</section>\n'


def _figure(picture: Drawn) -> str:
    width, height = _size(picture.png)
    kind = ' class="whole"' if picture.wide else ""
    least = f' style="min-width:{min(width, 640)}px"' if picture.wide else ""
    source = base64.b64encode(picture.png).decode()
    return (
        f'<figure{kind}><div class="wide"><img src="data:image/png;base64,{source}" '
        f'width="{width}" height="{height}"{least} alt="{html.escape(picture.alt)}"></div>'
        f"<figcaption>{html.escape(picture.caption)}</figcaption>"
        f"<details><summary>Data</summary>{_rows(picture.rows, picture.key)}</details></figure>"
    )


def _rows(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    where = f"In report.json under <code>{html.escape(key)}</code>"
    if not rows or len(rows) > LONGEST:
        return f"<p>{where}{f': {len(rows):,} rows' if rows else ''}.</p>"
    return f"{table(rows)}<p>{where}, in full precision.</p>"


def _size(png: bytes) -> tuple[int, int]:
    """Return width and height in CSS pixels; figures are drawn at 160 dots per inch."""
    import io

    with Image.open(io.BytesIO(png)) as image:
        return round(image.width * 96 / 160), round(image.height * 96 / 160)


def _numeric(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)):
        return " to ".join(map(_text, value))
    return str(value)
