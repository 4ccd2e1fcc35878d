"""The backend that Keras runs on: chosen among those installed, and checked."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from keras_disent._utils import backends
from keras_disent._utils.backends import BACKENDS
from keras_disent._utils.memory import share_one_arena

OLDEST = {"keras": (3, 15), "tensorflow": (2, 18), "jax": (0, 6), "torch": (2, 6)}
"""Oldest supported version of each package."""

_INSTALL = "pip install 'keras-disent[jax]' (or [torch], [tensorflow])"


def _check(package: str) -> None:
    """Raise ImportError if an installed package is too old."""
    oldest = ".".join(map(str, OLDEST[package]))
    try:
        installed_version = version(package)
    except PackageNotFoundError:
        return  # under another name, such as tensorflow-cpu: its import decides
    numbers = tuple(int(part) for part in installed_version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST[package]:
        raise ImportError(
            f"keras_disent needs {package} {oldest} or newer. Got {installed_version}: "
            f"pip install --upgrade '{package}>={oldest}'."
        )


if not find_spec("keras") or not any(map(find_spec, BACKENDS)):
    raise ImportError(f"keras_disent's models need Keras and a backend: {_INSTALL}.")
if backends.note:
    print(backends.note, file=sys.stderr)
_check("keras")
if os.environ.get("KERAS_BACKEND") == "jax":
    share_one_arena()  # the command line has chosen after the package was imported

try:
    import keras

    BACKEND = keras.backend.backend()
except ImportError as error:
    raise ImportError(
        f"keras_disent's models need the backend that Keras is set to: {_INSTALL}, together with "
        f"KERAS_BACKEND=jax, torch or tensorflow. {error}"
    ) from None

if BACKEND not in BACKENDS:
    raise ImportError(
        "keras_disent runs on the Keras backends tensorflow, jax and torch. "
        f"Got KERAS_BACKEND={BACKEND}."
    )
_check(BACKEND)
if BACKEND == "jax":
    share_one_arena()  # before JAX starts its threads

PREFETCHES = BACKEND == "tensorflow"
"""Whether the backend itself loads batches in the background."""

STEPS_AT_ONCE = BACKEND != "torch"
"""Whether the backend can do several steps in one call, as `steps_per_execution` asks."""
