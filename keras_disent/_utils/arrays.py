"""Read arrays and tensors of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_numpy(values: Any) -> np.ndarray:
    """Return an array, a tensor or variable of any backend, or a list of numbers as NumPy array.

    A tensor may require a gradient, be of bfloat16, or lie on a device.

    >>> to_numpy([[1, 2]]).shape
    (1, 2)
    """
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach"):  # PyTorch's, under any backend of Keras
        values = values.detach().cpu()
        return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()
    import keras

    return np.asarray(keras.ops.convert_to_numpy(values))
