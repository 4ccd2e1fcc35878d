"""Draw a contact sheet of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource


def contact_sheet(data: ImageSource, *, seed: int = 0, rows: int = 3, columns: int = 12) -> Any:
    """Draw random images of a data set and, for a grid, a traversal of each factor.

    In the row of a factor, all others keep their middle step. Circular factors keep steps that
    are a third of the circle apart, so that hues differ.

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

    rng = np.random.default_rng(seed)
    samples = data.observations(rng.integers(len(data), size=rows * columns), rng)
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
    return plots.contact_sheet(samples, traversals, columns=columns, title=title)


def format_values(data: ImageSource, factor: str) -> str:
    """Format the values of a factor as a short text.

    >>> from keras_disent.datasets import Sprites
    >>> format_values(Sprites(), "shape"), format_values(Sprites(), "scale")
    ('square, ellipse, heart', '0.5 to 1')
    """
    values = data.factor_values[factor]
    if values.dtype.kind in "iuf" and len(values) > 1:
        return f"{values[0]:.4g} to {values[-1]:.4g}"
    texts = [f"{v:.4g}" if values.dtype.kind == "f" else str(v) for v in values]
    is_short = len(texts) <= 8 and sum(map(len, texts)) <= 24
    return ", ".join(texts) if is_short else f"{texts[0]} ... {texts[-1]}"
