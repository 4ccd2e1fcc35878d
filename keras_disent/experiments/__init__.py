"""Experiments: a run in its folder, studies of many runs, searches for hyperparameters.

Names are loaded when they are used: reading a study needs neither Keras nor a backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_disent.experiments.config import Config
    from keras_disent.experiments.hypermodel import HyperModel
    from keras_disent.experiments.objectives import Objective
    from keras_disent.experiments.plan import Plan
    from keras_disent.experiments.planned import PlannedRun
    from keras_disent.experiments.recommendation import Recommendation, recommend
    from keras_disent.experiments.run import Run
    from keras_disent.experiments.search import Search
    from keras_disent.experiments.store import LockedError
    from keras_disent.experiments.study import Study
    from keras_disent.experiments.study_folder import RunsFailedError, Status
    from keras_disent.experiments.trials import Trial

_MODULES = {
    "Config": "config",
    "HyperModel": "hypermodel",
    "LockedError": "store",
    "Objective": "objectives",
    "Plan": "plan",
    "PlannedRun": "planned",
    "Recommendation": "recommendation",
    "Run": "run",
    "RunsFailedError": "study_folder",
    "Search": "search",
    "Status": "study_folder",
    "Study": "study",
    "Trial": "trials",
    "recommend": "recommendation",
}
_LIGHT = ("planned", "store", "study", "study_folder", "trials")
__all__ = [
    "Config",
    "HyperModel",
    "LockedError",
    "Objective",
    "Plan",
    "PlannedRun",
    "Recommendation",
    "Run",
    "RunsFailedError",
    "Search",
    "Status",
    "Study",
    "Trial",
    "recommend",
]


def _load(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES[name]
    if module not in _LIGHT:
        importlib.import_module("keras_disent.engine.backend")  # first: it says what to install
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name != "keras_tuner":
            raise
        raise ImportError(
            f"{name} needs KerasTuner: pip install 'keras-disent[tune]'. Here: {error}."
        ) from None


if not TYPE_CHECKING:  # a type checker would take any name for one of ours
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted(__all__)
