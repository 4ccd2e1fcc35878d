"""Check the data of `fit`, `evaluate` and `predict` before any weight changes."""

from __future__ import annotations

import itertools
import math
import types
import warnings
from typing import Any

import keras
import numpy as np

from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.checks import CHUNK, is_array
from keras_disent.engine import parallel
from keras_disent.engine.batches import Batches


def check_data(
    model: Any,
    data: Any,
    batch_size: int | None,
    *,
    training: bool = False,
    validation_split: float = 0.0,
    class_weight: Any = None,
    arrays_only: bool = True,
    name: str = "x",
) -> tuple[Any, Any, Any]:
    """Check images, labels and weights as far as possible before a step, and return them.

    Args:
        arrays_only: Whether a `batch_size` is rejected for data that are no arrays.
        Others: As `check_batches`.
    """
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(weights, (list, tuple)):
        weights = np.asarray(weights)
    if class_weight is not None:
        check_class_weight(model, x, y)
    if weights is not None or class_weight is not None:
        check_weighting(model, "sample_weight" if class_weight is None else "class_weight")
    x = check_batches(
        model,
        x,
        batch_size,
        training=training,
        name=name,
        validation_split=validation_split,
        labels=y,
        sample_weight=weights,
        classes=class_weight is not None,
    )
    if batch_size is not None and arrays_only and not is_array(x):
        raise ValueError(
            f"`batch_size` is for arrays. `{name}` comes in batches already: omit it, and "
            f"choose their size where they are created. Got {batch_size!r}."
        )
    if weights is not None and y is None and is_array(x):
        y = x  # Keras drops weights that come without labels
    return x, y, weights


