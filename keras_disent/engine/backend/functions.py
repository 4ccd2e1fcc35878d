"""Compiled functions of arrays, generator state, and fast reading of a `PyDataset`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
elif BACKEND == "jax":
    import jax
else:
    import torch


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` (arrays to a tensor or a tuple of tensors), without gradients.

    The returned callable reads the model's variables at each call, and changes none.
    """
    if BACKEND == "jax":

        @jax.jit
        def pure(values: list[Any], *arrays: Tensor) -> Any:
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*arrays)

        def run(*arrays: Tensor) -> Any:
            return pure([v.value for v in model.variables], *arrays)

        return run
    if BACKEND == "tensorflow":
        traced: dict[tuple[Any, ...], Any] = {}  # by variables, which quantization, say, replaces

        def observe(*arrays: Tensor) -> Any:
            variables = tuple(id(v) for v in model.variables)
            if variables not in traced:
                traced.clear()
                traced[variables] = tf.function(function)
            specs = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in arrays]
            return traced[variables].get_concrete_function(*specs)(*arrays)

    else:

        def observe(*arrays: Tensor) -> Any:
            with torch.no_grad():
                return function(*arrays)

    noise = model.noise.seed_generator.state  # used in training only
    seeds = [v for v in model.non_trainable_variables if v.name == noise.name and v is not noise]

    def run_and_restore(*arrays: Tensor) -> Any:
        previous = [v.value * 1 for v in seeds]
        results = observe(*arrays)
        for seed, value in zip(seeds, previous, strict=True):
            seed.assign(value)
        return results

    return run_and_restore if seeds else observe


@contextlib.contextmanager
def preserve_global_generators() -> Iterator[None]:
    """Restore the global random generators of Python, NumPy and the backend on exit."""
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    tensors = torch.random.get_rng_state() if BACKEND == "torch" else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        if tensors is not None:
            torch.random.set_rng_state(tensors)


def input_gradient(function: Callable[..., Any], inputs: Any) -> Any:
    """Return d sum(function(inputs)) / d inputs, which can be differentiated again.

    `function` must not assign a variable.
    """
    if BACKEND == "tensorflow":
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tape.gradient(outputs, inputs)
    if BACKEND == "torch":
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(function(inputs).sum(), inputs, create_graph=True)
        return gradient
    return jax.grad(lambda x: function(x).sum())(inputs)


def without_autotuning(batches: Any, class_weight: dict[int, float] | None = None) -> Any:
    """Wrap a `PyDataset` so that TensorFlow reads it without its autotuning.

    Keras weights by `class_weight` only what it wraps itself, so they are applied here too.

    TensorFlow tunes its input pipeline in a thread that sleeps 10 ms, 20 ms, 40 ms ..., and waits
    for that thread after each epoch: an epoch of 2.6 s lasts 5.1 s (TensorFlow 2.21). There is
    nothing to tune here.
    """
    if BACKEND != "tensorflow":
        return batches

    class Untuned(PyDatasetAdapter):
        def get_tf_dataset(self) -> Any:
            options = tf.data.Options()
            options.autotune.enabled = False
            return super().get_tf_dataset().prefetch(2).with_options(options)

    return Untuned(batches, class_weight)
