"""Export under another backend: the model is opened there from its file, in a new process.

`python -m keras_disent.export.elsewhere REQUEST` is that process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def write_elsewhere(
    model: Any, folder: Path, format: str, backend: str, options: dict[str, Any]
) -> None:
    """Write the artefact's files into an empty folder, under `backend`.

    Args:
        model: the model.
        folder: an empty one.
        format, backend: names.
        options: further arguments of `export.model`.

    Raises:
        ValueError: if the other process cannot do it, with what it says.
    """
    modules = _modules(model, backend)
    with tempfile.TemporaryDirectory() as exchange:
        file = Path(exchange) / "model.keras"
        model.save(file)
        said = Path(exchange) / "said.txt"
        request = {
            "model": str(file),
            "folder": str(folder.absolute()),
            "format": format,
            "options": options,
            "modules": modules,
            "said": str(said),
        }
        asked = Path(exchange) / "request.json"
        asked.write_text(json.dumps(request))
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(asked)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = said.read_text() if said.exists() else done.stderr[-2000:]
            raise ValueError(f"The format {format!r} is written by {backend}, and there: {reason}")


def _modules(model: Any, backend: str) -> list[str]:
    """Return the modules in which the classes of a model and its layers are defined."""
    modules = {type(layer).__module__ for layer in model._flatten_layers()}
    modules = {name for name in modules if name.partition(".")[0] != "keras"}
    if "__main__" in modules:
        raise ValueError(
            f"This format is written by {backend}, in a process of its own, which cannot import a "
            f"class that is defined in the script itself. Put it into a module, or run the script "
            f"with KERAS_BACKEND={backend}."
        )
    return sorted(modules)


def _main(request: dict[str, Any]) -> None:
    from keras_disent import export
    from keras_disent.runs import load_model

    for name in request["modules"]:
        importlib.import_module(name)
    model = load_model(request["model"])
    export.model(model, request["folder"], request["format"], **request["options"])


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    try:
        _main(asked)
    except Exception as error:
        Path(asked["said"]).write_text(f"{error}")
        raise
