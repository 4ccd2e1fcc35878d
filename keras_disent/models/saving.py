"""Load models from files."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.files import atomic_write
from keras_disent.presets.folder import is_preset

FILE = "model.keras"
"""Name of the model in a run folder."""


def load_model(
    path: str | Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Load a model of this package from a `.keras` file, a run folder, or a preset.

    Args:
        path: `.keras` file, run folder, folder of a preset, or "preset:NAME" of one in the package.
        custom_objects: `{name: class or function}`, those of your own networks that are not
            registered with Keras.
        compile: whether to compile the model, its optimizers as they were saved. A preset has none.
        safe_mode: whether to refuse a file that holds Python code (a Lambda layer); with False, the
            code is run.

    Raises:
        ValueError: if there is no such file, it is cut short or broken, it holds Python code, or a
            class that is neither registered nor among `custom_objects`.
    """
    if is_preset(path):
        from keras_disent.presets import stored  # which imports models

        with keras.saving.custom_object_scope(dict(custom_objects or {})):
            return stored.load(path)
    path = Path(path)
    unzipped = (path / "metadata.json").is_file()  # by `save_model(..., zipped=False)`
    if path.is_dir() and not unzipped:
        path = path / FILE
    if not (path.is_file() or unzipped):
        raise ValueError(f"There is no file {str(path)!r} to load a model from.")
    try:
        return keras.saving.load_model(
            path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
        )
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        missing = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
        if missing:
            raise ValueError(
                f"{str(path)!r} needs {missing[1]!r}, which Keras does not know: import the module "
                f"that registers it, or pass custom_objects={{{missing[1]!r}: {missing[1]}}}."
            ) from error
        if "unsafe" in str(error):
            raise ValueError(
                f"{str(path)!r} holds Python code, in a Lambda layer. It is not run, as it could "
                "do anything: write the layer as a registered class, or pass safe_mode=False if "
                "you trust the file."
            ) from error
        raise ValueError(f"{str(path)!r} is not a whole .keras file: {first}") from error


def write_latent_names(path: str | Path, names: Sequence[str]) -> None:
    """Change the names of the latents in a `.keras` file, and nothing else.

    Args:
        path: `.keras` file of a model of this package.
        names: Names of all latents.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as target:
        with zipfile.ZipFile(path) as source:
            for entry in source.infolist():
                content = source.read(entry)
                if entry.filename == "config.json":
                    config = json.loads(content)
                    config["config"]["latent_names"] = list(names)
                    content = json.dumps(config).encode()
                target.writestr(entry, content)
