"""Layers by kernels of the backend."""

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


def calls_layers_eagerly() -> bool:
    """Return whether every step calls the layers, which elsewhere are compiled away."""
    return BACKEND == "torch"


def affine(inputs: Any, kernel: keras.Variable, bias: keras.Variable) -> Tensor:
    """Multiply (n, d) by (d, units) and add (units,): PyTorch, in one operation."""
    return torch.addmm(bias.value, inputs, kernel.value)


def is_hooked(layer: Any) -> bool:
    """Return whether a user's PyTorch hooks want to see the calls of a layer."""
    any_layer = torch.nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    return any_layer or bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


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
