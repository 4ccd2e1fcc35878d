"""Export models for serving: named endpoints in a format that needs neither Keras nor this package.

An artifact is a folder with the files of its format and `card.json`. The card describes the model,
its run and scores, and the names, shapes and dtypes of its endpoints. Endpoints are the same in
every format, whichever backend the model was trained on:

| endpoint | inputs | outputs |
|---|---|---|
| `serve`, the default | `images` uint8 (n, h, w, c) | `reconstructed` (n, h, w, c) |
| `encode` | `images` | `mean` (n, D), and `log_variance` (n, D) of models with a posterior |
| `decode` | `codes` float32 (n, D) | `decoded` (n, h, w, c) |
| `reconstruct` | `images` | `reconstructed` |
| `traverse` | `images`, `latents` int32 (l,), `values` float32 (v,) | `traversed`, (n, l, v, ...) |

Endpoints take any number n of images. They return images as float32 in [0, 1], or as uint8.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils import native
from keras_disent._utils.artifact import CARD, read_card
from keras_disent._utils.files import atomic_folder, check_new_folder
from keras_disent._utils.registry import lookup
from keras_disent.export import with_tensorflow, with_torch
from keras_disent.export.card import card
from keras_disent.export.elsewhere import write_elsewhere
from keras_disent.export.endpoints import IMAGES, Array, Endpoint, endpoints
from keras_disent.export.precision import in_single_precision

__all__ = ["FORMATS", "Array", "Endpoint", "Format", "check", "endpoints", "model", "read_card"]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclasses.dataclass(frozen=True)
class Format:
    """Describe a format of exported models.

    Attributes:
        write: Function (endpoints, model, folder, card) that writes the files.
        backend: Backend of Keras that `write` needs.
        packages: Further packages that `write` needs.
        files: Names of the files in the folder.
    """

    write: Callable[..., None]
    backend: str
    packages: tuple[str, ...]
    files: str


FORMATS = {
    "saved_model": Format(
        with_tensorflow.saved_model, "tensorflow", (), "saved_model.pb, variables/"
    ),
    "onnx": Format(
        with_tensorflow.onnx, "tensorflow", ("onnx", "tf2onnx"), "ENDPOINT.onnx, weights.bin"
    ),
    "litert": Format(with_tensorflow.litert, "tensorflow", (), "model.tflite"),
    "openvino": Format(
        with_tensorflow.openvino,
        "tensorflow",
        ("openvino", "onnx", "tf2onnx"),
        "ENDPOINT.xml, ENDPOINT.bin",
    ),
    "torch": Format(with_torch.torch, "torch", (), "model.pt2"),
}


def model(
    model: Any,
    path: str | Path,
    format: str = "saved_model",
    *,
    images: str = "float32",
    run: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Export a model to a folder atomically, and return the folder.

    A format that needs another backend is written in a separate process under that backend. A model
    of half precision is exported in float32.

    Args:
        model: Model of this package, or of a custom subclass.
        path: Folder to write, new or empty.
        format: Name in `FORMATS`: "saved_model" (or Keras's "tf_saved_model"), "onnx", "litert",
            "openvino" or "torch".
        images: Dtype of the returned images: "float32" in [0, 1] or "uint8" in 0..255.
        run: Configuration of the run, for the card.
        scores: Scores of the model, for the card.
        names: Names of the endpoints to write, see `endpoints`. Default: the five above.

    Raises:
        ValueError: For an unknown format, dtype or endpoint, a path that exists or cannot be
            written, or a model that the other backend cannot load. Nothing is overwritten or
            partially written.
        ImportError: If a package that the format needs is missing; says which.

    >>> from keras_disent import VAE
    >>> model(VAE((32, 32, 1), 4, "mlp", "mlp"), "served", "tflite")
    Traceback (most recent call last):
    ...
    ValueError: Unknown format 'tflite'. Choose from: litert, onnx, openvino, saved_model, torch.
    """
    name, format_ = _format(format)
    path = Path(path)
    if images not in IMAGES:
        raise ValueError(f"`images` is {' or '.join(map(repr, IMAGES))}. Got {images!r}.")
    _check_packages(name, format_)
    check_new_folder(path, "An export")
    with native.without_tensorflow():
        model = in_single_precision(model)
    model_endpoints = endpoints(model, images, names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with native.without_tensorflow(), atomic_folder(path) as partial:
            if keras.backend.backend() == format_.backend:
                model_card = card(model, model_endpoints, name, run, scores)
                format_.write(model_endpoints, model, partial, model_card)
                (partial / CARD).write_text(json.dumps(model_card, indent=2) + "\n")
            else:
                options = {"images": images, "run": run, "scores": scores, "names": names}
                write_elsewhere(model, partial, name, format_.backend, options)
    except PermissionError as error:
        raise ValueError(f"Cannot write into {str(path.parent)!r}: {error.strerror}.") from None
    return path


def check(path: str | Path, format: str) -> None:
    """Check that a model can be written to a path in a format.

    Raises:
        ValueError: For an unknown format, or a path that exists or cannot be written.
    """
    _format(format)
    check_new_folder(path, "An export")


def _format(name: str) -> tuple[str, Format]:
    """Return the name of a format and the format; Keras calls a SavedModel "tf_saved_model"."""
    name = "saved_model" if name == "tf_saved_model" else name
    return name, lookup(name, FORMATS, "format")


def _check_packages(name: str, format: Format) -> None:
    extras = {format.backend: format.backend, **dict.fromkeys(format.packages, "export")}
    missing = [package for package in extras if importlib.util.find_spec(package) is None]
    if missing:
        install = ",".join(sorted({extras[package] for package in missing}))
        raise ImportError(
            f"The format {name!r} needs {' and '.join(missing)}: "
            f"pip install 'keras-disent[{install}]'."
        )
