"""The one module that knows which backend runs.

Four things differ between TensorFlow, JAX and PyTorch: how a gradient is taken, how an optimizer
step is applied, the signature of ``train_step``, and how a step is spread over several devices.
They are here, with the backend's own probability distributions, and nowhere else.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

try:
    import keras

    BACKEND = keras.backend.backend()
except ImportError as error:
    raise ImportError(
        "keras_disent needs the backend that Keras is set to: "
        "pip install 'keras-disent[tensorflow]' (or [jax], [torch] together with "
        f"KERAS_BACKEND=jax, KERAS_BACKEND=torch). {error}"
    ) from None

if BACKEND == "tensorflow":
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
    from tensorflow_probability import distributions
elif BACKEND == "jax":
    import jax
    from tensorflow_probability.substrates.jax import distributions
elif BACKEND == "torch":
    import torch
    from torch import distributions
    from torch.optim.adam import adam
else:
    raise ImportError(
        "keras_disent runs on the Keras backends tensorflow, jax and torch. "
        f"Got KERAS_BACKEND={BACKEND}."
    )

PREFETCHES = BACKEND == "tensorflow"  # draws batches while the model learns
Objective = Callable[[], tuple[Any, dict[str, Any]]]
Play = Callable[[Any, Any], dict[str, Any]]


# -- gradients ------------------------------------------------------------------------------------


def gradients(model, objective: Objective, owned: list) -> tuple[dict[str, Any], list]:
    """Differentiate `objective() -> (scalar, terms)` with respect to the `owned` variables only.

    Returns (terms, gradients). What the objective assigns (seeds, moving averages) is kept.
    """
    values = [v.value for v in owned]
    if BACKEND == "tensorflow":
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            scalar, terms = objective()
            scalar = scalar / replicas  # the strategy sums over replicas
        # A variable may move only when all have read it. TensorFlow orders these, but its optimizer
        # of graphs (2.21) forgets about it on a detour through Keras's, and on one through a
        # gradient of 1 that is made of the loss: a variable whose own gradient needs less than the
        # loss did sometimes move too early. So there is one such gradient, and moves wait.
        grads = tape.gradient(scalar, values, output_gradients=tf.constant(1.0, scalar.dtype))
        with tf.control_dependencies([scalar, *(g for g in grads if g is not None)]):
            return terms, [g if g is None else tf.identity(g) for g in grads]
    if BACKEND == "torch":
        scalar, terms = objective()
        grads = torch.autograd.grad(scalar, values, allow_unused=True) if values else ()
        return {name: term.detach() for name, term in terms.items()}, list(grads)

    # A scope does not see what the scope around it holds, so the inner one gets every variable.
    everything = [(v, v.value) for v in [*model.variables, *model.optimizer.variables]]
    assignable = model.non_trainable_variables

    def pure(values):
        mapping = [*everything, *zip(owned, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            scalar, terms = objective()
        return scalar, (terms, [_read(scope, v) for v in assignable])

    grads, (terms, updates) = jax.grad(pure, has_aux=True)(values)
    for variable, value in zip(assignable, updates, strict=True):
        variable.assign(value)
    return terms, grads


def apply(reason, optimizer, grads: list, owned: list, moving: list, before: list) -> None:
    """Move the `owned` variables one optimizer step against their gradients, if there is no reason.

    Args:
        reason: 0, or why the step is not taken.
        moving: other variables that the objective has changed.
        before: what they were, and become again where the step is not taken.
    """
    if BACKEND == "torch":
        with torch.no_grad():
            if reason:
                _assign(moving, before)
            elif owned:
                optimizer.apply(grads, owned)
    elif BACKEND == "tensorflow" and _replicas() > 1:
        # A strategy merges replicas, which no branch of a graph can do: the gradients are 0.
        grads = [g if g is None else tf.where(reason == 0, g, tf.zeros_like(g)) for g in grads]
        optimizer.apply(grads, owned)
    elif BACKEND == "tensorflow":

        def move():
            if owned:
                optimizer.apply(grads, owned)
            return 0

        def stay():
            _assign(moving, before)
            return 0

        tf.cond(reason == 0, move, stay)
    else:
        taken = reason == 0
        if owned:
            new_owned, new_own = optimizer.stateless_apply(
                [v.value for v in optimizer.variables], grads, [v.value for v in owned]
            )
            # The compiler makes this part of the optimizer's own pass over its arrays.
            for variable, value in zip(
                [*owned, *optimizer.variables], [*new_owned, *new_own], strict=True
            ):
                variable.assign(jax.numpy.where(taken, value, variable.value))
        for variable, value in zip(moving, before, strict=True):
            variable.assign(jax.numpy.where(taken, variable.value, value))


def _assign(variables: list, values: list) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# -- whether a step is taken: a reason is 0, or the number of what speaks against it; on PyTorch,
# -- which computes step by step, a Python integer, elsewhere an int32 scalar ----------------------


def first_reason(reason, fine, number: int):
    """Return `reason`, or if it is 0 and not `fine`, a scalar, the number."""
    if BACKEND == "torch":
        return int(reason) or (0 if bool(fine) else number)
    fine = keras.ops.logical_or(fine, keras.ops.not_equal(reason, 0))
    return _agreed(keras.ops.where(fine, reason, number))


def not_finite(reason, scalars: list, numbers: list[int]):
    """Return `reason`, or if it is 0 the number of the first scalar that is not finite."""
    ops = keras.ops
    values = ops.isfinite(ops.stack([ops.cast(x, "float32") for x in scalars]))
    if BACKEND == "torch":
        if int(reason):
            return int(reason)
        return next((n for n, fine in zip(numbers, values.tolist(), strict=True) if not fine), 0)
    first = ops.argmin(ops.cast(values, "int32"))
    number = ops.take(ops.convert_to_tensor(numbers, "int32"), first)
    fine = ops.logical_or(ops.all(values), ops.not_equal(reason, 0))
    return _agreed(ops.where(fine, reason, number))


def _agreed(reason):
    """Return the same reason on all replicas."""
    if _replicas() == 1:
        return reason
    return tf.reduce_max(whole(tf.reshape(reason, [1])))


def nan_if(reason, terms: dict[str, Any]) -> dict[str, Any]:
    """Return the terms, all of them NaN if there is a reason."""
    if BACKEND == "torch":
        return dict.fromkeys(terms, float("nan")) if reason else terms
    return {name: keras.ops.where(reason == 0, x, float("nan")) for name, x in terms.items()}


def count(reason, steps, fault) -> None:
    """Count a step that was taken; else note down the first that was not, and why."""
    ops = keras.ops
    if BACKEND != "torch":
        taken = ops.equal(reason, 0)
        known = ops.logical_or(taken, ops.not_equal(fault[1], 0))
        fault.assign(ops.where(known, fault.value, ops.stack([steps.value, reason])))
        steps.assign_add(ops.cast(taken, "int32"))
    elif not reason:
        steps.assign_add(1)
    elif not int(fault.value[1]):
        fault.assign([int(steps.value), int(reason)])


def total(gradients: list, learning_rate):
    """Return a scalar that is finite if all gradients, their squares and the learning rate are.

    Adam takes squares: of a number that is finite they need not be, and then weights become NaN.
    """
    gradients = [g for g in gradients if g is not None]
    if BACKEND == "torch":
        return torch.nn.utils.get_total_norm(gradients) + 0.0 * float(learning_rate)
    if BACKEND == "tensorflow":
        gradients = [tf.convert_to_tensor(g) for g in gradients]  # some are rows of an embedding
    sums = [keras.ops.cast(keras.ops.sum(keras.ops.square(g)), "float32") for g in gradients]
    return sum(sums, 0.0 * keras.ops.cast(learning_rate, "float32"))


def prepare(optimizer) -> None:
    """Make a Keras optimizer as fast as the backend allows, its arithmetic unchanged.

    Keras's Adam goes ten times over all weights and makes new arrays on the way: half of
    FactorVAE's overhead, with its 4 million weights. The kernels of PyTorch and TensorFlow go over
    them once. (XLA, and with it JAX, joins the passes by itself.)
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
        optimizer.update_step = functools.partial(_tensorflow_adam, optimizer)


