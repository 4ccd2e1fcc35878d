"""Several devices: local shards of a batch, and how they are exchanged."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_disent._utils.threads import processors, thread_count
from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch


def replica() -> Any:
    """Return the index of the current replica: 0 except under `tf.distribute`."""
    if BACKEND != "tensorflow":
        return 0
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def scatter_seed(seed: Any) -> Tensor:
    """Return the seed of a draw, (2,): a number and a count, such that no two draws are equal.

    PyTorch seeds its generator with the sum of the two, so they are hashed first. Under
    `tf.distribute` each replica has its own seed.
    """
    if BACKEND == "torch":
        number, count = seed.tolist()
        return torch.tensor([_hash(number << 32 | count), 0])
    if BACKEND == "jax":
        return seed
    return seed + tf.cast(tf.stack([replica() * 7919, 0]), seed.dtype)


def seed_device() -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which seeds are kept and computed.

    PyTorch's generators take their seed from the host: on a GPU, each draw would wait for all that
    the GPU still has to do.
    """
    return keras.device("cpu") if BACKEND == "torch" else contextlib.nullcontext()


def at_hand(x: Any) -> bool:
    """Return whether values of an array or tensor can be read without a wait for a device.

    Those of a tensor that stands for others while a function is traced or transformed cannot.
    """
    if BACKEND == "torch" and type(x) is torch.Tensor and x.device.type == "cpu":
        try:
            return x.data_ptr() != 0
        except RuntimeError:  # inside of `torch.func`
            return False
    if BACKEND == "jax" and isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer):
        return x.is_fully_addressable and all(d.platform == "cpu" for d in x.devices())
    if BACKEND == "tensorflow" and tf.is_tensor(x) and not tf.is_symbolic_tensor(x):
        return "CPU" in getattr(x, "device", "")
    return isinstance(x, np.ndarray)


def _hash(number: int) -> int:
    """Hash 64 bits to 32 (the finalizer of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ number >> shift) * factor % 2**64
    return (number ^ number >> 31) >> 32


def all_gather(tensor: Tensor) -> Tensor:
    """All-gather along the batch axis (differentiable): every replica gets the rows of all.

    On JAX a program sees the entire batch, so the tensor is returned unchanged.
    """
    replicas = replica_count()
    if replicas == 1:
        return tensor
    position = tf.one_hot(replica(), replicas, dtype=tensor.dtype)
    placed = tf.reshape(position, [-1] + [1] * len(tensor.shape)) * tensor[None]
    rows = tf.distribute.get_replica_context().all_reduce("sum", placed)
    return tf.reshape(rows, [-1, *tensor.shape[1:]])


def local_shard(tensor: Tensor) -> Tensor:
    """Return this replica's rows of a tensor of the entire batch."""
    replicas = replica_count()
    if replicas == 1:
        return tensor
    return tf.reshape(tensor, [replicas, -1, *tensor.shape[1:]])[replica()]


def replica_count() -> int:
    """Return the number of replicas in sync: 1 except under `tf.distribute`."""
    inside = BACKEND == "tensorflow" and tf.distribute.get_replica_context() is not None
    return tf.distribute.get_strategy().num_replicas_in_sync if inside else 1


def player_batch(batch: Any, number: int, players: int) -> Any:
    """Return the player batch of player `number`: every `players`-th row, from row `number`.

    It is distributed over devices as the batch is.
    """
    if players == 1:
        return batch

    def own(x: Any) -> Any:
        if BACKEND == "tensorflow":  # whose slices with a stride copy element by element
            return tf.gather(x, tf.range(number, tf.shape(x)[0], players))
        return x[number::players]

    rows = keras.tree.map_structure(own, batch, none_is_leaf=False)
    distribution = keras.distribution.distribution() if BACKEND == "jax" else None
    if distribution is None:
        return rows
    # Otherwise every device would process all rows.
    return keras.tree.map_structure(
        lambda x: keras.distribution.distribute_tensor(x, distribution.get_data_layout(x.shape)),
        rows,
        none_is_leaf=False,
    )


def devices_of(model: keras.Model) -> int:
    """Return the number of devices among which `model.fit` would divide a batch now."""
    if BACKEND == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution() if BACKEND == "jax" else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    replicas = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    return max(1, replicas // jax.process_count())


def resolve_jit_compile(model: keras.Model, jit_compile: bool | str) -> bool | str:
    """Resolve "auto" for `compile`: XLA on TensorFlow compiles steps of one device only."""
    supported = BACKEND != "tensorflow" or devices_of(model) == 1
    return jit_compile if supported or jit_compile != "auto" else False


def threads() -> int:
    """Return the number of threads that compute one operation on the CPU."""
    if BACKEND == "torch":
        return torch.get_num_threads()
    if BACKEND == "jax":
        return thread_count("NPROC") or processors()
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    return configured or thread_count("TF_NUM_INTRAOP_THREADS") or processors()


def threads_spin() -> bool:
    """Return whether threads that wait for others keep their processors busy."""
    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    return BACKEND == "torch" and sys.platform == "linux" and threads() > 1 and not passive


def devices(cpus: int) -> list[str]:
    """Return the names of the GPUs or TPUs, or of the CPU's devices where there are none.

    Args:
        cpus: Number of devices to divide the CPU into, if the backend has not started yet.
    """
    if BACKEND == "torch":
        return ["the device of PyTorch"]
    if BACKEND == "jax":
        configured = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if cpus > 1 and not configured and jax.config.values["jax_num_cpu_devices"] < cpus:
            with contextlib.suppress(RuntimeError):  # it has started
                jax.config.update("jax_num_cpu_devices", cpus)
        return keras.distribution.list_devices()
    if not tf.config.list_physical_devices("GPU") and cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < cpus:
            with contextlib.suppress(RuntimeError):  # it has started
                parts = [tf.config.LogicalDeviceConfiguration()] * cpus
                tf.config.set_logical_device_configuration(cpu, parts)
    logical = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:").lower() for device in logical]


@contextlib.contextmanager
def on_devices(names: list[str]) -> Iterator[None]:
    """Distribute models that are created and trained inside over devices named by `devices`."""
    if BACKEND == "jax":
        with keras.distribution.DataParallel(devices=names).scope():
            yield
    else:
        # The default way to sum gradients fails on CPUs with the two sets of two players.
        reduction = tf.distribute.ReductionToOneDevice() if names[0].startswith("cpu") else None
        strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)
        with strategy.scope():
            yield
