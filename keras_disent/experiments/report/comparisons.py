"""Tests of differences of means, with intervals and Holm's correction."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.experiments.report.frames import COST, Frame, higher
from keras_disent.experiments.report.statistics import FEWEST, deviations, interval, resampled
from keras_disent.metrics.results import Interval

PERMUTED = 200
"""Maximum number of runs for the permutation test; for more, Welch's test agrees with it."""
ALL_PAIRS = 8
"""Maximum number of methods of which all pairs are compared; else each with the baseline."""
LEVEL = 0.05
WAYS = 9_999
"""Maximum number of permutations; if there are no more, all are tried."""


class Comparison(NamedTuple):
    """One difference of means, first minus second.

    Attributes:
        score: Name of the score.
        first, second: Names of the two groups.
        runs: Numbers of runs of both.
        means: Means of both.
        difference: Difference of the means.
        interval: Bootstrap interval of the difference, over runs.
        test: "permutation" or "Welch".
        p: Two-sided p-value.
        adjusted: p-value after Holm's correction.
    """

    score: str
    first: str
    second: str
    runs: tuple[int, int]
    means: tuple[float, float]
    difference: float
    interval: Interval
    test: str
    p: float
    adjusted: float

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance: below 0.05 after the correction."""
        return self.adjusted < LEVEL


def holm(p: ArrayLike) -> np.ndarray:
    """Return p-values after Holm's correction for their number.

    Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure".

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def difference(
    first: ArrayLike,
    second: ArrayLike,
    n_resamples: int = 4000,
    seed: int = 0,
    draws: Sequence[np.ndarray] | None = None,
) -> tuple[float, Interval, str, float]:
    """Return a difference of means, its interval, the name of the test and the p-value.

    The test permutes which run belongs to which, all ways if there are fewer than 10,000 of them,
    else 9,999 ways at random; with more than 200 runs it is Welch's.

    Args:
        first, second: Scores, at least three of each.
        n_resamples: Number of bootstrap draws for the interval.
        seed: Random seed.
        draws: `statistics.deviations` of both, if they are computed already.
    """
    from scipy import stats

    a, b = np.asarray(first, float), np.asarray(second, float)
    gap = float(a.mean() - b.mean())
    if np.ptp(np.concatenate([a, b])) == 0:
        return 0.0, Interval(0.0, 0.0), "permutation", 1.0
    if draws is None:
        rng = np.random.default_rng(seed)
        draws = [deviations(values[:, None], n_resamples, rng)[:, 0] for values in (a, b)]
    ends = interval(gap + draws[0] - draws[1], gap, _freedom(a, b))
    if len(a) + len(b) > PERMUTED:
        moments = [number for v in (a, b) for number in (v.mean(), v.std(ddof=1), len(v))]
        welch = stats.ttest_ind_from_stats(*moments, equal_var=False)
        return gap, ends, "Welch", float(welch.pvalue)
    return gap, ends, "permutation", permuted(a, b, seed)


