"""Published networks of QLAE and Tripod, whose decoders read codes as a style.

Both decoders begin with a learned constant. After each convolution every channel is normalized over
the pixels of its image (instance normalization), and scaled and shifted by numbers computed from
the code: adaptive instance normalization, Huang & Belongie 2017. Initial weights are uniform within
+-1 / sqrt(inputs of a unit), as in the authors' code.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_disent._utils import checks, seeds
from keras_disent._utils.types import Tensor

_CHANNELS_LAST: dict[str, Any] = {"data_format": "channels_last"}


def qlae_encoder(
    image_shape: tuple[int, int, int], width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Build QLAE's encoder: twelve convolutions, then dense layers of 256 and 256 units (ReLU).

    There are three convolutions for each of 32, 64, 128 and 256 filters: 3x3, 3x3, and 4x4 with
    stride 2. They have no biases, and are followed by instance normalization and leaky ReLU (0.2).

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 16, at least
            32.
        width: Factor (float) that multiplies every number of filters and units.
        seed: Random seed of the initial weights (int). None draws one.

    Raises:
        ValueError: If a side is not divisible by 16, or below 32.

    Source: Hsu et al. 2023, "Disentanglement via latent quantization"; the network "image" of its
    code.

    >>> qlae_encoder((32, 32, 1), width=0.25).output_shape
    (None, 64)
    """
    new = _Layers(width, seed)
    images = x = keras.Input(_sides(image_shape), dtype="float32", name="images")
    for filters in (32, 64, 128, 256):
        for kernel, stride in ((3, 1), (3, 1), (4, 2)):
            x = new.convolution(x, new.units(filters), kernel, stride, use_bias=False)
            x = layers.GroupNormalization(groups=-1, epsilon=1e-6)(x)
            x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Flatten(**_CHANNELS_LAST)(x)
    for _ in range(2):
        x = new.dense(x, new.units(256), activation="relu")
    return keras.Model(images, x, name="encoder")


