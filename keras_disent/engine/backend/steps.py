"""Training steps: how a gradient is taken, a step applied or refused, and its signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND
from keras_disent.engine.backend.devices import all_gather, replica_count

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch

Objective = Callable[[], tuple[Any, dict[str, Any]]]
Step = Callable[[Any, Any], dict[str, Any]]


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
    elif BACKEND == "tensorflow" and replica_count() > 1:
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


def reason_unless(reason, fine, number: int):
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
    if replica_count() == 1:
        return reason
    return tf.reduce_max(all_gather(tf.reshape(reason, [1])))


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


def _read(scope, variable):
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


# -- the signature of train_step and test_step ----------------------------------------------------


def train_step(play: Step) -> Callable:
    """Turn `play(model, data) -> logs`, written with state, into the backend's `train_step`."""
    return _step(play, ("trainable_variables", "non_trainable_variables", "optimizer", "metrics"))


def test_step(play: Step) -> Callable:
    """Turn `play(model, data) -> logs`, written with state, into the backend's `test_step`."""
    return _step(play, ("trainable_variables", "non_trainable_variables", "metrics"))


def _step(play: Step, lists: tuple[str, ...]) -> Callable:
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
