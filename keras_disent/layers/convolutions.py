"""Strided convolutions that are fast on every backend.

Two backends are slow at Keras's own on a CPU. XLA runs the gradient of a strided convolution, and a
transposed one, several times slower than the same sum written as one matrix product over blocks of
pixels; on PyTorch, Keras copies every tensor to another layout and back. Weights, layout and result
are those of the Keras layers, so a file goes from one backend to any other. Arguments and inputs
that the faster ways do not know are computed by the Keras layer itself.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_disent.engine import backend

register = keras.saving.register_keras_serializable("keras_disent")


def _way(layer, inputs) -> str:
    """Return how to compute a layer: "keras", or a way of `backend.strided_convolutions`."""
    (k, other_k), (s, other_s) = layer.kernel_size, layer.strides
    fits = (
        layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.use_bias
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


@register
class Downsample(layers.Conv2D):
    """A `keras.layers.Conv2D`, of any arguments, faster for strides that divide evenly.

    That is: padding "same", channels last, one group, a bias, square kernels and strides, kernels
    of a whole number of strides and less one of an even number of pixels, and sides of whole
    strides.
    """

    def call(self, inputs):
        k, s = self.kernel_size[0], self.strides[0]
        way = _way(self, inputs)
        if way == "keras" or inputs.shape[1] % s or inputs.shape[2] % s:
            return super().call(inputs)
        if way == "native":
            return self.activation(backend.convolution(inputs, self.kernel, self.bias, s))
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
            ops.reshape(self.kernel, (k * k * channels, self.filters)),
        )
        return self.activation(ops.reshape(x, (-1, rows, columns, self.filters)) + self.bias)


@register
class Upsample(layers.Conv2DTranspose):
    """A `keras.layers.Conv2DTranspose`, of any arguments, faster for those of `Downsample`.

    There it is one matrix product and an overlap-add.
    """

    def call(self, inputs):
        k, s = self.kernel_size[0], self.strides[0]
        way = _way(self, inputs)
        if way == "keras":
            return super().call(inputs)
        if way == "native":
            x = backend.transposed_convolution(inputs, self.kernel, self.bias, s)
            return self.activation(x)
        low, blocks = (k - s) // 2, k // s
        _, rows, columns, channels = inputs.shape
        kernel = ops.reshape(ops.transpose(self.kernel, (3, 0, 1, 2)), (channels, -1))
        x = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
        x = ops.reshape(x, (-1, rows, columns, blocks, s, blocks, s, self.filters))
        full = None
        for i in range(blocks):
            for j in range(blocks):
                pads = ((0, 0), (i, blocks - 1 - i), (j, blocks - 1 - j), (0, 0), (0, 0), (0, 0))
                part = ops.pad(x[:, :, :, i, :, j], pads)
                full = part if full is None else full + part
        rows, columns = rows + blocks - 1, columns + blocks - 1
        full = ops.transpose(full, (0, 1, 3, 2, 4, 5))
        full = ops.reshape(full, (-1, rows * s, columns * s, self.filters))
        last_row, last_column = rows * s - (k - s) + low, columns * s - (k - s) + low
        return self.activation(full[:, low:last_row, low:last_column] + self.bias)
