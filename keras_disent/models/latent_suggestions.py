"""Suggest names of latents: those of the factors about which they inform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_disent._utils.in_use import IN_USE
from keras_disent._utils.latent_names import check_names
from keras_disent.metrics.mutual_information import (
    MISSING,
    discretize,
    entropy,
    mutual_information,
)
from keras_disent.models.picture_codes import encoded

INFORMATIVE = 0.1  # proportion of a factor's entropy


def suggest_names(model: Any, data: Any, n_samples: int, bins: int, seed: int) -> tuple[str, ...]:
    """Return names of the latents of a model; see `Editing.suggest_latent_names`."""
    if max(getattr(data, "factor_sizes", ()), default=0) < 2:
        raise ValueError(
            "Names are suggested from the factors of the data, and "
            f"{getattr(data, 'name', type(data).__name__)!r} has none that varies. Set "
            "`latent_names` by what you see in a traversal."
        )
    rng = np.random.default_rng(seed)
    indices, codes = encoded(model, data, n_samples, rng)
    labels = _labels(data, indices, bins)
    varies = entropy(labels) > 0
    names = [name for name, is_varying in zip(data.factor_names, varies, strict=True) if is_varying]
    labels = labels[:, varies]
    binned = discretize(codes, bins)
    chance = mutual_information(binned, rng.permutation(labels))
    information = (mutual_information(binned, labels) - chance) / entropy(labels)
    information[_effects(model, codes) < IN_USE["gray levels"]] = 0
    return _named(information, names, model.default_latent_names())


def _effects(model: Any, codes: np.ndarray, n: int = 64) -> np.ndarray:
    """Return how far each latent moves pictures: the mean change of a pixel in steps of 1/255.

    Args:
        model: Model that decodes.
        codes: Codes (m, D), from whose 5th to whose 95th percentile a latent is moved.
        n: Number of codes whose pictures are compared.
    """
    ends = np.quantile(codes, [0.05, 0.95], axis=0)
    effects = []
    for latent in range(codes.shape[1]):
        moved = np.repeat(codes[None, :n], 2, axis=0)
        moved[:, :, latent] = ends[:, latent, None]
        low, high = (model.decode(rows) for rows in moved)
        effects.append(255 * np.mean(np.abs(high - low)))
    return np.array(effects)


def _labels(data: Any, indices: np.ndarray, bins: int) -> np.ndarray:
    """Return the steps of factors of images, int64 (n, factors), continuous ones in bins."""
    steps = np.asarray(data.factors(indices))
    labels = np.where(steps < 0, MISSING, steps).astype(np.int64)
    kinds = getattr(data, "factor_kinds", ("",) * labels.shape[1])
    for column, (name, kind) in enumerate(zip(data.factor_names, kinds, strict=True)):
        rows = steps[:, column] >= 0
        if kind == "continuous" and rows.any():
            values = np.asarray(data.factor_values[name], float)[steps[rows, column]]
            labels[rows, column] = discretize(values[:, None], bins)[:, 0]
    return labels


def _named(
    information: np.ndarray, factors: Sequence[str], defaults: Sequence[str]
) -> tuple[str, ...]:
    """Return names of latents, those that inform most about a factor first.

    Args:
        information: Information of latents about factors (D, factors), proportions of their
            entropies.
        factors: Names of the factors.
        defaults: Names of latents without a factor.

    >>> _named(np.array([[0.3, 0.0], [0.0, 0.05], [0.6, 0.1]]), ["hue", "size"], ["z0", "z1", "z2"])
    ('hue_2', 'z1', 'hue')
    """
    names = list(defaults)
    best = information.argmax(axis=1)
    for latent in np.argsort(-information.max(axis=1), kind="stable"):
        if information[latent].max() >= INFORMATIVE:
            factor = str(factors[best[latent]]).replace("=", "_")
            factor = f"factor_{factor}" if factor.isdecimal() else factor
            used_names, number, name = set(names), 1, factor
            while name in used_names:
                number += 1
                name = f"{factor}_{number}"
            names[latent] = name
    return check_names(names, defaults)
