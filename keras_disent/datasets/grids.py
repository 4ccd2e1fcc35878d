"""Views of grids: selected steps, nuisance factors, correlated factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.pixels import hash_uniforms
from keras_disent.datasets.source import ImageSource, check_indices
from keras_disent.datasets.views import TransformedGrid, View, factor_columns


class Subgrid(GroundTruth):
    """A grid of selected steps; see `GroundTruth.subgrid`."""

    def __init__(self, data: GroundTruth, steps: Mapping[str, Sequence[Any]]):
        unknown = [name for name in steps if name not in data.factor_names]
        if unknown:
            raise ValueError(
                f"A subgrid needs names from {', '.join(data.factor_names)}. Got {unknown[0]!r}."
            )
        self.data = data
        self.name = data.name
        self.image_shape = data.image_shape
        self.pictures = data.pictures
        self.stochastic = data.stochastic
        self.factor_names = data.factor_names
        self.base_steps = tuple(
            step_numbers(data, name, steps[name]) if name in steps else np.arange(size)
            for name, size in zip(data.factor_names, data.factor_sizes, strict=True)
        )
        self.factor_sizes = tuple(len(base_steps) for base_steps in self.base_steps)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        values = self.data.factor_values
        return {
            name: values[name][base_steps]
            for name, base_steps in zip(self.factor_names, self.base_steps, strict=True)
        }

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return tuple(
            "constant" if size == 1 else kind
            for size, kind in zip(self.factor_sizes, self.data.factor_kinds, strict=True)
        )

    def base_indices(self, indices: ArrayLike) -> np.ndarray:
        """Convert indices of this subgrid to indices of the full grid, int64 `(n,)`."""
        columns = zip(self.base_steps, self.factors(indices).T, strict=True)
        return self.data.indices(np.stack([base[steps] for base, steps in columns], axis=1))

    def images(self, indices: ArrayLike) -> np.ndarray:
        return self.data.images(self.base_indices(indices))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return self.data.observations(self.base_indices(indices), rng)

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """Return the labels of the full grid, so that subgrids of one data set agree."""
        return self.data.labels(self.base_indices(indices))


class Marginal(GroundTruth):
    """A grid of some factors; the others are nuisance factors. See `GroundTruth.only`."""

    def __init__(self, data: GroundTruth, names: Sequence[str]):
        self.data = data
        self._columns = factor_columns(data, names)
        self._nuisance = [c for c in range(len(data.factor_names)) if c not in self._columns]
        self._nuisance_sizes = np.array([data.factor_sizes[c] for c in self._nuisance], np.int64)
        self.name = data.name
        self.image_shape = data.image_shape
        self.pictures = data.pictures
        self.factor_names = tuple(names)
        self.factor_sizes = tuple(data.factor_sizes[c] for c in self._columns)
        self.stochastic = data.stochastic or bool((self._nuisance_sizes > 1).any())

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return {name: self.data.factor_values[name] for name in self.factor_names}

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return tuple(self.data.factor_kinds[c] for c in self._columns)

    def _base_indices(self, indices: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Convert indices to those of the full grid; `uniforms` select the nuisance factors."""
        factors = np.empty((len(indices), len(self.data.factor_names)), np.int64)
        factors[:, self._columns] = self.factors(indices)
        factors[:, self._nuisance] = np.floor(uniforms * self._nuisance_sizes)
        return self.data.indices(factors)

    def images(self, indices: ArrayLike) -> np.ndarray:
        checked = check_indices(indices, len(self))
        uniforms = hash_uniforms(checked, (len(self._nuisance),))
        return self.data.images(self._base_indices(checked, uniforms))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        checked = check_indices(indices, len(self))
        uniforms = rng.random((len(checked), len(self._nuisance)))
        return self.data.observations(self._base_indices(checked, uniforms), rng)


class Correlated(TransformedGrid):
    """A grid whose training batches have correlated factors; see `GroundTruth.correlated`."""

    def __init__(self, data: GroundTruth, strengths: Mapping[tuple[str, str], float]):
        View.__init__(self, data)
        self.strengths = dict(strengths)
        if not self.strengths:
            raise ValueError("`strengths` needs at least one pair of factors. Got none.")
        for pair, sigma in self.strengths.items():
            if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
                raise ValueError(f"`strengths` needs pairs of two factors. Got {pair!r}.")
            if not (isinstance(sigma, int | float) and 0 < sigma < math.inf):
                raise ValueError(f"`strengths` needs numbers above 0. Got {sigma!r}.")
        self._columns = factor_columns(data, list(dict.fromkeys(sum(self.strengths, ()))))
        sizes = [data.factor_sizes[c] for c in self._columns]
        if math.prod(sizes) > 10_000_000:
            raise ValueError(
                "Correlated factors need at most 10,000,000 joint steps. "
                f"Got {' x '.join(map(str, sizes))}."
            )
        self._sizes = tuple(sizes)
        grid = np.indices(sizes)
        log_odds = np.zeros(sizes)
        for (a, b), sigma in self.strengths.items():
            i, j = (self._columns.index(data.factor_names.index(name)) for name in (a, b))
            difference = grid[i] / max(sizes[i] - 1, 1) - grid[j] / max(sizes[j] - 1, 1)
            log_odds -= difference**2 / (2 * sigma**2)
        odds = np.exp(log_odds - log_odds.max())
        self.probabilities = odds / odds.sum()
        self._cumulative = np.cumsum(self.probabilities)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        factors = self.sample_factors(n, rng)
        uniforms = rng.random(n) * self._cumulative[-1]
        joint_steps = np.searchsorted(self._cumulative, uniforms, "right")
        factors[:, self._columns] = np.stack(np.unravel_index(joint_steps, self._sizes), axis=1)
        return self.indices(factors)

    def images(self, indices: ArrayLike) -> np.ndarray:
        return View.images(self, indices)

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return View.observations(self, indices, rng)


def step_numbers(data: ImageSource, factor: str, steps: Sequence[Any]) -> np.ndarray:
    """Convert steps of one factor, listed by number or by name of category, to numbers.

    Raises:
        ValueError: `steps` is not a list, is empty, repeats a step or has an unknown step.
    """
    values = data.factor_values[factor]
    names = [] if values.dtype.kind in "biuf" else [str(value) for value in values]
    options = f"steps from 0 to {len(values) - 1}" + (f" or {', '.join(names)}" if names else "")
    rule = f"'{factor}' needs a list of different {options}."
    if isinstance(steps, str) or not isinstance(steps, Sequence | np.ndarray | range):
        raise ValueError(f"{rule} Got {steps!r}.")
    numbers: list[int] = []
    for step in steps:
        number = names.index(step) if isinstance(step, str) and step in names else step
        is_integer = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not is_integer or not 0 <= number < len(values):
            raise ValueError(f"{rule} Got {step!r}.")
        numbers.append(int(number))
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{rule} Got {list(steps)!r}.")
    return np.array(numbers)
