"""Training steps: gradients, applying or skipping a step, and the signature of `train_step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND
from keras_disent.engine.backend.devices import all_gather, replica_count
from keras_disent.engine.backend.interrupts import uninterrupted
from keras_disent.engine.backend.optimizers import all_finite, applying, decides, stays_finite

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch

Objective = Callable[[], tuple[Any, dict[str, Any]]]
Reason = Tensor
"""0, or the number of a reason: an int32 scalar."""
Step = Callable[[Any, Any], dict[str, Any]]


# -- gradients ------------------------------------------------------------------------------------


def gradients(
    model: keras.Model, objective: Objective, variables: list[keras.Variable]
) -> tuple[dict[str, Any], list[Any]]:
    """Differentiate `objective() -> (scalar, terms)` with respect to `variables` only.

    Returns (terms, gradients). Variables that the objective assigns (seeds, moving averages) keep
    their new values.
    """
    values = [v.value for v in variables]
    if BACKEND == "tensorflow":
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            scalar, terms = objective()
            scalar = scalar / replicas  # the strategy sums over replicas
        # A variable may change only after all reads of it. TensorFlow orders these, but its graph
        # optimizer (2.21) loses the order through Keras's optimizer, and through an output gradient
        # of 1 that is computed from the loss: a variable whose own gradient needs less than the
        # loss sometimes changed too early. So the output gradient is a constant, and updates wait.
        grads = tape.gradient(scalar, values, output_gradients=tf.constant(1.0, scalar.dtype))
        with tf.control_dependencies([scalar, *(g for g in grads if g is not None)]):
            return terms, [g if g is None else tf.identity(g) for g in grads]
    if BACKEND == "torch":
        scalar, terms = objective()
        grads = torch.autograd.grad(scalar, values, allow_unused=True) if values else ()
        return {name: term.detach() for name, term in terms.items()}, list(grads)

    # A scope does not see the values of the scope around it, so the inner one gets every variable.
    assignable = [*model.non_trainable_variables, *model.metrics_variables]
    others = [*model.trainable_variables, *model.optimizer.variables]
    everything = [(v, v.value) for v in [*assignable, *others]]

    def pure(values: list[Any]) -> Any:
        mapping = [*everything, *zip(variables, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            scalar, terms = objective()
        return scalar, (terms, [_read(scope, v) for v in assignable])

    grads, (terms, updates) = jax.grad(pure, has_aux=True)(values)
    for variable, value in zip(assignable, updates, strict=True):
        variable.assign(value)
    return terms, grads


def apply(
    reason: Reason,
    optimizer: keras.optimizers.Optimizer,
    grads: list[Any],
    variables: list[keras.Variable],
    state: list[Any],
    previous: list[Any],
    not_finite: int,
) -> Reason:
    """Apply one optimizer step to `variables`, unless there is a reason to skip it.

    Args:
        reason: 0, or the number of the reason to skip the step.
        optimizer: Optimizer of the player.
        grads: Gradients of the variables.
        variables: Variables of the player.
        state: Other variables that the objective has changed.
        previous: Values of `state` before the step, restored if it is skipped.
        not_finite: Number of the reason that the new weights are not finite.

    Returns:
        `reason`, or `not_finite`. Under `tf.distribute` new weights are not looked at.
    """
    looks = bool(variables) and not stays_finite(optimizer)
    if BACKEND == "torch":
        with torch.no_grad():
            if bool(reason != 0):  # the only value of a step that the host waits for
                _assign(state, previous)
            elif variables:
                touched = [*variables, *optimizer.variables] if looks else []
                before = [v.value.clone() for v in touched]
                optimizer.apply(grads, variables)
                if looks and not bool(all_finite([v.value for v in variables])):
                    _assign([*state, *touched], [*previous, *before])
                    return reason + not_finite
        return reason
    if BACKEND == "tensorflow" and replica_count() > 1:
        # A strategy merges replicas, which a branch of a graph cannot do: use gradients of 0.
        grads = [g if g is None else tf.where(reason == 0, g, tf.zeros_like(g)) for g in grads]
        optimizer.apply(grads, variables)
        return reason
    if BACKEND == "tensorflow":

        def update() -> Any:
            if not variables:
                return reason
            touched = [*variables, *optimizer.variables] if looks else []
            before = [tf.identity(v.value) for v in touched]
            with tf.control_dependencies(before):
                optimizer.apply(grads, variables)
            if not looks:
                return reason

            def take_back() -> Any:
                _assign([*state, *touched], [*previous, *before])
                return tf.constant(not_finite, reason.dtype)

            return tf.cond(all_finite([v.value for v in variables]), lambda: reason, take_back)

        def restore() -> Any:
            _assign(state, previous)
            return reason

        return tf.cond(reason == 0, update, restore)

    applied = reason == 0
    if variables:
        with applying(applied):
            new_values, new_optimizer_values = optimizer.stateless_apply(
                [v.value for v in optimizer.variables], grads, [v.value for v in variables]
            )
        if looks:
            stays = keras.ops.logical_or(reason != 0, all_finite(new_values))
            reason = keras.ops.where(stays, reason, not_finite)
            applied = reason == 0
        decided = decides(optimizer, variables) and not looks
        for variable, value in zip(
            [*variables, *optimizer.variables],
            [*new_values, *new_optimizer_values],
            strict=True,
        ):
            if not decided or variable is optimizer.iterations:
                value = jax.numpy.where(applied, value, variable.value)
            variable.assign(value)
    for variable, value in zip(state, previous, strict=True):
        variable.assign(jax.numpy.where(applied, variable.value, value))
    return reason


def _assign(variables: list[keras.Variable], values: list[keras.Variable]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# -- reasons to skip a step: an int32 scalar, 0 for none ------------------------------------------


def reason_unless(reason: Reason, condition: Tensor, number: int) -> Reason:
    """Return `reason`, or `number` if it is 0 and the scalar `condition` is false."""
    condition = keras.ops.logical_or(condition, keras.ops.not_equal(reason, 0))
    return _synchronize(keras.ops.where(condition, reason, number))


def not_finite(reason: Any, scalars: list[Any], numbers: list[int]) -> Reason:
    """Return `reason`, or if it is 0 the number of the first scalar that is not finite."""
    if BACKEND == "torch":  # what follows, without what Keras does around each operation
        values = torch.isfinite(torch.stack([x.float() for x in scalars]))
        first = torch.tensor(numbers, dtype=reason.dtype, device=reason.device)
        first = first[values.int().argmin()]
        return torch.where(values.all() | (reason != 0), reason, first)
    ops = keras.ops
    values = ops.isfinite(ops.stack([ops.cast(x, "float32") for x in scalars]))
    first = ops.argmin(ops.cast(values, "int32"))
    number = ops.take(ops.convert_to_tensor(numbers, "int32"), first)
    unchanged = ops.logical_or(ops.all(values), ops.not_equal(reason, 0))
    return _synchronize(ops.where(unchanged, reason, number))


def _synchronize(reason: Reason) -> Reason:
    """Return the same reason on all replicas, the largest."""
    if replica_count() == 1:
        return reason
    return tf.reduce_max(all_gather(tf.reshape(reason, [1])))


def nan_if(reason: Reason, terms: dict[str, Any]) -> dict[str, Any]:
    """Return the terms, or NaN for all of them if there is a reason to skip the step."""
    return {name: keras.ops.where(reason == 0, x, float("nan")) for name, x in terms.items()}


def add_to(variable: keras.Variable, value: Any) -> None:
    """Add a number to a variable of the same dtype."""
    if BACKEND == "torch":
        variable.value.add_(value.detach())
    else:
        variable.assign_add(value)


def count(reason: Reason, steps: keras.Variable, fault: keras.Variable) -> None:
    """Count a step that was applied, else record the first one that was skipped, and its reason."""
    ops = keras.ops
    applied = ops.equal(reason, 0)
    unchanged = ops.logical_or(applied, ops.not_equal(fault[1], 0))
    fault.assign(ops.where(unchanged, fault.value, ops.stack([steps.value, reason])))
    steps.assign_add(ops.cast(applied, "int32"))


def _read(scope: keras.StatelessScope, variable: keras.Variable) -> Tensor:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


# -- the signature of train_step and test_step ----------------------------------------------------


def train_step(stateful_step: Step) -> Callable[..., Any]:
    """Convert `stateful_step(model, data) -> logs` to the backend's `train_step`."""
    names = ("trainable_variables", "non_trainable_variables", "optimizer", "metrics")
    return _step(stateful_step, names)


