"""Show a data set: a contact sheet, one line of text, a table for notebooks."""

from __future__ import annotations

import base64
import html
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from keras_disent._utils.checks import check_integer
from keras_disent._utils.texts import printable
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource


def contact_sheet(data: ImageSource, *, seed: int = 0, rows: int = 3, columns: int = 12) -> Any:
    """Draw random images of a data set and, for a grid, a traversal of each factor.

    The images of a folder of pictures have their labels, or else the names of their files, below
    them. In the row of a factor, all others keep their middle step. Circular factors keep steps
    that are a third of the circle apart, so that hues differ.

    Args:
        data: Any data set.
        seed: Random seed of the images.
        rows: Number of rows of random images.
        columns: Maximum number of images in a row.

    Returns:
        A matplotlib figure; `keras_disent.plots.save` writes it.

    >>> from keras_disent.datasets import Sprites
    >>> contact_sheet(Sprites(32)).dpi
    160
    """
    from keras_disent import plots

    check_integer("seed", seed, 0)
    check_integer("rows", rows, 1)
    check_integer("columns", columns, 1)
    rng = np.random.default_rng(seed)
    captions, heading = None, "at random"
    if data.files:
        columns = min(columns, 8)  # room for captions
        if len(data) <= rows * columns:
            indices, heading = np.arange(len(data)), "all images"
        else:
            indices = np.sort(rng.choice(len(data), rows * columns, replace=False))
        captions = _captions(data, indices)
    else:
        indices = rng.integers(len(data), size=rows * columns)
    samples = data.observations(indices, rng)
    traversals: dict[str, np.ndarray] = {}
    if isinstance(data, GroundTruth):
        sizes = np.array(data.factor_sizes)
        circular = np.array(data.factor_kinds) == "circular"
        middle = np.where(circular, np.arange(len(sizes)) * sizes // 3 % sizes, sizes // 2)
        for column, (name, size) in enumerate(
            zip(data.factor_names, data.factor_sizes, strict=True)
        ):
            if size > 1:
                count = min(size, columns)
                factors = np.tile(middle, (count, 1))
                factors[:, column] = np.linspace(0, size - 1, count).round()
                traversals[f"{name}\n{format_values(data, name)}"] = data.observe(factors)
    title = f"{data.name}: {len(data):,} images {' x '.join(map(str, data.image_shape))}"
    return plots.contact_sheet(
        samples, traversals, columns=columns, title=title, heading=heading, captions=captions
    )


def _captions(data: ImageSource, indices: np.ndarray) -> list[str]:
    """Return the labels of images if they are short, else the names of their files."""
    if data.factor_names:
        values = data.factor_values.values()
        texts = [
            ", ".join(
                "?" if step < 0 else _format(v[step]) for v, step in zip(values, row, strict=True)
            )
            for row in data.factors(indices)
        ]
        if max(map(len, texts)) <= 20:
            return texts
    return [printable(data.files[i].rpartition("/")[2]) for i in indices]


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, np.floating) else printable(str(value))


def describe(data: ImageSource) -> str:
    """Return one line on a data set: name, number and shape of the images, sizes of the factors.

    Labels that are nearly a grid say how many of its combinations they hold, and gaps are counted.

    >>> from keras_disent.datasets import Sprites
    >>> describe(Sprites(32).only("shape"))
    "'sprites': 3 images (32, 32, 1), factors shape 3"
    """
    text = f"'{data.name}': {len(data):,} images {data.image_shape}"
    factors = zip(data.factor_names, data.factor_sizes, strict=True)
    sizes = ", ".join(f"{name} {size}" for name, size in factors)
    if not sizes:
        return f"{text}, no labels"
    text += f", factors {sizes}"
    total = math.prod(data.factor_sizes)
    if not isinstance(data, GroundTruth) and total <= 2 * len(data):
        steps = data.factors(np.arange(len(data)))
        complete = steps[(steps >= 0).all(axis=1)]
        text += f", {len(np.unique(complete, axis=0)):,} of {total:,} combinations"
    gaps = ", ".join(f"{count:,} without '{name}'" for name, count in data.gaps.items())
    return f"{text}, {gaps}" if gaps else text


def as_html(data: ImageSource, *, images: int = 10, side: int = 64) -> str:
    """Describe a data set in HTML: a row of images, and a table of the factors.

    Args:
        data: Any data set.
        images: Maximum number of images; they are spread over the whole data set.
        side: Height of an image on the page, in CSS pixels.

    >>> from keras_disent.datasets import Sprites
    >>> as_html(Sprites(32).only("shape")).count("<img")
    1
    """
    indices = np.unique(np.linspace(0, len(data) - 1, min(images, len(data))).round())
    pixels = data.images(indices.astype(np.int64))
    parts = [
        f"<p><b>{html.escape(data.name)}</b>: {len(data):,} images "
        f"{' x '.join(map(str, data.image_shape))}</p>",
        grid_as_html(pixels[None], f"{len(pixels)} images of the data set", side=side),
    ]
    if data.factor_names:
        rows = zip(data.factor_names, data.factor_sizes, data.factor_kinds, strict=True)
        cells = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{size}</td><td>{kind}</td>"
            f"<td>{html.escape(format_values(data, name))}</td></tr>"
            for name, size, kind in rows
        )
        heads = "".join(f"<th>{head}</th>" for head in ("factor", "steps", "kind", "values"))
        parts.append(f"<table><tr>{heads}</tr>{cells}</table>")
    else:
        parts.append("<p>No labels.</p>")
    return "".join(parts)


def grid_as_html(images: np.ndarray, alt: str, *, side: int = 64) -> str:
    """Return rows of images, uint8 `(rows, columns, height, width, channels)`, as one in HTML."""
    rows, columns, height, width, channels = images.shape
    gap = max(1, width // 16)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    canvas = np.full(shape, 255, np.uint8)
    for row, column in np.ndindex(rows, columns):
        top, left = row * (height + gap), column * (width + gap)
        canvas[top : top + height, left : left + width] = images[row, column]
    canvas = canvas[..., 0] if channels not in (3, 4) else canvas  # others: their first channel
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    style = f"height:{side * shape[0] // height}px"
    style += ";image-rendering:pixelated" if height < side else ""
    return f'<img src="{url}" style="{style}" alt="{html.escape(alt)}">'


def format_values(data: ImageSource, factor: str) -> str:
    """Format the values of a factor as a short text.

    >>> from keras_disent.datasets import Sprites
    >>> format_values(Sprites(), "shape"), format_values(Sprites(), "scale")
    ('square, ellipse, heart', '0.5 to 1')
    """
    values = data.factor_values[factor]
    if values.dtype.kind in "iuf" and len(values) > 1:
        return f"{values[0]:.4g} to {values[-1]:.4g}"
    texts = [_format(value) for value in values]
    is_short = len(texts) <= 8 and sum(map(len, texts)) <= 24
    return ", ".join(texts) if is_short else f"{texts[0]} ... {texts[-1]}"
