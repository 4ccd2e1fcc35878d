"""Grids made of other grids: fewer steps, fewer factors, other odds."""

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
    """Some steps of some factors; see `GroundTruth.subgrid`."""

    def __init__(self, data: GroundTruth, steps: Mapping[str, Sequence[Any]]):
        unknown = [name for name in steps if name not in data.factor_names]
        if unknown:
            raise ValueError(
                f"A subgrid needs names out of {', '.join(data.factor_names)}. Got {unknown[0]!r}."
            )
        self.data = data
        self.name = data.name
        self.image_shape = data.image_shape
        self.stochastic = data.stochastic
        self.factor_names = data.factor_names
        self.kept = tuple(
            step_numbers(data, name, steps[name]) if name in steps else np.arange(size)
            for name, size in zip(data.factor_names, data.factor_sizes, strict=True)
        )
        self.factor_sizes = tuple(len(kept) for kept in self.kept)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        values = self.data.factor_values
        return {n: values[n][kept] for n, kept in zip(self.factor_names, self.kept, strict=True)}

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return tuple(
            "constant" if size == 1 else kind
            for size, kind in zip(self.factor_sizes, self.data.factor_kinds, strict=True)
        )

    def original(self, indices: ArrayLike) -> np.ndarray:
        """Indices in the whole grid, int64 `(n,)`."""
        steps = self.factors(indices).T
        return self.data.indices(
            np.stack([kept[step] for kept, step in zip(self.kept, steps, strict=True)], axis=1)
        )

    def images(self, indices: ArrayLike) -> np.ndarray:
        return self.data.images(self.original(indices))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return self.data.observations(self.original(indices), rng)

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """As in the whole grid, so that parts of one data set agree."""
        return self.data.labels(self.original(indices))


class Marginal(GroundTruth):
    """Some of the factors; the others turn into variation nobody knows of. See `only`."""

    def __init__(self, data: GroundTruth, names: Sequence[str]):
        self.data = data
        self._columns = factor_columns(data, names)
        self._hidden = [c for c in range(len(data.factor_names)) if c not in self._columns]
        self._hidden_sizes = np.array([data.factor_sizes[c] for c in self._hidden], np.int64)
        self.name = data.name
        self.image_shape = data.image_shape
        self.factor_names = tuple(names)
        self.factor_sizes = tuple(data.factor_sizes[c] for c in self._columns)
        self.stochastic = data.stochastic or bool((self._hidden_sizes > 1).any())

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        return {name: self.data.factor_values[name] for name in self.factor_names}

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return tuple(self.data.factor_kinds[c] for c in self._columns)

    def _filled(self, indices: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        factors = np.empty((len(indices), len(self.data.factor_names)), np.int64)
        factors[:, self._columns] = self.factors(indices)
        factors[:, self._hidden] = np.floor(uniforms * self._hidden_sizes)
        return self.data.indices(factors)

    def images(self, indices: ArrayLike) -> np.ndarray:
        checked = check_indices(indices, len(self))
        return self.data.images(self._filled(checked, hash_uniforms(checked, (len(self._hidden),))))

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        checked = check_indices(indices, len(self))
        uniforms = rng.random((len(checked), len(self._hidden)))
        return self.data.observations(self._filled(checked, uniforms), rng)


class Correlated(TransformedGrid):
    """A grid of which `fit` sees some combinations more often; see `GroundTruth.correlated`."""

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
        drawn = np.searchsorted(self._cumulative, rng.random(n) * self._cumulative[-1], "right")
        factors[:, self._columns] = np.stack(np.unravel_index(drawn, self._sizes), axis=1)
        return self.indices(factors)

    def images(self, indices: ArrayLike) -> np.ndarray:
        return View.images(self, indices)

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        return View.observations(self, indices, rng)


def step_numbers(data: ImageSource, factor: str, wanted: Sequence[Any]) -> np.ndarray:
    """Step numbers of one factor, of which those with names also go by name.

    Raises:
        ValueError: not a list, an empty one, or one that repeats or invents steps.
    """
    values = data.factor_values[factor]
    names = [] if values.dtype.kind in "biuf" else [str(value) for value in values]
    known = f"steps from 0 to {len(values) - 1}" + (f" or {', '.join(names)}" if names else "")
    rule = f"'{factor}' needs a list of different {known}."
    if isinstance(wanted, str) or not isinstance(wanted, Sequence | np.ndarray | range):
        raise ValueError(f"{rule} Got {wanted!r}.")
    steps: list[int] = []
    for value in wanted:
        step = names.index(value) if isinstance(value, str) and value in names else value
        is_step = isinstance(step, int | np.integer) and not isinstance(step, bool)
        if not is_step or not 0 <= step < len(values):
            raise ValueError(f"{rule} Got {value!r}.")
        steps.append(int(step))
    if not steps or len(set(steps)) < len(steps):
        raise ValueError(f"{rule} Got {list(wanted)!r}.")
    return np.array(steps)
