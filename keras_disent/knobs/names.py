"""Names of latents that were typed into a page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_SETTINGS = re.compile(r'<script type="application/json" id="settings">(.*?)</script>', re.DOTALL)


def read_names(path: str | Path) -> tuple[str, ...]:
    """Return the names of the latents that a page has, in the order of the latents.

    *Page* saves the names that were typed into a page: `run.name_latents(read_names(path))` gives
    them to the model. Of a page of two models, they are those of the first.

    Args:
        path: HTML file of `write_page`, or one saved from it in a browser.

    Raises:
        ValueError: If the file is no page of knobs.
        OSError: If it cannot be read.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "page.html"
    >>> _ = page.write_text("<p>Hello</p>")
    >>> read_names(page)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: Names are read from a page of `keras-disent knobs`. Got '...page.html'.
    """
    try:
        (first, *_) = read_settings(Path(path).read_text(encoding="utf-8"))["models"]
        return tuple(a["name"] for a in sorted(first["latents"], key=lambda a: a["index"]))
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"Names are read from a page of `keras-disent knobs`. Got {str(path)!r}."
        ) from None


def read_settings(text: str) -> dict[str, Any]:
    """Return what the code of a page reads of its models.

    Raises:
        ValueError: If there is nothing of that kind.
    """
    match = _SETTINGS.search(text)
    if match is None:
        raise ValueError("This is no page of knobs.")
    return json.loads(match.group(1))
