"""Faster kernels for Keras optimizers, with unchanged arithmetic."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras

from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch
    from torch.optim.adam import adam


def finite_check(gradients: list[Any], learning_rate: Any) -> Tensor:
    """Return a scalar that is finite if the learning rate, gradients and their squares are.

    Adam squares gradients. A square may overflow where the gradient does not, and makes weights
    NaN. A learning rate above 1 scales them, as it scales the step.
    """
    gradients = [g for g in gradients if g is not None]
    learning_rate = keras.ops.cast(learning_rate, "float32")
    scale = keras.ops.maximum(learning_rate, 1.0)
    if BACKEND == "torch":
        return torch.nn.utils.get_total_norm(gradients) * scale + 0.0 * learning_rate
    if BACKEND == "tensorflow":  # in one pass over each; some are rows of an embedding
        sums = [tf.cast(tf.nn.l2_loss(tf.convert_to_tensor(g)), "float32") for g in gradients]
        return tf.add_n([tf.zeros(()), *sums]) * scale + 0.0 * learning_rate
    # Without a sum over 4 million squares, which the processor does in order.
    finite = [jax.numpy.isfinite(g * g * scale).all() for g in [*gradients, learning_rate]]
    return jax.numpy.where(jax.numpy.stack(finite).all(), 0.0, jax.numpy.nan)


# Optimizers of Keras whose updates are finite where `finite_check` is and epsilon is above 0.
_STAY_FINITE = {"Adam", "AdamW", "Adamax", "Adagrad", "Adadelta", "Lion", "Nadam", "RMSprop", "SGD"}


def stays_finite(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether `finite_check` is enough; the updates of other optimizers are looked at."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    kind = type(inner)
    of_keras = kind.__module__.startswith("keras.") and kind.__name__ in _STAY_FINITE
    return of_keras and getattr(inner, "epsilon", 1.0) > 0


def all_finite(values: list[Any]) -> Tensor:
    """Return whether all elements of tensors are finite: a boolean scalar."""
    ops = keras.ops
    return ops.all(ops.stack([ops.all(ops.isfinite(value)) for value in values]))


def accelerate(optimizer: keras.optimizers.Optimizer) -> None:
    """Replace the update of a Keras optimizer by a faster kernel of the backend, if there is one.

    Keras's Adam passes ten times over all weights and allocates arrays on the way: half of
    FactorVAE's overhead, with its 4 million weights. The kernels of PyTorch and TensorFlow pass
    over them once. XLA, and with it JAX, fuses the passes by itself; there, the update also takes
    the decision whether the step is applied (`applying`).
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if BACKEND == "jax" and optimizer.use_ema:
        _separate_averages(optimizer)
    keras_adam = getattr(type(optimizer), "update_step", None) is keras.optimizers.Adam.update_step
    if not keras_adam or optimizer.amsgrad:
        return
    if BACKEND == "torch":
        optimizer._parallel_update_step = functools.partial(_torch_adam, optimizer)
    elif BACKEND == "tensorflow" and tf.distribute.get_strategy().num_replicas_in_sync == 1:
        optimizer._backend_update_step = functools.partial(_tensorflow_adam, optimizer)
    elif BACKEND == "jax":
        optimizer.update_step = functools.partial(_jax_adam, optimizer)


# Whether the step that is traced is applied: a boolean scalar of JAX, or None for always.
_APPLIED: ContextVar[Any] = ContextVar("applied", default=None)


@contextlib.contextmanager
def applying(applied: Any) -> Iterator[None]:
    """Let optimizers that can do so (`decides`) leave everything as it is unless `applied`."""
    token = _APPLIED.set(applied)
    try:
        yield
    finally:
        _APPLIED.reset(token)


