"""Compute several scores of one encoder in one call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.callers import outside
from keras_disent._utils.progress import Verbose, progress_bar
from keras_disent._utils.registry import lookup
from keras_disent._utils.spellings import also_called
from keras_disent.metrics.bootstrap import (
    Interval,
    Outcome,
    Task,
    accuracy_interval,
    check_level,
    compute,
)
from keras_disent.metrics.catalog import METRICS, Metric, Names, check_data, settings_of
from keras_disent.metrics.checks import (
    FactorError,
    check_arrays,
    check_at_least,
    combinations,
    varying,
)
from keras_disent.metrics.encoding import (
    Encoder,
    GroundTruth,
    check_posterior,
    codes_by_index,
    posteriors,
)
from keras_disent.metrics.mutual_information import MISSING, present
from keras_disent.metrics.results import Result
from keras_disent.metrics.sampling import generator, sample_factors
from keras_disent.metrics.scores import Scores

MANY_VALUES = 20
"""Integer factors with more values than this, on data without a grid, may be continuous."""


@also_called(n="n_samples", test_n="n_test_samples")
def evaluate(
    encoder: Encoder,
    data: GroundTruth,
    metrics: Names = "standard",
    *,
    n_samples: int = 10_000,
    n_test_samples: int = 5_000,
    seed: int = 0,
    representation: Literal["mean", "sample"] = "mean",
    interval: float | None = None,
    n_resamples: int = 100,
    legacy_stream: bool = False,
    n_jobs: int | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    verbose: Verbose = "auto",
) -> Scores:
    """Compute several scores of one encoder on one data set.

    Metrics of arrays share one sample of images, encoded once, and run side by side. Names and
    settings are checked before any work is done. If one metric fails, the others are still
    computed: a warning and `failures` of the result give the reason.

    No image is drawn twice, and test images of predictors are never training images. Two kinds of
    grids are exceptions, and `test_disjoint` in the settings says so: with `legacy_stream`, and
    where `data.stochastic` gives another image for each draw of an index, combinations of factors
    are drawn with replacement.

    Images without a value of a factor (step -1) are left out of the scores of this factor only;
    `n_without_value` in the settings counts them.

    Factors of the kind "continuous" are scored as real numbers; `continuous_as` in the settings
    says how. A factor is left out, with a warning, if more than half of the images have a value of
    it that no other image has: then every latent seems to determine it.

    Args:
        encoder: Deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`), such as a
            model. Metrics of posteriors use its method `posterior_parameters`. If it has a true
            attribute `discrete_codes`, "infomec" counts distinct codes (`discrete=True`).
        data: Labeled data set. "fairness", "irs" and "strong_downstream" need a grid. Metrics of
            groups, such as "factor_vae_score", draw from the images that exist if there is none;
            `drawn_from` in the settings says so. Metrics without labels accept unlabeled data.
        metrics: "standard" (those of the large studies), "all", names out of `METRICS`, or a dict
            from names to settings that differ from the defaults, such as `{"mig": {"bins": 10}}`.
            The setting `continuous` takes names of factors.
        n_samples: Number of images for metrics of arrays; all images if there are fewer. `n` is
            understood too, and `test_n` for `n_test_samples`.
        n_test_samples: Number of further images that test predictors. Data with fewer than
            `n_samples + n_test_samples` images are divided in this proportion.
        seed: Random seed of all draws.
        representation: Codes for the metrics of arrays: the "mean" of the posterior, or one
            "sample" of it.
        interval: Confidence level of bootstrap intervals over the samples, such as 0.95: of each
            score, and in its result of all other numbers. `fairness` and `strong_downstream` have
            no intervals.
        n_resamples: Number of bootstrap resamples for those intervals.
        legacy_stream: Draw as disentanglement_lib does from `numpy.random.RandomState(seed)`,
            where a metric can.
        n_jobs: Number of metrics of arrays computed in parallel; default, one for each core.
        progress: Called after each metric with its name, the number of finished metrics, and their
            total.
        verbose: As in Keras: 0 is silent, 1 a bar, 2 a line from time to time, "auto" a bar on a
            terminal and in a notebook, and lines elsewhere.

    Returns:
        Scores by name. The function of each metric documents what 0 and 1 mean.

    Raises:
        ValueError: For an unknown name or setting, an encoder that does not return codes, or if
            none of the metrics can be computed.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> data = Sprites(32).subgrid({"shape": [0], "scale": [5], "orientation": [0]})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> scores = evaluate(center, data, {"mig": {"bins": 10}, "mcc": {}}, n_samples=1000)
        >>> print(scores)
        mig    0.6523
        mcc    0.9996
        >>> scores.settings["mig"]["bins"]
        10
    """
    settings_by_name = settings_of(metrics, seed, legacy_stream)
    check_at_least(2, n_samples=n_samples, n_test_samples=n_test_samples)
    lookup(representation, {"mean": 0, "sample": 1}, "representation")
    if interval is not None:
        check_level(interval)
        check_at_least(2, n_resamples=n_resamples)
    if representation == "sample":
        check_posterior(encoder)
    elif getattr(encoder, "discrete_codes", False):
        options = metrics if isinstance(metrics, Mapping) else {}
        for name, settings in settings_by_name.items():
            if "discrete" in settings and "discrete" not in options.get(name, {}):
                settings["discrete"] = True
    reasons = {name: _obstacle(name, encoder, data) for name in settings_by_name}
    failures = {name: reason for name, reason in reasons.items() if reason}
    if len(failures) == len(settings_by_name):
        check_data(data, settings_by_name)
        raise ValueError(next(iter(failures.values())))
    computable = [name for name in settings_by_name if name not in failures]
    array_metrics = [name for name in computable if METRICS[name].takes != "encoder"]
    sample = None
    outcomes: dict[str, Outcome | ValueError] = {}
    with progress_bar("Scoring", "scores", verbose=verbose) as advance:

        def store(name: str, outcome: Outcome | ValueError) -> None:
            outcomes[name] = outcome
            advance(len(outcomes), len(computable), f"last {name}")
            if progress:
                progress(name, len(outcomes), len(computable))

        if array_metrics:
            advance(0, note="encoding images")
            sample = _Sample(
                encoder,
                data,
                [METRICS[name] for name in array_metrics],
                n_samples,
                n_test_samples,
                seed,
                representation,
                legacy_stream,
            )
        advance(0, len(computable))
        tasks: dict[str, Task] = {}
        for name in array_metrics:
            assert sample is not None
            try:
                tasks[name] = sample.task(name, settings_by_name[name])
            except ValueError as error:
                store(name, error)
        for name, outcome in compute(
            tasks,
            level=interval,
            n_resamples=n_resamples,
            seed=seed,
            n_jobs=n_jobs or os.cpu_count() or 1,
        ):
            store(name, outcome)
        for name in computable:
            if name not in array_metrics:
                store(name, _outcome(name, encoder, data, settings_by_name[name], interval))

    factor_names = tuple(getattr(data, "factor_names", ()))

    def explain(name: str, error: ValueError) -> str:
        constant = sample.constant_factors(name) if sample and name in array_metrics else ""
        return message(error, factor_names) + constant

    for name, outcome in outcomes.items():
        if isinstance(outcome, Outcome) and isinstance(outcome.result, Result):
            names = sample.names_for(name) if sample and name in array_metrics else factor_names
            outcomes[name] = outcome._replace(result=outcome.result.with_names((), names))
    record = {
        name: {
            **settings,
            **_conditions(name, settings, data, sample, outcomes.get(name)),
            "versions": versions(),
        }
        for name, settings in settings_by_name.items()
    }
    return collect(outcomes, failures, record, explain, sample.warnings if sample else ())


def collect(
    outcomes: Mapping[str, Outcome | ValueError],
    failures: dict[str, str],
    record: dict[str, dict[str, Any]],
    explain: Callable[[str, ValueError], str],
    messages: Iterable[str] = (),
) -> Scores:
    """Collect outcomes in `Scores`, and warn of what has no score or no interval.

    Args:
        outcomes: Scores and errors by name.
        failures: Reasons, by name, for scores that were not computed.
        record: Settings of all requested scores, in the requested order.
        explain: Function of a name and an error that returns the reason in one line.
        messages: Further warnings.

    Raises:
        ValueError: If there is no score.
    """
    errors = {name: error for name, error in outcomes.items() if isinstance(error, ValueError)}
    failures = failures | {name: explain(name, error) for name, error in errors.items()}
    scores = {name: found for name, found in outcomes.items() if isinstance(found, Outcome)}
    if not scores:
        if len(errors) == 1:
            name, error = next(iter(errors.items()))
            raise ValueError(failures[name]) from error
        raise ValueError(" ".join(f"{name!r}: {why}" for name, why in failures.items()))
    for text in messages:
        warnings.warn(text, stacklevel=outside())
    for name, why in failures.items():
        warnings.warn(f"{name!r} has no score: {why}", stacklevel=outside())
    for name, found in scores.items():
        if isinstance(found.interval, ValueError):
            why = record[name]["interval_error"] = explain(name, found.interval)
            warnings.warn(f"{name!r} has a score, but no interval: {why}", stacklevel=outside())
    ordered = [name for name in record if name in scores]
    ends = {name: scores[name].interval for name in ordered}
    return Scores(
        {name: scores[name].result for name in ordered},
        record,
        {name: interval for name, interval in ends.items() if isinstance(interval, Interval)},
        failures,
    )


def _outcome(
    name: str, encoder: Any, data: Any, settings: dict[str, Any], level: float | None
) -> Outcome | ValueError:
    """Compute a metric of an encoder."""
    try:
        result = METRICS[name].function(encoder, data, **settings)
    except ValueError as error:
        return error
    if level is None or not hasattr(result, "eval_points"):
        return Outcome(result)
    interval = accuracy_interval(result.eval_accuracy, result.eval_points, level)
    return Outcome(result.with_intervals({"eval_accuracy": interval}), interval)


class _Split(NamedTuple):
    """Indices of the images, and the slices of them for each purpose."""

    indices: NDArray[np.int64]
    all: slice  # for metrics that fit nothing
    train: slice
    test: slice
    disjoint: bool


def _draw_images(
    data: Any, n_samples: int, n_test_samples: int, seed: int, legacy_stream: bool
) -> _Split:
    """Draw training and test images."""
    rng = generator(seed, legacy_stream)
    is_grid = hasattr(data, "sample_factors")
    if is_grid and (legacy_stream or getattr(data, "stochastic", False)):
        factors = [sample_factors(data, size, rng) for size in (n_samples, n_test_samples)]
        indices = np.concatenate([data.indices(part) for part in factors])
        first = slice(n_samples)
        return _Split(indices, first, first, slice(n_samples, n_samples + n_test_samples), False)
    total = len(data)
    requested = n_samples + n_test_samples
    indices = np.asarray(rng.choice(total, min(total, requested), replace=False))
    test_size = n_test_samples
    if total < requested:
        test_size = min(max(round(total * n_test_samples / requested), 2), total)
    train_size = min(n_samples, total - test_size)
    return _Split(
        indices,
        slice(min(n_samples, total)),
        slice(train_size),
        slice(train_size, train_size + test_size),
        True,
    )


class _Sample:
    """The images that metrics of arrays share, encoded once.

    Attributes:
        warnings: Messages about factors that are left out or may be mislabeled.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: Any,
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
        self.data = data
        self.split = _draw_images(data, int(n_samples), int(n_test_samples), seed, legacy_stream)
        last = self.split.all.stop
        if any("test" in metric.arguments for metric in metrics):
            last = max(last, self.split.test.stop)
        indices = self.split.indices[:last]
        if representation == "sample" or any(m.takes == "posterior" for m in metrics):
            self.means, self.log_variances = posteriors(encoder, data, indices)
            self.codes = self.means
            if representation == "sample":
                noise = np.random.default_rng([seed, 1]).standard_normal(self.means.shape)
                codes = self.means + np.exp(0.5 * self.log_variances) * noise
                self.codes = codes.astype(self.means.dtype)
        else:
            self.codes = codes_by_index(encoder, data, len(indices))(indices)
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
        _, kept = plain_factors(self.values, self._rows(metric))
        return tuple(np.array(self.names)[kept].tolist())

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
    kept = varying(factors[rows])
    factors = factors[:, kept]
    if not present(factors).all():
        factors = np.ma.masked_array(factors, ~present(factors))
    return factors, kept


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


def _obstacle(name: str, encoder: Any, data: Any) -> str:
    """Return why a metric cannot be computed for this encoder and these data, or ""."""
    try:
        check_data(data, [name])
        if METRICS[name].takes == "posterior":
            check_posterior(encoder)
    except ValueError as error:
        return str(error)
    return ""


def message(error: ValueError, factor_names: Sequence[str]) -> str:
    """Return the text of an error, with the name of the factor that it is about."""
    return error.with_names(factor_names) if isinstance(error, FactorError) else str(error)


def _conditions(
    name: str,
    settings: Mapping[str, Any],
    data: Any,
    sample: _Sample | None,
    outcome: Outcome | ValueError | None,
) -> dict[str, Any]:
    """Return the sample sizes of a metric and the factors it used."""
    if METRICS[name].takes != "encoder" and sample is not None:
        return sample.conditions(name, settings)
    sizes = np.asarray(getattr(data, "factor_sizes", ()))
    names = getattr(data, "factor_names", ())
    used = sizes > 1
    if isinstance(outcome, Outcome) and hasattr(outcome.result, "factors_used"):
        used = np.isin(np.arange(len(sizes)), outcome.result.factors_used)
    conditions: dict[str, Any] = {"representation": "mean", **factors_used(names, used)}
    if len(sizes) and not hasattr(data, "sample_factors"):
        rows, total = combinations(data)
        conditions["drawn_from"] = f"images of {len(rows)} of {total} combinations"
    return conditions


def factors_used(names: Sequence[Any], used: NDArray[np.bool_]) -> dict[str, list[Any]]:
    """Return the names of the factors that a score is of, and of the others."""
    pairs = list(zip(names, used, strict=True))
    return {
        "factors_used": [factor for factor, is_used in pairs if is_used],
        "factors_skipped": [factor for factor, is_used in pairs if not is_used],
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that scores are computed with."""
    packages = ("keras-disent", "numpy", "scipy", "scikit-learn")
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
