"""Labels of concepts: what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def check_labels(labels: Any, names: tuple[str, ...], rows: int, vary: bool) -> None:
    """Check labels (n, K) for n images; with `vary`, also that none is constant.

    Raises:
        ValueError: names the argument, the rule and what came.
    """
    wanted = f"`y` must hold labels (n, {len(names)}), one column for each of {', '.join(names)}."
    if labels is None:
        raise ValueError(f"{wanted} Got None.")
    if not hasattr(labels, "shape"):
        raise ValueError(f"{wanted} Got {type(labels).__name__}.")
    given = labels if isinstance(labels, np.ndarray) else ops.convert_to_numpy(labels)
    if given.ndim != 2 or given.shape[1] != len(names):
        raise ValueError(f"{wanted} Got shape {given.shape}.")
    if given.shape[0] != rows:
        raise ValueError(
            f"`y` must hold one row of labels for each of the {rows} images. Got {given.shape[0]}."
        )
    if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
        raise ValueError("`y` must hold finite numbers only.")
    still = [name for name, column in zip(names, given.T, strict=True) if np.ptp(column) == 0]
    if vary and still:
        raise ValueError(
            "`y` must vary in every column, or a label cannot be standardized. "
            f"Got only one value for {', '.join(still)}."
        )