def test_step(stateful_step: Step) -> Callable[..., Any]:
    """Convert `stateful_step(model, data) -> logs` to the backend's `test_step`."""
    return _step(stateful_step, ("trainable_variables", "non_trainable_variables", "metrics"))


def _step(stateful_step: Step, lists: tuple[str, ...]) -> Callable[..., Any]:
    if BACKEND == "torch":

        def whole(self: keras.Model, data: Any) -> Any:
            with uninterrupted():
                return stateful_step(self, data)

        return whole
    if BACKEND == "tensorflow":

        def after_data(self: keras.Model, data: Any) -> Any:
            # A stream of unknown length ends with one more call, without data. Operations that do
            # not wait for the data (the counting of steps and seeds) would run once too often.
            tensors = [part for part in tf.nest.flatten(data) if part is not None]
            with tf.control_dependencies(tensors):
                return stateful_step(self, data)

        return after_data

    def variables(model: keras.Model) -> list[list[keras.Variable]]:
        getters = {
            "optimizer": lambda: model.optimizer.variables,
            "metrics": lambda: model.metrics_variables,
        }
        return [getters[name]() if name in getters else getattr(model, name) for name in lists]

    def step(self: keras.Model, state: Any, data: Any) -> Any:
        groups = variables(self)
        mapping = [
            pair
            for group, values in zip(groups, state, strict=True)
            for pair in zip(group, values, strict=True)
        ]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            logs = stateful_step(self, data)
        return logs, tuple([_read(scope, v) for v in group] for group in groups)

    return step


def pad_rows(batch: Any, at_least: int) -> tuple[Any, Any]:
    """Pad a batch of unknown size to `at_least` rows, and return whether it had as many.

    TensorFlow may know the size of a batch only at run time. The rows of a small batch are
    repeated, so that all terms can be computed. (XLA drops TensorFlow's assertions.)
    """
    size = tf.shape(tf.nest.flatten(batch)[0])[0]
    rows = tf.range(tf.maximum(size, at_least)) % tf.maximum(size, 1)
    padded = keras.tree.map_structure(lambda x: tf.gather(x, rows), batch, none_is_leaf=False)
    return padded, size >= at_least
