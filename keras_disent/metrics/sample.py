"""The images that metrics of arrays share: drawn and encoded once, with their factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.bootstrap import Task
from keras_disent.metrics.catalog import METRICS, Metric
from keras_disent.metrics.checks import check_arrays, varying
from keras_disent.metrics.encoding import CodeCache, posteriors
from keras_disent.metrics.mutual_information import MISSING, present
from keras_disent.metrics.record import factors_used
from keras_disent.metrics.sampling import draw_pool, generator, sample_factors

MANY_VALUES = 20
"""Integer factors with more values than this, on data without a grid, may be continuous."""


class Split(NamedTuple):
    """Indices of the images, and the slices of them for each purpose."""

    indices: NDArray[np.int64]
    all: slice  # for metrics that fit nothing
    train: slice
    test: slice
    disjoint: bool


def draw_images(
    data: Any, n_samples: int, n_test_samples: int, seed: int, legacy_stream: bool
) -> Split:
    """Draw training and test images."""
    rng = generator(seed, legacy_stream)
    total, requested = len(data), n_samples + n_test_samples
    is_grid = hasattr(data, "sample_factors")
    if isinstance(rng, np.random.Generator):
        indices = draw_pool(data, requested, rng)
    elif is_grid:
        factors = [sample_factors(data, size, rng) for size in (n_samples, n_test_samples)]
        indices = np.concatenate([data.indices(part) for part in factors])
    else:
        indices = np.asarray(rng.choice(total, min(total, requested), replace=False))
    if is_grid and (legacy_stream or getattr(data, "stochastic", False)):
        first = slice(n_samples)
        return Split(indices, first, first, slice(n_samples, requested), False)
    test_size = n_test_samples
    if total < requested:
        test_size = min(max(round(total * n_test_samples / requested), 2), total)
    train_size = min(n_samples, total - test_size)
    return Split(
        indices,
        slice(min(n_samples, total)),
        slice(train_size),
        slice(train_size, train_size + test_size),
        True,
    )


class Sample:
    """The images that metrics of arrays share, encoded once.

    Attributes:
        warnings: Messages about factors that are left out or may be mislabeled.
    """

    def __init__(
        self,
        cache: CodeCache,
        metrics: Sequence[Metric],
        n_samples: int,
        n_test_samples: int,
        seed: int,
        representation: str,
        legacy_stream: bool,
    ) -> None:
        self.settings = {
            "seed": int(seed),
            "representation": representation,
            "legacy_stream": legacy_stream,
        }
        data: Any = cache.data
        self.data = data
        self.split = draw_images(data, int(n_samples), int(n_test_samples), seed, legacy_stream)
        last = self.split.all.stop
        if any("test" in metric.arguments for metric in metrics):
            last = max(last, self.split.test.stop)
        indices = self.split.indices[:last]
        if representation == "sample" or any(m.takes == "posterior" for m in metrics):
            self.means, self.log_variances = posteriors(cache, indices)
            self.codes = self.means
            if representation == "sample":
                noise = np.random.default_rng([seed, 1]).standard_normal(self.means.shape)
                codes = self.means + np.exp(0.5 * self.log_variances) * noise
                self.codes = codes.astype(self.means.dtype)
        else:
            self.codes = cache.codes(indices)
        self.warnings: list[str] = []
        self.names: tuple[str, ...] = ()
        if len(getattr(data, "factor_sizes", ())):
            self._load_factors(indices)

    def _load_factors(self, indices: NDArray[np.int64]) -> None:
        """Look up the factors of all images, and exclude factors that identify single images."""
        self.names = tuple(self.data.factor_names)
        steps = np.asarray(self.data.factors(indices))
        self.steps = np.where(steps < 0, MISSING, steps)  # -1: no value
        kinds = getattr(self.data, "factor_kinds", ("",) * len(self.names))
        self.continuous = np.array([kind == "continuous" for kind in kinds])
        self.values = self.steps
        if self.continuous.any():
            self.values = np.where(present(self.steps), self.steps, np.nan)
            for factor in np.flatnonzero(self.continuous):
                table = np.asarray(self.data.factor_values[self.names[factor]], np.float64)
                rows = present(self.steps[:, factor])
                self.values[rows, factor] = table[self.steps[rows, factor]]
        check_arrays(self.codes, self.values, np.flatnonzero(self.continuous).tolist())
        varies = varying(self.steps[self.split.all])
        if hasattr(self.data, "sample_factors") and np.sum(varies) > 1:
            return
        for factor in np.flatnonzero(varies & ~self.continuous):
            steps = self.steps[self.split.all, factor]
            _, counts = np.unique(steps[present(steps)], return_counts=True)
            name, kind = self.names[factor], kinds[factor]
            n_unique, n_images = np.sum(counts == 1), np.sum(counts)
            if 2 * n_unique > n_images:
                self.steps[:, factor] = self.values[:, factor] = 0
                self.warnings.append(
                    f"Factor {name!r} is left out: {n_unique} of {n_images} images have a value "
                    "of it that no other image has. "
                    + _REMEDIES["names" if kind == "categorical" else "numbers"].format(name)
                )
            elif kind == "ordinal" and len(counts) > MANY_VALUES:
                self.warnings.append(
                    f"Factor {name!r} is scored as {len(counts)} separate values. "
                    + _REMEDIES["numbers"].format(name)
                )
        if not varying(self.steps[self.split.all]).any():
            raise ValueError(" ".join(self.warnings))

    def _rows(self, metric: Metric) -> slice:
        """Return the rows that a metric is computed or fitted on."""
        return self.split.train if "test" in metric.arguments else self.split.all

    def task(self, name: str, settings: Mapping[str, Any]) -> Task:
        """Return a metric with the arrays that it takes, and its test set if it takes one."""
        metric = METRICS[name]
        rows = self._rows(metric)
        function = partial(metric.function, **settings)
        if metric.takes == "codes":
            return Task(function, (self.codes[rows],))
        factors = self.values
        if "continuous" in metric.arguments:
            columns = self._continuous_columns(settings["continuous"])
            function = partial(function, continuous=columns)
            real = np.isin(np.arange(len(self.names)), columns) & self.continuous
            steps = self.steps
            if real.any():
                factors = np.where(real, self.values, np.where(present(steps), steps, np.nan))
            else:
                factors = steps
        else:
            factors, _ = plain_factors(factors, rows)
        test = None
        if "test" in metric.arguments:
            test = self.codes[self.split.test], factors[self.split.test]
        if metric.takes == "posterior":
            return Task(function, (self.means[rows], self.log_variances[rows], factors[rows]), test)
        return Task(function, (self.codes[rows], factors[rows]), test)

    def names_for(self, name: str) -> tuple[str, ...]:
        """Return the names of the factors that a metric takes."""
        metric = METRICS[name]
        if metric.takes == "codes":
            return ()
        if "continuous" in metric.arguments:
            return self.names
        _, varies = plain_factors(self.values, self._rows(metric))
        return tuple(np.array(self.names)[varies].tolist())

    def _continuous_columns(self, continuous: Any) -> list[int]:
        """Return the factor numbers that the setting `continuous` selects."""
        if continuous is None:
            return np.flatnonzero(self.continuous).tolist()
        return factor_numbers(continuous, self.names)

    def conditions(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sample sizes of a metric, and how each factor was treated."""
        metric = METRICS[name]
        rows = self._rows(metric)
        conditions: dict[str, Any] = {**self.settings, "n_samples": rows.stop}
        if "test" in metric.arguments:
            conditions["n_test_samples"] = self.split.test.stop - self.split.test.start
            conditions["test_disjoint"] = self.split.disjoint
        if metric.takes == "codes":
            return conditions
        used = varying(self.steps[rows])
        conditions |= factors_used(self.names, used)
        gaps = np.sum(~present(self.steps[rows]), axis=0)
        if gaps.any():
            named = zip(self.names, gaps.tolist(), strict=True)
            conditions["n_without_value"] = {name: count for name, count in named if count}
        columns = np.flatnonzero(self.continuous).tolist()
        if "continuous" in metric.arguments:
            columns = self._continuous_columns(settings["continuous"])
            conditions["continuous"] = [self.names[factor] for factor in columns]
        columns = [factor for factor in columns if used[factor]]
        if columns:
            treatment = metric.continuous.format(**settings)
            conditions["continuous_as"] = {self.names[factor]: treatment for factor in columns}
        if "test" in metric.arguments:
            unfitted = {
                self.names[factor]: self._unfitted_values(int(factor))
                for factor in np.flatnonzero(used)
                if factor not in columns
            }
            unfitted = {factor: values for factor, values in unfitted.items() if values}
            if unfitted:
                conditions["test_values_unfitted"] = unfitted
        return conditions

    def constant_factors(self, name: str) -> str:
        """Return a sentence on factors that are constant in a metric's images, or ""."""
        metric = METRICS[name]
        if metric.takes == "codes":
            return ""
        rows = self._rows(metric)
        varies = zip(self.names, varying(self.steps[rows]), strict=True)
        constant = [repr(factor) for factor, is_varying in varies if not is_varying]
        if not constant:
            return ""
        return f" The {rows.stop} images drawn show one value of {', '.join(constant)}."

    def _unfitted_values(self, factor: int) -> list[Any]:
        """Return the values of a factor that occur in test images but in no training image."""
        train, test = (self.steps[rows, factor] for rows in (self.split.train, self.split.test))
        steps = np.setdiff1d(test[present(test)], train)
        table = getattr(self.data, "factor_values", {}).get(self.names[factor])
        return (steps if table is None else np.asarray(table)[steps]).tolist()


