"""Conversion of models to float32 for export: formats support half precision only in part."""

from __future__ import annotations

from typing import Any

import keras


def in_single_precision(model: Any) -> Any:
    """Return a model with the same weights that computes in float32, or `model` if it does.

    >>> from keras_disent import VAE
    >>> half = VAE((32, 32, 1), 4, "mlp", "mlp", dtype="mixed_bfloat16")
    >>> in_single_precision(half).dtype_policy.name
    'float32'
    """
    config = keras.saving.serialize_keras_object(model)
    single = _single(config)
    if single == config:
        return model
    copy = keras.saving.deserialize_keras_object({**single, "compile_config": None})
    for variable, original in zip(copy.variables, model.variables, strict=True):
        variable.assign(original.value)
    copy.latent_measures = model.latent_measures
    return copy


def _single(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _single(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_single(value) for value in config)
    halves = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
    return "float32" if isinstance(config, str) and config in halves else config
