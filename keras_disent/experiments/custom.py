"""Custom methods: models named "module:Class", and modules that register some."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def import_modules(names: Iterable[str], paths: Iterable[str] = ()) -> None:
    """Import modules of custom methods, from the working directory too.

    Args:
        names: Names of modules.
        paths: Further folders that hold them.

    Raises:
        ValueError: If there is no such module, or it cannot be imported.
    """
    for path in (*paths, os.getcwd()):
        if path not in sys.path:
            sys.path.append(path)
    for name in names:
        import_module(name)


def import_module(name: str) -> Any:
    """Import one module.

    Raises:
        ValueError: If there is no such module, or it cannot be imported.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"A module has a name such as my_methods, without .py. Got {name!r}.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] and error.name != name:
            raise ValueError(f"Cannot import {name!r}: {error}.") from error
        raise ValueError(
            f"There is no module {name!r} in the working directory or among the installed ones."
        ) from None
    except Exception as error:
        raise ValueError(f"Cannot import {name!r}: {type(error).__name__}: {error}.") from error


def find_class(name: str) -> Any:
    """Return the class that "module:Class" names.

    Raises:
        ValueError: If there is no such module or class.
    """
    module_name, _, class_name = name.partition(":")
    cls = getattr(import_module(module_name), class_name, None)
    if not isinstance(cls, type):
        raise ValueError(f"{name!r} is not a class: {module_name!r} has no class {class_name!r}.")
    return cls


def root(module_name: str) -> str | None:
    """Return the folder from which a module was imported; None for one without a file."""
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).absolute()
    path = path.parent if path.stem == "__init__" else path
    return str(path.parents[module_name.count(".")])