def _separate_averages(optimizer) -> None:
    """Give weights arrays of their own when they take over their averages.

    Keras lets both share one, which the next step would give away twice.
    """
    kind = type(optimizer)

    def overwrite_and_copy(variables):
        kind._overwrite_model_variables_with_average_value(optimizer, variables)
        for variable in variables:
            variable.assign(jax.numpy.copy(variable.value))

    optimizer._overwrite_model_variables_with_average_value = overwrite_and_copy


def _tensorflow_adam(optimizer, gradient, variable, learning_rate) -> None:
    index = optimizer._get_variable_index(variable)
    betas = [tf.cast(beta, variable.dtype) for beta in (optimizer.beta_1, optimizer.beta_2)]
    step = tf.cast(optimizer.iterations + 1, variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=betas[0] ** step,
        beta2_power=betas[1] ** step,
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=betas[0],
        beta2=betas[1],
        epsilon=tf.cast(optimizer.epsilon, variable.dtype),
        grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
    )


def _torch_adam(optimizer, grads: list, variables: list, learning_rate) -> None:
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


def _read(scope, variable):
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


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


# -- batches ------------------------------------------------------------------------------------


def unhurried(batches: Any) -> Any:
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


# -- the signature of train_step and test_step ----------------------------------------------------


def train_step(play: Play) -> Callable:
    """Turn `play(model, data) -> logs`, written with state, into the backend's `train_step`."""
    return _step(play, ("trainable_variables", "non_trainable_variables", "optimizer", "metrics"))