def plain_factors(
    factors: NDArray[Any], rows: slice = slice(None)
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the factors for a metric of numbers of any kind, and a mask of them.

    Factors that are constant in `rows` are none to it, and missing values are masked.
    """
    varies = varying(factors[rows])
    factors = factors[:, varies]
    if not present(factors).all():
        factors = np.ma.masked_array(factors, ~present(factors))
    return factors, varies


def factor_numbers(continuous: Any, names: Sequence[Any]) -> list[int]:
    """Return the numbers of the factors that a setting `continuous` selects by name or number.

    Raises:
        ValueError: If there is no such factor.
    """
    if isinstance(continuous, bool | np.bool_):
        return list(range(len(names))) if continuous else []
    numbers = dict(zip(names, range(len(names)), strict=True))
    if isinstance(continuous, str) or any(
        factor not in numbers and factor not in numbers.values() for factor in continuous
    ):
        raise ValueError(
            f"`continuous` is True, False, or names out of {', '.join(map(str, names))}. "
            f"Got {continuous!r}."
        )
    return sorted({numbers.get(factor, factor) for factor in continuous})


_REMEDIES = {
    "numbers": "If its numbers are quantities, say `labeled(..., kinds={{{0!r}: 'continuous'}})`; "
    "if they are names, 'categorical'.",
    "names": "Give its images fewer, common values, or leave it out with `data.only(...)`.",
}
