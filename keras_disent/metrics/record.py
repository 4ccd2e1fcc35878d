"""What a result of several scores contains besides them: settings, names, failures, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.callers import outside
from keras_disent.metrics.bootstrap import Outcome
from keras_disent.metrics.checks import FactorError
from keras_disent.metrics.results import Interval
from keras_disent.metrics.scores import Scores


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
    scores = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Outcome)}
    if not scores:
        if len(errors) == 1:
            name, error = next(iter(errors.items()))
            raise ValueError(failures[name]) from error
        raise ValueError(" ".join(f"{name!r}: {why}" for name, why in failures.items()))
    for text in messages:
        warnings.warn(text, stacklevel=outside())
    for name, why in failures.items():
        warnings.warn(f"{name!r} has no score: {why}", stacklevel=outside())
    for name, outcome in scores.items():
        if isinstance(outcome.interval, ValueError):
            why = record[name]["interval_error"] = explain(name, outcome.interval)
            warnings.warn(f"{name!r} has a score, but no interval: {why}", stacklevel=outside())
    ordered = [name for name in record if name in scores]
    ends = {name: scores[name].interval for name in ordered}
    return Scores(
        {name: scores[name].result for name in ordered},
        record,
        {name: interval for name, interval in ends.items() if isinstance(interval, Interval)},
        failures,
    )


def message(error: ValueError, factor_names: Sequence[str]) -> str:
    """Return the text of an error, with the name of the factor that it is about."""
    return error.with_names(factor_names) if isinstance(error, FactorError) else str(error)


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
