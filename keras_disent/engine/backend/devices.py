"""Several devices: what each has of a batch, and how they share it out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch


def replica() -> Any:
    """Return the number of the replica that runs this code: 0 but under `tf.distribute`."""
    if BACKEND != "tensorflow":
        return 0
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def spread(seed):
    """Return the seed of a draw, (2,): a number and a count, such that no two draws are alike.

    PyTorch's random numbers begin at the sum of the two, so they are scattered first. Under
    `tf.distribute` each replica has its own.
    """
    if BACKEND == "torch":
        number, count = (int(part) for part in seed)
        return torch.tensor([_scattered(number << 32 | count), 0])
    if BACKEND == "jax":
        return seed
    return seed + tf.cast(tf.stack([replica() * 7919, 0]), seed.dtype)


def _scattered(number: int) -> int:
    """Return 32 bits that depend on all 64 of a number (the finalizer of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ number >> shift) * factor % 2**64
    return (number ^ number >> 31) >> 32


def all_gather(tensor):
    """Return the rows of all replicas, of those that this one has: the same on each of them.

    Gradients reach all of them. On JAX a program sees the whole batch as it is.
    """
    replicas = replica_count()
    if replicas == 1:
        return tensor
    own = tf.one_hot(replica(), replicas, dtype=tensor.dtype)
    placed = tf.reshape(own, [-1] + [1] * len(tensor.shape)) * tensor[None]
    rows = tf.distribute.get_replica_context().all_reduce("sum", placed)
    return tf.reshape(rows, [-1, *tensor.shape[1:]])


def local_shard(tensor):
    """Return those rows of `whole` that are this replica's."""
    replicas = replica_count()
    if replicas == 1:
        return tensor
    return tf.reshape(tensor, [replicas, -1, *tensor.shape[1:]])[replica()]


def replica_count() -> int:
    inside = BACKEND == "tensorflow" and tf.distribute.get_replica_context() is not None
    return tf.distribute.get_strategy().num_replicas_in_sync if inside else 1


def player_batch(batch, number: int, turns: int):
    """Return every `turns`-th row of a batch, from row `number`, spread as the batch is."""
    if turns == 1:
        return batch
    rows = keras.tree.map_structure(lambda x: x[number::turns], batch, none_is_leaf=False)
    distribution = keras.distribution.distribution() if BACKEND == "jax" else None
    if distribution is None:
        return rows
    # Every device would get all rows otherwise, and do the work of all.
    return keras.tree.map_structure(
        lambda x: keras.distribution.distribute_tensor(x, distribution.get_data_layout(x.shape)),
        rows,
        none_is_leaf=False,
    )


def devices_of(model) -> int:
    """Return among how many devices `model.fit` shares out a batch, here and now."""
    if BACKEND == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution() if BACKEND == "jax" else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    replicas = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    return max(1, replicas // jax.process_count())


def compiles(model, jit_compile: bool | str) -> bool | str:
    """Return what `compile` makes of "auto": XLA compiles a step for one device only."""
    alone = BACKEND != "tensorflow" or devices_of(model) == 1
    return jit_compile if alone or jit_compile != "auto" else False


def devices(cpus: int) -> list[str]:
    """Return the names of the GPUs or TPUs, or of the CPU's devices where there are none.

    Args:
        cpus: how many devices the CPU is divided into, if the backend has not started yet.
    """
    if BACKEND == "torch":
        return ["the device of PyTorch"]
    if BACKEND == "jax":
        chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if cpus > 1 and not chosen and jax.config.values["jax_num_cpu_devices"] < cpus:
            with contextlib.suppress(RuntimeError):  # it has started
                jax.config.update("jax_num_cpu_devices", cpus)
        return keras.distribution.list_devices()
    if not tf.config.list_physical_devices("GPU") and cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < cpus:
            with contextlib.suppress(RuntimeError):  # it has started
                parts = [tf.config.LogicalDeviceConfiguration()] * cpus
                tf.config.set_logical_device_configuration(cpu, parts)
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:").lower() for device in found]


@contextlib.contextmanager
def on_devices(names: list[str]) -> Iterator[None]:
    """Spread the models that are made and trained inside over devices, as `devices` names them."""
    if BACKEND == "jax":
        with keras.distribution.DataParallel(devices=names).scope():
            yield
    else:
        # The default way to sum gradients fails on CPUs with the two sets of two players.
        reduction = tf.distribute.ReductionToOneDevice() if names[0].startswith("cpu") else None
        strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)
        with strategy.scope():
            yield
