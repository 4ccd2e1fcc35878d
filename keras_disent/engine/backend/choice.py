"""Name of the backend that Keras runs on."""

from __future__ import annotations

try:
    import keras

    BACKEND = keras.backend.backend()
except ImportError as error:
    raise ImportError(
        "keras_disent needs the backend that Keras is set to: "
        "pip install 'keras-disent[tensorflow]' (or [jax], [torch] together with "
        f"KERAS_BACKEND=jax, KERAS_BACKEND=torch). {error}"
    ) from None

if BACKEND not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_disent runs on the Keras backends tensorflow, jax and torch. "
        f"Got KERAS_BACKEND={BACKEND}."
    )

PREFETCHES = BACKEND == "tensorflow"
"""Whether the backend itself loads batches in the background."""
