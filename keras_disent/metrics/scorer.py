"""Scores of scikit-learn's transformers, for its cross-validation and searches."""

from __future__ import annotations

from typing import Any

from keras_disent.metrics.catalog import METRICS, settings_of


class Scorer:
    """Score the codes of an estimator; `make_scorer` creates it.

    Args:
        metric: Name of the metric.
        settings: Its settings that differ from the defaults.
    """

    def __init__(self, metric: str, settings: dict[str, Any]) -> None:
        self.metric, self.settings = metric, settings

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """Return the score of the codes of `X`, with factors `y`; higher is better."""
        names = [name for name in ("transform", "encode") if hasattr(estimator, name)]
        if not names:
            raise TypeError(
                "A scorer takes an estimator with a method `transform` or `encode`. "
                f"Got {type(estimator).__name__}."
            )
        metric = METRICS[self.metric]
        if metric.takes == "arrays" and y is None:
            raise ValueError(f"{self.metric!r} compares codes with factors: pass them as `y`.")
        factors = () if metric.takes == "codes" else (y,)
        value = float(metric.function(getattr(estimator, names[0])(X), *factors, **self.settings))
        return value if metric.higher else -value

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"make_scorer({self.metric!r}{settings})"


def make_scorer(metric: str, **settings: Any) -> Scorer:
    """Make a scorer of codes for scikit-learn, such as for `cross_val_score` and `GridSearchCV`.

    The codes are those that the method `transform` of the estimator returns, or else `encode`; the
    factors are the `y` of scikit-learn, an array or data frame `(samples, factors)`. Where lower
    scores are better, such as those of "unsupervised", the scorer returns their negative.

    Args:
        metric: Name of a metric of arrays, out of `METRICS`.
        settings: Settings of the metric that differ from the defaults.

    Raises:
        ValueError: For an unknown name or setting, or a metric that does not take arrays.

    Example:
        >>> import numpy as np
        >>> from sklearn.decomposition import PCA, FastICA
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.pipeline import Pipeline
        >>> factors = np.random.default_rng(0).integers(4, size=(400, 2))
        >>> mixed = factors @ np.array([[1.0, 0.5, 2.0], [-0.5, 1.0, 1.0]])
        >>> methods = {"codes": [PCA(2), FastICA(2, random_state=0)]}
        >>> search = GridSearchCV(Pipeline([("codes", PCA())]), methods, scoring=make_scorer("mcc"))
        >>> search.fit(mixed, factors).best_params_
        {'codes': FastICA(n_components=2, random_state=0)}
    """
    settings_of({metric: settings}, seed=0)  # checks them
    if METRICS[metric].takes not in ("arrays", "codes"):
        names = sorted(name for name, m in METRICS.items() if m.takes in ("arrays", "codes"))
        raise ValueError(
            f"A scorer needs a metric of arrays. Got {metric!r}. Choose from: {', '.join(names)}."
        )
    return Scorer(metric, settings)
