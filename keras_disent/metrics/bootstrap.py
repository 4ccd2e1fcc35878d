"""Bootstrap confidence intervals of scores, and of every number that comes with them."""

from __future__ import annotations

import inspect
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent.metrics.checks import check_counts
from keras_disent.metrics.predictors import PROCESSES, shared_fits
from keras_disent.metrics.results import Interval, Result


class Task(NamedTuple):
    """A score that is computed from arrays.

    Attributes:
        function: Function of the arrays, with its settings.
        rows: Arrays with one row per sample.
        test: Arrays for its argument `test`.
        resampled: The same score for resamples, if training and test samples are split inside.
            Repeated samples would be on both sides of that split.
    """

    function: Callable[..., Any]
    rows: tuple[Any, ...]
    test: tuple[Any, ...] | None = None
    resampled: Task | None = None

    @property
    def fits_predictors(self) -> bool:
        """Whether its function fits predictors, which it can do in parallel."""
        return _is_ours(self.function) and "n_jobs" in inspect.signature(self.function).parameters

    def compute(self, rng: np.random.Generator | None = None) -> Any:
        """Return the score, or that of a resample if there is a generator."""
        task = self if rng is None else self.resampled or self

        def draw(group: tuple[Any, ...]) -> tuple[Any, ...]:
            if rng is None:
                return group
            indices = rng.integers(len(group[0]), size=len(group[0]))
            return tuple(array[indices] for array in group)

        test = {} if task.test is None else {"test": draw(task.test)}
        function = task.function if rng is None else _coarse(task.function)
        return function(*draw(task.rows), **test)


def _is_ours(function: Callable[..., Any]) -> bool:
    """Return whether a function is one of this package."""
    inner = function.func if isinstance(function, partial) else function
    return getattr(inner, "__module__", "").startswith("keras_disent.metrics.")


