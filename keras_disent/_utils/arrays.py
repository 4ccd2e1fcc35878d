"""Convert tensors of any backend to NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_numpy(values: Any) -> np.ndarray:
    """Convert an array, a tensor or variable of any backend, or a list to a NumPy array.

    A tensor may require a gradient, have dtype bfloat16, or be on a device.

    >>> to_numpy([[1, 2]]).shape
    (1, 2)
    """
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach"):  # a PyTorch tensor, whatever the Keras backend is
        values = values.detach().cpu()
        return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()
    import keras

    return np.asarray(keras.ops.convert_to_numpy(values))
