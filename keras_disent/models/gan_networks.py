"""Networks for adversarial training: a convolutional trunk, and two generators."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from keras_disent._utils import checks
from keras_disent.layers import networks


def trunk(
    image_shape: tuple[int, int, int], width: float = 1.0, seed: int | None = None
) -> keras.Model:
    """Three convolutions (32, 64, 128), 4x4, stride 2, then 256 features, all leaky ReLU (0.2).

    Args:
        image_shape: (height, width, channels), sides divisible by 8.
        width: float, multiplies every number of filters and units.
        seed: int, of the initial weights (Glorot uniform); None draws one.

    Raises:
        ValueError: if a side is not divisible by 8.

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
    """256 units, then three transposed convolutions (64, 32, channels), 4x4, stride 2.

    All but the last layer are normalized by the batch in training, and end in ReLU.

    Args:
        image_shape: (height, width, channels), sides divisible by 8.
        inputs: int, number of noise variables and columns of codes.
        width: float, multiplies every number of filters and units.
        seed: int, of the initial weights (Glorot uniform); None draws one.

    Raises:
        ValueError: if a side is not divisible by 8.

    Source: as `trunk`.

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
    """A generator for one object on a plain ground: products of profiles of rows and of columns.

    Twice, once for rows and once for columns, three dense layers of 64 units (leaky ReLU, 0.2) see
    the codes and where along the side they are, from -1 to 1, and give 8 numbers for each place. A
    pixel is the sum of the 8 products of its row's and its column's numbers, and a bias. To put
    something somewhere is a smooth function of the codes here, and it is cheap to compute.

    Args:
        image_shape: (height, width, channels), sides of at least 2.
        inputs: int, number of noise variables and columns of codes.
        width: float, multiplies the number of units.
        seed: int, of the initial weights (Glorot uniform); None draws one.

    Source: after Watters et al. 2019, "Spatial broadcast decoder", which does so for each pixel.

    >>> profiles((32, 32, 3), inputs=4).output_shape
    (None, 32, 32, 3)
    """
    height, columns, channels = checks.image_shape(image_shape)
    initial = networks.initializers(seed)
    codes = keras.Input((inputs,), dtype="float32", name="codes")
    said = []
    for side in (height, columns):
        x = Along(side)(codes)
        for _ in range(3):
            x = layers.Dense(_units(width, 64), kernel_initializer=next(initial))(x)
            x = layers.LeakyReLU(negative_slope=0.2)(x)
        said.append(layers.Dense(8 * channels, kernel_initializer=next(initial))(x))
    return keras.Model(codes, Products(channels, dtype="float32", name="outputs")(said))


@keras.saving.register_keras_serializable("keras_disent")
class Along(layers.Layer):
    """Repeat codes (n, k) along a side: (n, side, k + 1), the last column the place, -1 to 1.

    Args:
        side: int, pixels.
    """

    def __init__(self, side: int, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, codes):
        n, k = ops.shape(codes)[0], codes.shape[1]
        repeated = ops.broadcast_to(codes[:, None], (n, self.side, k))
        places = ops.linspace(-1.0, 1.0, self.side, dtype=codes.dtype)
        places = ops.broadcast_to(places[None, :, None], (n, self.side, 1))
        return ops.concatenate([repeated, places], axis=-1)

    def get_config(self):
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable("keras_disent")
class Products(layers.Layer):
    """Sum the products of what rows (n, h, m c) and columns (n, w, m c) say: (n, h, w, c).

    A bias for each channel is added, -2 at first: what is made is dark.

    Args:
        channels: int, c.
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, shapes):
        initial = keras.initializers.Constant(-2.0)
        self.bias = self.add_weight(shape=(self.channels,), initializer=initial, name="bias")

    def call(self, said):
        rows, columns = (
            ops.reshape(x, (-1, x.shape[1], self.channels, x.shape[2] // self.channels))
            for x in said
        )
        return ops.einsum("nycm,nxcm->nyxc", rows, columns) + self.bias

    def get_config(self):
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
