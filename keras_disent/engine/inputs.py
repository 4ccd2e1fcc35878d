"""What `fit`, `evaluate` and `predict` are given, checked before a weight moves."""

from __future__ import annotations

import itertools
import math
import types
import warnings
from typing import Any

import numpy as np

from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.checks import CHUNK, is_array
from keras_disent.engine import parallel


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
        if not model.labeled and not classes:
            unused_labels(model, batch, labels, name)
        if weights is not None:
            model._check_weighting("sample_weight")
            image_weights(weights, batch.shape[0])

    turns = len(model.players) if training else 1
    at_least = model.min_player_batch * turns if training else 1

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
        rows = max(1, CHUNK // int(np.prod(x.shape[1:])))
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
    at_least = model.min_player_batch * len(model.players)
    return (
        f"A batch must hold at least {at_least} images for {type(model).__name__}. Choose another "
        "`batch_size`, or leave the remainder out."
    )


def enough(model: Any, size: int, at_least: int, name: str = "x", which: str = "A batch") -> None:
    if size < at_least:
        raise ValueError(
            f"{which} of `{name}` must hold at least {at_least} images for "
            f"{type(model).__name__} ({model.min_player_batch} for each of its "
            f"{len(model.players)} players' turns). Got {size}; choose another `batch_size`, "
            "or leave the remainder out."
        )


def _chained(first: Any, rest: Any):
    """Give the first batch again, then the others: a generator of tuples, as Keras asks."""
    for batch in itertools.chain([] if first is None else [first], rest):
        yield batch if isinstance(batch, tuple) else (batch,)
