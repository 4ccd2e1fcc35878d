"""Statistics of a study: spread, intervals over seeds, correlations, shares of variance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.results import Interval

LEVEL = 0.95
FEWEST = 3
"""Minimum number of runs for an interval or a test."""
CHUNK = 2_000_000
"""Maximum number of draws in memory."""

Numbers = NDArray[np.float64]


def counts(n: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Numbers]:
    """Yield bootstrap counts, how often each of `n` is drawn, in chunks: float64 (draws, n)."""
    step = max(1, CHUNK // n)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        indices = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(indices.ravel(), minlength=size * n).reshape(size, n).astype(float)


def resampled_means(
    values: ArrayLike, n_resamples: int = 4000, rng: np.random.Generator | None = None
) -> Numbers:
    """Return the means of bootstrap samples of runs: (n_resamples, columns).

    Args:
        values: Finite numbers (runs, columns); the columns of a run are drawn together.
        n_resamples: Number of samples.
        rng: Random generator; default, one of seed 0.

    >>> resampled_means([[1.0], [1.0]], 3).tolist()
    [[1.0], [1.0], [1.0]]
    """
    values = np.asarray(values, float)
    rng = np.random.default_rng(0) if rng is None else rng
    parts = [chunk @ values for chunk in counts(len(values), n_resamples, rng)]
    return np.concatenate(parts) / len(values)


def interval(draws: ArrayLike, estimate: float, freedom: float) -> Interval:
    """Return the expanded percentile interval of a mean, or of a difference of means.

    The percentile interval of few runs is too narrow. Its ends are widened as Student's t
    demands: Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 5.3.

    Args:
        draws: Bootstrap draws of the estimate.
        estimate: Estimate from the runs themselves.
        freedom: Degrees of freedom, for a mean `n - 1`.
    """
    from scipy.stats import norm, t

    tail = norm.cdf(t.ppf((1 - LEVEL) / 2, freedom))
    spread = np.asarray(draws, float) - estimate
    low, high = np.quantile(spread, [tail, 1 - tail])
    return Interval(float(estimate + low), float(estimate + high))


def intervals(
    groups: Mapping[str, Any], names: Sequence[str], n_resamples: int = 4000, seed: int = 0
) -> dict[str, dict[str, Interval | None]]:
    """Return the interval of the mean of each column, by group: None for fewer than three runs.

    Args:
        groups: pandas `DataFrame` of the runs of each group, by name.
        names: Names of the columns.
        n_resamples: Number of bootstrap draws.
        seed: Random seed.
    """
    ends: dict[str, dict[str, Interval | None]] = {g: dict.fromkeys(names) for g in groups}
    for group, name, values, deviations in resampled(groups, names, n_resamples, seed):
        mean = float(values.mean())
        ends[group][name] = interval(mean + deviations, mean, len(values) - 1)
    return ends


def resampled(
    groups: Mapping[str, Any], names: Sequence[str], n_resamples: int, seed: int = 0
) -> Iterator[tuple[str, str, Numbers, Numbers]]:
    """Yield group, column, its values, and `deviations` of its mean, for three runs or more."""
    rng = np.random.default_rng(seed)
    for group, rows in groups.items():
        complete = [name for name in names if rows[name].notna().all()]
        parts = [complete, *([name] for name in names if name not in complete)]
        for part in filter(None, parts):
            values = rows[part].dropna().to_numpy(float)
            if len(values) >= FEWEST:
                mean_deviations = deviations(values, n_resamples, rng)
                for i, name in enumerate(part):
                    yield group, name, values[:, i], mean_deviations[:, i]


def deviations(values: Numbers, n_resamples: int, rng: np.random.Generator) -> Numbers:
    """Return the deviations of bootstrap means from the mean: (n_resamples, columns).

    Bootstrap samples vary less than runs do, by (n - 1) / n in variance, which is corrected.
    """
    n = len(values)
    wide = np.sqrt(n / (n - 1))
    return (resampled_means(values, n_resamples, rng) - values.mean(axis=0)) * wide


def spread(groups: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return n, mean, standard deviation and quartiles of one column for each group."""
    rows = []
    for group, runs in groups.items():
        values = runs[name].dropna()
        low, middle, high = values.quantile([0.25, 0.5, 0.75])
        rows.append(
            {
                "group": group,
                "n": len(values),
                "mean": float(values.mean()),
                "sd": float(values.std()),
                "least": float(values.min()),
                "quartile_1": float(low),
                "median": float(middle),
                "quartile_3": float(high),
                "most": float(values.max()),
            }
        )
    return rows


def rank_correlations(runs: Any, names: Sequence[str]) -> tuple[list[str], Numbers, int]:
    """Return Spearman's correlation of each pair of columns, over the runs that have all.

    Returns:
        Names of the columns that vary, the matrix, and the number of runs.
    """
    complete = runs[list(names)].dropna()
    varying = [name for name in names if complete[name].nunique() > 1]
    return varying, complete[varying].corr(method="spearman").to_numpy(), len(complete)


def spearman(runs: Any, one: str, other: str) -> float:
    """Return Spearman's correlation of two columns; NaN if one does not vary, or for few runs."""
    both = runs[[one, other]].dropna()
    if len(both) < 3 or both[one].nunique() < 2 or both[other].nunique() < 2:
        return math.nan
    return float(both.corr(method="spearman").iloc[0, 1])


