"""How the ready models are trained: the configurations in `presets.toml`, by name.

Nothing here imports Keras.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from keras_disent._utils.registry import lookup

FILE = Path(__file__).with_name("presets.toml")


def recipes() -> dict[str, dict[str, Any]]:
    """Return the fields of each configuration, with a `description` of one sentence."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def recipe(name: str) -> dict[str, Any]:
    """Return the fields of the configuration of one ready model, without its description.

    Raises:
        ValueError: If there is no such model.

    >>> recipe("faces_person")["data_options"]
    {'person': 261}
    """
    fields = lookup(name, recipes(), "preset")
    return {field: value for field, value in fields.items() if field != "description"}
