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
from keras_disent._utils.html import colors
from keras_disent._utils.version import __version__
from keras_disent.knobs import content, engine

METADATA = 14  # field of ONNX's ModelProto
SCRIPTS = ("runtime.js", "pictures.js", "gif.js", "causal.js", "page.js")


def write_page(
    model: Any,
    data: Any,
    path: str | Path,
    *,
    other: Any = None,
    names: Sequence[str] = (),
    title: str | None = None,
    sources: Sequence[str | Path] = (),
    runs: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[Mapping[str, Any] | None] = (),
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
        other: Second model of the same images, to compare: its latents are matched to those of
            `model` by the rank correlation of their codes, and move with them.
        names: Name of each model on the page. Default: its class.
        title: Title of the page. Default: the names and the name of the data set.
        sources: Run folder or `.keras` file of each model, for the Python code on the page.
        runs: Configuration of the run of each model, for the card on the page.
        scores: Scores of each model, as `Run.scores` returns them, for the card on the page.

    Returns:
        The path.

    Raises:
        ValueError: If a model does not decode codes, the images of the data have another shape, or
            a model cannot be exported. Nothing is written.
        ImportError: If the engine of the page, or a package for the export, is missing; says what
            to do.

    >>> from keras_disent import VAE, datasets
    >>> write_page(VAE((64, 64, 1), 4, "mlp", "mlp"), datasets.Sprites(32), "page.html")
    Traceback (most recent call last):
    ...
    ValueError: The model needs images (64, 64, 1), as it was trained on. Got (32, 32, 1).
    """
    with atomic_write(path) as temporary:
        text = page_text(
            model,
            data,
            other=other,
            names=names,
            title=title,
            sources=sources,
            runs=runs,
            scores=scores,
        )
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def page_text(
    model: Any,
    data: Any,
    *,
    other: Any = None,
    names: Sequence[str] = (),
    title: str | None = None,
    sources: Sequence[str | Path] = (),
    runs: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[Mapping[str, Any] | None] = (),
) -> str:
    """Return what `write_page` writes, which see."""
    models = [model] if other is None else [model, other]
    for one in models:
        _check(one, data)
    parts = engine_parts()
    names = list(names) or [type(one).__name__ for one in models]
    descriptions, cards, identities = [], [], []
    for i, (one, name) in enumerate(zip(models, names, strict=True)):
        source = str(sources[i]) if sources else None
        described = content.describe(one, data, name, source)
        networks, identity = _networks(one, i, causal=described["causal"] is not None)
        images = np.ascontiguousarray(content.examples(data)).tobytes()
        parts += [*networks, content.plain(f"examples-{i}", images)]
        descriptions.append(described)
        identities.append(identity)
        run, score = (values[i] if values else None for values in (runs, scores))
        cards.append(content.card(one, data, run, score))
    if other is not None:
        first, second = descriptions
        content.match(first, second, [content.codes(one, data) for one in models])
    title = title or f"{' and '.join(names)} on {data.name}"
    settings = {"title": title, "id": "-".join(identities), "models": descriptions}
    rows = dict(zip(names, cards, strict=True))
    return render(title, content.summary(models, data), settings, rows, parts)


def render(
    title: str,
    summary: str,
    settings: Mapping[str, Any],
    cards: Mapping[str, Mapping[str, str]],
    data: Sequence[str],
) -> str:
    """Return the page as text.

    Args:
        title: Title.
        summary: Sentences below it.
        settings: What the code of the page reads.
        cards: Rows of the table about each model, by its name.
        data: Elements with the engine, the networks and images.
    """
    static = resources.files(__package__).joinpath("static")
    license = resources.files(__package__).joinpath("onnxruntime_web", "LICENSE").read_text()
    return string.Template(static.joinpath("page.html").read_text()).substitute(
        generator=f"keras-disent {__version__}",
        title=html.escape(title),
        summary=html.escape(summary),
        style=colors() + static.joinpath("page.css").read_text(),
        card=_table(cards),
        license=html.escape(license),
        settings=json.dumps(settings, allow_nan=False).replace("<", "\\u003c"),
        data="\n".join(data),
        script="\n".join(static.joinpath(name).read_text() for name in SCRIPTS),
    )


def engine_parts() -> list[str]:
    """Return the engine as elements of a page.

    Raises:
        ImportError: If it is not installed; says what to do.
    """
    return [
        content.plain("engine-script", engine.read(engine.SCRIPT), zipped=True),
        content.plain("engine-wasm", engine.read(engine.WASM), zipped=True),
    ]


def network_parts(
    folder: Path, number: int, names: Sequence[str], bare: bool = False
) -> tuple[list[str], str]:
    """Return networks exported as "onnx" as elements of a page, and what tells them apart.

    Args:
        folder: Folder of the exported model.
        number: Number of the model on the page.
        names: Names of the networks.
        bare: Whether the cards in the networks are left out, which have paths of their run.
    """
    files = {**{name: f"{name}.onnx" for name in names}, "weights": "weights.bin"}
    contents = {name: (folder / file).read_bytes() for name, file in files.items()}
    if bare:
        contents |= {name: without_metadata(contents[name]) for name in names}
    elements = [content.plain(f"{name}-{number}", part) for name, part in contents.items()]
    return elements, content.digest(list(contents.values()))


def without_metadata(model: bytes) -> bytes:
    """Return an ONNX file without its `metadata_props`, field 14 of the message `ModelProto`.

    Fields of a message stand one after another: a number that has the field and its kind, then
    another number (kind 0), or the length of what follows (kind 2).

    >>> without_metadata(bytes([0x08, 0x07, 0x72, 0x02, 0x41, 0x42, 0x3A, 0x01, 0x43])).hex()
    '08073a0143'
    """
    result, place = bytearray(), 0
    while place < len(model):
        start = place
        tag, place = _number(model, place)
        if tag & 7 not in (0, 2):
            raise ValueError("A network of this folder is no ONNX file.")
        number, place = _number(model, place)
        if tag & 7 == 2:
            place += number
        if tag >> 3 != METADATA:
            result += model[start:place]
    return bytes(result)


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the place after it."""
    value = shift = 0
    while content[place] & 0x80:
        value |= (content[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
    return value | content[place] << shift, place + 1


def _table(cards: Mapping[str, Mapping[str, str]]) -> str:
    """Return an HTML table with a column for each model."""
    headings = dict.fromkeys(heading for card in cards.values() for heading in card)
    names = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in cards)
    rows = [f"<tr><td></td>{names}</tr>"] if len(cards) > 1 else []
    for heading in headings:
        cells = "".join(f"<td>{html.escape(card.get(heading, ''))}</td>" for card in cards.values())
        rows.append(f'<tr><th scope="row">{html.escape(heading)}</th>{cells}</tr>')
    return f"<table>{''.join(rows)}</table>"


def _check(model: Any, data: Any) -> None:
    from keras_disent.models.image_model import ImageModel  # needs Keras

    if getattr(type(model), "decode_tensors", None) in (None, ImageModel.decode_tensors):
        raise ValueError(
            "The page shows what codes decode to: a model for it defines `decode_tensors`. "
            f"Got {type(model).__name__}."
        )
    if tuple(data.image_shape) != tuple(model.image_shape):
        raise ValueError(
            f"The model needs images {tuple(model.image_shape)}, as it was trained on. "
            f"Got {tuple(data.image_shape)}."
        )


def _networks(model: Any, number: int, causal: bool) -> tuple[list[str], str]:
    """Return the exported networks as elements of a page, and what tells them apart."""
    from keras_disent import export  # needs Keras

    names = ["decode", "encode", *(["intervene"] if causal else [])]
    with tempfile.TemporaryDirectory() as folder:
        exported = export.model(model, Path(folder) / "onnx", "onnx", names=names)
        return network_parts(exported, number, names)
