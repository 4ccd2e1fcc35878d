"""Keras layers of the models: latents, likelihoods and networks."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["latents", "networks"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
