"""How a data set looks: a contact sheet."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource


def contact_sheet(data: ImageSource, *, seed: int = 0, rows: int = 3, columns: int = 12) -> Any:
    """Draw images at random and, of a grid, for each factor what its steps change.

    In the row of a factor all others stay in the middle, or if they are circular a third of the
    circle apart, so that hues differ.

    Args:
        data: any data set.
        seed: of the images at random.
        rows: of images at random.
        columns: images in a row, at most.

    Returns:
        a matplotlib figure; `keras_disent.plots.save` writes it.

    >>> from keras_disent.datasets import Sprites
    >>> contact_sheet(Sprites(32)).dpi
    160
    """
    from keras_disent import plots

    rng = np.random.default_rng(seed)
    samples = data.observations(rng.integers(len(data), size=rows * columns), rng)
    varied: dict[str, np.ndarray] = {}
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
                varied[f"{name}\n{format_values(data, name)}"] = data.observe(factors)
    title = f"{data.name}: {len(data):,} images {' x '.join(map(str, data.image_shape))}"
    return plots.contact_sheet(samples, varied, columns=columns, title=title)


def format_values(data: ImageSource, factor: str) -> str:
    """The values of a factor, shortened.

    >>> from keras_disent.datasets import Sprites
    >>> format_values(Sprites(), "shape"), format_values(Sprites(), "scale")
    ('square, ellipse, heart', '0.5 to 1')
    """
    values = data.factor_values[factor]
    if values.dtype.kind in "iuf" and len(values) > 1:
        return f"{values[0]:.4g} to {values[-1]:.4g}"
    texts = [f"{v:.4g}" if values.dtype.kind == "f" else str(v) for v in values]
    short = len(texts) <= 8 and sum(map(len, texts)) <= 24
    return ", ".join(texts) if short else f"{texts[0]} ... {texts[-1]}"
