"""Texts for messages and pictures."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a name on one line: line breaks, and bytes that are no text, as escapes.

    >>> print(printable("a\nb"))
    a\nb
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
