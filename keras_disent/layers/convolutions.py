"""Strided convolutions that are fast on every backend.

Two backends are slow at them on a CPU. XLA runs the gradient of a strided convolution, and a
transposed one, several times slower than the same sum written as one matrix product over blocks of
pixels; on PyTorch, Keras copies every tensor to another layout and back. The faster ways cover
padding "same", channels last, one group, a bias, square kernels and strides, kernels of a whole
number of strides and less one of an even number of pixels, and sides of whole strides. All else is
computed as Keras does.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend


def _implementation(layer: keras.Layer, inputs: Tensor) -> str:
    """Return how to compute a layer: "keras", or the result of `backend.strided_convolutions`."""
    (k, other_k), (s, other_s) = layer.kernel_size, layer.strides
    fits = (
        layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.use_bias
        and layer.activation is not None
        and layer.dilation_rate == (1, 1)
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "output_padding", None) is None
        and not getattr(layer, "lora_enabled", False)
        and k == other_k
        and s == other_s
        and (k - s) % 2 == k % s == 0
        and None not in inputs.shape[1:]
        and keras.backend.standardize_dtype(inputs.dtype) == layer.compute_dtype
    )
    return backend.strided_convolutions() if fits else "keras"


def convolve(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Compute what a `keras.layers.Conv2D` does, but for rounding."""
    k, s = layer.kernel_size[0], layer.strides[0]
    implementation = _implementation(layer, inputs)
    if implementation == "keras" or inputs.shape[1] % s or inputs.shape[2] % s:
        return layers.Conv2D.call(layer, inputs)
    if implementation == "native":
        return layer.activation(backend.convolution(inputs, layer.kernel, layer.bias, s))
    low, blocks = (k - s) // 2, k // s
    x = ops.pad(inputs, ((0, 0), (low, k - s - low), (low, k - s - low), (0, 0)))
    _, height, width, channels = x.shape
    rows, columns = height // s, width // s
    x = ops.reshape(x, (-1, rows, s, columns, s, channels))
    rows, columns = rows - blocks + 1, columns - blocks + 1
    shifted = [
        ops.stack([x[:, i : i + rows, :, j : j + columns] for j in range(blocks)], axis=3)
        for i in range(blocks)
    ]
    # (n, row, block row, pixel row, block column, column, pixel column, channel)
    x = ops.transpose(ops.stack(shifted, axis=2), (0, 1, 5, 2, 3, 4, 6, 7))
    x = ops.matmul(
        ops.reshape(x, (-1, k * k * channels)),
        ops.reshape(layer.kernel, (k * k * channels, layer.filters)),
    )
    return layer.activation(ops.reshape(x, (-1, rows, columns, layer.filters)) + layer.bias)


def convolve_transposed(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Compute what a `keras.layers.Conv2DTranspose` does, but for rounding."""
    k, s = layer.kernel_size[0], layer.strides[0]
    implementation = _implementation(layer, inputs)
    if implementation == "keras":
        return layers.Conv2DTranspose.call(layer, inputs)
    if implementation == "native":
        x = backend.transposed_convolution(inputs, layer.kernel, layer.bias, s)
        return layer.activation(x)
    # One matrix product and an overlap-add.
    low, blocks = (k - s) // 2, k // s
    _, rows, columns, channels = inputs.shape
    kernel = ops.reshape(ops.transpose(layer.kernel, (3, 0, 1, 2)), (channels, -1))
    x = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
    x = ops.reshape(x, (-1, rows, columns, blocks, s, blocks, s, layer.filters))
    full = None
    for i in range(blocks):
        for j in range(blocks):
            pads = ((0, 0), (i, blocks - 1 - i), (j, blocks - 1 - j), (0, 0), (0, 0), (0, 0))
            part = ops.pad(x[:, :, :, i, :, j], pads)
            full = part if full is None else full + part
    rows, columns = rows + blocks - 1, columns + blocks - 1
    full = ops.transpose(full, (0, 1, 3, 2, 4, 5))
    full = ops.reshape(full, (-1, rows * s, columns * s, layer.filters))
    last_row, last_column = rows * s - (k - s) + low, columns * s - (k - s) + low
    return layer.activation(full[:, low:last_row, low:last_column] + layer.bias)
