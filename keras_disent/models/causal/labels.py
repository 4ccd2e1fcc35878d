"""Checks of the labels of concepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def check_labels(labels: Any, names: tuple[str, ...], rows: int, vary: bool) -> None:
    """Check labels (n, K) for n images; with `vary`, also that none is constant.

    Raises:
        ValueError: Names the argument, the rule and what came.
    """
    rule = f"`y` must hold labels (n, {len(names)}), one column for each of {', '.join(names)}."
    if labels is None:
        raise ValueError(f"{rule} Got None.")
    if not hasattr(labels, "shape"):
        raise ValueError(f"{rule} Got {type(labels).__name__}.")
    array = labels if isinstance(labels, np.ndarray) else ops.convert_to_numpy(labels)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise ValueError(f"{rule} Got shape {array.shape}.")
    if array.shape[0] != rows:
        raise ValueError(
            f"`y` must hold one row of labels for each of the {rows} images. Got {array.shape[0]}."
        )
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError("`y` must hold finite numbers only.")
    constant = [name for name, column in zip(names, array.T, strict=True) if np.ptp(column) == 0]
    if vary and constant:
        raise ValueError(
            "`y` must vary in every column, or a label cannot be standardized. "
            f"Got only one value for {', '.join(constant)}."
        )
