"""Parts of a data set: at random, by the steps of a factor, by combinations of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.grids import step_numbers
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource, check_indices
from keras_disent.datasets.views import View, factor_columns


class Rows(View):
    """Some of the images, in a given order: for splits, and everything that is no grid.

    Args:
        data: any data set.
        kept: `(n,)` integers, indices into `data`.

    Raises:
        TypeError, ValueError, IndexError: see `check_indices`; or no index at all.

    >>> from keras_disent.datasets import Sprites
    >>> part = Rows(Sprites(), [5, 700_000])
    >>> len(part), part.factors([1])
    (2, array([[ 2,  5,  3, 19,  0]]))
    """

    def __init__(self, data: ImageSource, kept: ArrayLike):
        super().__init__(data)
        self.kept = check_indices(kept, len(data))
        if not self.kept.size:
            raise ValueError(f"A part of '{self.name}' needs at least one image. Got none.")

    def __len__(self) -> int:
        return len(self.kept)

    def _original(self, indices: ArrayLike) -> np.ndarray:
        return self.kept[check_indices(indices, len(self))]

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(len(self), size=n)


def split(data: ImageSource, test: float, seed: int) -> tuple[Rows, Rows]:
    """Two parts at random; see `ImageSource.split`."""
    count = round(test * len(data)) if 0 < test < 1 else 0
    if not 0 < count < len(data):
        raise ValueError(
            f"`test` needs a share between 0 and 1 that leaves both parts of the {len(data)} "
            f"images something. Got {test!r}."
        )
    order = np.random.default_rng(seed).permutation(len(data))
    return Rows(data, np.sort(order[count:])), Rows(data, np.sort(order[:count]))


def hold_out(
    data: ImageSource, steps: Mapping[str, Sequence[Any]]
) -> tuple[ImageSource, ImageSource]:
    """Two parts by factors; see `ImageSource.hold_out`."""
    if not steps:
        raise ValueError("`steps` needs at least one factor to hold out. Got none.")
    columns = factor_columns(data, list(steps))
    chosen = {n: step_numbers(data, n, wanted).tolist() for n, wanted in steps.items()}
    if isinstance(data, GroundTruth) and len(steps) == 1:
        (name, held), size = *chosen.items(), data.factor_sizes[columns[0]]
        rest = np.setdiff1d(np.arange(size), held)
        if not rest.size:
            raise ValueError(f"Holding out all steps of '{name}' leaves nothing to train on.")
        return data.subgrid({name: rest.tolist()}), data.subgrid({name: held})
    factors = data.factors(np.arange(len(data)))
    held_out = np.logical_and.reduce(
        [np.isin(factors[:, c], chosen[name]) for name, c in zip(steps, columns, strict=True)]
    )
    if held_out.all():
        raise ValueError(f"Holding out {dict(steps)} leaves nothing to train on.")
    train = Rows(data, np.flatnonzero(~held_out))
    if isinstance(data, GroundTruth):
        return train, data.subgrid(chosen)
    return train, Rows(data, np.flatnonzero(held_out))
