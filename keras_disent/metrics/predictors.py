"""Registry of the predictors that metrics train on codes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.registry import lookup
from keras_disent.metrics._predictors.boosting import BoostedRegression, BoostedTrees
from keras_disent.metrics.mutual_information import present

FILTERS = threading.Lock()


class Predictor(Protocol):
    """Interface of a model that predicts one factor from codes."""

    def fit(self, codes: NDArray[Any], labels: NDArray[Any], /) -> Any: ...
    def predict(self, codes: NDArray[Any], /) -> NDArray[Any]: ...


class Constant:
    """Predict the only label of the training samples.

    Example:
        >>> Constant().fit(np.zeros((2, 1)), np.array([7, 7])).predict(np.ones((3, 1)))
        array([7, 7, 7])
    """

    def fit(self, codes: NDArray[Any], labels: NDArray[Any]) -> Constant:
        self.label = labels[0]
        # With a single label, no latent has any importance.
        self.feature_importances_ = np.zeros(codes.shape[1])
        return self

    def predict(self, codes: NDArray[Any]) -> NDArray[Any]:
        return np.full(len(codes), self.label)


class Logistic:
    """Multinomial logistic regression with an L2 penalty from 5-fold cross-validation.

    Folds are contiguous blocks of samples, fewer than 5 if there are fewer samples. Codes are not
    scaled and the solver stops after 100 steps, as in the published studies, so the scale of a
    latent matters.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> int(Logistic().fit(codes, np.arange(20) // 10).predict([[3.0]])[0])
        0
    """

    def fit(self, codes: NDArray[Any], labels: NDArray[np.int64]) -> Logistic:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegressionCV
        from sklearn.model_selection import KFold

        self.model = LogisticRegressionCV(
            Cs=10,
            cv=KFold(min(5, len(codes))),
            # Explicit, because the defaults change between versions of scikit-learn.
            scoring="accuracy",
            l1_ratios=(0,),
            use_legacy_attributes=False,
        )
        # Warning filters are global to the process: one thread at a time may change them.
        with FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is intended
            self.model.fit(codes, labels)
        return self

    def predict(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        return self.model.predict(codes)


class Linear:
    """Linear regression with an L2 penalty from 5-fold cross-validation, like `Logistic`.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> Linear().fit(codes, 3 * np.arange(20.0)).predict(np.array([[30.0]])).round(2)
        array([90.])
    """

    def fit(self, codes: NDArray[Any], values: NDArray[Any]) -> Linear:
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import KFold

        folds = KFold(min(5, len(codes)))
        self.model = RidgeCV(
            alphas=np.logspace(-4, 4, 10), cv=folds, scoring="neg_mean_squared_error"
        )
        self.model.fit(codes, values)
        return self

    def predict(self, codes: NDArray[Any]) -> NDArray[Any]:
        return self.model.predict(codes)


def _exact_boosting(seed: int, continuous: bool) -> Predictor:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    make = GradientBoostingRegressor if continuous else GradientBoostingClassifier
    return make(random_state=seed)


COARSE_BINS = 64

# Predictors by name, as functions of the random seed and of whether the factor is continuous.
PREDICTORS: dict[str, Callable[[int, bool], Predictor]] = {
    "boosting": lambda seed, continuous: BoostedRegression() if continuous else BoostedTrees(),
    "coarse_boosting": lambda seed, continuous: (BoostedRegression if continuous else BoostedTrees)(
        bins=COARSE_BINS, refine=False
    ),
    "exact_boosting": _exact_boosting,
    "logistic": lambda seed, continuous: Linear() if continuous else Logistic(),
}


TREES = ("boosting", "coarse_boosting", "exact_boosting")
"""Names of the predictors with feature importances."""


def check_predictor(name: Any, names: Iterable[str] = PREDICTORS) -> None:
    """Raise ValueError for a predictor that is not among `names`."""
    lookup(name, dict.fromkeys(names), "predictor")


def fit_predictor(
    name: str,
    codes: NDArray[Any],
    labels: NDArray[Any],
    seed: int = 0,
    continuous: bool = False,
) -> Predictor:
    """Fit a predictor from codes to one factor.

    Args:
        name: "boosting" for gradient-boosted trees on binned codes; "coarse_boosting" for at most
            64 bins, about 3 times faster; "exact_boosting" for trees of scikit-learn on the codes
            themselves, about 20 times slower; or "logistic".
        codes: Floats `(samples, latents)`.
        labels: Factor `(samples,)`. If all labels are equal, every prediction is that label.
            Samples without a label are left out.
        seed: Random seed for ties between latents, used by "exact_boosting" only.
        continuous: Whether to fit a regression instead of a classifier: regression trees, or
            linear regression in place of "logistic".

    Raises:
        ValueError: For an unknown name.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> model = fit_predictor("boosting", codes, np.arange(20) // 10)
        >>> model.predict(np.array([[3.0], [15.0]]))
        array([0, 1])
    """
    make = lookup(name, PREDICTORS, "predictor")
    is_labeled = present(labels)
    if not is_labeled.all():
        codes, labels = codes[is_labeled], labels[is_labeled]
    if not labels.size:
        raise ValueError("A predictor needs a sample that has a value of the factor. Got none.")
    varies = labels.min() < labels.max()
    labels = labels if continuous else labels.astype(np.int64)
    return (make(seed, continuous) if varies else Constant()).fit(codes, labels)


class Fit(NamedTuple):
    """A predictor to fit: the arguments of `fit_predictor`."""

    predictor: str
    codes: NDArray[Any]
    labels: NDArray[Any]
    seed: int = 0
    continuous: bool = False

    @property
    def key(self) -> str:
        """A text that tells apart fits with different results."""
        from joblib import hash as digest

        arrays = np.ascontiguousarray(self.codes), np.ascontiguousarray(self.labels)
        seed = self.seed if self.predictor == "exact_boosting" else 0
        return str(digest((self.predictor, *arrays, seed, bool(self.continuous))))

    @property
    def seconds(self) -> float:
        """About how many seconds it takes."""
        values = 1 if self.continuous else len(np.unique(self.labels))
        return 1e-6 * values * self.codes.shape[1] * (len(self.codes) + 2000)


_SHARED: ContextVar[dict[str, Predictor] | None] = ContextVar("_SHARED", default=None)


@contextmanager
def shared_fits(models: dict[str, Any]) -> Iterator[None]:
    """Keep what `fit_predictors` fits in `models`, so that scores of the same arrays share it."""
    token = _SHARED.set(models)
    try:
        yield
    finally:
        _SHARED.reset(token)


def fit_predictors(fits: Sequence[Fit], n_jobs: int = 1) -> list[Any]:
    """Fit several predictors side by side, equal ones once.

    Args:
        fits: What to fit.
        n_jobs: Number of fits in parallel: in threads, or in processes if they take long.
    """
    models = _SHARED.get()
    models = {} if models is None else models
    keys = [fit.key for fit in fits]
    missing = {key: fit for key, fit in zip(keys, fits, strict=True) if key not in models}
    # The longest first, so that no worker begins with them when the others are done.
    missing = dict(sorted(missing.items(), key=lambda item: -item[1].seconds))
    seconds = sum(fit.seconds for fit in missing.values())
    fitted = call_in_parallel(fit_predictor, missing.values(), n_jobs, seconds)
    models.update(zip(missing, fitted, strict=True))
    return [models[key] for key in keys]


PROCESSES = 20.0
"""Seconds of work from which processes pay off, which wait less for each other than threads."""


def call_in_parallel(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], n_jobs: int, seconds: float
) -> list[Any]:
    """Call a function in threads, or in processes for work of many seconds."""
    from joblib import Parallel, delayed

    prefer = "processes" if seconds > PROCESSES else "threads"
    calls = (delayed(function)(*args) for args in arguments)
    return list(Parallel(n_jobs=n_jobs, prefer=prefer)(calls))


def accuracy(predictions: NDArray[Any], labels: NDArray[Any], continuous: bool = False) -> float:
    """Return the accuracy of predictions, or R² of a continuous factor (at least 0).

    Example:
        >>> labels = np.array([0.0, 1.0, 2.0])
        >>> accuracy(labels, labels, True), accuracy(labels[::-1], labels, True)
        (1.0, 0.0)
    """
    if not continuous:
        return float(np.mean(predictions == labels))
    return max(0.0, 1 - float(relative_error(predictions, labels)))


def relative_error(predictions: NDArray[Any], values: NDArray[Any]) -> float:
    """Return the mean squared error of predictions divided by the variance of the values.

    It is 1 if the values do not vary.
    """
    variance = float(np.var(values))
    return float(np.mean((predictions - values) ** 2)) / variance if variance else 1.0


def train_and_test_accuracy(
    model: Predictor,
    codes: NDArray[Any],
    labels: NDArray[Any],
    test_codes: NDArray[Any],
    test_labels: NDArray[Any],
    continuous: bool = False,
) -> tuple[float, float]:
    """Return the `accuracy` of a model on its training samples and on test samples.

    Samples without a label are left out.

    Raises:
        ValueError: If no test sample has a label.
    """
    is_labeled, test_is_labeled = present(labels), present(test_labels)
    if not (is_labeled.all() and test_is_labeled.all()):
        codes, labels = codes[is_labeled], labels[is_labeled]
        test_codes, test_labels = test_codes[test_is_labeled], test_labels[test_is_labeled]
    if not test_labels.size:
        raise ValueError("A test needs a sample that has a value of the factor. Got none.")
    # Boosted trees store their predictions for the training samples.
    train_predictions = model.fitted_ if hasattr(model, "fitted_") else model.predict(codes)
    return (
        accuracy(train_predictions, labels, continuous),
        accuracy(model.predict(test_codes), test_labels, continuous),
    )
