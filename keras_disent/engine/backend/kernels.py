"""Strided convolutions by kernels of the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND

if TYPE_CHECKING:
    import keras

if BACKEND == "jax":
    import jax
elif BACKEND == "torch":
    import torch


def strided_convolutions() -> str:
    """Return the fastest implementation: "keras", "native" (below) or "matmul"."""
    if BACKEND == "torch":
        return "native"
    return "matmul" if BACKEND == "jax" and jax.default_backend() == "cpu" else "keras"


def convolution(inputs: Any, kernel: keras.Variable, bias: keras.Variable, stride: int) -> Tensor:
    """Convolve (n, h, w, c) with (k, k, c, filters), padding "same": PyTorch, without copies."""
    return _native(torch.conv2d, inputs, kernel, bias, stride)


def transposed_convolution(
    inputs: Any, kernel: keras.Variable, bias: keras.Variable, stride: int
) -> Tensor:
    """Transpose `convolution`; the kernel is (k, k, filters, c)."""
    return _native(torch.conv_transpose2d, inputs, kernel, bias, stride)


def _native(
    function: Callable[..., Any],
    inputs: Any,
    kernel: keras.Variable,
    bias: keras.Variable,
    stride: int,
) -> Tensor:
    inputs, weights = inputs.permute(0, 3, 1, 2), kernel.value.permute(3, 2, 0, 1)
    padding = (kernel.shape[0] - stride) // 2
    outputs = function(inputs, weights, bias.value, stride=stride, padding=padding)
    return outputs.permute(0, 2, 3, 1)