def test_step(play: Play) -> Callable:
    """Turn `play(model, data) -> logs`, written with state, into the backend's `test_step`."""
    return _step(play, ("trainable_variables", "non_trainable_variables", "metrics"))


def _step(play: Play, lists: tuple[str, ...]) -> Callable:
    if BACKEND == "torch":
        return lambda self, data: play(self, data)
    if BACKEND == "tensorflow":

        def after_data(self, data):
            # At the end of a stream of unknown length there is one more call, without data: what
            # does not wait for them (the counting of steps and seeds) would be done once too often.
            given = [part for part in tf.nest.flatten(data) if part is not None]
            with tf.control_dependencies(given):
                return play(self, data)

        return after_data

    def variables(model) -> list[list]:
        known = {
            "optimizer": lambda: model.optimizer.variables,
            "metrics": lambda: model.metrics_variables,
        }
        return [known[name]() if name in known else getattr(model, name) for name in lists]

    def step(self, state, data):
        groups = variables(self)
        mapping = [
            pair
            for group, values in zip(groups, state, strict=True)
            for pair in zip(group, values, strict=True)
        ]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            logs = play(self, data)
        return logs, tuple([_read(scope, v) for v in group] for group in groups)

    return step


def with_rows(batch, at_least: int) -> tuple[Any, Any]:
    """Return a batch whose size TensorFlow does not know before it runs, and whether it is enough.

    One that is too small has its rows repeated, so that whatever is computed of it can be. (XLA
    drops TensorFlow's assertions.)
    """
    size = tf.shape(tf.nest.flatten(batch)[0])[0]
    rows = tf.range(tf.maximum(size, at_least)) % tf.maximum(size, 1)
    taken = keras.tree.map_structure(lambda x: tf.gather(x, rows), batch, none_is_leaf=False)
    return taken, size >= at_least


# -- running a method on NumPy arrays -------------------------------------------------------------


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
        _assign(seeds, before)
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


# -- distributions --------------------------------------------------------------------------------

_UNCHECKED: dict[str, Any] = {"validate_args": False}  # torch refuses grey pixels otherwise


def normal(mean, stddev, event_dims: int = 0):
    """Return a diagonal Gaussian; the last `event_dims` axes are one event."""
    return _independent(distributions.Normal(mean, stddev, **_UNCHECKED), event_dims)


def bernoulli(logits, event_dims: int = 0):
    """Return independent Bernoulli variables; the last `event_dims` axes are one event."""
    return _independent(distributions.Bernoulli(logits=logits, **_UNCHECKED), event_dims)


