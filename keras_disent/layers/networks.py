"""Published encoders, decoders and discriminators.

An encoder maps images (n, height, width, channels) of floats in [0, 1] to features (n, f); the
model adds the two dense heads for the mean and log-variance. A decoder maps codes (n, latents) to
(n, height, width, channels) real numbers, which the likelihood reads. All networks have their
weights when they are created.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_disent._utils import checks, seeds
from keras_disent.layers import style_networks

__all__ = [
    "DECODERS",
    "ENCODERS",
    "conv_decoder",
    "conv_encoder",
    "discriminator",
    "mlp_decoder",
    "mlp_encoder",
]


def __dir__() -> list[str]:
    return sorted(__all__)


CHANNELS_LAST = "channels_last"  # for every layer, independent of Keras's global setting


@contextlib.contextmanager
def precision(policy: Any) -> Iterator[None]:
    """Build layers under a dtype policy instead of the global one; None is the global one."""
    global_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(policy))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(global_policy)


def part_seed(seed: int, part: str) -> int:
    """Derive the seed of the initial weights of one part from the seed of a model.

    Any two parts of any two models get different seeds.

    Args:
        seed: Random seed of the model (int), at least 0, of any size.
        part: Name of the part, such as "encoder".

    >>> part_seed(1, "encoder") == part_seed(0, "decoder")
    False
    """
    return int(np.random.SeedSequence([seed, *part.encode()]).generate_state(1)[0] >> 1)


def initializers(seed: int | None) -> Iterator[keras.initializers.Initializer]:
    """Yield Glorot uniform initializers without end, whose seeds are drawn from `seed`."""
    rng = seeds.generator(seed)
    while True:
        yield keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))


def _units(width: float, published: int) -> int:
    return max(1, round(width * published))


def conv_encoder(
    image_shape: tuple[int, int, int],
    width: float = 1.0,
    kernels: tuple[int, ...] = (4, 4, 2, 2),
    filters: tuple[int, ...] = (32, 32, 64, 64),
    units: tuple[int, ...] = (256,),
    seed: int | None = None,
) -> keras.Model:
    """Build an encoder of four strided convolutions (32, 32, 64, 64) and 256 dense features.

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 16.
        width: Factor (float) that multiplies every number of filters and units.
        kernels: Kernel side of each convolution; `(4, 4, 2, 2)` as in Locatello et al. 2019,
            `(4, 4, 4, 4)` as in Higgins et al. 2017 and Burgess et al. 2018.
        filters: Number of filters of each convolution; four times 32 as in Burgess et al. 2018.
        units: Units of each dense layer; `(256, 256)` as in Burgess et al. 2018.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Raises:
        ValueError: If a side is not divisible by 16.

    >>> conv_encoder((32, 32, 1)).output_shape
    (None, 256)
    """
    shape, initial = _sixteenths(image_shape), initializers(seed)
    images = x = keras.Input(shape, dtype="float32", name="images")
    for count, kernel in zip(filters, kernels, strict=True):
        x = layers.Conv2D(
            _units(width, count),
            kernel,
            strides=2,
            padding="same",
            data_format=CHANNELS_LAST,
            activation="relu",
            kernel_initializer=next(initial),
        )(x)
    x = layers.Flatten(data_format=CHANNELS_LAST)(x)
    for count in units:
        x = layers.Dense(_units(width, count), activation="relu", kernel_initializer=next(initial))(
            x
        )
    return keras.Model(images, x, name="encoder")


def conv_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    width: float = 1.0,
    filters: tuple[int, ...] = (64, 32, 32),
    units: tuple[int, ...] = (256,),
    seed: int | None = None,
) -> keras.Model:
    """Build a decoder: 256 units, then four 4x4 transposed convolutions of stride 2.

    The transposed convolutions have 64, 32, 32 and `channels` filters.

    Args:
        image_shape: Shape (height, width, channels) of an image, sides divisible by 16.
        latent_dim: Number of latents (int).
        width: Factor (float) that multiplies every number of filters and units.
        filters: Number of filters of each transposed convolution but the last; three times 32 as in
            Burgess et al. 2018.
        units: Units of each dense layer but the last; `(256, 256)` as in Burgess et al. 2018.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Raises:
        ValueError: If a side is not divisible by 16.

    Source: Locatello et al. 2019, "Challenging common assumptions", appendix.

    >>> conv_decoder((32, 32, 3), latent_dim=10).output_shape
    (None, 32, 32, 3)
    """
    height, columns, channels = _sixteenths(image_shape)
    start = height // 16, columns // 16, _units(width, filters[0])
    initial = initializers(seed)
    codes = x = keras.Input((latent_dim,), dtype="float32", name="codes")
    for count in (*(_units(width, count) for count in units), math.prod(start)):
        x = layers.Dense(count, activation="relu", kernel_initializer=next(initial))(x)
    x = layers.Reshape(start)(x)
    for count in filters:
        x = layers.Conv2DTranspose(
            _units(width, count),
            4,
            strides=2,
            padding="same",
            data_format=CHANNELS_LAST,
            activation="relu",
            kernel_initializer=next(initial),
        )(x)
    x = layers.Conv2DTranspose(
        channels,
        4,
        strides=2,
        padding="same",
        data_format=CHANNELS_LAST,
        dtype="float32",
        kernel_initializer=next(initial),
        name="outputs",
    )(x)
    return keras.Model(codes, x, name="decoder")


def mlp_encoder(
    image_shape: tuple[int, int, int],
    width: float = 1.0,
    units: tuple[int, ...] = (1200, 1200),
    activation: str = "relu",
    centered: bool = False,
    seed: int | None = None,
) -> keras.Model:
    """Build an encoder of dense layers.

    Args:
        image_shape: Shape (height, width, channels) of an image.
        width: Factor (float) that multiplies every number of units.
        units: Units of each layer; two of 1200 with ReLU as in Higgins et al. 2017.
        activation: Name of the activation of each layer.
        centered: Whether pixels are first scaled from [0, 1] to [-1, 1].
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Source: Higgins et al. 2017, "beta-VAE", table 1.

    >>> mlp_encoder((28, 28, 1)).output_shape
    (None, 1200)
    """
    initial = initializers(seed)
    images = x = keras.Input(checks.image_shape(image_shape), dtype="float32", name="images")
    if centered:
        x = layers.Rescaling(2.0, -1.0)(x)
    x = layers.Flatten(data_format=CHANNELS_LAST)(x)
    for count in units:
        x = layers.Dense(
            _units(width, count), activation=activation, kernel_initializer=next(initial)
        )(x)
    return keras.Model(images, x, name="encoder")


def mlp_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    width: float = 1.0,
    units: tuple[int, ...] = (1200, 1200, 1200),
    activation: str = "tanh",
    seed: int | None = None,
) -> keras.Model:
    """Build a decoder of dense layers.

    Args:
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of latents (int).
        width: Factor (float) that multiplies every number of units.
        units: Units of each layer but the last; three of 1200 with tanh as in Higgins et al. 2017.
        activation: Name of the activation of each layer but the last.
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Source: Higgins et al. 2017, "beta-VAE", table 1.

    >>> mlp_decoder((28, 28, 1), latent_dim=4).output_shape
    (None, 28, 28, 1)
    """
    height, columns, channels = checks.image_shape(image_shape)
    initial = initializers(seed)
    codes = x = keras.Input((latent_dim,), dtype="float32", name="codes")
    for count in units:
        x = layers.Dense(
            _units(width, count), activation=activation, kernel_initializer=next(initial)
        )(x)
    pixels = height * columns * channels
    x = layers.Dense(pixels, dtype="float32", kernel_initializer=next(initial), name="outputs")(x)
    x = layers.Reshape((height, columns, channels), dtype="float32")(x)
    return keras.Model(codes, x, name="decoder")


def discriminator(
    latent_dim: int,
    units: int = 1000,
    depth: int = 6,
    seed: int | None = None,
    width: float = 1.0,
) -> keras.Model:
    """Build a discriminator of codes: leaky ReLU layers (slope 0.2) and two logits.

    The logits are those of joint and of permuted codes.

    Args:
        latent_dim: Number of latents.
        units: Units of each dense layer.
        depth: Number of dense layers.
        seed: Random seed of the initial weights.
        width: Multiplies `units`.

    Source: Kim & Mnih 2018, "Disentangling by factorizing", appendix.

    >>> discriminator(10, units=50).output_shape
    (None, 2)
    """
    initial = initializers(seed)
    codes = x = keras.Input((latent_dim,), dtype="float32", name="codes")
    for _ in range(depth):
        x = layers.Dense(_units(width, units), kernel_initializer=next(initial))(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Dense(2, dtype="float32", kernel_initializer=next(initial), name="logits")(x)
    return keras.Model(codes, x, name="discriminator")


def _sixteenths(image_shape: Any) -> tuple[int, int, int]:
    height, width, channels = checks.image_shape(image_shape)
    if height % 16 or width % 16:
        raise ValueError(
            "The convolutional networks need sides divisible by 16 (pad or resize the images, or "
            f"use the networks 'mlp'). Got image_shape {height, width, channels}."
        )
    return height, width, channels


ENCODERS: dict[str, Any] = {
    "conv": conv_encoder,
    "higgins": functools.partial(conv_encoder, kernels=(4, 4, 4, 4)),
    "burgess": functools.partial(
        conv_encoder, kernels=(4, 4, 4, 4), filters=(32, 32, 32, 32), units=(256, 256)
    ),
    "mlp": mlp_encoder,
    "silu_mlp": functools.partial(mlp_encoder, units=(256, 256), activation="silu", centered=True),
    "qlae": style_networks.qlae_encoder,
    "tripod": style_networks.tripod_encoder,
}
DECODERS: dict[str, Any] = {
    "conv": conv_decoder,
    "higgins": conv_decoder,
    "burgess": functools.partial(conv_decoder, filters=(32, 32, 32), units=(256, 256)),
    "mlp": mlp_decoder,
    "silu_mlp": functools.partial(mlp_decoder, units=(256, 256, 256), activation="silu"),
    "qlae": style_networks.qlae_decoder,
    "tripod": style_networks.tripod_decoder,
}