def decides(optimizer: keras.Optimizer, variables: list[keras.Variable]) -> bool:
    """Whether the update itself leaves weights and moments as they are in a step not applied.

    This costs a few scalars. To choose between old and new arrays afterwards costs as much as
    Adam. What Keras does after the update (averages, decay, constraints) does not take part.
    """
    update = getattr(optimizer, "update_step", None)
    return (
        getattr(update, "func", None) is _jax_adam
        and not optimizer.use_ema
        and not optimizer.weight_decay
        and not optimizer.gradient_accumulation_steps
        and all(v.constraint is None for v in variables)
    )


def _jax_adam(
    optimizer: keras.Optimizer, gradient: Any, variable: keras.Variable, learning_rate: Any
) -> None:
    """Keras's Adam; a step that is not applied has rates of 0 and gradients of 0."""
    cast = functools.partial(keras.ops.cast, dtype=variable.dtype)
    index = optimizer._get_variable_index(variable)
    m, v = optimizer._momentums[index], optimizer._velocities[index]
    step = cast(optimizer.iterations + 1)
    corrections = [1 - cast(beta) ** step for beta in (optimizer.beta_1, optimizer.beta_2)]
    alpha = cast(learning_rate) * keras.ops.sqrt(corrections[1]) / corrections[0]
    rates = [cast(1 - optimizer.beta_1), cast(1 - optimizer.beta_2), alpha]
    gradient = cast(gradient)
    applied = _APPLIED.get()
    if applied is not None:
        rates = [jax.numpy.where(applied, rate, 0) for rate in rates]
        gradient = jax.numpy.where(applied, gradient, 0)
    m.assign_add((gradient - m) * rates[0])
    v.assign_add((gradient * gradient - v) * rates[1])
    variable.assign_sub(m * rates[2] / (keras.ops.sqrt(v) + optimizer.epsilon))


def _separate_averages(optimizer: keras.optimizers.Optimizer) -> None:
    """Copy averages into weights, instead of sharing their arrays.

    Keras lets both share one array, which the next step would donate twice.
    """
    kind = type(optimizer)

    def overwrite_and_copy(variables: list[keras.Variable]) -> None:
        kind._overwrite_model_variables_with_average_value(optimizer, variables)
        for variable in variables:
            variable.assign(jax.numpy.copy(variable.value))

    optimizer._overwrite_model_variables_with_average_value = overwrite_and_copy


def _tensorflow_adam(
    optimizer: keras.optimizers.Optimizer,
    grads: list[Any],
    variables: list[keras.Variable],
    learning_rate: Any,
) -> None:
    step = tf.convert_to_tensor(optimizer.iterations) + 1

    @functools.cache
    def scalars(dtype: Any) -> dict[str, Tensor]:
        betas = [tf.cast(beta, dtype) for beta in (optimizer.beta_1, optimizer.beta_2)]
        return {
            "beta1_power": betas[0] ** tf.cast(step, dtype),
            "beta2_power": betas[1] ** tf.cast(step, dtype),
            "lr": tf.cast(learning_rate, dtype),
            "beta1": betas[0],
            "beta2": betas[1],
            "epsilon": tf.cast(optimizer.epsilon, dtype),
        }

    for gradient, variable in zip(grads, variables, strict=True):
        index = optimizer._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
            **scalars(variable.dtype),
        )


def _torch_adam(
    optimizer: keras.optimizers.Optimizer,
    grads: list[Any],
    variables: list[keras.Variable],
    learning_rate: Any,
) -> None:
    values = [v.value for v in variables]
    if not all(value.is_cpu for value in values):  # the step would be fetched from the device
        type(optimizer)._parallel_update_step(optimizer, grads, variables, learning_rate)
        return
    step = int(optimizer.iterations)
    at = [optimizer._get_variable_index(v) for v in variables]
    adam(
        values,
        [grad.contiguous() for grad in grads],
        [optimizer._momentums[i].value for i in at],
        [optimizer._velocities[i].value for i in at],
        [],
        [torch.tensor(float(step)) for _ in at],
        fused=True,
        amsgrad=False,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        lr=float(learning_rate),
        weight_decay=0.0,
        # Keras adds epsilon before the correction of the bias, PyTorch after it.
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2 ** (step + 1)),
        maximize=False,
    )