def continuous_bernoulli(logits, event_dims: int = 0):
    """Return independent continuous Bernoulli variables on [0, 1]."""
    kind = _ContinuousBernoulli if BACKEND == "torch" else distributions.ContinuousBernoulli
    return _independent(kind(logits=logits, **_UNCHECKED), event_dims)


if BACKEND == "torch":

    class _ContinuousBernoulli(distributions.ContinuousBernoulli):
        """PyTorch's, with the density in closed form: its own stops at logits of 16."""

        def log_prob(self, value):
            return continuous_bernoulli_log_density(value, self.logits)


def continuous_bernoulli_log_density(pixels, logits):
    """Return log p of pixels in [0, 1], elementwise, in nats.

    log p = x l - softplus(l) + log(l / tanh(l / 2)). Near l = 0 the last term is a series.

    Source: Loaiza-Ganem & Cunningham 2019, equation 7, written for logits.
    """
    ops = keras.ops
    size = ops.abs(logits)
    small = size < 0.5
    far = ops.where(small, ops.ones_like(size), size)
    # log tanh(l / 2) = log(1 - exp(-l)) - log(1 + exp(-l))
    normalizer = ops.log(far) - ops.log(-ops.expm1(-far)) + ops.log1p(ops.exp(-far))
    square = ops.square(ops.where(small, logits, ops.zeros_like(logits)))
    series = math.log(2) + square * (1 / 12 - square * (7 / 1440 - square * (31 / 90720)))
    return pixels * logits - ops.softplus(logits) + ops.where(small, series, normalizer)


def _independent(distribution, event_dims: int):
    if not event_dims:
        return distribution
    if BACKEND == "torch":
        return distributions.Independent(distribution, event_dims, **_UNCHECKED)
    return distributions.Independent(distribution, event_dims)


def mean(distribution):
    """Return the mean of a distribution of any backend."""
    return distribution.mean if BACKEND == "torch" else distribution.mean()


# -- several devices ------------------------------------------------------------------------------


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


def whole(tensor):
    """Return the rows of all replicas, of those that this one has: the same on each of them.

    Gradients reach all of them. On JAX a program sees the whole batch as it is.
    """
    replicas = _replicas()
    if replicas == 1:
        return tensor
    own = tf.one_hot(replica(), replicas, dtype=tensor.dtype)
    placed = tf.reshape(own, [-1] + [1] * len(tensor.shape)) * tensor[None]
    rows = tf.distribute.get_replica_context().all_reduce("sum", placed)
    return tf.reshape(rows, [-1, *tensor.shape[1:]])


def share(tensor):
    """Return those rows of `whole` that are this replica's."""
    replicas = _replicas()
    if replicas == 1:
        return tensor
    return tf.reshape(tensor, [replicas, -1, *tensor.shape[1:]])[replica()]


def _replicas() -> int:
    inside = BACKEND == "tensorflow" and tf.distribute.get_replica_context() is not None
    return tf.distribute.get_strategy().num_replicas_in_sync if inside else 1


def turn(batch, number: int, turns: int):
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


def replicas_of(model) -> int:
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
    alone = BACKEND != "tensorflow" or replicas_of(model) == 1
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


# -- convolutions ---------------------------------------------------------------------------------


def strided_convolutions() -> str:
    """Return how they run best: "keras", "native" (below) or "matmul"."""
    if BACKEND == "torch":
        return "native"
    return "matmul" if BACKEND == "jax" and jax.default_backend() == "cpu" else "keras"


def convolution(inputs, kernel, bias, stride: int):
    """Convolve (n, h, w, c) with (k, k, c, filters), padding "same": PyTorch, without copies."""
    return _native(torch.conv2d, inputs, kernel, bias, stride)


def transposed_convolution(inputs, kernel, bias, stride: int):
    """Transpose `convolution`; the kernel is (k, k, filters, c)."""
    return _native(torch.conv_transpose2d, inputs, kernel, bias, stride)


def _native(function: Callable, inputs, kernel, bias, stride: int):
    inputs, weights = inputs.permute(0, 3, 1, 2), kernel.value.permute(3, 2, 0, 1)
    padding = (kernel.shape[0] - stride) // 2
    outputs = function(inputs, weights, bias.value, stride=stride, padding=padding)
    return outputs.permute(0, 2, 3, 1)
