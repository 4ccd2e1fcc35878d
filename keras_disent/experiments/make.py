"""Make the folder of a study, or let it grow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import keras

from keras_disent.datasets.catalog import check_name
from keras_disent.experiments.config import inside_data, model_class
from keras_disent.experiments.custom import import_modules, root
from keras_disent.experiments.store import STUDY, Store

if TYPE_CHECKING:
    from keras_disent.experiments.study_folder import StudyFolder

AnyStudy = TypeVar("AnyStudy", bound="StudyFolder")


def make(cls: type[AnyStudy], plan: Any, folder: Path) -> AnyStudy:
    """Return the study of a plan in a folder; see `Study.create`."""
    store, backend = Store(STUDY, folder), keras.backend.backend()
    study = cls(store)
    if store.exists():
        check_backend(study)
        if not plan.grown(study):
            return study
        plan.check()
    else:
        store.check_new()
        for config in plan.configs():
            check_name(config.data)
            if inside_data(config, folder):
                raise ValueError(
                    f"{str(folder)!r} lies in the folder {config.data!r}, whose pictures are the "
                    "data. Choose another folder."
                )
        plan.check()
    with store.lock(create=True):
        if not store.exists():
            store.check_new()
        elif not plan.grown(cls(store)):  # another process was quicker
            return cls(store)
        store.clean()
        definition = {**plan.definition(), "models": plan.models, "imports": list(plan.imports)}
        store.define(definition, backend)
        if getattr(plan, "text", None):
            study.write_plan(plan.text)
    return cls(store)


def check_backend(study: StudyFolder) -> None:
    """Check that a study is continued on its own backend.

    Raises:
        ValueError: If it is not.
    """
    stored, backend = study.store.backend(), keras.backend.backend()
    if stored != backend:
        raise ValueError(
            f"{str(study.folder)!r} holds a study on {stored}; this process is on {backend}. Set "
            f"KERAS_BACKEND={stored}, or choose another folder."
        )


def worker_imports(study: StudyFolder) -> tuple[list[str], list[str]]:
    """Return the modules that worker processes import to know all models, and where they are.

    Raises:
        ValueError: If a model is defined in the main script.
    """
    modules = dict.fromkeys(study.definition.get("imports", ()))
    import_modules(modules)
    for model in study.definition["models"]:
        module = model_class(model).__module__
        if module == "__main__":
            raise ValueError(
                f"The model {model!r} is defined in the main script, which worker processes cannot "
                "import. Put its class into a module and name it 'module:Class', or train one run "
                "at a time, in this process."
            )
        if module.partition(".")[0] != "keras_disent":
            modules[module] = None
    roots = dict.fromkeys(root(name) for name in modules)
    return list(modules), [path for path in roots if path] + list(filter(None, sys.path[:1]))
