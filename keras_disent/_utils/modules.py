"""Modules that are loaded when one of their names is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any


def lazy_modules(package: str, names: Sequence[str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports some of its modules when they are used.

    Args:
        package: Name of the package.
        names: Names of these modules.

    >>> lazy_modules("keras_disent.plots", ["charts"])("charts").__name__
    'keras_disent.plots.charts'
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return load
