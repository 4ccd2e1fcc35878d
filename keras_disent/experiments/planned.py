"""Runs of a study as its folder lists them. Nothing here imports Keras."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        name: Name of its folder.
        label: Method and setting, the same for all seeds.
        settings: What sets its method and setting apart, by name.
        config: Configuration as what JSON can hold.
    """

    name: str
    label: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any]

    def check(self) -> None:
        """Check that the run has the form that a study writes.

        Raises:
            ValueError: If it has not.
        """
        good = isinstance(self.config, Mapping) and isinstance(self.settings, Mapping)
        good = good and all(isinstance(self.config.get(n), int) for n in ("seed", "steps"))
        good = good and all(isinstance(v, str) for v in (self.name, self.label))
        good = good and all(isinstance(self.config.get(n), str) for n in ("model", "data"))
        if not good or Path(self.name).name != self.name or self.name.startswith("."):
            raise ValueError(f"a run has another form: {self.name!r:.80}")

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.config["model"]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.config["seed"]

    @property
    def steps(self) -> int:
        """Number of training steps."""
        return self.config["steps"]


def text(value: Any) -> str:
    """Return a setting as it is written: text as it is, a schedule as a call, all else as JSON.

    >>> text({"class_name": "keras_disent>Linear", "config": {"start": 0, "end": 25.0}})
    'Linear(start=0, end=25)'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and {"class_name", "config"} <= set(value):
        arguments = {name: v for name, v in value["config"].items() if name != "name"}
        words = ", ".join(f"{name}={_short(v)}" for name, v in arguments.items())
        return f"{value['class_name'].rpartition('>')[2]}({words})"
    return json.dumps(value)


def read_text(written: str) -> Any:
    """Return the setting that `text` has written; what is neither stays a text.

    >>> read_text("Linear(start=0, end=25)"), read_text("1.5"), read_text("ii")
    ({'class_name': 'Linear', 'config': {'start': 0, 'end': 25}}, 1.5, 'ii')
    """
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        pass
    try:
        call = ast.parse(written.strip(), mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            config = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            return {"class_name": call.func.id, "config": config} if config else written
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return written


def _short(value: Any) -> str:
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)
