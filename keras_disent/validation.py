"""What comes in is checked before any work is done. Each error states the rule, then what came."""

from __future__ import annotations

import itertools
import math
import types
from typing import Any

import numpy as np

_CHUNK = 1 << 24  # values looked at in one go: checking never needs a second copy of the data


def image_shape(shape: Any) -> tuple[int, int, int]:
    """Check the shape of one image: three positive whole numbers.

    Raises:
        ValueError: for anything else.
    """
    try:
        height, width, channels = (int(side) for side in shape)
    except (TypeError, ValueError):
        height = width = channels = 0
    if min(height, width, channels) < 1 or any(int(s) != s for s in shape):
        raise ValueError(f"`image_shape` is (height, width, channels). Got {shape!r}.")
    return height, width, channels


def whole_number(name: str, value: Any, at_least: int) -> int:
    """Check a whole number with a lower bound.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"`{name}` is a whole number of at least {at_least}. Got {value!r}.")
    return int(value)


def batch_form(images: Any, shape: tuple[int, int, int], name: str) -> None:
    """Check shape and dtype of a batch of images: an array or tensor of any backend.

    Raises:
        ValueError: if a row is not an image of `shape`, or the dtype is neither uint8 nor float.
    """
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise ValueError(
            f"`{name}` must be an array of images (n, height, width, channels). "
            f"Got {type(images).__name__}."
        )
    got = tuple(images.shape)
    fits = len(got) == 4 and all(g is None or g == s for g, s in zip(got[1:], shape, strict=True))
    if not fits:
        hint = " (add the channel axis: images[..., None])" if got[1:] == shape[:2] else ""
        raise ValueError(
            f"`{name}` must have shape (n, {', '.join(map(str, shape))}), as the model's "
            f"`image_shape`. Got {got}{hint}."
        )
    dtype = str(getattr(images.dtype, "name", images.dtype)).removeprefix("torch.")
    if dtype != "uint8" and "float" not in dtype:
        raise ValueError(f"`{name}` must be uint8 in 0..255 or floats in [0, 1]. Got {dtype}.")


def images(images: Any, shape: tuple[int, int, int], name: str = "images") -> None:
    """Check an array of images whole: form, not empty, and if floats, finite and in [0, 1].

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    batch_form(images, shape, name)
    if images.shape[0] == 0:
        raise ValueError(f"`{name}` must hold at least one image. Got none.")
    if "float" not in str(images.dtype):
        return
    rows = max(1, _CHUNK // int(np.prod(shape)))
    for start in range(0, images.shape[0], rows):
        chunk = images[start : start + rows]
        # A tensor may be on a device, need a gradient, or be of bfloat16: Keras knows how to read.
        if not isinstance(chunk, np.ndarray):
            import keras

            chunk = keras.ops.convert_to_numpy(chunk)
        chunk = np.asarray(chunk, dtype="float32")
        low, high = float(chunk.min()), float(chunk.max())
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"`{name}` must not hold NaN. Got one among images {start} onwards.")
        if low < 0 or high > 1:
            raise ValueError(
                f"`{name}` as floats must lie in [0, 1] (or pass uint8 in 0..255). "
                f"Got values from {low:g} to {high:g}."
            )


def check_batches(
    model: Any,
    x: Any,
    batch_size: int | None,
    training: bool = False,
    name: str = "x",
    left_out: float = 0.0,
    labels: Any = None,
    only_images: bool = False,
) -> Any:
    """Check whatever `fit`, `evaluate` or `predict` is given, by all of it or its first batch.

    Arrays are checked whole, and their labels if the model takes any. Of a stream (`PyDataset`,
    `tf.data`, `DataLoader`, generator) the first batch is looked at. Returns `x`; a generator
    comes back with its first batch put back.

    Raises:
        ValueError: names the argument, the rule and what came.
    """

    def check(batch: Any, labels: Any) -> None:
        if only_images:
            model.check_images(batch, name, whole=True)
        else:
            model.check_batch(batch, labels, name)

    from keras_disent import parallel  # not above: metrics and data sets need no Keras

    turns = len(model.players) if training else 1
    at_least = model.samples_per_turn * turns if training else 1

    def enough_and_even(size: int, which: str = "A batch") -> None:
        enough(model, size, at_least, name, which)
        if not only_images:
            parallel.check(model, size, turns, name, which)

    if x is None:
        raise ValueError(f"`{name}` must hold images. Got None.")
    if isinstance(x, types.GeneratorType):
        first = next(x, None)
        x = _chained(first, x)
    elif hasattr(x, "num_batches") and hasattr(x, "on_epoch_end"):  # keras.utils.PyDataset
        first = x[0] if x.num_batches is None or x.num_batches else None
    elif hasattr(x, "element_spec") or hasattr(x, "batch_sampler"):  # tf.data, DataLoader
        first = next(iter(x), None)
    else:
        count = x.shape[0] if getattr(x, "shape", None) else 0
        check(x, labels)
        count = math.floor(count * (1 - left_out))
        size = max(1, min(batch_size or 32, count))
        enough_and_even(size)
        if count % size:
            enough_and_even(count % size, which="The last batch")
        return x
    if first is None:
        raise ValueError(f"`{name}` must hold at least one batch. Got none.")
    batch, labels = (*first, None)[:2] if isinstance(first, (tuple, list)) else (first, None)
    check(batch, labels)
    enough_and_even(batch.shape[0])
    return x


def enough(model: Any, size: int, at_least: int, name: str = "x", which: str = "A batch") -> None:
    if size < at_least:
        raise ValueError(
            f"{which} of `{name}` must hold at least {at_least} images for "
            f"{type(model).__name__} ({model.samples_per_turn} for each of its "
            f"{len(model.players)} players' turns). Got {size}; choose another `batch_size`, "
            "or leave the remainder out."
        )


def _chained(first: Any, rest: Any):
    """Give the first batch again, then the others: a generator of tuples, as Keras asks."""
    for batch in itertools.chain([] if first is None else [first], rest):
        yield batch if isinstance(batch, tuple) else (batch,)
