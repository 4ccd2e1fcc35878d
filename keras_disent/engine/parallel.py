"""Training of one model on several devices, each with its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_disent._utils.checks import check_integer
from keras_disent.engine import backend


@contextmanager
def devices(number: int | str = "all") -> Iterator[list[str]]:
    """Make, load and train models on several devices of this machine: data parallelism.

    Each device has a copy of the weights and an equal share of every batch. `batch_size` is that
    of all together, and what is learned is what one device would learn: to rounding on JAX (by
    `keras.distribution.DataParallel`), and on TensorFlow (by `tf.distribute.MirroredStrategy`) but
    for the noise, of which each device draws its own. Terms that compare the images of a batch see
    all of it. Files are those of one device, and can be read on any number of them.

    GPUs or TPUs (these on JAX) are taken where there are any. Where there are none the CPU is
    divided into as many devices, at most one for each core, if the backend has not computed
    anything yet: not faster than one, but a way to try it.

    Args:
        number: of devices, at least 1, or "all". With 1 nothing is changed.

    Yields:
        the names of the devices, none for 1.

    Raises:
        ValueError: if there are fewer, or for more than one on PyTorch, where Keras has no way to
            do it. Inside of it `fit` and `evaluate` raise one if a batch cannot be shared out
            equally, and on TensorFlow for layers that normalize by batch unless they are
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
            "KERAS_BACKEND=jax or tensorflow (a run or model made on PyTorch can be read there), "
            f"or leave `devices` out. Got {number!r}."
        )
    cpus = 1 if number == "all" else min(int(number), os.cpu_count() or 1)
    found = backend.devices(cpus)
    if number == "all":
        number = len(found)
    if int(number) > len(found):
        raise ValueError(_too_many(int(number), found))
    if number == 1:
        yield []
        return
    with backend.on_devices(found[: int(number)]):
        yield found[: int(number)]


def check(model: Any, size: int, turns: int = 1, name: str = "x", which: str = "A batch") -> None:
    """Raise a ValueError if a batch cannot be shared out among the devices that are in use.

    Args:
        model: a `PlayerModel`.
        size: rows of the batch.
        turns: of players, each of which sees an equal part of it.
    """
    number = backend.devices_of(model)
    if number == 1:
        return
    if size % (number * turns):
        shares = f"{number} devices" + (f" in each of {turns} players' turns" if turns > 1 else "")
        raise ValueError(
            f"{which} of `{name}` must be shared out equally among {shares}: `batch_size` is a "
            f"multiple of {number * turns}, and so is what is left for the last batch. Got {size}."
        )
    if backend.BACKEND == "tensorflow":
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
                raise ValueError(
                    f"The layer {layer.name!r} of {type(model).__name__} normalizes by batch: on "
                    "TensorFlow each device would see its own share only, which is another "
                    "objective. Train on JAX, on one device, with another network, or with "
                    "BatchNormalization(synchronized=True)."
                )


def _too_many(number: int, found: list[str]) -> str:
    text = (
        f"`devices` is at most the number of devices that there are, {len(found)} "
        f"({', '.join(found)}). Got {number}."
    )
    if found[0].startswith("cpu"):
        text += (
            " Those of a CPU are made at the start of a program, before anything is computed, at "
            "most one for each core."
        )
    return text
