"""What Keras's optimizers need to serve a player: loss scaling, exclusions from weight decay."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend

MIN_LOSS_SCALE = 1e-6  # of a loss scaler that begins at 32,768


def with_loss_scale(optimizer: Any, scaled: bool) -> keras.optimizers.Optimizer:
    """Return an optimizer, or that of a name, with loss scaling if `scaled`."""
    optimizer = keras.optimizers.get(optimizer)
    if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def gradient_check(optimizer: Any, gradients: list[Any]) -> Tensor:
    """Return a scalar that is finite if an optimizer can use the gradients.

    Under loss scaling gradients may overflow: then the optimizer skips the step and halves the
    scale. A scale below `MIN_LOSS_SCALE` counts as a failure.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return ops.where(optimizer.dynamic_scale.value < MIN_LOSS_SCALE, float("nan"), 0.0)
    return backend.finite_check(gradients, optimizer.learning_rate)


def exclude_from_decay(
    optimizer: Any, variables: list[keras.Variable], names: str | None, exactly: bool = False
) -> None:
    """Exclude variables from the weight decay of a new optimizer, besides those it excludes.

    Args:
        optimizer: Optimizer that is not built yet.
        variables: Variables of the player, or with `exactly` those to exclude.
        names: Regular expression that is searched for in names of variables, or None.
        exactly: Whether `variables` are those to exclude.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    pattern, indices = decay_exclusions(inner, variables)
    excluded = variables if exactly else [variables[i] for i in indices]
    patterns = [p for p in (pattern, names) if p]
    if pattern and names and names in pattern:  # from a file, which has the model's names too
        patterns = [pattern]
    inner.exclude_from_weight_decay(var_list=excluded, var_names=patterns)


def decay_exclusions(
    optimizer: Any, variables: list[keras.Variable]
) -> tuple[str | None, list[int]]:
    """Return the weight decay exclusions of an optimizer: a name pattern, and variable indices."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    pattern = getattr(inner, "_exclude_from_weight_decay_pattern", None)
    keys = getattr(inner, "_exclude_from_weight_decay", None) or set()
    indices = [i for i, v in enumerate(variables) if inner._var_key(v) in keys]
    return (pattern.pattern if pattern else None), indices


def portable_config(config: Any) -> Any:
    """Rename optimizers for all backends: on PyTorch, Keras stores subclasses of its own."""
    if not isinstance(config, dict):
        return config
    config = {key: portable_config(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend.torch.optimizers"):
        config.update(module="keras.optimizers", registered_name=None)
    return config
