"""Strided convolutions that are fast on every backend.

On a CPU the backends are slow at them. XLA runs the gradient of a strided convolution, and a
transposed one, several times slower than the same sum written as one matrix product over blocks of
pixels, each as large as a stride; on PyTorch, Keras copies every tensor to another layout and back;
and oneDNN, below PyTorch and TensorFlow, is slow at transposed ones to few channels, such as the
last layer of a decoder. The faster ways cover padding "same", channels last, one group, a bias,
square kernels and strides, kernels of a whole number of strides and less one of an even number of
pixels, and sides of whole strides. All else is computed as Keras does.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend
from keras_disent.engine.backend.kernels import FEW


def _implementation(layer: keras.Layer, inputs: Tensor, transposed: bool = False) -> str:
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
    if not fits:
        return "keras"
    return backend.strided_convolutions(to_few=transposed and s > 1 and layer.filters <= FEW)


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
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, s * s * channels))
    kernel = ops.reshape(layer.kernel, (blocks, s, blocks, s, channels, layer.filters))
    kernel = ops.transpose(kernel, (0, 2, 1, 3, 4, 5))
    kernel = ops.reshape(kernel, (blocks, blocks, s * s * channels, layer.filters))
    return layer.activation(_convolve_blocks(x, kernel, full=False) + layer.bias)


def convolve_transposed(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Compute what a `keras.layers.Conv2DTranspose` does, but for rounding."""
    k, s = layer.kernel_size[0], layer.strides[0]
    implementation = _implementation(layer, inputs, transposed=True)
    if implementation == "keras":
        return layers.Conv2DTranspose.call(layer, inputs)
    if implementation == "native":
        x = backend.transposed_convolution(inputs, layer.kernel, layer.bias, s)
        return layer.activation(x)
    low, blocks = (k - s) // 2, k // s
    _, rows, columns, channels = inputs.shape
    kernel = ops.reshape(layer.kernel, (blocks, s, blocks, s, layer.filters, channels))
    kernel = ops.flip(ops.transpose(kernel, (0, 2, 5, 1, 3, 4)), (0, 1))
    kernel = ops.reshape(kernel, (blocks, blocks, channels, s * s * layer.filters))
    x = _convolve_blocks(inputs, kernel, full=True)
    rows, columns = rows + blocks - 1, columns + blocks - 1
    x = ops.reshape(x, (-1, rows, columns, s, s, layer.filters))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, rows * s, columns * s, layer.filters))
    last_row, last_column = rows * s - (k - s) + low, columns * s - (k - s) + low
    return layer.activation(x[:, low:last_row, low:last_column] + layer.bias)


def _convolve_blocks(x: Tensor, kernel: Tensor, full: bool) -> Tensor:
    """Convolve (n, h, w, a) with (size, size, a, b), as one matrix product.

    Neighbors are gathered before the product or their shares added up after it, whichever needs
    the smaller tensor.

    Args:
        full: Whether every position counts that a kernel touches, and not only those where all of
            it lies inside.
    """
    size, _, before, after = kernel.shape
    _, rows, columns, _ = x.shape
    shifts = [(i, j) for i in range(size) for j in range(size)]
    if before <= after:
        if full:
            x = ops.pad(x, ((0, 0), (size - 1, size - 1), (size - 1, size - 1), (0, 0)))
            rows, columns = rows + 2 * (size - 1), columns + 2 * (size - 1)
        rows, columns = rows - size + 1, columns - size + 1
        x = ops.concatenate([x[:, i : i + rows, j : j + columns] for i, j in shifts], axis=-1)
        x = ops.matmul(ops.reshape(x, (-1, size * size * before)), ops.reshape(kernel, (-1, after)))
        return ops.reshape(x, (-1, rows, columns, after))
    kernel = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (before, -1))
    x = ops.matmul(ops.reshape(x, (-1, before)), kernel)
    x = ops.reshape(x, (-1, rows, columns, size, size, after))
    last = size - 1
    if full:
        parts = [
            ops.pad(x[:, :, :, i, j], ((0, 0), (last - i, i), (last - j, j), (0, 0)))
            for i, j in shifts
        ]
    else:
        parts = [x[:, i : rows - last + i, j : columns - last + j, i, j] for i, j in shifts]
    return sum(parts[1:], parts[0])
