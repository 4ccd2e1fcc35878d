"""The card of an exported model: what it is, what it learned from, how well, made by what."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_disent import __version__
from keras_disent.export.endpoints import Endpoint

_PACKAGES = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx", "openvino", "numpy")


def card(
    model: Any,
    endpoints: Sequence[Endpoint],
    format: str,
    run: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the card as what JSON can hold.

    Args:
        model: the model.
        endpoints: its endpoints.
        format: name of the format.
        run: configuration of the run that made it.
        scores: of the run.
    """
    versions = {"keras_disent": __version__, "python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    described = {
        endpoint.name: {
            "inputs": [_described(array) for array in endpoint.inputs],
            "outputs": [_described(array) for array in endpoint.outputs],
        }
        for endpoint in endpoints
    }
    written = {
        "model": type(model).__name__,
        "format": format,
        "image_shape": model.image_shape,
        "latent_dim": model.latent_dim,
        "steps": model.steps_taken(),
        "endpoints": described,
        "default": endpoints[0].name,
        "run": run,
        "scores": scores,
        "config": keras.saving.serialize_keras_object(model)["config"],
        "versions": versions,
    }
    return json.loads(json.dumps(written))


def _described(array: Any) -> dict[str, Any]:
    return {"name": array.name, "shape": array.shape, "dtype": array.dtype}
