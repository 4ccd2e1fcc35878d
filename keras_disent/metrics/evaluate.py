"""Compute several scores of one encoder in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from keras_disent._utils.progress import Verbose, progress_bar
from keras_disent._utils.registry import lookup
from keras_disent._utils.spellings import also_called
from keras_disent.metrics.bootstrap import Outcome, Task, accuracy_interval, check_level, compute
from keras_disent.metrics.catalog import METRICS, Names, check_data, settings_of
from keras_disent.metrics.checks import check_counts, combinations
from keras_disent.metrics.encoding import CodeCache, Encoder, GroundTruth, check_posterior
from keras_disent.metrics.estimate import Plan, Work
from keras_disent.metrics.record import collect, factors_used, message, versions
from keras_disent.metrics.results import Result
from keras_disent.metrics.sample import Sample
from keras_disent.metrics.sampling import is_pooled
from keras_disent.metrics.scores import Scores

LEVEL = 0.95
"""Confidence level of intervals that cost nothing."""


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
    reference: bool = False,
    legacy_stream: bool = False,
    n_jobs: int | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    verbose: Verbose = "auto",
) -> Scores:
    """Compute several scores of one encoder on one data set.

    Metrics share one sample of images, encoded once, and the predictors fitted to its codes; those
    of arrays run side by side. Names and settings are checked before any work is done. If one
    metric fails, the others are still computed: a warning and `failures` of the result give the
    reason.

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
            no intervals. Scores that are accuracies on votes or points always have one, of level
            0.95 by default, because it needs no resamples.
        n_resamples: Number of bootstrap resamples for those intervals.
        reference: Whether the default settings are those of the large studies: 10,000 training and
            5,000 evaluation votes of newly drawn images for "factor_vae_score", and likewise for
            "beta_vae_score" and "z_max". That encodes up to a million images or more.
        legacy_stream: Draw as disentanglement_lib does from `numpy.random.RandomState(seed)`,
            where a metric can, with the settings of `reference`.
        n_jobs: Number of metrics of arrays, or of predictors of a metric, computed in parallel;
            default, one for each core.
        progress: Called after each metric with its name, the number of finished metrics, and their
            total.
        verbose: As in Keras: 0 is silent, 1 a bar, 2 a line from time to time, "auto" a bar on a
            terminal and in a notebook, and lines elsewhere. Work of more than ten seconds begins
            with an estimate, such as "about 40 s: 9 scores, 15,000 images encoded".

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
    settings_by_name = settings_of(metrics, seed, legacy_stream, reference)
    check_counts(2, n_samples=n_samples, n_test_samples=n_test_samples)
    lookup(representation, {"mean": 0, "sample": 1}, "representation")
    if interval is not None:
        check_level(interval)
        check_counts(2, n_resamples=n_resamples)
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
    n_workers = n_jobs or os.cpu_count() or 1
    computed = {name: settings_by_name[name] for name in computable}
    work = Work(encoder, data, computed, n_samples, n_test_samples)
    plan = Plan(lambda rate: work.estimate(rate, n_workers, n_resamples if interval else 0))
    sample = None
    outcomes: dict[str, Outcome | ValueError] = {}
    with progress_bar("Scoring", "scores", verbose=verbose) as advance:

        def count(images: int) -> None:
            total = max(plan.encoded + images, work.images)
            plan.count(images, verbose)
            finished = (len(outcomes), len(computable)) if outcomes else (0, None)
            advance(*finished, f"{plan.encoded:,} of {total:,} images encoded")

        def store(name: str, outcome: Outcome | ValueError) -> None:
            outcomes[name] = outcome
            advance(len(outcomes), len(computable), f"last {name}")
            if progress:
                progress(name, len(outcomes), len(computable))

        cache = CodeCache(encoder, data, count)
        if array_metrics:
            advance(0, note="encoding images")
            sample = Sample(
                cache,
                [METRICS[name] for name in array_metrics],
                n_samples,
                n_test_samples,
                seed,
                representation,
                legacy_stream,
            )
            plan.announce(0.0, verbose)
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
            n_jobs=n_workers,
            expected=sum(work.seconds(tasks).values()),
        ):
            store(name, outcome)
        for name in computable:
            if name not in array_metrics:
                store(name, _outcome(name, cache, settings_by_name[name], interval, n_workers))

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


def _outcome(
    name: str, cache: CodeCache, settings: dict[str, Any], level: float | None, n_jobs: int
) -> Outcome | ValueError:
    """Compute a metric of an encoder."""
    jobs = {"n_jobs": n_jobs} if METRICS[name].in_parallel else {}
    try:
        result = METRICS[name].function(cache, cache.data, **settings, **jobs)
    except ValueError as error:
        return error
    if not hasattr(result, "eval_points"):
        return Outcome(result)
    interval = accuracy_interval(result.eval_accuracy, result.eval_points, level or LEVEL)
    return Outcome(result.with_intervals({"eval_accuracy": interval}), interval)


def _obstacle(name: str, encoder: Any, data: Any) -> str:
    """Return why a metric cannot be computed for this encoder and these data, or ""."""
    try:
        check_data(data, [name])
        if METRICS[name].takes == "posterior":
            check_posterior(encoder)
    except ValueError as error:
        return str(error)
    return ""


def _conditions(
    name: str,
    settings: Mapping[str, Any],
    data: Any,
    sample: Sample | None,
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
    images = "images"
    if is_pooled(data, settings):
        images = conditions["drawn_from"] = f"{settings['pool']:,} images"
    if len(sizes) and not hasattr(data, "sample_factors"):
        rows, total = combinations(data)
        conditions["drawn_from"] = f"{images} of {len(rows)} of {total} combinations"
    return conditions
