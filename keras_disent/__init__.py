"""Disentangled representation learning in Keras 3, on TensorFlow, JAX and PyTorch.

>>> from keras_disent import FactorVAE
>>> FactorVAE.__name__
'FactorVAE'
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from keras_disent.serialization import CLASSES, register_with_keras

__version__ = "0.1.0"

_MODELS = (*CLASSES["models"], "MODELS")
_MODULES = (
    "callbacks",
    "causal",
    "charts",
    "datasets",
    "export",
    "latents",
    "metrics",
    "models",
    "networks",
    "parallel",
    "plots",
    "ranges",
    "runs",
    "schedules",
    "serving",
    "studies",
    "testing",
    "tuning",
)
__all__ = ["__version__", "load_model", *_MODELS, *_MODULES]

if not any(importlib.util.find_spec(name) for name in ("tensorflow", "jax", "torch")):
    raise ImportError(
        "keras_disent needs a backend: pip install 'keras-disent[tensorflow]' (or [jax], [torch])."
    )


def __getattr__(name: str) -> Any:
    # Names are loaded when they are used: metrics and data sets need no backend, and the command
    # line can choose one before Keras starts.
    if name not in ("charts", "datasets", "metrics", "plots", "serving") and name in __all__:
        importlib.import_module(f"{__name__}._backend")  # first: it says what to install
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MODELS:
        return getattr(importlib.import_module(f"{__name__}.models"), name)
    if name == "load_model":
        return importlib.import_module(f"{__name__}.runs").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


register_with_keras()
