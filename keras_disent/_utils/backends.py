"""Let Keras run on a backend that is installed, before anything imports Keras."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
note = ""
"""What `choose` chose, which is said when a model is used."""


def choose() -> None:
    """Set KERAS_BACKEND if the backend that Keras would take is not installed.

    A choice of the user, and Keras if it has been imported, are left alone.
    """
    global note
    if "KERAS_BACKEND" in os.environ or "keras" in sys.modules:
        return
    try:
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        default = json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError, RuntimeError):
        default = "tensorflow"
    installed = [name for name in BACKENDS if find_spec(name)]
    if default not in BACKENDS or not installed or default in installed:
        return
    os.environ["KERAS_BACKEND"] = installed[0]
    note = (
        f"keras_disent: {default} is not installed, so Keras runs on {installed[0]}. "
        "KERAS_BACKEND chooses another backend."
    )
