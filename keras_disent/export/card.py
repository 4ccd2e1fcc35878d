"""Card of an exported model: its configuration, run, scores, endpoints and package versions."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_disent._utils.version import __version__
from keras_disent.export.endpoints import Endpoint

_PACKAGES = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx", "openvino", "numpy")


def card(
    model: Any,
    endpoints: Sequence[Endpoint],
    format: str,
    run: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe an exported model in a dict that JSON can store.

    Args:
        model: Exported model.
        endpoints: Endpoints of the model.
        format: Name of the format.
        run: Configuration of the run that trained the model.
        scores: Scores of the run.
    """
    versions = {"keras_disent": __version__, "python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    descriptions = {
        endpoint.name: {
            "inputs": [_description(array) for array in endpoint.inputs],
            "outputs": [_description(array) for array in endpoint.outputs],
        }
        for endpoint in endpoints
    }
    ranges, information = model.latent_ranges, model.latent_information
    content = {
        "model": type(model).__name__,
        "format": format,
        "image_shape": model.image_shape,
        "pictures": model.pictures,
        "latent_dim": model.latent_dim,
        "latent_names": model.latent_names,
        "latent_ranges": None if ranges is None else ranges.tolist(),
        "latent_information": None if information is None else information.tolist(),
        "latent_values": [None if v is None else v.tolist() for v in model.latent_values()],
        "discrete_codes": model.discrete_codes,
        "steps": model.steps_taken(),
        "endpoints": descriptions,
        "default": endpoints[0].name,
        "run": run,
        "scores": scores,
        "config": keras.saving.serialize_keras_object(model)["config"],
        "versions": versions,
    }
    return json.loads(json.dumps(content))


def _description(array: Any) -> dict[str, Any]:
    return {"name": array.name, "shape": array.shape, "dtype": array.dtype}
