"""Functions of arrays, compiled; data sets as Keras reads them without delay."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
elif BACKEND == "jax":
    import jax
else:
    import torch


def compiled(model, function: Callable) -> Callable:
    """Return `function` (arrays to a tensor or a tuple of tensors) compiled, without gradients.

    The returned callable sees the model's variables as they are at each call, and changes none.
    """
    if BACKEND == "jax":

        @jax.jit
        def pure(values, *arrays):
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*arrays)

        def run(*arrays):
            model.sync()
            return pure([v.value for v in model.variables], *arrays)

        return run
    if BACKEND == "tensorflow":
        traced: dict[tuple, Any] = {}  # by variables: quantization, say, puts others in their place

        def observe(*arrays):
            variables = tuple(id(v) for v in model.variables)
            if variables not in traced:
                traced.clear()
                traced[variables] = tf.function(function)
            specs = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in arrays]
            return traced[variables].get_concrete_function(*specs)(*arrays)

    else:

        def observe(*arrays):
            with torch.no_grad():
                return function(*arrays)

    own = model.noise.seed_generator.state  # not drawn from outside of training
    seeds = [v for v in model.non_trainable_variables if v.name == own.name and v is not own]

    def run_and_put_back(*arrays):
        before = [v.value * 1 for v in seeds]
        results = observe(*arrays)
        for seed, value in zip(seeds, before, strict=True):
            seed.assign(value)
        return results

    return run_and_put_back if seeds else observe


@contextlib.contextmanager
def global_generators_kept() -> Iterator[None]:
    """Leave the generators of Python, NumPy and the backend as they were."""
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    tensors = torch.random.get_rng_state() if BACKEND == "torch" else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        if tensors is not None:
            torch.random.set_rng_state(tensors)


def input_gradient(function: Callable, inputs) -> Any:
    """Return d sum(function(inputs)) / d inputs, which can be differentiated again.

    `function` assigns no variable.
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


def without_autotuning(batches: Any) -> Any:
    """Return a `PyDataset` as Keras reads it without delay.

    TensorFlow tunes how a data set is read, in a thread that sleeps 10 ms, 20 ms, 40 ms ... and of
    which the end is waited for, after each epoch: an epoch of 2.6 s lasts 5.1 s (TensorFlow 2.21).
    Here is nothing to tune.
    """
    if BACKEND != "tensorflow":
        return batches

    class Untuned(PyDatasetAdapter):
        def get_tf_dataset(self):
            options = tf.data.Options()
            options.autotune.enabled = False
            return super().get_tf_dataset().prefetch(2).with_options(options)

    return Untuned(batches)
