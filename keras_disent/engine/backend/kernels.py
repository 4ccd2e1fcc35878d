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
else:
    import tensorflow as tf

FEW = 4  # filters of a transposed convolution that oneDNN is slow at


def strided_convolutions(to_few: bool = False) -> str:
    """Return the fastest implementation: "keras", "native" (below) or "matmul".

    Args:
        to_few: Whether the convolution is a transposed one to at most `FEW` filters.
    """
    if BACKEND == "torch":
        return "native"
    if BACKEND == "jax":
        return "matmul" if jax.default_backend() == "cpu" else "keras"
    return "native" if to_few and not tf.config.get_visible_devices("GPU") else "keras"


def convolution(inputs: Any, kernel: keras.Variable, bias: keras.Variable, stride: int) -> Tensor:
    """Convolve (n, h, w, c) with (k, k, c, filters), padding "same": PyTorch, without copies."""
    return _native(torch.conv2d, inputs, kernel, bias, stride)


def transposed_convolution(
    inputs: Any, kernel: keras.Variable, bias: keras.Variable, stride: int
) -> Tensor:
    """Transpose `convolution`; the kernel is (k, k, filters, c). PyTorch or TensorFlow."""
    if BACKEND == "tensorflow":
        return _to_few_tensorflow(inputs, tf.convert_to_tensor(kernel), stride) + bias
    function: Callable[..., Any] = torch.conv_transpose2d
    if kernel.shape[2] <= FEW and stride > 1 and inputs.is_cpu:
        learns = torch.is_grad_enabled() and not torch._C._get_tracing_state()
        function = _ToFewTorch.apply if learns else _to_few_torch
    return _native(function, inputs, kernel, bias, stride)


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
    outputs = function(inputs, weights, bias.value, stride, padding)
    return outputs.permute(0, 2, 3, 1)


# -- transposed convolutions to few filters --------------------------------------------------------
# Forward they are plain convolutions to one filter for each pixel of a stride, whose outputs are
# then laid side by side: a third of the time. Their gradients are fast as they are.


def _to_few_tensorflow(inputs: Any, kernel: Any, stride: int) -> Any:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x: Any, kernel: Any) -> Any:
        k, _, filters, channels = kernel.shape
        blocks, low = k // stride, (k - stride) // 2
        _, rows, columns, _ = x.shape
        parts = tf.reshape(kernel, (blocks, stride, blocks, stride, filters, channels))
        parts = tf.reverse(tf.transpose(parts, (0, 2, 5, 1, 3, 4)), (0, 1))
        parts = tf.reshape(parts, (blocks, blocks, channels, stride * stride * filters))
        edge = (blocks - 1, blocks - 1)
        y = tf.nn.conv2d(tf.pad(x, ((0, 0), edge, edge, (0, 0))), parts, 1, "VALID")
        y = tf.nn.depth_to_space(y, stride)

        def gradient(outer: Any) -> tuple[Any, Any]:
            return tf.nn.conv2d(outer, kernel, stride, "SAME"), tf.raw_ops.Conv2DBackpropFilter(
                input=outer,
                filter_sizes=kernel.shape,
                out_backprop=x,
                strides=(1, stride, stride, 1),
                padding="SAME",
            )

        return y[:, low : low + rows * stride, low : low + columns * stride], gradient

    return convolved(inputs, kernel)


def _to_few_torch(x: Any, kernel: Any, bias: Any, stride: int, padding: int) -> Any:
    """Compute `torch.conv_transpose2d` of (n, c, h, w) by (c, filters, k, k)."""
    channels, filters, k, _ = kernel.shape
    blocks = k // stride
    parts = kernel.reshape(channels, filters, blocks, stride, blocks, stride)
    parts = parts.permute(1, 3, 5, 0, 2, 4).flip(4, 5)
    parts = parts.reshape(filters * stride * stride, channels, blocks, blocks)
    bias = bias.repeat_interleave(stride * stride)
    y = torch.conv2d(x, parts, bias, padding=blocks - 1)
    y = torch.nn.functional.pixel_shuffle(y, stride)
    rows, columns = x.shape[2] * stride, x.shape[3] * stride
    y = y[:, :, padding : padding + rows, padding : padding + columns]
    return y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # in the layout of pixels


if BACKEND == "torch":

    class _ToFewTorch(torch.autograd.Function):
        """`_to_few_torch` with the gradients of `torch.conv_transpose2d`."""

        generate_vmap_rule = True
        forward = staticmethod(_to_few_torch)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            x, kernel, _, ctx.stride, ctx.padding = inputs
            ctx.save_for_backward(x, kernel)
            ctx.save_for_forward(x, kernel)

        @staticmethod
        def backward(ctx: Any, outer: Any) -> tuple[Any, ...]:
            x, kernel = ctx.saved_tensors
            gradients = torch.ops.aten.convolution_backward(
                outer, x, kernel, [kernel.shape[1]], [ctx.stride] * 2, [ctx.padding] * 2,
                [1, 1], True, [0, 0], 1, [*ctx.needs_input_grad[:3]],
            )  # fmt: skip
            return *gradients, None, None

        @staticmethod
        def jvp(ctx: Any, dx: Any, d_kernel: Any, d_bias: Any, *_: Any) -> Any:
            x, kernel = ctx.saved_tensors
            none = kernel.new_zeros(kernel.shape[1])
            parts = [
                _to_few_torch(*pair, bias, ctx.stride, ctx.padding)
                for pair, bias in (((dx, kernel), d_bias), ((x, d_kernel), none))
                if None not in pair
            ]
            return sum(parts[1:], parts[0])
