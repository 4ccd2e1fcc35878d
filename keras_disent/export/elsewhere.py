"""Export under another backend, in a new process that loads the model from a file.

`python -m keras_disent.export.elsewhere REQUEST` is that process.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from multiprocessing import spawn
from pathlib import Path
from typing import Any

_GUARD = re.compile(r"""^if __name__ == ['"]__main__['"]:""", re.MULTILINE)


def write_elsewhere(
    model: Any, folder: Path, format: str, backend: str, options: dict[str, Any]
) -> None:
    """Export a model to an empty folder, in a new process under `backend`.

    Args:
        model: Model to export.
        folder: Empty folder.
        format: Name of the format.
        backend: Name of the backend.
        options: Further arguments of `export.model`.

    Raises:
        ValueError: If the other process fails, with its error.
    """
    modules = _modules(model)
    script = _script(backend) if "__main__" in modules else None
    with tempfile.TemporaryDirectory() as exchange:
        file = Path(exchange) / "model.keras"
        model.save(file)
        error_file = Path(exchange) / "error.txt"
        request = {
            "model": str(file),
            "folder": str(folder.absolute()),
            "format": format,
            "options": options,
            "modules": [name for name in modules if name != "__main__"],
            "script": script,
            "error_file": str(error_file),
        }
        request_file = Path(exchange) / "request.json"
        request_file.write_text(json.dumps(request))
        result = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(request_file)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            capture_output=True,
            text=True,
        )
        if result.returncode:
            reason = error_file.read_text() if error_file.exists() else result.stderr[-2000:]
            raise ValueError(f"Exporting {format!r} under {backend} failed: {reason}")


def _modules(model: Any) -> list[str]:
    """Return the modules in which the classes of a model and its layers are defined."""
    modules = {type(layer).__module__ for layer in model._flatten_layers()}
    return sorted(name for name in modules if name.partition(".")[0] != "keras")


def _script(backend: str) -> str:
    """Return the path of the running script, if its main code is guarded."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    text = Path(path).read_text() if path else ""
    if path is None or not _GUARD.search(text):
        raise ValueError(
            f"This format is written by {backend}, in a separate process that must import the "
            "class of the model. Define it in a module; or in a script with its main code under "
            f"`if __name__ == '__main__':`; or run with KERAS_BACKEND={backend}."
        )
    return str(Path(path).absolute())


def _main(request: dict[str, Any]) -> None:
    from keras_disent import export
    from keras_disent.models.saving import load_model

    if request["script"]:
        spawn.import_main_path(request["script"])
    for name in request["modules"]:
        importlib.import_module(name)
    model = load_model(request["model"])
    export.model(model, request["folder"], request["format"], **request["options"])


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text())
    try:
        _main(request)
    except Exception as error:
        Path(request["error_file"]).write_text(f"{error}")
        raise
