"""Networks for adversarial training: a convolutional discriminator, and two generators."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from keras_disent._utils import checks
from keras_disent._utils.types import Tensor
from keras_disent.layers import networks


def trunk(
    image_shape: tuple[int, int, int], width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Build the trunk of a discriminator: three 4x4 convolutions of stride 2 and 256 features.

    The convolutions have 32, 64 and 128 filters; all layers are followed by leaky ReLU (0.2).

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 8.
        width: Factor (float) that multiplies every number of filters and units.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Raises:
        ValueError: If a side is not divisible by 8.

    Source: Radford et al. 2016, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", without its batch normalization, which couples the images of
    a batch.

    >>> trunk((32, 32, 1)).output_shape
    (None, 256)
    """
    initial = networks.initializers(seed)
    images = x = keras.Input(_eighths(image_shape), dtype="float32", name="images")
    for filters in (32, 64, 128):
        x = layers.Conv2D(
            _units(width, filters),
            4,
            strides=2,
            padding="same",
            data_format=networks.CHANNELS_LAST,
            kernel_initializer=next(initial),
        )(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Flatten(data_format=networks.CHANNELS_LAST)(x)
    x = layers.Dense(_units(width, 256), kernel_initializer=next(initial))(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.Model(images, x, name="discriminator")


def generator(
    image_shape: tuple[int, int, int], inputs: int, width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Build a generator: 256 units, then three 4x4 transposed convolutions of stride 2.

    The transposed convolutions have 64, 32 and `channels` filters. All layers but the last have
    batch normalization and ReLU.

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 8.
        inputs: Number of noise variables and columns of codes (int).
        width: Factor (float) that multiplies every number of filters and units.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Raises:
        ValueError: If a side is not divisible by 8.

    Source: As `trunk`.

    >>> generator((32, 32, 3), inputs=10).output_shape
    (None, 32, 32, 3)
    """
    height, columns, channels = _eighths(image_shape)
    rows, columns = height // 8, columns // 8
    initial = networks.initializers(seed)
    codes = x = keras.Input((inputs,), dtype="float32", name="codes")
    for units in (_units(width, 256), rows * columns * _units(width, 128)):
        x = layers.Dense(units, use_bias=False, kernel_initializer=next(initial))(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Reshape((rows, columns, _units(width, 128)))(x)
    for filters in (64, 32):
        x = layers.Conv2DTranspose(
            _units(width, filters),
            4,
            strides=2,
            padding="same",
            data_format=networks.CHANNELS_LAST,
            kernel_initializer=next(initial),
        )(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2DTranspose(
        channels,
        4,
        strides=2,
        padding="same",
        data_format=networks.CHANNELS_LAST,
        dtype="float32",
        kernel_initializer=next(initial),
        name="outputs",
    )(x)
    return keras.Model(codes, x, name="generator")


def profiles(
    image_shape: tuple[int, int, int], inputs: int, width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Build a generator of one object on a plain background, from row and column profiles.

    One network for rows and one for columns, each of three dense layers of 64 units (leaky ReLU,
    0.2), read the codes and a coordinate from -1 to 1. They return 8 numbers for each row and
    column. A pixel is the sum of the 8 products of its row's and its column's numbers, and a bias.
    The position of the object is then a smooth function of the codes, and cheap to compute.

    Args:
        image_shape: Shape (height, width, channels) of an image, sides of at least 2.
        inputs: Number of noise variables and columns of codes (int).
        width: Factor (float) that multiplies the number of units.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Source: After Watters et al. 2019, "Spatial broadcast decoder", which reads two coordinates for
    each pixel.

    >>> profiles((32, 32, 3), inputs=4).output_shape
    (None, 32, 32, 3)
    """
    height, columns, channels = checks.image_shape(image_shape)
    initial = networks.initializers(seed)
    codes = keras.Input((inputs,), dtype="float32", name="codes")
    outputs = []
    for side in (height, columns):
        x = CoordinateBroadcast(side)(codes)
        for _ in range(3):
            x = layers.Dense(_units(width, 64), kernel_initializer=next(initial))(x)
            x = layers.LeakyReLU(negative_slope=0.2)(x)
        outputs.append(layers.Dense(8 * channels, kernel_initializer=next(initial))(x))
    return keras.Model(codes, OuterProductSum(channels, dtype="float32", name="outputs")(outputs))


@keras.saving.register_keras_serializable("keras_disent")
class CoordinateBroadcast(layers.Layer):
    """Repeat codes (n, k) along a side, with the coordinate (-1 to 1) as last column.

    Args:
        side: Number of pixels of the side (int).

    Call: (n, k) -> (n, side, k + 1).
    """

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side = side

    def call(self, codes: Tensor) -> Tensor:
        n, k = ops.shape(codes)[0], codes.shape[1]
        repeated = ops.broadcast_to(codes[:, None], (n, self.side, k))
        coordinates = ops.linspace(-1.0, 1.0, self.side, dtype=codes.dtype)
        coordinates = ops.broadcast_to(coordinates[None, :, None], (n, self.side, 1))
        return ops.concatenate([repeated, coordinates], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable("keras_disent")
class OuterProductSum(layers.Layer):
    """Sum the outer products of row profiles (n, h, m c) and column profiles (n, w, m c).

    A bias for each channel is added. It is initially -2, so that images are dark.

    Args:
        channels: Number of channels c (int).

    Call: the two profiles -> (n, h, w, c).
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, shapes: list[tuple[int | None, ...]]) -> None:
        initial = keras.initializers.Constant(-2.0)
        self.bias = self.add_weight(shape=(self.channels,), initializer=initial, name="bias")

    def call(self, profiles: list[Tensor]) -> Tensor:
        rows, columns = (
            ops.reshape(x, (-1, x.shape[1], self.channels, x.shape[2] // self.channels))
            for x in profiles
        )
        return ops.einsum("nycm,nxcm->nyxc", rows, columns) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


def _units(width: float, published: int) -> int:
    return max(1, round(width * published))


def _eighths(image_shape: Any) -> tuple[int, int, int]:
    height, width, channels = checks.image_shape(image_shape)
    if height % 8 or width % 8:
        raise ValueError(
            "The convolutional networks need sides divisible by 8 (pad or resize the images, or "
            f"use the networks 'mlp'). Got image_shape {height, width, channels}."
        )
    return height, width, channels


DISCRIMINATORS: dict[str, Any] = {**networks.ENCODERS, "conv": trunk}
GENERATORS: dict[str, Any] = {**networks.DECODERS, "conv": generator, "profiles": profiles}
