"""One call that computes several scores of one encoder."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.registry import lookup
from keras_disent.metrics.bootstrap import Interval, bootstrap, check_level, of_accuracy
from keras_disent.metrics.catalog import METRICS, Metric, Names, check_data, settings_of
from keras_disent.metrics.checks import FactorError, check_arrays, check_at_least, varying
from keras_disent.metrics.encoding import (
    Encoder,
    GroundTruth,
    check_posterior,
    codes_by_index,
    posteriors,
)
from keras_disent.metrics.sampling import generator, sample_factors
from keras_disent.metrics.scores import Scores

MANY_VALUES = 20
"""Whole numbers of more values than this, on data without a grid, may be meant as continuous."""


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
) -> Scores:
    """Compute several scores of one encoder on one data set.

    Metrics of arrays share one sample of images, encoded once, and run side by side. Names and
    settings are checked before any work is done. A metric that cannot be computed does not cost
    the others: a warning says why, and so does `failures` of the result.

    No image is drawn twice, and those on which predictors are tested are not among those they are
    fitted to. Two kinds of grids are exceptions, and `test_disjoint` in the settings says so: with
    `legacy_stream`, and where `data.stochastic` gives another image for each draw of an index,
    combinations of factors are drawn with replacement.

    Factors of the kind "continuous" are scored as real numbers; `continuous_as` in the settings
    says how. A factor is left out, with a warning, if more than half of the images have a value of
    it that no other image has: then every latent seems to determine it.

    Args:
        encoder: deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`), such as a
            model. Metrics of posteriors ask for its method `posterior_parameters`. If it has a
            true attribute `discrete_codes`, "infomec" counts distinct codes (`discrete=True`).
        data: a ground-truth data set. Data with labels that are no grid will do for metrics of
            arrays, data without labels for those that need none.
        metrics: "standard" (those of the large studies), "all", names out of `METRICS`, or a dict
            from names to settings that differ from the defaults, such as `{"mig": {"bins": 10}}`.
            The setting `continuous` takes names of factors.
        n_samples: number of images for metrics of arrays; all images if there are fewer.
        n_test_samples: number of further images for those that judge a predictor. Of data with
            fewer than `n_samples + n_test_samples` images, all are divided in this proportion.
        seed: of all random draws.
        representation: codes for the metrics of arrays: the "mean" of the posterior, or one
            "sample" of it.
        interval: confidence level of bootstrap intervals over the samples, such as 0.95; there is
            none of `fairness` and `strong_downstream`.
        n_resamples: how many draws those intervals are made from.
        legacy_stream: draw as disentanglement_lib does from `numpy.random.RandomState(seed)`,
            where a metric can.
        n_jobs: how many metrics of arrays are computed at once; default, one for each core.
        progress: called with the name of each metric that is done, how many are, and of how many.

    Returns:
        Scores by name. What 0 and 1 mean is said by the metric's own function.

    Raises:
        ValueError: for an unknown name or setting, an encoder that does not return codes, or if
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
    chosen = settings_of(metrics, seed, legacy_stream)
    check_at_least(2, n_samples=n_samples, n_test_samples=n_test_samples)
    lookup(representation, {"mean": 0, "sample": 1}, "representation")
    if interval is not None:
        check_level(interval)
    if representation == "sample":
        check_posterior(encoder)
    elif getattr(encoder, "discrete_codes", False):
        options = metrics if isinstance(metrics, Mapping) else {}
        for name, settings in chosen.items():
            if "discrete" in settings and "discrete" not in options.get(name, {}):
                settings["discrete"] = True
    reasons = {name: _reason(name, encoder, data) for name in chosen}
    failures = {name: reason for name, reason in reasons.items() if reason}
    if len(failures) == len(chosen):
        check_data(data, chosen)
        raise ValueError(next(iter(failures.values())))
    from joblib import Parallel, delayed

    n_jobs = n_jobs or os.cpu_count() or 1
    possible = {name: s for name, s in chosen.items() if name not in failures}
    sampled = {name: s for name, s in possible.items() if METRICS[name].takes != "encoder"}
    sample = None
    if sampled:
        wanted = [METRICS[name] for name in sampled]
        sample = _Sample(
            encoder, data, wanted, n_samples, n_test_samples, seed, representation, legacy_stream
        )

    def of_arrays(name: str) -> tuple[Any, Interval | ValueError | None]:
        assert sample is not None
        rows, extra = sample.arrays(name, chosen[name])
        function = partial(METRICS[name].function, **{**chosen[name], **extra})
        result = function(*rows)
        if interval is None:
            return result, None
        test = {key: extra[key] for key in ("test",) if key in extra}
        rest = {key: value for key, value in {**chosen[name], **extra}.items() if key != "test"}
        again = partial(METRICS[name].function, **rest)
        try:
            ends = bootstrap(
                again, *rows, level=interval, n_resamples=n_resamples, seed=seed, **test
            )
        except ValueError as error:  # a draw of the samples has no score
            return result, error
        return result, ends

    def of_encoder(name: str) -> tuple[Any, Interval | ValueError | None]:
        result = METRICS[name].function(encoder, data, **chosen[name])
        if interval is None or not hasattr(result, "eval_points"):
            return result, None
        return result, of_accuracy(result.eval_accuracy, result.eval_points, interval)

    def attempt(name: str) -> tuple[Any, Interval | ValueError | None] | ValueError:
        try:
            return of_arrays(name) if name in sampled else of_encoder(name)
        except ValueError as error:
            return error

    outcomes: dict[str, tuple[Any, Interval | ValueError | None]] = {}
    errors: dict[str, ValueError] = {}

    def keep(name: str, outcome: tuple[Any, Interval | ValueError | None] | ValueError) -> None:
        if isinstance(outcome, ValueError):
            errors[name] = outcome
        else:
            outcomes[name] = outcome
        if progress:
            progress(name, len(outcomes) + len(errors), len(possible))

    parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    for name, outcome in zip(sampled, parallel(map(delayed(attempt), sampled)), strict=True):
        keep(name, outcome)
    for name in possible:
        if name not in sampled:
            keep(name, attempt(name))

    factor_names = tuple(getattr(data, "factor_names", ()))
    for name, error in errors.items():
        failures[name] = _with_names(error, factor_names)
        if sample and name in sampled:
            failures[name] += sample.constants(name)
    if not outcomes:
        if len(errors) == 1:
            name, error = next(iter(errors.items()))
            raise ValueError(failures[name]) from error
        raise ValueError(" ".join(f"{name!r}: {why}" for name, why in failures.items()))
    for warning in sample.warnings if sample else ():
        warnings.warn(warning, stacklevel=2)
    for name, why in failures.items():
        warnings.warn(f"{name!r} has no score: {why}", stacklevel=2)

    record = {
        name: {**settings, **_described(name, settings, data, sample), "versions": _versions()}
        for name, settings in chosen.items()
    }
    intervals: dict[str, Interval] = {}
    for name, (_, ends) in outcomes.items():
        if isinstance(ends, ValueError):
            why = _with_names(ends, factor_names)
            record[name]["interval_error"] = why
            warnings.warn(f"{name!r} has a score, but no interval: {why}", stacklevel=2)
        elif ends is not None:
            intervals[name] = ends
    results = {name: outcomes[name][0] for name in chosen if name in outcomes}
    return Scores(results, record, {n: intervals[n] for n in results if n in intervals}, failures)


class _Draw(NamedTuple):
    """Indices of images, and which of them are for what."""

    indices: NDArray[np.int64]
    all: slice  # for metrics that fit nothing
    fitted: slice
    tested: slice
    disjoint: bool


def _draw(data: Any, n_samples: int, n_test_samples: int, seed: int, legacy_stream: bool) -> _Draw:
    """Draw images to fit and to test on."""
    random = generator(seed, legacy_stream)
    is_grid = hasattr(data, "sample_factors")
    if is_grid and (legacy_stream or getattr(data, "stochastic", False)):
        factors = [sample_factors(data, number, random) for number in (n_samples, n_test_samples)]
        indices = np.concatenate([data.indices(part) for part in factors])
        return _Draw(
            indices,
            slice(n_samples),
            slice(n_samples),
            slice(n_samples, n_samples + n_test_samples),
            False,
        )
    total = len(data)
    indices = np.asarray(
        random.choice(total, min(total, n_samples + n_test_samples), replace=False)
    )
    tests = n_test_samples
    if total < n_samples + n_test_samples:
        tests = min(max(round(total * n_test_samples / (n_samples + n_test_samples)), 2), total)
    fitted = min(n_samples, total - tests)
    return _Draw(
        indices, slice(min(n_samples, total)), slice(fitted), slice(fitted, fitted + tests), True
    )


class _Sample:
    """The images that metrics of arrays share, encoded once.

    Attributes:
        warnings: what is to be said of the factors.
        skipped: numbers of the factors that are left out because they name the image.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: Any,
        wanted: Sequence[Metric],
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
        self.draw = _draw(data, int(n_samples), int(n_test_samples), seed, legacy_stream)
        last = self.draw.all.stop
        if any("test" in metric.arguments for metric in wanted):
            last = max(last, self.draw.tested.stop)
        indices = self.draw.indices[:last]
        if representation == "sample" or any(m.takes == "posterior" for m in wanted):
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
            self._label(indices)

    def _label(self, indices: NDArray[np.int64]) -> None:
        """Look up the factors of all images."""
        self.names = tuple(self.data.factor_names)
        self.steps = np.asarray(self.data.factors(indices))
        kinds = getattr(self.data, "factor_kinds", ("",) * len(self.names))
        self.continuous = np.array([kind == "continuous" for kind in kinds])
        self.values = self.steps
        if self.continuous.any():
            self.values = self.steps.astype(np.float64)
            for number in np.flatnonzero(self.continuous):
                numbers = np.asarray(self.data.factor_values[self.names[number]], np.float64)
                self.values[:, number] = numbers[self.steps[:, number]]
        check_arrays(self.codes, self.values, np.flatnonzero(self.continuous).tolist())
        varies = varying(self.steps[self.draw.all])
        if hasattr(self.data, "sample_factors") and np.sum(varies) > 1:
            return
        for number in np.flatnonzero(varies & ~self.continuous):
            _, counts = np.unique(self.steps[self.draw.all, number], return_counts=True)
            name, kind = self.names[number], kinds[number]
            if 2 * np.sum(counts == 1) > self.draw.all.stop:
                self.steps[:, number] = self.values[:, number] = 0
                self.warnings.append(
                    f"Factor {name!r} is left out: {np.sum(counts == 1)} of "
                    f"{self.draw.all.stop} images have a value of it that no other image has. "
                    + _REMEDIES["names" if kind == "categorical" else "numbers"].format(name)
                )
            elif kind == "ordinal" and len(counts) > MANY_VALUES:
                self.warnings.append(
                    f"Factor {name!r} is scored as {len(counts)} separate values. "
                    + _REMEDIES["numbers"].format(name)
                )
        if not varying(self.steps[self.draw.all]).any():
            raise ValueError(" ".join(self.warnings))

    def arrays(
        self, name: str, settings: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arrays that a metric takes, and its test set if it takes one."""
        metric = METRICS[name]
        tested = "test" in metric.arguments
        rows = self.draw.fitted if tested else self.draw.all
        if metric.takes == "codes":
            return (self.codes[rows],), {}
        extra: dict[str, Any] = {}
        factors = self.values
        if "continuous" in metric.arguments:
            columns = self.columns(settings["continuous"])
            extra["continuous"] = columns
            taken = np.isin(np.arange(len(self.names)), columns) & self.continuous
            factors = np.where(taken, self.values, self.steps) if taken.any() else self.steps
        else:  # numbers all of them, of which those that are constant are no factors
            factors = factors[:, varying(factors[rows])]
        if tested:
            extra["test"] = self.codes[self.draw.tested], factors[self.draw.tested]
        if metric.takes == "posterior":
            return (self.means[rows], self.log_variances[rows], factors[rows]), extra
        return (self.codes[rows], factors[rows]), extra

    def columns(self, continuous: Any) -> list[int]:
        """Return the numbers of the factors that the setting `continuous` stands for."""
        if continuous is None:
            return np.flatnonzero(self.continuous).tolist()
        if isinstance(continuous, bool | np.bool_):
            return list(range(len(self.names))) if continuous else []
        known = dict(zip(self.names, range(len(self.names)), strict=True))
        strange = [name for name in continuous if name not in known and name not in known.values()]
        if isinstance(continuous, str) or strange:
            raise ValueError(
                f"`continuous` is True, False, or names out of {', '.join(self.names)}. "
                f"Got {continuous!r}."
            )
        return sorted({known.get(name, name) for name in continuous})

    def described(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was drawn for a metric, and what was done with the factors."""
        metric, draw = METRICS[name], self.draw
        tested = "test" in metric.arguments
        rows = draw.fitted if tested else draw.all
        described: dict[str, Any] = {**self.settings, "n_samples": rows.stop}
        if tested:
            described["n_test_samples"] = draw.tested.stop - draw.tested.start
            described["test_disjoint"] = draw.disjoint
        if metric.takes == "codes":
            return described
        used = varying(self.steps[rows])
        described |= _factors_used(self.names, used)
        columns = np.flatnonzero(self.continuous).tolist()
        if "continuous" in metric.arguments:
            columns = self.columns(settings["continuous"])
            described["continuous"] = [self.names[number] for number in columns]
        columns = [number for number in columns if used[number]]
        if columns:
            how = metric.continuous.format(**settings)
            described["continuous_as"] = {self.names[number]: how for number in columns}
        if tested:
            values = {
                self.names[number]: self._unfitted(int(number))
                for number in np.flatnonzero(used)
                if number not in columns
            }
            values = {factor: left for factor, left in values.items() if left}
            if values:
                described["test_values_unfitted"] = values
        return described

    def constants(self, name: str) -> str:
        """Return a sentence on factors that the images of a metric show one value of, if any."""
        if METRICS[name].takes == "codes":
            return ""
        rows = self.draw.fitted if "test" in METRICS[name].arguments else self.draw.all
        uses = zip(self.names, varying(self.steps[rows]), strict=True)
        constant = [repr(factor) for factor, varies in uses if not varies]
        if not constant:
            return ""
        return f" The {rows.stop} images drawn show one value of {', '.join(constant)}."

    def _unfitted(self, number: int) -> list[Any]:
        """Return the values of a factor that images tested have, and none of those fitted."""
        fitted, tested = (self.steps[r, number] for r in (self.draw.fitted, self.draw.tested))
        steps = np.setdiff1d(tested, fitted)
        table = getattr(self.data, "factor_values", {}).get(self.names[number])
        return (steps if table is None else np.asarray(table)[steps]).tolist()


_REMEDIES = {
    "numbers": "If its numbers are quantities, say `labeled(..., kinds={{{0!r}: 'continuous'}})`; "
    "if they are names, 'categorical'.",
    "names": "Give its images fewer, common values, or leave it out with `data.only(...)`.",
}


def _reason(name: str, encoder: Any, data: Any) -> str:
    """Return why a metric cannot be had of this encoder and these data, if so."""
    try:
        check_data(data, [name])
        if METRICS[name].takes == "posterior":
            check_posterior(encoder)
    except ValueError as error:
        return str(error)
    return ""


def _with_names(error: ValueError, names: Sequence[str]) -> str:
    return error.with_names(names) if isinstance(error, FactorError) else str(error)


def _described(
    name: str, settings: Mapping[str, Any], data: Any, sample: _Sample | None
) -> dict[str, Any]:
    """Return what was drawn for a metric, and which factors it used."""
    if METRICS[name].takes != "encoder" and sample is not None:
        return sample.described(name, settings)
    sizes = np.asarray(getattr(data, "factor_sizes", ()))
    names = getattr(data, "factor_names", ())
    return {"representation": "mean", **_factors_used(names, sizes > 1)}


def _factors_used(names: Sequence[str], used: NDArray[np.bool_]) -> dict[str, list[str]]:
    uses = list(zip(names, used, strict=True))
    return {
        "factors_used": [factor for factor, use in uses if use],
        "factors_skipped": [factor for factor, use in uses if not use],
    }


def _versions() -> dict[str, str]:
    packages = ("keras-disent", "numpy", "scipy", "scikit-learn")
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
