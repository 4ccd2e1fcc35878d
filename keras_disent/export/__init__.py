"""Export models for serving: named endpoints in a format that needs neither Keras nor this package.

An artifact is a folder with the files of its format and `card.json`, which says what the model is,
what it learned from, its scores, and the names, shapes and dtypes of its endpoints. These are the
same in every format and whichever backend the model was trained on:

| endpoint | inputs | outputs |
|---|---|---|
| `serve`, the default | `images` uint8 (n, h, w, c) | `reconstructed` (n, h, w, c) |
| `encode` | `images` | `mean` (n, D), and `log_variance` (n, D) of models with a posterior |
| `decode` | `codes` float32 (n, D) | `decoded` (n, h, w, c) |
| `reconstruct` | `images` | `reconstructed` |
| `traverse` | `images`, `latents` int32 (l,), `values` float32 (v,) | `traversed`, (n, l, v, ...) |

Any number n of images is taken. Images come out as float32 in [0, 1], or as uint8 if asked for.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.registry import lookup
from keras_disent.artifact import CARD, read_card
from keras_disent.configuration import Config
from keras_disent.export import with_tensorflow, with_torch
from keras_disent.export.card import card
from keras_disent.export.elsewhere import write_elsewhere
from keras_disent.export.endpoints import IMAGES, Array, Endpoint, endpoints
from keras_disent.export.precision import in_single_precision

__all__ = ["FORMATS", "Array", "Endpoint", "Format", "endpoints", "model", "read_card", "run"]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exported models.

    Attributes:
        write: writes the files: (endpoints, model, folder, card) -> None.
        backend: the backend of Keras that it runs under.
        packages: what has to be installed besides.
        files: what the folder then holds.
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
) -> Path:
    """Write a model as an artifact; return its folder.

    A format that another backend writes is written by that backend, in a process of its own. A
    model of half precision is written in float32.

    Args:
        model: a model of this package, or of one's own class over one of them.
        path: a new or empty folder.
        format: a name in `FORMATS`: "saved_model" (or Keras's "tf_saved_model"), "onnx", "litert",
            "openvino" or "torch".
        images: dtype of the images that come out: "float32" in [0, 1] or "uint8" in 0..255.
        run, scores: for the card: what made the model, and how well it does.

    Raises:
        ValueError: an unknown format or dtype, a path that exists or cannot be written, a model
            that the other backend cannot open. Nothing is overwritten or half-written.
        ImportError: if a package is missing that writes the format; says which.

    >>> from keras_disent import VAE
    >>> model(VAE((32, 32, 1), 4, "mlp", "mlp"), "served", "tflite")
    Traceback (most recent call last):
    ...
    ValueError: No format 'tflite' here. Choose from: litert, onnx, openvino, saved_model, torch.
    """
    format, wanted = _format(format)
    path = Path(path)
    if images not in IMAGES:
        raise ValueError(f"`images` is {' or '.join(map(repr, IMAGES))}. Got {images!r}.")
    _check_packages(format, wanted)
    _check_target(path)
    model = in_single_precision(model)
    offered = endpoints(model, images)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"Cannot write into {str(path.parent)!r}: {error.strerror}.") from None
    try:
        if keras.backend.backend() == wanted.backend:
            described = card(model, offered, format, run, scores)
            wanted.write(offered, model, partial, described)
            (partial / CARD).write_text(json.dumps(described, indent=2) + "\n")
        else:
            options = {"images": images, "run": run, "scores": scores}
            write_elsewhere(model, partial, format, wanted.backend, options)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def run(
    folder: str | Path, path: str | Path, format: str = "saved_model", *, images: str = "float32"
) -> Path:
    """Write the model of a finished run as an artifact, its configuration and scores in the card.

    Args:
        folder: of the run.
        path, format, images: as `model`.

    Raises:
        ValueError: as `model`, and if the run has not begun or not ended.
        ImportError: as `model`.
    """
    from keras_disent import runs

    folder = Path(folder)
    config = Config.read(folder)
    _format(format)
    _check_target(Path(path))
    if not (folder / runs.MODEL).exists():
        raise ValueError(f"The run in {str(folder)!r} has no {runs.MODEL} yet: train it first.")
    trained = runs.load_model(folder)
    if trained.steps_taken() < config.steps:
        raise ValueError(
            f"The run in {str(folder)!r} has taken {trained.steps_taken():,} of {config.steps:,} "
            "steps. End it with `train --resume`, or export `load_model(folder)` from Python."
        )
    scores = folder / runs.SCORES
    return model(
        trained,
        path,
        format,
        images=images,
        run=json.loads(config.to_json()),
        scores=json.loads(scores.read_text()) if scores.exists() else None,
    )


def _format(name: str) -> tuple[str, Format]:
    """Return a format and its name here; Keras calls a SavedModel "tf_saved_model"."""
    name = "saved_model" if name == "tf_saved_model" else name
    return name, lookup(name, FORMATS, "format")


def _check_target(path: Path) -> None:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"An export needs a new or empty folder. {str(path)!r} is neither.")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"Cannot write into {str(path.parent)!r}.")


def _check_packages(format: str, wanted: Format) -> None:
    extras = {wanted.backend: wanted.backend, **dict.fromkeys(wanted.packages, "export")}
    missing = [name for name in extras if importlib.util.find_spec(name) is None]
    if missing:
        install = ",".join(sorted({extras[name] for name in missing}))
        raise ImportError(
            f"The format {format!r} needs {' and '.join(missing)}: "
            f"pip install 'keras-disent[{install}]'."
        )
