"""What comes in is checked before any work is done. Each error states the rule, then what came."""

from __future__ import annotations

import itertools
import math
import types
import warnings
from typing import Any

import numpy as np

from keras_disent.arrays import to_numpy

ROUNDING = 1e-4  # by which floats may lie outside of [0, 1]
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


def images(
    images: Any, shape: tuple[int, int, int], name: str = "images", refuse_bits: bool = True
) -> None:
    """Check an array of images whole: form, not empty, and values.

    Floats are finite and in [0, 1], but for rounding. Bytes that are all 0 and 1, and not all 0,
    are black and white images that would be taken for black ones.

    Args:
        refuse_bits: whether such bytes are refused; else a warning tells of them.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    batch_form(images, shape, name)
    if images.shape[0] == 0:
        raise ValueError(f"`{name}` must hold at least one image. Got none.")
    bytes_given, highest = "float" not in str(images.dtype), 0.0
    rows = max(1, _CHUNK // int(np.prod(shape)))
    for start in range(0, images.shape[0], rows):
        chunk = to_numpy(images[start : start + rows])
        if bytes_given:
            highest = max(highest, float(chunk.max()))
            if highest > 1:
                return
            continue
        chunk = np.asarray(chunk, dtype="float32")
        low, high = float(chunk.min()), float(chunk.max())
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"`{name}` must not hold NaN. Got one among images {start} onwards.")
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ValueError(
                f"`{name}` as floats must lie in [0, 1] (or pass uint8 in 0..255). "
                f"Got values from {low:g} to {high:g}."
            )
    if highest == 1:
        text = (
            f"`{name}` as uint8 must use the range 0..255. Got bytes 0 and 1 only, which would be "
            f"nearly black: pass 255 * {name}, or {name}.astype('float32')."
        )
        if refuse_bits:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)


def is_array(x: Any) -> bool:
    """Return whether `x` is an array or tensor, not a stream of batches."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def check_batches(
    model: Any,
    x: Any,
    batch_size: int | None,
    training: bool = False,
    name: str = "x",
    left_out: float = 0.0,
    labels: Any = None,
    only_images: bool = False,
    sample_weight: Any = None,
    classes: bool = False,
) -> Any:
    """Check whatever `fit`, `evaluate` or `predict` is given, by all of it or its first batch.

    Arrays are checked whole, with their labels and weights. Of a stream (`PyDataset`, `tf.data`,
    `DataLoader`, generator) the first batch is looked at. Returns `x`; a generator comes back with
    its first batch put back.

    Args:
        classes: whether `labels` are classes of `class_weight`, which any model takes.

    Raises:
        ValueError: names the argument, the rule and what came.
    """

    def check(batch: Any, labels: Any, weights: Any) -> None:
        if only_images:
            model.check_images(batch, name, whole=True)
            return
        model.check_batch(batch, labels, name, training)
        if not model.labelled and not classes:
            unused_labels(model, batch, labels, name)
        if weights is not None:
            model._check_weighting("sample_weight")
            image_weights(weights, batch.shape[0])

    from keras_disent import parallel  # not above: metrics and data sets need no Keras

    turns = len(model.players) if training else 1
    at_least = model.samples_per_turn * turns if training else 1

    def enough_and_even(size: int, which: str = "A batch") -> None:
        enough(model, size, at_least, name, which)
        if not only_images:
            parallel.check(model, size, turns, name, which)
        if training:
            model.check_batch_size(size // turns)

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
        check(x, labels, sample_weight)
        count = math.floor(count * (1 - left_out))
        size = max(1, min(batch_size or 32, count))
        enough_and_even(size)
        if count % size:
            enough_and_even(count % size, which="The last batch")
        return x
    if first is None:
        raise ValueError(f"`{name}` must hold at least one batch. Got none.")
    batch, labels, weights = (
        (*first, None, None)[:3] if isinstance(first, (tuple, list)) else (first, None, None)
    )
    check(batch, labels, weights)
    enough_and_even(batch.shape[0])
    return x


def unused_labels(model: Any, x: Any, labels: Any, name: str) -> None:
    """Check what is passed as `y` to a model that learns without labels.

    `x` itself is welcome, as autoencoders of Keras are given it. Labels are not used, which a
    warning tells.

    Raises:
        ValueError: if they are other images: no model here learns to turn `x` into them.
    """
    if labels is None or labels is x:
        return
    kind = type(model).__name__
    if is_array(labels) and tuple(labels.shape) == tuple(x.shape):
        rows = max(1, _CHUNK // int(np.prod(x.shape[1:])))
        for start in range(0, x.shape[0], rows):
            cut = slice(start, start + rows)
            if not np.array_equal(to_numpy(x[cut]), to_numpy(labels[cut])):
                raise ValueError(
                    f"{kind} reconstructs `{name}` itself. Got other images as its labels: leave "
                    "them out."
                )
        return
    warnings.warn(
        f"{kind} learns without labels: those that came with `{name}` are not used. Leave them "
        "out, or make the model with `supervision=`.",
        stacklevel=5,
    )


def image_weights(weights: Any, rows: int) -> None:
    """Check weights of images.

    Raises:
        ValueError: names the rule and what came.
    """
    array = to_numpy(weights) if is_array(weights) else np.asarray(weights)
    rule = f"`sample_weight` must hold one number of at least 0 for each of {rows} images"
    if array.shape not in ((rows,), (rows, 1)) or array.dtype.kind not in "biuf":
        raise ValueError(f"{rule}. Got shape {array.shape}, {array.dtype}.")
    array = array.astype("float64")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{rule}. Got values from {array.min():g} to {array.max():g}.")


def too_few(model: Any) -> str:
    """Return what is wrong with a batch of a stream that turned out to be too small."""
    at_least = model.samples_per_turn * len(model.players)
    return (
        f"A batch must hold at least {at_least} images for {type(model).__name__}. Choose another "
        "`batch_size`, or leave the remainder out."
    )


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