def _coarse(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the boosted trees of a metric by coarser ones, which vary alike, but are faster."""
    if not _is_ours(function):
        return function
    predictor = inspect.signature(function).parameters.get("predictor")
    if predictor is None or predictor.default != "boosting":
        return function
    return partial(function, predictor="coarse_boosting")


class Outcome(NamedTuple):
    """A score, with its intervals if requested.

    Attributes:
        result: What the metric returned, with intervals of its fields.
        interval: Interval of the main score, or why there is none.
    """

    result: Any
    interval: Interval | ValueError | None = None


def check_level(level: Any) -> None:
    """Raise ValueError unless `level` is a number between 0 and 1."""
    if not (isinstance(level, (int, float, np.number)) and 0 < level < 1):
        raise ValueError(f"`interval` is a confidence level between 0 and 1. Got {level!r}.")


def bootstrap(
    function: Callable[..., Any],
    *arrays: ArrayLike,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
    n_jobs: int = 1,
    test: tuple[ArrayLike, ...] | None = None,
    **settings: Any,
) -> Interval:
    """Estimate a confidence interval of a score by resampling its samples with replacement.

    The interval is the spread of the resampled scores, centered on the score of the original
    arrays. (The resampled scores have another center: repeated samples look like information.)
    Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapters 10 and 13.

    Resamples of metrics with the predictor "boosting" have the trees of "coarse_boosting". Where
    resamples take more than 20 seconds, they are computed in processes, unless the function cannot
    be pickled.

    Args:
        function: Metric of arrays, or any function from `arrays` to a score.
        arrays: Arrays with one row per sample, such as codes and factors.
        level: Confidence level: the proportion of such intervals that contain the score of
            unlimited samples.
        n_resamples: Number of resamples.
        seed: Random seed of the resamples.
        n_jobs: Number of scores computed in parallel, in threads or processes. It does not change
            the result.
        test: Arrays for the argument `test` of the metric, resampled likewise.
        settings: Other arguments of the metric.

    Raises:
        ValueError: For a level outside (0, 1), fewer than two resamples, an error of the metric, or
            scores that are not finite.

    Example:
        >>> from keras_disent.metrics import mig
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(4, size=(500, 2))
        >>> codes = factors + rng.normal(scale=0.3, size=(500, 2))
        >>> low, high = bootstrap(mig, codes, factors, n_resamples=50)
        >>> low < mig(codes, factors) < high
        True
    """
    rows = tuple(to_numpy(array) for array in arrays)  # masks are kept
    test_rows = None if test is None else tuple(to_numpy(array) for array in test)
    task = Task(partial(function, **settings), rows, test_rows)
    ((_, outcome),) = compute(
        {"": task}, level=level, n_resamples=n_resamples, seed=seed, n_jobs=n_jobs
    )
    if isinstance(outcome, ValueError):
        raise outcome
    if isinstance(outcome.interval, Interval):
        return outcome.interval
    assert outcome.interval is not None
    raise outcome.interval


def compute(
    tasks: Mapping[str, Task],
    *,
    level: float | None = None,
    n_resamples: int = 100,
    seed: int = 0,
    n_jobs: int = 1,
    expected: float = 0.0,
    planned: Callable[[dict[str, float]], object] = lambda seconds: None,
    called: Callable[[str], object] = lambda name: None,
) -> Iterator[tuple[str, Outcome | ValueError]]:
    """Compute scores side by side, then their intervals if there is a level.

    They are computed in threads, or in processes where that takes long. Without a level, those that
    fit predictors follow the others, one after another: they share what they fit, side by side.

    Args:
        tasks: Scores to compute, by name.
        level, n_resamples, seed, n_jobs: As in `bootstrap`.
        expected: Seconds that all scores are expected to take on one core.
        planned: Called before the first resample with the seconds that each score took.
        called: Called with the name after each score, or each resample if there is a level.

    Yields:
        The name of each task with its outcome or the error of its function; with a level, errors
        come first.

    Raises:
        ValueError: For a level outside (0, 1), or fewer than two resamples.
    """
    if level is not None:
        check_level(level)
        check_counts(2, n_resamples=n_resamples)
    from joblib import Parallel, delayed

    picklable = n_jobs > 1 and _is_picklable(tasks)

    def parallel(seconds: float) -> Any:
        in_processes = picklable and seconds > PROCESSES
        prefer = "processes" if in_processes else "threads"
        return Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator")

    if level is None:
        alone = {name: task for name, task in tasks.items() if not task.fits_predictors}
        calls = parallel(0)(map(delayed(_attempt), alone.values()))
        for name, (result, _) in zip(alone, calls, strict=True):
            called(name)
            yield name, result if isinstance(result, ValueError) else Outcome(result)
        models: dict[str, Any] = {}
        for name in [name for name in tasks if name not in alone]:
            task = tasks[name]
            function = partial(task.function, n_jobs=n_jobs)
            with shared_fits(models):
                result, _ = _attempt(task._replace(function=function))
            called(name)
            yield name, result if isinstance(result, ValueError) else Outcome(result)
        return
    results, seconds = {}, {}
    calls = parallel(expected if len(tasks) > 1 else 0)(map(delayed(_attempt), tasks.values()))
    for name, (result, duration) in zip(tasks, calls, strict=True):
        results[name], seconds[name] = result, duration
    planned(seconds)
    failed = {name for name, result in results.items() if isinstance(result, ValueError)}
    yield from [(name, result) for name, result in results.items() if name in failed]

    seeds = np.random.SeedSequence(seed).spawn(n_resamples)
    for name in [name for name in tasks if name not in failed]:
        resample_results: list[Any] = []

        def attempts(name: str = name) -> Iterator[Any]:
            for one in seeds:
                if name in failed:  # one resample without a score is enough
                    return
                yield delayed(_attempt_resample)(tasks[name], one)

        for numbers in parallel(seconds[name] * n_resamples)(attempts()):
            called(name)
            resample_results.append(numbers)
            if isinstance(numbers, ValueError):
                failed.add(name)
        yield name, _with_intervals(results[name], resample_results, level)


def _attempt(task: Task) -> tuple[Any, float]:
    """Return a score, or the error of its function, and the seconds it took."""
    start = time.perf_counter()
    try:
        return task.compute(), time.perf_counter() - start
    except ValueError as error:
        return error, 0.0


def _attempt_resample(task: Task, seed: np.random.SeedSequence) -> Any:
    """Return the numbers of a resample, or the error of its function."""
    try:
        return _numbers(task.compute(np.random.default_rng(seed)))
    except ValueError as error:
        return error


def _is_picklable(value: Any) -> bool:
    """Return whether other processes can take a value."""
    try:
        pickle.dumps(value)
    except Exception:  # of any object that the value has
        return False
    return True


def _numbers(result: Any) -> dict[str, tuple[Any, Any]]:
    """Return all numbers of a result, with their labels; the main score has the name ""."""
    numbers: dict[str, tuple[Any, Any]] = {"": ((), float(result))}
    if isinstance(result, Result):
        for name, value in result.numbers().items():
            if np.ndim(value) == 0 or value.dtype.kind == "f":
                numbers[name] = result.labels(name), value
    return numbers


def _with_intervals(result: Any, resample_results: list[Any], level: float) -> Outcome:
    """Return a result with intervals of its numbers, from those of resamples."""
    errors = [numbers for numbers in resample_results if isinstance(numbers, ValueError)]
    if errors:  # the metric is undefined for a resample
        return Outcome(result, errors[0])
    intervals = {}
    for name, (labels, estimate) in _numbers(result).items():
        # Resamples may lack a factor's values, so that an array is of other factors.
        if any(name not in numbers or numbers[name][0] != labels for numbers in resample_results):
            continue
        spread = np.array([numbers[name][1] for numbers in resample_results], np.float64)
        if not (np.isfinite(spread).all() and np.isfinite(estimate).all()):
            continue
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(spread - spread.mean(axis=0), tails, axis=0)
        ends = estimate + low, estimate + high
        intervals[name] = Interval(*(map(float, ends) if np.ndim(estimate) == 0 else ends))
    main = intervals.pop("", None)
    if isinstance(result, Result):
        result = result.with_intervals(intervals)
    return Outcome(result, main or ValueError("An interval needs finite scores of all resamples."))


def accuracy_interval(accuracy: float, points: int, level: float) -> Interval:
    """Return the bootstrap interval of an accuracy over `points` test points, in closed form.

    >>> low, high = accuracy_interval(0.9, 1000, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.881, 0.918)
    """
    from scipy.stats import binom

    check_level(level)
    low, high = binom.ppf([(1 - level) / 2, (1 + level) / 2], points, accuracy) / points
    return Interval(float(low), float(high))
