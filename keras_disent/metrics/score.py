"""Compute several scores of codes and factors in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_disent._utils.arrays import ArrayLike, column_names, to_numpy
from keras_disent._utils.progress import Advance, Verbose, check_verbose, progress_bar
from keras_disent.metrics.bootstrap import Outcome, Task, check_level, compute
from keras_disent.metrics.catalog import METRICS, STANDARD, Names, settings_of
from keras_disent.metrics.checks import (
    FactorError,
    check_arrays,
    check_codes,
    check_counts,
    split_rows,
    train_and_test,
    varying,
)
from keras_disent.metrics.estimate import announce, in_parallel, seconds_of, slowness, summary
from keras_disent.metrics.mutual_information import present
from keras_disent.metrics.record import collect, factors_used, message, versions
from keras_disent.metrics.results import Result, check_test
from keras_disent.metrics.sample import MANY_VALUES, factor_numbers, plain_factors
from keras_disent.metrics.scores import Scores


def score(
    codes: ArrayLike,
    factors: ArrayLike | None = None,
    metrics: Names = "standard",
    *,
    log_variances: ArrayLike | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: bool | Sequence[int | str] | None = None,
    interval: float | None = None,
    n_resamples: int = 100,
    seed: int = 0,
    n_jobs: int | None = None,
    verbose: Verbose = "auto",
) -> Scores:
    """Compute several scores of codes and factors, which may come from any program.

    Each score is that of its function, such as `mig(codes, factors)`. Metrics run side by side, and
    share the predictors that they fit. Names and settings are checked before any work is done. If
    one metric fails, the others are still computed: a warning and `failures` of the result give the
    reason.

    With `interval`, every number of every result has a bootstrap interval, as far as resamples have
    the same factors and latents. Training and test samples of predictors are resampled separately.

    Args:
        codes: Floats `(samples, latents)`: an array, tensor or table of any library. Names of
            columns are kept in the results.
        factors: Numbers `(samples, factors)`, integers unless continuous; NaN, or a missing value
            in a table, for a sample without a value. Without factors, only the metrics of codes.
        metrics: "standard" (those of the large studies) or "all", as far as these arrays allow;
            names out of `METRICS`; or a dict from names to settings that differ from the defaults,
            such as `{"mig": {"bins": 10}}`.
        log_variances: Logarithms of the variances of the posteriors whose means are `codes`, for
            metrics of posteriors.
        test: Codes and factors that test predictors; default, a third of the rows.
        continuous: Continuous factors: all (True), none (False), or their names or column numbers;
            default, the columns with a non-integer value.
        interval: Confidence level of the intervals, such as 0.95.
        n_resamples: Number of bootstrap resamples for them.
        seed: Random seed of splits and resamples.
        n_jobs: Number of scores, predictors or resamples computed in parallel, in threads, or in
            processes where they take longer than 20 seconds; default, one for each core.
        verbose: As in Keras: 0 is silent, 1 a bar, 2 a line from time to time, "auto" a bar on a
            terminal and in a notebook, and lines elsewhere. Work of more than ten seconds begins
            with an estimate, such as "about 4 min: 9 scores, 200 resamples of each".

    Returns:
        Scores by name. The function of each metric documents what 0 and 1 mean.

    Raises:
        ValueError: For malformed arrays, an unknown name or setting, or if none of the metrics can
            be computed.

    Warns:
        UserWarning: A metric has no score or no interval, or a factor identifies single samples.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> factors = {"size": rng.integers(4, size=500), "angle": rng.uniform(size=500)}
        >>> codes = np.stack([factors["angle"], factors["size"]], axis=1)
        >>> scores = score(codes, factors, ["mig", "mcc"], interval=0.95, verbose=0)
        >>> print(scores)
        mig    0.9680  [0.9423, 0.9861]
        mcc    1.0000  [1.0000, 1.0000]
        >>> scores.settings["mig"]["continuous"], scores.results["mcc"].factor_names
        (['angle'], ('size', 'angle'))
    """
    data = _Data(codes, factors, log_variances, test, continuous)
    if isinstance(metrics, str) and metrics in ("standard", "all"):
        group = STANDARD if metrics == "standard" else METRICS
        metrics = [name for name in group if not data.obstacle(name)]
    settings_by_name = settings_of(metrics, seed)
    options = metrics if isinstance(metrics, Mapping) else {}
    check_options(interval, n_resamples, n_jobs)
    check_verbose(verbose)
    reasons = {name: data.obstacle(name) for name in settings_by_name}
    failures = {name: reason for name, reason in reasons.items() if reason}
    if len(failures) == len(settings_by_name):
        name, reason = next(iter(failures.items()))
        raise ValueError(f"{name!r} has no score: {reason}")
    record: dict[str, dict[str, Any]] = {}
    tasks: dict[str, Task] = {}
    for name, settings in settings_by_name.items():
        if "continuous" in settings and options.get(name, {}).get("continuous") is None:
            settings["continuous"] = data.continuous
        elif "continuous" in settings:
            settings["continuous"] = factor_numbers(settings["continuous"], data.labels)
        record[name] = {**settings, **data.conditions(name, settings), "versions": versions()}
        if name not in failures:
            tasks[name] = data.task(name, settings)

    n_jobs = n_jobs or os.cpu_count() or 1
    number = n_resamples if interval else 0
    size = len(data.codes), data.codes.shape[1], data.values
    requested = {name: settings_by_name[name] for name in tasks}
    seconds = seconds_of(requested, *size)
    in_all = in_parallel(seconds_of(requested, *size, number), n_jobs)
    in_all *= slowness()
    announce(in_all, summary(in_all, len(tasks), number), verbose)
    outcomes: dict[str, Outcome | ValueError] = {}
    with progress_bar("Scoring", verbose=verbose) as advance:
        steps = _Steps(seconds, number or 1, advance)
        for name, outcome in compute(
            tasks,
            level=interval,
            n_resamples=n_resamples,
            seed=seed,
            n_jobs=n_jobs,
            expected=sum(seconds.values()),
            planned=steps.planned,
            called=steps.called,
        ):
            outcomes[name] = outcome
            if isinstance(outcome, Outcome) and isinstance(outcome.result, Result):
                result = outcome.result.with_names(data.latents, data.names_for(name))
                outcomes[name] = outcome._replace(result=result)
    return collect(outcomes, failures, record, data.explain, data.warnings())


OPTIONS = ("interval", "n_resamples", "n_jobs")
"""Arguments of `score` that `check_options` checks."""


def check_options(interval: float | None, n_resamples: int, n_jobs: int | None) -> None:
    """Raise ValueError for an option of `score` that is out of range."""
    check_counts(1, n_jobs=1 if n_jobs is None else n_jobs)
    if interval is not None:
        check_level(interval)
        check_counts(2, n_resamples=n_resamples)


class _Data:
    """Codes and factors, checked, with the names of their columns.

    Attributes:
        latents: Names of the latents, if known.
        names: Names of the factors, if known.
        labels: Names of the factors, or else their numbers.
        continuous: Numbers of the continuous factors.
        values: Number of values of all factors together, where a continuous factor counts as one.
    """

    def __init__(
        self,
        codes: ArrayLike,
        factors: ArrayLike | None,
        log_variances: ArrayLike | None,
        test: tuple[ArrayLike, ArrayLike] | None,
        continuous: bool | Sequence[int | str] | None,
    ) -> None:
        self.latents, self.names = column_names(codes), column_names(factors)
        self.codes = check_codes(codes)
        self.factors = self.log_variances = self.test = None
        self.labels: tuple[Any, ...] = ()
        self.continuous: list[int] = []
        self.values = 1
        if log_variances is not None:
            self.log_variances = check_codes(log_variances, "`log_variances`")
            if self.log_variances.shape != self.codes.shape:
                raise ValueError(
                    "`log_variances` must have the shape of `codes`. Got "
                    f"{self.log_variances.shape} for {self.codes.shape}."
                )
        if factors is None:
            if test is not None or continuous is not None:
                raise ValueError("`test` and `continuous` need `factors`. Got none.")
            return
        array = to_numpy(factors, "`factors`")
        self.labels = self.names or tuple(range(array.shape[1] if array.ndim == 2 else 0))
        columns = None if continuous is None else factor_numbers(continuous, self.labels)
        try:
            if test is None:
                _, self.factors, mask = check_arrays(self.codes, array, columns)
            else:
                check_test(test, self.latents, self.names)
                _, self.factors, *self.test, mask = train_and_test(
                    self.codes, array, test, 0, columns
                )
        except FactorError as error:
            raise ValueError(self.explain("", error)) from None
        self.continuous = np.flatnonzero(mask).tolist()
        labels = (column for column, real in zip(self.factors.T, mask, strict=True) if not real)
        self.values = len(self.continuous) + sum(len(np.unique(column)) for column in labels)

    def obstacle(self, name: str) -> str:
        """Return why a metric cannot be computed from these arrays, or ""."""
        takes = METRICS[name].takes if name in METRICS else ""
        if takes == "encoder":
            return "it encodes images of its own choice: use `metrics.evaluate` with an encoder."
        if takes == "posterior" and self.log_variances is None:
            return "it is a score of posteriors: pass their `log_variances`, and means as `codes`."
        if takes in ("arrays", "posterior") and self.factors is None:
            return "it compares codes with factors: pass `factors`."
        return ""

    def task(self, name: str, settings: Mapping[str, Any]) -> Task:
        """Return a metric with its arrays."""
        metric = METRICS[name]
        function = partial(metric.function, **settings)
        if metric.takes == "codes":
            return Task(function, (self.codes,))
        assert self.factors is not None
        factors, mask = self.factors, np.ones(self.factors.shape[1], np.bool_)
        if "continuous" not in settings:
            factors, mask = plain_factors(factors)
        rows = (self.codes, factors)
        if metric.takes == "posterior":
            return Task(function, (self.codes, self.log_variances, factors))
        if "test" not in metric.arguments:
            return Task(function, rows)
        if self.test is not None:
            return Task(function, rows, (self.test[0], self.test[1][:, mask]))
        if "seed" not in settings:  # the training samples are the test samples
            return Task(function, rows)
        train, test = (
            tuple(array[part] for array in rows)
            for part in split_rows(len(self.codes), settings["seed"])
        )
        return Task(function, rows, resampled=Task(function, train, test))

    def names_for(self, name: str) -> tuple[str, ...]:
        """Return the names of the factors that a metric takes."""
        if not self.names or METRICS[name].takes == "codes" or self.factors is None:
            return ()
        if "continuous" in METRICS[name].arguments:
            return self.names
        return tuple(np.array(self.names)[varying(self.factors)].tolist())

    def conditions(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sample sizes of a metric, and how each factor is treated."""
        metric = METRICS[name]
        conditions: dict[str, Any] = {"n_samples": len(self.codes)}
        if metric.takes == "codes" or self.factors is None:
            return conditions
        if "test" in metric.arguments and self.test is not None:
            conditions["n_test_samples"] = len(self.test[0])
        elif "test" in metric.arguments and "seed" in settings:
            conditions["n_test_samples"] = len(self.codes) // 3
            conditions["n_samples"] -= conditions["n_test_samples"]
        used = varying(self.factors)
        conditions |= factors_used(self.labels, used)
        gaps = np.sum(~present(self.factors), axis=0).tolist()
        if any(gaps):
            named = zip(self.labels, gaps, strict=True)
            conditions["n_without_value"] = {label: count for label, count in named if count}
        if "continuous" in settings:
            conditions["continuous"] = [self.labels[number] for number in settings["continuous"]]
            treatment = metric.continuous.format(**settings)
            treated = {self.labels[n]: treatment for n in settings["continuous"] if used[n]}
            conditions |= {"continuous_as": treated} if treated else {}
        return conditions

    def explain(self, name: str, error: ValueError) -> str:
        """Return the reason of an error, with names of factors if they are known."""
        return message(error, self.names) if self.names else str(error)

    def warnings(self) -> list[str]:
        """Return messages about factors that seem to be numbers of samples."""
        messages: list[str] = []
        if self.factors is None:
            return messages
        for number in np.setdiff1d(np.arange(self.factors.shape[1]), self.continuous):
            column = self.factors[:, number]
            _, counts = np.unique(column[present(column)], return_counts=True)
            if len(counts) > MANY_VALUES and 2 * np.sum(counts == 1) > counts.sum():
                messages.append(
                    f"Factor {self.labels[number]!r} has a value of its own for "
                    f"{np.sum(counts == 1)} of {counts.sum()} samples, so that every latent seems "
                    "to determine it: leave it out, or name it in `continuous`."
                )
        return messages


class _Steps:
    """Progress of scores, or of their resamples, weighted by the time of each.

    Args:
        seconds: Expected seconds of each score.
        number: Number of resamples of each score; 1 without.
        advance: Function that shows the progress.
    """

    def __init__(self, seconds: Mapping[str, float], number: int, advance: Advance) -> None:
        self.seconds, self.number, self.advance, self.done = seconds, number, advance, 0.0

    def planned(self, seconds: Mapping[str, float]) -> None:
        """Replace the expected seconds by those that each score took."""
        self.seconds = seconds
        self.advance(0, self._total)

    def called(self, name: str) -> None:
        """Count a score, or a resample of it."""
        self.done += self.seconds[name]
        self.advance(self.done, self._total, f"last {name}" if self.number == 1 else name)

    @property
    def _total(self) -> float:
        return sum(self.seconds.values()) * self.number
