"""Data sets with one image for every combination of their factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.source import ImageSource, check_indices


class GroundTruth(ImageSource):
    """Base class of ground-truth data sets: one image per combination of factors.

    A subclass implements `images`. Indices count the combinations in row-major order: the last
    factor changes fastest.

    Attributes:
        name: Name of the data set in messages and tables.
        factor_names: Name of each factor.
        factor_sizes: Number of steps of each factor; 1 for a constant factor.
        image_shape: `(height, width, channels)`.

    >>> from keras_disent.datasets import Sprites
    >>> data = Sprites()
    >>> data.factors([0, 737_279])
    array([[ 0,  0,  0,  0,  0],
           [ 2,  5, 39, 31, 31]])
    >>> data.indices([[0, 0, 0, 1, 2]])
    array([34])
    """

    name: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]

    @property
    def gaps(self) -> dict[str, int]:
        """No image of a grid lacks a value."""
        return {}

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        """Return the steps of all factors at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            `(n, factors)` int64.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        return np.stack(np.unravel_index(checked, self.factor_sizes), axis=1).astype(np.int64)

    def indices(self, factors: ArrayLike) -> np.ndarray:
        """Return the indices of some combinations of factors: the inverse of `factors`.

        Args:
            factors: `(n, factors)` integers, each from 0 to its factor's size - 1.

        Returns:
            `(n,)` int64.

        Raises:
            TypeError: The factors are not integers.
            ValueError: The number of columns is wrong, or a step is out of range.
        """
        array = np.asarray(factors)
        width = len(self.factor_sizes)
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(
                f"`factors` needs one row per image and {width} columns "
                f"({', '.join(self.factor_names)}). Got shape {array.shape}."
            )
        columns = [
            self._check_steps("factors", name, column)
            for name, column in zip(self.factor_names, array.T, strict=True)
        ]
        return np.ravel_multi_index(tuple(columns), self.factor_sizes).astype(np.int64)

    def sample_factors(
        self,
        n: int,
        rng: np.random.Generator,
        fixed: Mapping[str, ArrayLike] | None = None,
    ) -> np.ndarray:
        """Sample all factors independently and uniformly.

        `fixed` overwrites its columns after sampling, so it does not change the other factors.

        Args:
            n: Number of rows.
            rng: Random generator.
            fixed: Factors with a fixed step: `{name: step}`, or `{name: (n,) steps}`.

        Returns:
            `(n, factors)` int64.

        Raises:
            TypeError: A fixed step is not an integer.
            ValueError: `fixed` has an unknown name or a step out of range.

        >>> from keras_disent.datasets import Sprites
        >>> rng = np.random.default_rng(0)
        >>> Sprites().sample_factors(3, rng, fixed={"shape": 2})[:, 0]
        array([2, 2, 2])
        """
        factors = rng.integers(self.factor_sizes, size=(n, len(self.factor_sizes)))
        for name, steps in (fixed or {}).items():
            if name not in self.factor_names:
                raise ValueError(
                    f"`fixed` needs names from {', '.join(self.factor_names)}. Got {name!r}."
                )
            column = self.factor_names.index(name)
            factors[:, column] = self._check_steps("fixed", name, np.asarray(steps))
        return factors

    def observe(self, factors: ArrayLike, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return images of some combinations of factors.

        Args:
            factors: `(n, factors)` integers, each from 0 to its factor's size - 1.
            rng: Random generator of nuisance factors. Without it, each combination always has
                the same image.

        Returns:
            uint8 `(n, height, width, channels)`.

        Raises:
            TypeError, ValueError: See `indices`.
        """
        indices = self.indices(factors)
        return self.images(indices) if rng is None else self.observations(indices, rng)

    def subgrid(self, steps: Mapping[str, Sequence[Any]]) -> GroundTruth:
        """Select steps of some factors; the result is a smaller grid.

        Args:
            steps: `{factor: list of steps}`, as numbers or as names of categories. The steps of
                a factor keep the order of its list; the other factors keep all their steps.

        Raises:
            ValueError: A factor is unknown; or a list is empty, repeats a step or has an unknown
                step.

        >>> from keras_disent.datasets import Sprites
        >>> small = Sprites().subgrid({"shape": ["heart"], "orientation": [0, 10]})
        >>> small.factor_sizes, small.factor_kinds[0]
        ((1, 6, 2, 32, 32), 'constant')
        """
        from keras_disent.datasets.grids import Subgrid

        return Subgrid(self, steps)

    def only(self, *names: str) -> GroundTruth:
        """Keep some factors; the others become nuisance factors, as the instances of smallNORB.

        `images` always shows the same steps of the nuisance factors for an index. `observations`,
        `batches`, and `observe` with `rng`, sample new ones.

        Args:
            names: Names of the factors to keep, in this order.

        Raises:
            ValueError: A name is unknown, or there is none.

        >>> from keras_disent.datasets import Sprites
        >>> places = Sprites().only("position_x", "position_y")
        >>> len(places), places.stochastic
        (1024, True)
        """
        from keras_disent.datasets.grids import Marginal

        return Marginal(self, names)

    def correlated(self, strengths: Mapping[tuple[str, str], float]) -> GroundTruth:
        """Correlate factors in the training batches of this grid.

        The probability of two factors' steps a and b, both scaled to [0, 1], is proportional to
        exp(-(a - b)^2 / (2 sigma^2)) (Traeuble et al. 2021). The terms of several pairs are
        multiplied. `sample_factors`, and thus every score, stays independent and uniform.

        Args:
            strengths: `{(factor, factor): sigma}`. Smaller values correlate more strongly: 0.1
                is nearly a line, 1 is barely visible.

        Raises:
            ValueError: A factor is unknown, both factors of a pair are the same, or a sigma is
                not above 0.

        >>> from keras_disent.datasets import Sprites
        >>> data = Sprites().correlated({("position_x", "position_y"): 0.1})
        >>> factors = data.factors(data.sample(10_000, np.random.default_rng(0)))
        >>> float(np.corrcoef(factors[:, 3], factors[:, 4])[0, 1].round(2))
        0.94
        """
        from keras_disent.datasets.grids import Correlated

        return Correlated(self, strengths)

    def _check_steps(self, argument: str, name: str, steps: np.ndarray) -> np.ndarray:
        size = self.factor_sizes[self.factor_names.index(name)]
        if steps.size and not np.issubdtype(steps.dtype, np.integer):
            raise TypeError(f"`{argument}` needs integers for '{name}'. Got {steps.dtype}.")
        wrong = steps[(steps < 0) | (steps >= size)]
        if wrong.size:
            raise ValueError(
                f"`{argument}` needs steps from 0 to {size - 1} for '{name}'. Got {wrong.flat[0]}."
            )
        return steps.astype(np.int64)
