"""Write the page: networks, engine, measures and code in one HTML file."""

from __future__ import annotations

import html
import json
import string
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent._utils.files import atomic_write
from keras_disent._utils.version import __version__
from keras_disent.knobs import content, engine

SCRIPTS = ("runtime.js", "pictures.js", "gif.js", "page.js")


def write_page(
    model: Any,
    data: Any,
    path: str | Path,
    *,
    title: str | None = None,
    source: str | Path | None = None,
    run: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> Path:
    """Write a page that runs a model in the browser, with a slider for each latent.

    It is one file, which opens from a disk and sends and fetches nothing. Sliders are ordered by
    `latent_importance`, their ranges are quantiles of the codes of the data. The networks are those
    of `export.model(model, folder, "onnx")`.

    Args:
        model: Model of this package, or of a custom subclass.
        data: Data set whose images have the shape of the model's: its codes give the ranges, and
            its first example images are on the page.
        path: HTML file to write.
        title: Title of the page. Default: the class of the model and the name of the data set.
        source: Run folder or `.keras` file of the model, for the Python code on the page.
        run: Configuration of the run, for the card on the page.
        scores: Scores of the model, as `Run.scores` returns them, for the card on the page.

    Returns:
        The path.

    Raises:
        ValueError: If the model does not decode codes, the images of the data have another shape,
            or the model cannot be exported. Nothing is written.
        ImportError: If the engine of the page, or a package for the export, is missing; says what
            to do.

    >>> from keras_disent import VAE, datasets
    >>> write_page(VAE((64, 64, 1), 4, "mlp", "mlp"), datasets.Sprites(32), "page.html")
    Traceback (most recent call last):
    ...
    ValueError: The model needs images (64, 64, 1), as it was trained on. Got (32, 32, 1).
    """
    _check_decoder(model)
    if tuple(data.image_shape) != tuple(model.image_shape):
        raise ValueError(
            f"The model needs images {tuple(model.image_shape)}, as it was trained on. "
            f"Got {tuple(data.image_shape)}."
        )
    shared = [
        content.plain("engine-script", engine.read(engine.SCRIPT), zipped=True),
        content.plain("engine-wasm", engine.read(engine.WASM), zipped=True),
    ]
    name = title or f"{type(model).__name__} on {data.name}"
    parts, identity = _networks(model, 0)
    images = content.plain("examples-0", np.ascontiguousarray(content.examples(data)).tobytes())
    settings = {
        "title": name,
        "id": identity,
        "models": [content.describe(model, data, name, None if source is None else str(source))],
    }
    card = content.card(model, data, run, scores)
    text = render(name, content.summary(model, data), settings, card, [*shared, *parts, images])
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def render(
    title: str,
    summary: str,
    settings: Mapping[str, Any],
    card: Sequence[tuple[str, str]],
    data: Sequence[str],
) -> str:
    """Return the page as text.

    Args:
        title: Title.
        summary: Sentences below it.
        settings: What the code of the page reads.
        card: Rows of the table about the model.
        data: Elements with the engine, the networks and images.
    """
    static = resources.files(__package__).joinpath("static")
    rows = "".join(
        f'<tr><th scope="row">{html.escape(heading)}</th><td>{html.escape(text)}</td></tr>'
        for heading, text in card
    )
    license = resources.files(__package__).joinpath("onnxruntime_web", "LICENSE").read_text()
    return string.Template(static.joinpath("page.html").read_text()).substitute(
        generator=f"keras-disent {__version__}",
        title=html.escape(title),
        summary=html.escape(summary),
        style=static.joinpath("page.css").read_text(),
        card=f"<table>{rows}</table>",
        license=html.escape(license),
        settings=json.dumps(settings, allow_nan=False).replace("<", "\\u003c"),
        data="\n".join(data),
        script="\n".join(static.joinpath(name).read_text() for name in SCRIPTS),
    )


def _check_decoder(model: Any) -> None:
    from keras_disent.models.image_model import ImageModel  # needs Keras

    if getattr(type(model), "decode_tensors", None) in (None, ImageModel.decode_tensors):
        raise ValueError(
            "The page shows what codes decode to: a model for it defines `decode_tensors`. "
            f"Got {type(model).__name__}."
        )


def _networks(model: Any, number: int) -> tuple[list[str], str]:
    """Return the exported networks as elements of a page, and what tells them apart."""
    from keras_disent import export  # needs Keras

    files = {"decode": "decode.onnx", "encode": "encode.onnx", "weights": "weights.bin"}
    with tempfile.TemporaryDirectory() as folder:
        exported = export.model(model, Path(folder) / "onnx", "onnx")
        contents = {name: (exported / file).read_bytes() for name, file in files.items()}
    elements = [content.plain(f"{name}-{number}", part) for name, part in contents.items()]
    return elements, content.digest(list(contents.values()))
