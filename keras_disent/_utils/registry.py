"""Registries are plain dicts; this is how a name is looked up in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lookup(name: Any, registry: Mapping[str, Any], what: str) -> Any:
    """Return `registry[name]`.

    Raises:
        ValueError: for an unknown name, with the names there are.

    >>> lookup("b", {"a": 1}, "letter")
    Traceback (most recent call last):
    ...
    ValueError: No letter 'b' here. Choose from: a.
    """
    if not isinstance(name, str) or name not in registry:
        raise ValueError(f"No {what} {name!r} here. Choose from: {', '.join(sorted(registry))}.")
    return registry[name]
