"""The command that trains a run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_disent.experiments.config import Config
from keras_disent.experiments.planned import text

_PAIRS = {"options": "--set", "data_options": "--data-option"}


def command(config: Config, out: str | Path) -> str:
    """Return the command line that trains a run of this configuration in a folder.

    Options at their defaults are left out, and nothing is chosen by the images.

    >>> command(Config("vae", "sprites", steps=100), "runs/a")
    'keras-disent train --no-choose --model vae --data sprites --steps 100 --out runs/a'
    """
    words, default = ["keras-disent", "train", "--no-choose"], Config()
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if field.name in ("model", "data") or value != getattr(default, field.name):
            words += _words(field.name, value)
    return shlex.join([*words, "--out", str(out)])


def _words(name: str, value: Any) -> Iterator[str]:
    flag = f"--{name.replace('_', '-')}"
    if name in _PAIRS:
        for key, one in value.items():
            yield from (_PAIRS[name], f"{key}={text(one)}")
    elif name == "subset":
        for key, steps in value.items():
            yield from (flag, f"{key}={','.join(map(text, steps))}")
    elif name == "correlate":
        for key, sigma in value.items():
            yield from (flag, f"{key}={sigma}")
    elif name == "metrics":
        yield from (flag, ",".join(value)) if value else ()
    elif name == "jit_compile":
        yield flag if value else f"--no-{flag[2:]}"
    else:
        yield from (flag, text(value))
