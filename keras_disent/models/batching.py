"""Apply the networks of a model to any number of rows, in batches of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.arrays import to_numpy

IN_FLIGHT = 1 << 26  # bytes on a device that wait to be fetched: 64 MiB
BATCH_BYTES = 1 << 26  # bytes of the images of a batch, as floats: 64 MiB, unless one is larger
DTYPES = ("float32", "uint8")


def bounded(batch_size: int, shape: tuple[int, ...]) -> int:
    """Return how many images are encoded or decoded at a time.

    Args:
        batch_size: Most images at a time, at least 1.
        shape: Shape of an image.

    >>> bounded(256, (64, 64, 3)), bounded(256, (512, 512, 3))
    (256, 21)
    """
    batch_size = checks.check_integer("batch_size", batch_size, at_least=1)
    return min(batch_size, max(1, BATCH_BYTES // (4 * math.prod(shape))))


def batched(function: Callable[..., Any], rows: Any, batch_size: int) -> tuple[np.ndarray, ...]:
    """Apply a function of tensors to all rows, batch by batch.

    A short batch is padded to a power of two, so that few shapes are compiled. Results up to
    `IN_FLIGHT` bytes stay on the device, so that it does not wait for the host between two batches.

    Args:
        function: Function from a tensor (n, ...), uint8 or float32, to a tuple of (n, ...) tensors.
        rows: Array or tensor of any backend with at least one row; other dtypes than uint8 are
            converted to float32.
        batch_size: Most rows at a time (int); fewer if the rows are larger than `BATCH_BYTES`.

    Returns:
        The outputs of the function for all rows, as NumPy arrays.
    """
    batch_size = bounded(batch_size, rows.shape[1:])
    fetched: list[list[np.ndarray]] = []
    pending: list[tuple[int, tuple[Any, ...]]] = []
    in_flight = 0

    def fetch() -> None:
        for length, results in pending:
            fetched.append([ops.convert_to_numpy(result)[:length] for result in results])
        pending.clear()

    for start in range(0, rows.shape[0], batch_size):
        batch = to_numpy(rows[start : start + batch_size])
        dtype = "uint8" if batch.dtype == np.uint8 else "float32"
        batch = batch.astype(dtype, copy=False)
        length = min(batch_size, 1 << (len(batch) - 1).bit_length())
        padded = np.resize(batch, (length, *batch.shape[1:])) if length > len(batch) else batch
        # With its dtype: where Keras's floatx is bfloat16, JAX would convert bytes to floats.
        results = function(ops.convert_to_tensor(padded, dtype=dtype))
        pending.append((len(batch), results))
        in_flight += padded.nbytes + sum(4 * math.prod(result.shape) for result in results)
        if in_flight > IN_FLIGHT:
            fetch()
            in_flight = 0
    fetch()
    return tuple(np.concatenate(part) for part in zip(*fetched, strict=True))


def check_dtype(dtype: Any) -> None:
    """Raise a ValueError if decoded images do not come in a dtype."""
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` is {' or '.join(map(repr, DTYPES))}. Got {dtype!r}.")


def as_dtype(images: np.ndarray, dtype: str) -> np.ndarray:
    """Return images, floats in [0, 1], as float32 or as bytes.

    >>> as_dtype(np.array([0.0, 0.5, 1.0]), "uint8").tolist()
    [0, 128, 255]
    """
    check_dtype(dtype)
    if dtype == "float32":
        return images
    return np.rint(255 * np.clip(images, 0, 1)).astype("uint8")
