"""Look up names in registries, which are plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lookup(name: Any, registry: Mapping[str, Any], what: str) -> Any:
    """Return `registry[name]`, or raise an error that lists the valid names.

    Args:
        name: Key to look up.
        registry: Dict of the registered objects.
        what: Kind of object in the error message.

    Raises:
        ValueError: The name is unknown.

    >>> lookup("b", {"a": 1}, "letter")
    Traceback (most recent call last):
    ...
    ValueError: Unknown letter 'b'. Choose from: a.
    """
    if not isinstance(name, str) or name not in registry:
        raise ValueError(f"Unknown {what} {name!r}. Choose from: {', '.join(sorted(registry))}.")
    return registry[name]
