"""Pictures of latents; charts of scores are in `charts`, those of causal models in `causal`."""

from __future__ import annotations

import importlib
from typing import Any

from keras_disent.plots.pictures import (
    as_array,
    as_png,
    beside,
    contact_sheet,
    mosaic,
    save,
    traversals,
)

__all__ = [
    "as_array",
    "as_png",
    "beside",
    "causal",
    "charts",
    "contact_sheet",
    "mosaic",
    "save",
    "traversals",
]


def __getattr__(name: str) -> Any:
    if name not in ("causal", "charts"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