def permuted(first: ArrayLike, second: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p-value of a difference of means, by permuting which run is whose.

    scipy's `permutation_test` does the same, a hundred times slower for many small groups.

    >>> permuted([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    0.1
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    values = np.concatenate([a, b]) - np.mean([*a, *b])
    exact, sides = _sides(len(a), len(b), seed)
    # With the mean at 0, the sum of the first group determines the difference.
    sums = np.abs(sides @ values)
    extreme = int((sums >= abs(values[: len(a)].sum()) * (1 - 1e-9) - 1e-12).sum())
    return extreme / len(sums) if exact else (extreme + 1) / (len(sums) + 1)


@functools.lru_cache(maxsize=4)
def _sides(first: int, second: int, seed: int) -> tuple[bool, np.ndarray]:
    """Return whether all ways to choose the first group are there, and the ways as 0 and 1."""
    n = first + second
    if math.comb(n, first) <= WAYS:
        ways = np.array(list(itertools.combinations(range(n), first)))
    else:
        rng = np.random.default_rng(seed)
        ways = rng.permuted(np.tile(np.arange(n), (WAYS, 1)), axis=1)[:, :first]
    sides = np.zeros((len(ways), n))
    np.put_along_axis(sides, ways, 1.0, axis=1)
    return len(ways) == math.comb(n, first), sides


def _freedom(a: np.ndarray, b: np.ndarray) -> float:
    """Return the degrees of freedom of a difference of means, after Welch and Satterthwaite."""
    parts = [values.var(ddof=1) / len(values) for values in (a, b)]
    bottom = sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
    return float(sum(parts) ** 2 / bottom) if bottom > 0 else float(min(len(a), len(b)) - 1)


def between_methods(frame: Frame, scores: Sequence[str], n_resamples: int) -> list[Comparison]:
    """Compare methods over the runs of all their settings."""
    groups = frame.groups("method")
    pairs: Iterable[tuple[str, str]] = itertools.combinations(groups, 2)
    if len(groups) > ALL_PAIRS:
        pairs = _with_baseline(frame)
    ordered = [(b, a) if a == frame.baseline else (a, b) for a, b in pairs]
    draws = {(g, s): d for g, s, _, d in resampled(groups, scores, n_resamples)}
    compared = []
    for score in scores:
        values = {name: rows[score].dropna().to_numpy() for name, rows in groups.items()}
        own = {name: draws.get((name, score)) for name in groups}
        tested = [(a, b, values[a], values[b]) for a, b in ordered]
        compared += _family(score, tested, n_resamples, own)
    return compared


def at_best_strength(frame: Frame, scores: Sequence[str], n_resamples: int) -> list[Comparison]:
    """Compare methods with the baseline, each at its best setting, chosen without the run's seed.

    For every seed, the setting is the one whose mean over all other seeds is best: a setting that
    was good by luck does not profit from it.
    """
    compared = []
    for score in scores:
        values = {method: best_setting(frame, method, score) for method in frame.methods}
        pairs = [(a, b, values[a], values[b]) for a, b in _with_baseline(frame)]
        compared += _family(score, pairs, n_resamples)
    return compared


def between_strengths(frame: Frame, scores: Sequence[str], n_resamples: int) -> list[Comparison]:
    """Compare the highest strength of each method with its lowest one."""
    groups = frame.groups()
    compared = []
    for score in scores:
        pairs = []
        for method in filter(frame.chain, frame.methods):
            low, *_, high = frame.of(method)
            both = [groups[label][score].dropna().to_numpy() for label in (high, low)]
            names = [frame.settings[label].name for label in (high, low)]
            pairs.append((names[0], names[1], both[0], both[1]))
        compared += _family(score, pairs, n_resamples)
    return compared


def best_setting(frame: Frame, method: str, score: str) -> np.ndarray:
    """Return the score of each seed at the setting that the method's other seeds favor."""
    rows = frame.runs[frame.runs["method"] == method]
    table = rows.pivot_table(index="seed", columns="label", values=score, observed=True)
    table = table.reindex(columns=[c for c in frame.of(method) if c in table])
    if table.shape[1] == 1 or not len(table):
        return table.to_numpy().ravel()
    sign = 1 if higher(score) else -1
    others = (table.sum() - table.fillna(0.0)) / (table.notna().sum() - table.notna())
    others = (sign * others).where(np.isfinite(others), -np.inf).to_numpy()
    picked = np.take_along_axis(table.to_numpy(), others.argmax(1)[:, None], axis=1)[:, 0]
    return picked[np.isfinite(picked)]


def families(frame: Frame, n_resamples: int = 4000) -> dict[str, list[Comparison]]:
    """Return all comparisons, by the question that they answer."""
    strength = list(dict.fromkeys([frame.main, *(n for n in (COST,) if n in frame.terms)]))
    return {
        "methods": between_methods(frame, frame.scores, n_resamples),
        "chosen": at_best_strength(frame, frame.metrics, n_resamples),
        "strength": between_strengths(frame, strength, n_resamples),
    }


def _with_baseline(frame: Frame) -> list[tuple[str, str]]:
    return [(name, frame.baseline) for name in frame.methods if name != frame.baseline]


def _family(
    score: str, pairs: Sequence[Any], n_resamples: int, draws: Mapping[str, Any] | None = None
) -> list[Comparison]:
    tested = [pair for pair in pairs if min(len(pair[2]), len(pair[3])) >= FEWEST]
    results = [
        difference(
            a, b, n_resamples, draws=None if draws is None else [draws[first], draws[second]]
        )
        for first, second, a, b in tested
    ]
    adjusted_p = holm([result[-1] for result in results])
    return [
        Comparison(
            score,
            first,
            second,
            (len(a), len(b)),
            (float(a.mean()), float(b.mean())),
            *result,
            float(adjusted),
        )
        for (first, second, a, b), result, adjusted in zip(tested, results, adjusted_p, strict=True)
    ]
