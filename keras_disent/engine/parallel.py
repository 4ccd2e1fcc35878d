"""Data parallelism: train one model on several devices, each with a local shard of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_disent._utils.checks import check_integer
from keras_disent.engine import backend

__all__ = ["devices"]


def __dir__() -> list[str]:
    return sorted(__all__)


@contextmanager
def devices(number: int | str = "all") -> Iterator[list[str]]:
    """Create, load and train models on several devices of this machine (data parallelism).

    Each device has a copy of the weights and an equal local shard of every batch. `batch_size`
    counts the images of all devices together, and the result is that of one device. On JAX (by
    `keras.distribution.DataParallel`) the two agree up to rounding. On TensorFlow (by
    `tf.distribute.MirroredStrategy`) the noise differs: each device draws its own. Terms that
    compare the images of a batch see all of it. Files do not depend on the number of devices.

    GPUs are used where there are any, or TPUs on JAX. Otherwise the CPU is divided into as many
    devices, at most one per core, if the backend has not computed anything yet. That is not faster
    than one device, but allows testing.

    Args:
        number: Number of devices, at least 1, or "all". With 1 nothing is changed.

    Yields:
        The names of the devices, none for 1.

    Raises:
        ValueError: If there are fewer devices, or for more than one on PyTorch, which Keras does
            not support. Inside the context `fit` and `evaluate` raise it if a batch cannot be
            divided equally, and on TensorFlow for layers that normalize by batch unless they are
            `synchronized`.

    >>> from keras_disent import VAE
    >>> with devices(1):
    ...     model = VAE((32, 32, 1), latent_dim=4)
    """
    if number != "all":
        check_integer("devices", number, at_least=1)
    if number == 1:
        yield []
        return
    if backend.BACKEND == "torch":
        raise ValueError(
            "Keras trains on several devices with JAX and with TensorFlow, not with PyTorch. Set "
            "KERAS_BACKEND=jax or tensorflow (which read runs and models of PyTorch too), "
            f"or omit `devices`. Got {number!r}."
        )
    cpus = 1 if number == "all" else min(int(number), os.cpu_count() or 1)
    available = backend.devices(cpus)
    if number == "all":
        number = len(available)
    if int(number) > len(available):
        raise ValueError(_too_many(int(number), available))
    if number == 1:
        yield []
        return
    with backend.on_devices(available[: int(number)]):
        yield available[: int(number)]


def check_divisible(
    model: Any, size: int, players: int = 1, name: str = "x", which: str = "A batch"
) -> None:
    """Raise a ValueError if a batch cannot be divided equally among the devices in use.

    Args:
        model: A `PlayerModel`.
        size: Number of rows of the batch.
        players: Number of players that divide the batch.
    """
    number = backend.devices_of(model)
    if number == 1:
        return
    if size % (number * players):
        parts = f"{number} devices" + (f" and {players} players" if players > 1 else "")
        raise ValueError(
            f"{which} of `{name}` must divide equally among {parts}: `batch_size` and the size of "
            f"the last batch must be multiples of {number * players}. Got {size}."
        )
    if backend.BACKEND == "tensorflow":
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
                raise ValueError(
                    f"The layer {layer.name!r} of {type(model).__name__} normalizes by batch: on "
                    "TensorFlow each device would see its local shard only, which changes the "
                    "objective. Train on JAX, on one device, with another network, or with "
                    "BatchNormalization(synchronized=True)."
                )


def _too_many(number: int, available: list[str]) -> str:
    text = (
        f"`devices` is at most the number of available devices, {len(available)} "
        f"({', '.join(available)}). Got {number}."
    )
    if available[0].startswith("cpu"):
        text += (
            " A CPU is divided into devices at the start of a program, before anything is "
            "computed, at most one per core."
        )
    return text
