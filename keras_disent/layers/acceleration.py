"""Compute what networks of Keras's layers compute, but faster.

The layers stay Keras's own, so a file holds nothing but Keras and goes from one backend to any
other. Where nothing compiles the calls of layers away, as on PyTorch, what Keras does around each
of them (it looks at arguments, masks, dtypes and scopes) takes longer than a small layer itself: a
chain of simple layers is computed without it.
"""

from __future__ import annotations

import itertools
import types
from typing import Any

import keras
from keras import layers, ops
from keras.src.models.functional import Functional

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend
from keras_disent.layers.convolutions import convolve, convolve_transposed


def accelerate(network: Any) -> Any:
    """Compute a network or layer faster, and return it.

    That is: strided convolutions (see `layers.convolutions`), and on PyTorch dense layers and
    chains of simple layers. All other layers are left alone, as are classes derived from those of
    Keras. The results are the same but for rounding.

    >>> encoder = accelerate(keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 4, 2)]))
    >>> type(encoder.layers[0]).__name__
    'Conv2D'
    """
    for layer in network._flatten_layers():
        call = _CALLS.get(type(layer))
        if type(layer) in _NETWORKS and not _is_chain(layer):
            call = None
        if call is not None:
            layer.call = types.MethodType(call, layer)
    return network


# -- dense layers and chains, where calls of layers are not compiled away --------------------------


def _dense(layer: layers.Dense, inputs: Tensor, training: bool | None = None) -> Tensor:
    fits = (
        None not in (layer.bias, layer.activation)
        and not layer.lora_enabled
        and len(inputs.shape) == 2
        and keras.backend.standardize_dtype(inputs.dtype) == layer.compute_dtype
    )
    if not fits:
        return layers.Dense.call(layer, inputs)
    return layer.activation(backend.affine(inputs, layer.kernel, layer.bias))


def _is_chain(network: Any) -> bool:
    """Return whether each layer of a network is used once, on the output of the one before it."""
    if type(network) is keras.Sequential:
        return True
    steps = network.layers
    return (
        len(network.inputs) == len(network.outputs) == 1
        and network._outputs_struct is network.outputs[0]  # which may be in a dictionary
        and all(len(layer._inbound_nodes) == 1 for layer in steps)
        and network.inputs[0] is steps[0].output
        and network.outputs[0] is steps[-1].output
        and all(after.input is before.output for before, after in itertools.pairwise(steps))
    )


def _call_chain(
    network: Any, inputs: Tensor, training: bool | None = None, mask: Any = None
) -> Tensor:
    steps = [layer for layer in network.layers if type(layer) is not layers.InputLayer]
    expected = getattr(network, "_functional", network)  # of a Sequential: once it is built
    fits = (
        expected is not None
        and mask is None
        and ops.is_tensor(inputs)
        and len(inputs.shape) == len(expected.inputs[0].shape)
        and keras.backend.standardize_dtype(inputs.dtype) == expected.inputs[0].dtype
        and expected.inputs[0].dtype == network.compute_dtype == network.variable_dtype
        and all(type(step) in _SIMPLE and _is_plain(step, network) for step in steps)
    )
    if not fits:
        return type(network).call(network, inputs, training=training, mask=mask)
    for step in steps:
        inputs = step.call(inputs)
    return inputs


def _is_plain(layer: keras.Layer, network: Any) -> bool:
    """Return whether a call does nothing but compute, in the network's dtype."""
    return (
        layer.built
        and layer.dtype_policy == network.dtype_policy
        and layer.activity_regularizer is None
        and getattr(layer, "_remat_mode", None) is None
        and not backend.is_hooked(layer)
    )


_SIMPLE = {
    layers.Activation,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.Dense,
    layers.Flatten,
    layers.LeakyReLU,
    layers.ReLU,
    layers.Reshape,
}
_NETWORKS = {keras.Sequential, Functional}
_CALLS = {layers.Conv2D: convolve, layers.Conv2DTranspose: convolve_transposed}
if backend.calls_layers_eagerly():
    _CALLS |= {layers.Dense: _dense} | dict.fromkeys(_NETWORKS, _call_chain)