def check_batches(
    model: Any,
    x: Any,
    batch_size: int | None,
    training: bool = False,
    name: str = "x",
    validation_split: float = 0.0,
    labels: Any = None,
    only_images: bool = False,
    sample_weight: Any = None,
    classes: bool = False,
) -> Any:
    """Check the data of `fit`, `evaluate` or `predict`.

    Arrays are checked in full, with their labels and weights. Of a stream (`PyDataset`, `tf.data`,
    `DataLoader`, generator) the first batch is checked. Returns `x`; a generator is returned with
    its first batch put back.

    Args:
        model: The model that reads the data.
        x: Images, as an array or a stream of batches.
        batch_size: Number of rows per batch of arrays.
        training: Whether the model is trained on the data.
        name: Name of the argument in errors.
        validation_split: Fraction of the rows of arrays that `fit` holds out.
        labels: Labels of arrays.
        only_images: Whether the data are images without labels, as for `predict`.
        sample_weight: Weights of the images of arrays.
        classes: Whether `labels` are classes of `class_weight`, which any model takes.

    Raises:
        ValueError: Names the argument, the rule and what came.
    """

    def check(batch: Any, labels: Any, weights: Any) -> None:
        if only_images:
            model.check_images(batch, name, check_values=True)
            return
        model.check_batch(batch, labels, name, training)
        if not model.labeled and not classes:
            check_unused_labels(model, batch, labels, name)
        if weights is not None:
            check_weighting(model, "sample_weight")
            check_sample_weight(weights, batch.shape[0])

    players = len(model.players) if training else 1
    at_least = model.min_player_batch * players if training else 1

    def check_size(size: int, which: str = "A batch") -> None:
        check_rows(model, size, at_least, name, which)
        if not only_images:
            parallel.check_divisible(model, size, players, name, which)
        if training:
            model.check_batch_size(size // players)

    if x is None:
        raise ValueError(f"`{name}` must hold images. Got None.")
    if isinstance(x, types.GeneratorType):
        first = next(x, None)
        x = _prepend(first, x)
    elif hasattr(x, "num_batches") and hasattr(x, "on_epoch_end"):  # keras.utils.PyDataset
        first = x[0] if x.num_batches is None or x.num_batches else None
    elif hasattr(x, "element_spec") or hasattr(x, "batch_sampler"):  # tf.data, DataLoader
        first = next(iter(x), None)
    else:
        count = x.shape[0] if getattr(x, "shape", None) else 0
        check(x, labels, sample_weight)
        count = math.floor(count * (1 - validation_split))
        size = max(1, min(batch_size or 32, count))
        check_size(size)
        if count % size:
            check_size(count % size, which="The last batch")
        return x
    if first is None:
        raise ValueError(f"`{name}` must hold at least one batch. Got none.")
    batch, labels, weights = (
        (*first, None, None)[:3] if isinstance(first, (tuple, list)) else (first, None, None)
    )
    check(batch, labels, weights)
    check_size(batch.shape[0])
    return x


def check_unused_labels(model: Any, x: Any, labels: Any, name: str) -> None:
    """Check what is passed as `y` to a model that learns without labels.

    `x` itself is accepted, as Keras's autoencoders take it. Other labels are not used, and a
    warning says so.

    Raises:
        ValueError: If the labels are other images: no model here learns to map `x` to them.
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
                    f"{kind} reconstructs `{name}` itself. Got other images as its labels: omit "
                    "them."
                )
        return
    warnings.warn(
        f"{kind} learns without labels: those passed with `{name}` are not used. Omit them, or "
        "create the model with `supervision=`.",
        stacklevel=5,
    )


def check_sample_weight(weights: Any, rows: int) -> None:
    """Check weights of images.

    Raises:
        ValueError: Names the rule and what came.
    """
    array = to_numpy(weights) if is_array(weights) else np.asarray(weights)
    rule = f"`sample_weight` must hold one number of at least 0 for each of {rows} images"
    if array.shape not in ((rows,), (rows, 1)) or array.dtype.kind not in "biuf":
        raise ValueError(f"{rule}. Got shape {array.shape}, {array.dtype}.")
    array = array.astype("float64")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{rule}. Got values from {array.min():g} to {array.max():g}.")


def check_weighting(model: Any, name: str) -> None:
    """Raise a ValueError if single images cannot be weighted in the objective of a model."""
    if not _supports_sample_weight(type(model)):
        raise ValueError(
            f"{type(model).__name__} compares the images of a batch, so single images cannot be "
            f"weighted: omit `{name}`, or draw some images more often. Models that accept "
            "weights: VAE, BetaVAE, Autoencoder, QLAE and those of pairs."
        )


def _supports_sample_weight(cls: type) -> bool:
    """Return the flag of the class that defines the objective, False if it states none."""
    for c in cls.__mro__:
        if "supports_sample_weight" in vars(c):
            return vars(c)["supports_sample_weight"]
        if {"objective", "penalty"} & vars(c).keys():
            return False
    return False


def check_class_weight(model: Any, x: Any, y: Any) -> None:
    """Raise a ValueError if there are no classes that could have weights."""
    if model.labeled:
        raise ValueError(
            f"The labels of {type(model).__name__} are no classes: omit `class_weight`, or pass "
            "`sample_weight`."
        )
    if isinstance(x, Batches) or (is_array(x) and y is None):
        raise ValueError(
            "`class_weight` needs classes: pass one for each image as `y` (n,), or weights of "
            "images as `sample_weight` (n,)."
        )


def too_few_rows(model: Any) -> str:
    """Return the error message for a batch of a stream that is too small."""
    at_least = model.min_player_batch * len(model.players)
    return (
        f"A batch must hold at least {at_least} images for {type(model).__name__}. Choose another "
        "`batch_size`, or drop the remainder."
    )


def check_rows(
    model: Any, size: int, at_least: int, name: str = "x", which: str = "A batch"
) -> None:
    """Raise a ValueError if a batch holds fewer images than the model can learn from."""
    if size < at_least:
        raise ValueError(
            f"{which} of `{name}` must hold at least {at_least} images for "
            f"{type(model).__name__} ({model.min_player_batch} in the player batch of each of "
            f"its {len(model.players)} players). Got {size}; choose another `batch_size`, "
            "or drop the remainder."
        )


def _prepend(first: Any, rest: Any) -> Any:
    """Yield the first batch again, then the others, as tuples, which Keras requires."""
    for batch in itertools.chain([] if first is None else [first], rest):
        yield batch if isinstance(batch, tuple) else (batch,)