def qlae_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    width: float = 1.0,
    seed: int | None = None,
) -> keras.Model:
    """Build QLAE's decoder: a learned constant and twelve transposed convolutions with a style.

    The constant has shape (4, 4, 256) for images of 64 x 64, and in general the image's sides
    divided by 16. There are three transposed convolutions for each of 256, 128, 64 and 32 filters:
    3x3, 3x3, and 4x4 with stride 2. Each is followed by leaky ReLU (0.2) and adaptive instance
    normalization. Its scales and shifts are ReLU units of a style of 256 numbers, which two dense
    ReLU layers compute from the code. A 3x3 convolution returns the outputs.

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 16, at least
            32.
        latent_dim: Number of latents (int).
        width: Factor (float) that multiplies every number of filters and units.
        seed: Random seed of the initial weights (int). None draws one.

    Raises:
        ValueError: If a side is not divisible by 16, or below 32.

    Source: Hsu et al. 2023, "Disentanglement via latent quantization"; the network "style_image" of
    its code.

    >>> qlae_decoder((32, 32, 3), latent_dim=4, width=0.25).output_shape
    (None, 32, 32, 3)
    """
    new = _Layers(width, seed)
    height, columns, channels = _sides(image_shape)
    codes = style = keras.Input((latent_dim,), dtype="float32", name="codes")
    for _ in range(2):
        style = new.dense(style, new.units(256), activation="relu")
    x = LearnedConstant((height // 16, columns // 16, new.units(256)), 0.1)(codes)
    for stage, filters in enumerate((256, 128, 64, 32)):
        filters = new.units(filters)
        for place, (kernel, stride) in enumerate(((3, 1), (3, 1), (4, 2))):
            x = new.transposed_convolution(x, filters, kernel, stride)
            x = layers.LeakyReLU(negative_slope=0.2)(x)
            x = layers.GroupNormalization(groups=-1, epsilon=1e-6, center=False, scale=False)(x)
            scale, shift = new.scale_and_shift(style, x, f"{stage}_{place}", activation="relu")
            x = layers.Add()([layers.Multiply()([x, scale]), shift])
    x = new.convolution(x, channels, 3, use_bias=False, dtype="float32", name="outputs")
    return keras.Model(codes, x, name="decoder")


def tripod_encoder(
    image_shape: tuple[int, int, int], width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Build Tripod's encoder: eight residual blocks, global average pooling and 512 units.

    There are two blocks of two 3x3 convolutions for each of 32, 64, 128 and 256 filters, with
    instance normalization and GELU. A 2x2 convolution of stride 2 then doubles the filters. The
    dense layer of 512 units has layer normalization and GELU.

    Args: As `qlae_encoder`.

    Source: Hsu et al. 2024, "Tripod"; `ResidualEncoder` of its code.

    >>> tripod_encoder((32, 32, 1), width=0.1).output_shape
    (None, 51)
    """
    new = _Layers(width, seed)
    images = x = keras.Input(_sides(image_shape), dtype="float32", name="images")
    for filters in (32, 64, 128, 256):
        for _ in range(2):
            x = new.residual_block(x, new.units(filters))
        x = new.convolution(x, new.units(2 * filters), 2, 2)
    x = layers.GlobalAveragePooling2D(**_CHANNELS_LAST)(x)
    return keras.Model(images, new.normalized_dense(x, new.units(512)), name="encoder")


def tripod_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    width: float = 1.0,
    seed: int | None = None,
) -> keras.Model:
    """Build Tripod's decoder: a learned constant and eight residual blocks with a style.

    The constant has shape (4, 4, 512) for images of 64 x 64. There are two blocks for each of 512,
    256, 128 and 64 filters, of two 3x3 convolutions each with adaptive instance normalization and
    GELU. Then the sides are doubled, and a 3x3 convolution changes to the next number of filters.
    The style is 256 numbers, from two dense layers with layer normalization and GELU.

    The network is smooth, so the Hessian penalty of `Tripod` has second derivatives to measure. Its
    hidden layers are those of the published penalty: the style, and the outputs of all stages but
    the last.

    Args: As `qlae_decoder`.

    Source: Hsu et al. 2024, "Tripod"; `ResidualDecoder` of its code.

    >>> tripod_decoder((32, 32, 3), latent_dim=4, width=0.1).output_shape
    (None, 32, 32, 3)
    """
    new = _Layers(width, seed)
    height, columns, channels = _sides(image_shape)
    codes = x = keras.Input((latent_dim,), dtype="float32", name="codes")
    for _ in range(2):
        x = new.normalized_dense(x, new.units(256))
    style = keras.Model(codes, x, name="style")(codes)
    x = LearnedConstant((height // 16, columns // 16, new.units(512)), 1.0)(codes)
    for filters in (512, 256, 128, 64):
        last = filters == 64
        # A nested model counts as one layer of the decoder.
        inputs = hidden, stage_style = [
            keras.Input(part.shape[1:], dtype="float32") for part in (x, style)
        ]
        for block in range(2):
            hidden = new.residual_block(hidden, new.units(filters), stage_style, str(block))
        hidden = layers.UpSampling2D(2, interpolation="nearest", **_CHANNELS_LAST)(hidden)
        if last:
            hidden = new.convolution(hidden, channels, 3, dtype="float32", name="outputs")
        else:
            hidden = new.convolution(hidden, new.units(filters // 2), 3)
        x = keras.Model(inputs, hidden, name=f"stage_{filters}")([x, style])
    return keras.Model(codes, x, name="decoder")


@keras.saving.register_keras_serializable("keras_disent")
class LearnedConstant(layers.Layer):
    """Return the same learned array for every row of a batch, independent of the row.

    Args:
        array_shape: Shape of the array.
        value: Initial value of all its elements (float).

    Call: (n, ...) -> (n, *array_shape).
    """

    def __init__(self, array_shape: tuple[int, ...], value: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.array_shape, self.value = tuple(array_shape), value
        self.constant = self.add_weight(
            shape=self.array_shape, initializer=keras.initializers.Constant(value), name="constant"
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        rows = ops.ones((ops.shape(inputs)[0], *[1] * len(self.array_shape)), self.compute_dtype)
        return rows * self.constant

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.array_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "array_shape": self.array_shape, "value": self.value}


class _Layers:
    """Create layers, and blocks of them, whose initial weights follow from one seed."""

    def __init__(self, width: float, seed: int | None):
        self.width, self._rng = width, seeds.generator(seed)

    def units(self, published: int) -> int:
        return max(1, round(self.width * published))

    def _initial(self, inputs: int, **options: Any) -> dict[str, Any]:
        limit = 1 / np.sqrt(inputs)

        def uniform() -> keras.initializers.Initializer:
            seed = int(self._rng.integers(2**31))
            return keras.initializers.RandomUniform(-limit, limit, seed=seed)

        return {"kernel_initializer": uniform(), "bias_initializer": uniform(), **options}

    def dense(self, x: Tensor, units: int, **options: Any) -> Tensor:
        return layers.Dense(units, **self._initial(x.shape[-1], **options))(x)

    def normalized_dense(self, x: Tensor, units: int) -> Tensor:
        x = layers.LayerNormalization(epsilon=1e-5)(self.dense(x, units))
        return layers.Activation("gelu")(x)

    def convolution(
        self, x: Tensor, filters: int, kernel: int, stride: int = 1, **options: Any
    ) -> Tensor:
        options = self._initial(kernel**2 * x.shape[-1], **options)
        return layers.Conv2D(filters, kernel, stride, padding="same", **_CHANNELS_LAST, **options)(
            x
        )

    def transposed_convolution(self, x: Tensor, filters: int, kernel: int, stride: int) -> Tensor:
        options = self._initial(kernel**2 * x.shape[-1], use_bias=False, **_CHANNELS_LAST)
        return layers.Conv2DTranspose(filters, kernel, stride, padding="same", **options)(x)

    def scale_and_shift(self, style: Tensor, x: Tensor, name: str, **options: Any) -> list[Any]:
        """Map the style to a scale and a shift of each channel of x, each (n, 1, 1, channels)."""
        channels = x.shape[-1]
        return [
            layers.Reshape((1, 1, channels))(
                self.dense(style, channels, name=f"{kind}_{name}", **options)
            )
            for kind in ("scale", "shift")
        ]

    def residual_block(
        self, x: Tensor, filters: int, style: Tensor | None = None, name: str = ""
    ) -> Tensor:
        """Add the output of two convolutions to `x`; a style scales and shifts them."""
        skip = x
        for place in range(2):
            x = self.convolution(x, filters, 3)
            learned = style is None
            x = layers.GroupNormalization(groups=-1, epsilon=1e-5, center=learned, scale=learned)(x)
            if style is not None:
                scale, shift = self.scale_and_shift(style, x, f"{name}_{place}")
                x = layers.Add()([x, layers.Multiply()([x, scale]), shift])  # 1 + scale
            x = layers.Activation("gelu")(x)
        if skip.shape[-1] != filters:
            skip = self.convolution(skip, filters, 1)
        return layers.Add()([skip, x])


def _sides(image_shape: Any) -> tuple[int, int, int]:
    height, width, channels = checks.image_shape(image_shape)
    if height % 16 or width % 16 or min(height, width) < 32:
        # Sides of 16 are reduced to a single pixel, which instance normalization maps to 0.
        raise ValueError(
            "The networks 'qlae' and 'tripod' need sides divisible by 16, of at least 32 (pad or "
            f"resize the images, or use other networks). Got image_shape {height, width, channels}."
        )
    return height, width, channels
