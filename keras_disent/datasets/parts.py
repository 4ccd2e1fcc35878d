"""Split data sets: at random, by the steps of a factor, by combinations of factors."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.grids import step_numbers
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.source import ImageSource, check_indices
from keras_disent.datasets.views import View, factor_columns


class Rows(View):
    """Select images of a data set by their indices.

    Args:
        data: Any data set.
        indices: `(n,)` integers, indices into `data`.

    Raises:
        TypeError, ValueError, IndexError: See `check_indices`; or there is no index.

    >>> from keras_disent.datasets import Sprites
    >>> part = Rows(Sprites(), [5, 700_000])
    >>> len(part), part.factors([1])
    (2, array([[ 2,  5,  3, 19,  0]]))
    """

    def __init__(self, data: ImageSource, indices: ArrayLike):
        super().__init__(data)
        self.indices = check_indices(indices, len(data))
        if not self.indices.size:
            raise ValueError(f"A part of '{self.name}' needs at least one image. Got none.")

    def __len__(self) -> int:
        return len(self.indices)

    def _base_indices(self, indices: ArrayLike) -> np.ndarray:
        return self.indices[check_indices(indices, len(self))]

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(len(self), size=n)


def split(data: ImageSource, test: float, seed: int) -> tuple[Rows, Rows]:
    """Split a data set at random; see `ImageSource.split`."""
    is_number = isinstance(test, numbers.Real)
    count = round(test * len(data)) if is_number and 0 < test < 1 else 0
    if not 0 < count < len(data):
        raise ValueError(
            f"`test` needs a proportion between 0 and 1 that leaves neither part of the "
            f"{len(data)} images empty. Got {test!r}."
        )
    order = np.random.default_rng(seed).permutation(len(data))
    return Rows(data, np.sort(order[count:])), Rows(data, np.sort(order[:count]))


def complete(data: ImageSource, names: Sequence[str]) -> ImageSource:
    """Select the images that have a value of some factors; see `ImageSource.complete`."""
    columns = factor_columns(data, names)
    if not data.gaps:
        return data
    has_all = (data.factors(np.arange(len(data)))[:, columns] >= 0).all(axis=1)
    return Rows(data, np.flatnonzero(has_all))


def hold_out(
    data: ImageSource, steps: Mapping[str, Sequence[Any]]
) -> tuple[ImageSource, ImageSource]:
    """Split a data set by its factors; see `ImageSource.hold_out`."""
    if not steps:
        raise ValueError("`steps` needs at least one factor to hold out. Got none.")
    columns = factor_columns(data, list(steps))
    numbers = {name: step_numbers(data, name, listed).tolist() for name, listed in steps.items()}
    if isinstance(data, GroundTruth) and len(steps) == 1:
        ((name, test_steps),) = numbers.items()
        train_steps = np.setdiff1d(np.arange(data.factor_sizes[columns[0]]), test_steps)
        if not train_steps.size:
            raise ValueError(f"Holding out all steps of '{name}' leaves no training images.")
        return data.subgrid({name: train_steps.tolist()}), data.subgrid({name: test_steps})
    factors = data.factors(np.arange(len(data)))
    is_test = np.logical_and.reduce(
        [np.isin(factors[:, c], numbers[name]) for name, c in zip(steps, columns, strict=True)]
    )
    if is_test.all():
        raise ValueError(f"Holding out {dict(steps)} leaves no training images.")
    train = Rows(data, np.flatnonzero(~is_test))
    if isinstance(data, GroundTruth):
        return train, data.subgrid(numbers)
    return train, Rows(data, np.flatnonzero(is_test))