class Shares(NamedTuple):
    """Shares of the variance of a score; they sum to 1.

    Attributes:
        method: Share of the method.
        strength: Share of the settings within methods, beyond that.
        seed: Remaining share, between runs of one setting.
    """

    method: float
    strength: float
    seed: float


def explained(values: ArrayLike, methods: ArrayLike, labels: ArrayLike) -> tuple[Shares, Shares]:
    """Return the shares of the variance of a score that method, strength and seed explain.

    The R² of two least-squares regressions on categories: on the method, and on method and
    strength together, each setting a category of its own. The first is the share of the method,
    the difference that of the strength, what the second leaves that of the seed. Locatello et al.
    (2019), "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations", section 5.4. R² rises with every category, by chance alone; the adjusted one
    compares unbiased variances instead, `1 - (1 - R²) (n - 1) / (n - k)` for k categories.

    Args:
        values: Finite numbers (n,), not all the same.
        methods: Names of methods (n,).
        labels: Names of settings (n,); each belongs to one method.

    Returns:
        The shares, and the adjusted ones, of which one may be a little below 0.

    Raises:
        ValueError: If no setting has two runs, or all values are the same.

    >>> plain, adjusted = explained([1, 1, 3, 3, 5, 7], list("aaaabb"), list("aabbcc"))
    >>> [round(share, 3) for share in plain]
    [0.78, 0.146, 0.073]
    """
    values = np.asarray(values, float)
    (_, method), (names, label) = (np.unique(g, return_inverse=True) for g in (methods, labels))
    if len(names) == len(values):
        raise ValueError("Shares of variance need a setting with two runs or more.")
    moments = _moments(values, label, np.ones((1, len(values))))
    of_method = np.zeros(len(names), int)
    of_method[label] = method
    plain, adjusted = _shares(moments, of_method)
    if not np.isfinite(plain).all():
        raise ValueError("Shares of variance need values that differ.")
    return Shares(*plain[0].tolist()), Shares(*adjusted[0].tolist())


def shown(adjusted: Mapping[str, float]) -> Shares:
    """Return adjusted shares for a chart: none below 0, the rest belongs to the seed.

    >>> shown({"method": -0.25, "strength": 0.5, "seed": 0.75})
    Shares(method=0.0, strength=0.5, seed=0.5)
    """
    method, strength = max(adjusted["method"], 0.0), max(adjusted["strength"], 0.0)
    return Shares(method, strength, 1.0 - method - strength)


def explained_intervals(
    values: ArrayLike, methods: ArrayLike, labels: ArrayLike, n_resamples: int = 1000, seed: int = 0
) -> tuple[Interval, Interval, Interval]:
    """Return intervals of the adjusted shares of `explained`.

    Runs are resampled within each setting, as another choice of seeds would; the spread of the
    draws is centered on the shares themselves, because repeated runs shift the center of the draws.
    """
    estimate = explained(values, methods, labels)[1]
    centered = np.asarray(values, float)
    centered = centered - centered.mean()
    (_, method), (names, label) = (np.unique(g, return_inverse=True) for g in (methods, labels))
    of_method = np.zeros(len(names), int)
    of_method[label] = method
    rng = np.random.default_rng(seed)
    parts: list[list[Numbers]] = [[] for _ in range(3)]
    for i in range(len(names)):
        own = centered[label == i]
        sums = [
            np.stack([chunk @ own, chunk @ own**2], axis=-1)
            for chunk in counts(len(own), n_resamples, rng)
        ]
        both = np.concatenate(sums)
        parts[0].append(both[:, 0])
        parts[1].append(both[:, 1])
        parts[2].append(np.full(n_resamples, float(len(own))))
    moments = tuple(np.stack(part, axis=1) for part in parts)
    draws = _shares(moments, of_method)[1]
    draws = draws[np.isfinite(draws).all(axis=1)]
    low, high = np.quantile(draws - draws.mean(axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    ends = zip(estimate, low, high, strict=True)
    one, two, three = (Interval(float(e + a), float(e + b)) for e, a, b in ends)
    return one, two, three


def _moments(values: Numbers, label: Any, weights: Numbers) -> tuple[Numbers, ...]:
    """Return sums, sums of squares and numbers by setting, each (draws, settings)."""
    settings = np.eye(label.max() + 1)[label]
    centered = values - values.mean()
    return tuple(
        (weights * part) @ settings for part in (centered, centered**2, np.ones_like(values))
    )


def _shares(moments: tuple[Numbers, ...], of_method: Any) -> tuple[Numbers, Numbers]:
    """Return shares and adjusted shares, each (draws, 3)."""
    sums, squares, n = moments
    methods = np.eye(of_method.max() + 1)[of_method]
    total, runs = squares.sum(1), n[0].sum()

    def residual(s: Numbers, count: Numbers) -> Numbers:
        return total - (s**2 / count).sum(1)

    overall = residual(sums.sum(1, keepdims=True), n.sum(1, keepdims=True))
    within = [residual(sums @ methods, n @ methods), residual(sums, n)]
    freedom = [runs - methods.shape[1], runs - n.shape[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = [rest / overall for rest in within]
        adjusted = [
            rest / free * (runs - 1) / overall for rest, free in zip(within, freedom, strict=True)
        ]
    return tuple(  # type: ignore[return-value]
        np.stack([1 - rest[0], rest[0] - rest[1], rest[1]], axis=1) for rest in (plain, adjusted)
    )
