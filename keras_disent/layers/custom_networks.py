"""Check custom encoders, decoders and discriminators before a model is built of them."""

from __future__ import annotations

from typing import Any

import keras

from keras_disent.layers.networks import CHANNELS_LAST

PERMUTING = ("Permute", "Transpose", "Moveaxis", "Swapaxes")  # layers and operations of Keras


def check_encoder(encoder: Any, image_shape: tuple[int, int, int], name: str = "encoder") -> int:
    """Check an encoder from images (n, h, w, c) to features (n, f); return f.

    Args:
        encoder: Keras model.
        image_shape: Shape (height, width, channels) of an image.
        name: Name of the argument in errors.

    Raises:
        ValueError: States the rule, then what the network returns.
    """
    shape = _output_shape(encoder, name, image_shape)
    _check_channels_last(encoder, name, "before")
    if len(shape) != 2:
        raise ValueError(
            f"`{name}` must give features of shape (n, f), one row per image; the model adds the "
            f"heads. Got {_with_n(shape)}."
        )
    return shape[1]


def check_decoder(
    decoder: Any, image_shape: tuple[int, int, int], latent_dim: int, name: str = "decoder"
) -> None:
    """Check a decoder from codes (n, latent_dim) to (n, h, w, c).

    Args:
        decoder: Keras model.
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of latents.
        name: Name of the argument in errors.

    Raises:
        ValueError: States the rule, then what the network returns.
    """
    shape = _output_shape(decoder, name, (latent_dim,))
    _check_channels_last(decoder, name, "after")
    if shape[1:] != image_shape:
        raise ValueError(
            f"`{name}` must give outputs of shape {_with_n((0, *image_shape))}, as `image_shape`. "
            f"Got {_with_n(shape)}."
        )


def check_discriminator(discriminator: Any, latent_dim: int) -> None:
    """Check a discriminator from codes (n, latent_dim) to two logits (n, 2).

    Raises:
        ValueError: States the rule, then what the network returns.
    """
    shape = _output_shape(discriminator, "discriminator", (latent_dim,))
    if shape[1:] != (2,):
        raise ValueError(f"`discriminator` must give two logits (n, 2). Got {_with_n(shape)}.")


def _output_shape(network: Any, name: str, input_shape: tuple[int, ...]) -> tuple[Any, ...]:
    if not isinstance(network, keras.Layer):
        raise ValueError(
            f"`{name}` must be a Keras model or the name of a network. Got {network!r}."
        )
    try:
        output = keras.ops.shape(network(keras.ops.zeros((2, *input_shape), dtype="float32")))
        shape = tuple(int(side) for side in output)
    except Exception as error:
        raise ValueError(
            f"`{name}` must take inputs of shape {_with_n((0, *input_shape))} and give one tensor. "
            f"It raised {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    for weight in network.trainable_variables:
        if weight.dtype == "float16":
            raise ValueError(
                f"`{name}` cannot learn in pure float16, which loses small steps: build it under "
                f"'mixed_float16'. Got float16 in '{weight.path}'."
            )
    return shape


def _check_channels_last(network: Any, name: str, where: str) -> None:
    """Check that the network reads the axes of images as channels last.

    Args:
        network: Keras model.
        name: Name of the argument in errors.
        where: Whether a permuting layer must come "before" or "after" a channels first layer.
    """
    steps = _steps(network)
    for step in steps if where == "before" else reversed(steps):
        if type(step).__name__ in PERMUTING:
            return
        if getattr(step, "data_format", CHANNELS_LAST) != CHANNELS_LAST and _has_channels(step):
            raise ValueError(
                f"`{name}` must read the axes of images as (n, height, width, channels): pass "
                f"data_format='channels_last' to layer '{step.name}', or put a "
                f"keras.layers.Permute {where} it. Got data_format={step.data_format!r}."
            )


def _steps(network: Any) -> list[Any]:
    """Return the layers and operations of a network in order, with those of nested layers."""
    parts = getattr(network, "operations", None) or getattr(network, "_layers", None)
    return [step for part in parts for step in _steps(part)] if parts else [network]


def _has_channels(layer: Any) -> bool:
    """Return whether the input of a layer has more than two axes; True if it is unknown."""
    try:
        return len(layer.input.shape) > 2
    except (AttributeError, ValueError):
        return True


def _with_n(shape: tuple[Any, ...]) -> str:
    return f"({', '.join(['n', *map(str, shape[1:])])})"
