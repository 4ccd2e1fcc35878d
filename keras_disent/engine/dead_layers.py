"""Find layers that output 0 whatever comes in: nothing passes through them, and they cannot learn.

Units of ReLU die in large steps: where every input makes them 0, their gradients are 0 too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.checks import is_array

EXAMPLES = 64
"""Number of images on which an encoder is tried after `fit`."""


def dead_layer(network: Any, x: Any) -> Any:
    """Return the first layer of a network that outputs 0 for all inputs, or None.

    It counts where the network ends in the same outputs for all inputs: a branch beside others may
    be 0. A network whose layers Keras does not know (a subclass with a `call` of its own) has none.

    Example:

    >>> import numpy as np
    >>> low = keras.initializers.Constant(-9.0)
    >>> layer = keras.layers.Dense(3, "relu", bias_initializer=low)
    >>> network = keras.Sequential([keras.layers.Input((2,)), layer, keras.layers.Dense(1)])
    >>> dead_layer(network, np.eye(2)) is layer
    True
    """
    if len(getattr(network, "inputs", None) or ()) != 1:
        return None
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    try:
        outputs = [layer.output for layer in layers]
        parts = keras.Model(network.inputs, [outputs, network.outputs])
    except (AttributeError, ValueError):  # a layer that was called elsewhere first
        return None
    hidden, last = parts(x, training=False)
    if any(ops.any(out != out[:1]) for out in last):
        return None
    dead = (not any(ops.any(out) for out in keras.tree.flatten(outs)) for outs in hidden)
    return next((layer for layer, is_dead in zip(layers, dead, strict=True) if is_dead), None)


def warn_of_dead_encoder(model: Any, x: Any) -> None:
    """Warn if a dead layer of an own encoder hides what its layers should add to the loss.

    Args:
        model: Model that was trained.
        x: Its images: an array, or a stream of batches, but for a generator, which is used up.
    """
    encoder = getattr(model, "encoder", None)
    layers = encoder._flatten_layers() if isinstance(encoder, keras.Layer) else ()
    layers = [layer for layer in layers if _may_add_loss(layer)]
    if not layers or isinstance(x, Iterator):
        return
    batches = [x[:EXAMPLES]] if is_array(x) else x
    batch = batches[0] if hasattr(batches, "__getitem__") else next(iter(batches), None)
    if batch is None:  # a stream that can be read once, and was
        return
    images = to_numpy(keras.tree.flatten(batch)[0])[:EXAMPLES]
    images = images.reshape(-1, *images.shape[-3:])  # pairs of images, one after another
    dead = dead_layer(encoder, model.preprocess(images))
    if dead is None:
        return
    names = [layer.name for layer in layers if layer.losses]  # those of the call just made
    if names:
        warnings.warn(
            f"The layer `{dead.name}` of the encoder outputs 0 for all images and cannot learn any "
            f"more, so activity regularizers and `add_loss` ({', '.join(names)}) have nothing to "
            "act on. Train anew with a lower learning rate, or a weaker regularizer.",
            stacklevel=3,
        )


def _may_add_loss(layer: Any) -> bool:
    """Return whether a layer has an activity regularizer, or is of a class of the user's own."""
    own = type(layer).__module__.partition(".")[0] not in ("keras", "keras_disent")
    return own or getattr(layer, "activity_regularizer", None) is not None
