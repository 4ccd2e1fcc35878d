"""Predictors that metrics train on codes, by name."""

import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.registry import lookup
from keras_disent.metrics._predictors.boosting import BoostedRegression, BoostedTrees

FILTERS = threading.Lock()


class Predictor(Protocol):
    """Tells the value of one factor from codes."""

    def fit(self, codes: NDArray[Any], labels: NDArray[Any], /) -> Any: ...
    def predict(self, codes: NDArray[Any], /) -> NDArray[Any]: ...


class Constant:
    """Answers with the only label it was shown.

    Example:
        >>> Constant().fit(np.zeros((2, 1)), np.array([7, 7])).predict(np.ones((3, 1)))
        array([7, 7, 7])
    """

    def fit(self, codes: NDArray[Any], labels: NDArray[Any]) -> "Constant":
        self.label = labels[0]
        # No latent helps to tell one label from itself.
        self.feature_importances_ = np.zeros(codes.shape[1])
        return self

    def predict(self, codes: NDArray[Any]) -> NDArray[Any]:
        return np.full(len(codes), self.label)


class Logistic:
    """Multinomial logistic regression whose L2 penalty is chosen by 5 folds of the samples.

    The folds are cut in the order of the samples, and there are fewer of them if there are fewer
    than 5 samples. Codes are not scaled and the solver stops after 100 steps, as is published, so
    the scale of a latent matters.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> int(Logistic().fit(codes, np.arange(20) // 10).predict([[3.0]])[0])
        0
    """

    def fit(self, codes: NDArray[Any], labels: NDArray[np.int64]) -> "Logistic":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegressionCV
        from sklearn.model_selection import KFold

        self.model = LogisticRegressionCV(
            Cs=10,
            cv=KFold(min(5, len(codes))),
            # Spelled out, because their defaults change between versions of scikit-learn.
            scoring="accuracy",
            l1_ratios=(0,),
            use_legacy_attributes=False,
        )
        # Filters belong to the whole process: one thread at a time changes and restores them.
        with FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is the setting
            self.model.fit(codes, labels)
        return self

    def predict(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        return self.model.predict(codes)


class Linear:
    """Linear regression whose L2 penalty is chosen by 5 folds, the twin of `Logistic` for numbers.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> Linear().fit(codes, 3 * np.arange(20.0)).predict(np.array([[30.0]])).round(2)
        array([90.])
    """

    def fit(self, codes: NDArray[Any], values: NDArray[Any]) -> "Linear":
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


def _exact(seed: int, continuous: bool) -> Predictor:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    make = GradientBoostingRegressor if continuous else GradientBoostingClassifier
    return make(random_state=seed)


# Functions of the seed, and of whether the factor is continuous.
PREDICTORS: dict[str, Callable[[int, bool], Predictor]] = {
    "boosting": lambda seed, continuous: BoostedRegression() if continuous else BoostedTrees(),
    "exact_boosting": _exact,
    "logistic": lambda seed, continuous: Linear() if continuous else Logistic(),
}


TREES = ("boosting", "exact_boosting")
"""Predictors that have feature importances."""


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
    """Train a predictor from codes to the values of one factor.

    Args:
        name: "boosting", gradient-boosted trees on binned codes; "exact_boosting", the same by
            scikit-learn on the codes themselves, about 20 times slower; or "logistic".
        codes: floats `(samples, latents)`.
        labels: the factor `(samples,)`. If all are the same, so is every answer.
        seed: of what the predictor draws: ties between latents, in "exact_boosting" only.
        continuous: whether the factor is a number to be predicted rather than a class: by
            regression trees, or linear regression in place of "logistic".

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> codes = np.arange(20.0)[:, None]
        >>> model = fit_predictor("boosting", codes, np.arange(20) // 10)
        >>> model.predict(np.array([[3.0], [15.0]]))
        array([0, 1])
    """
    make = lookup(name, PREDICTORS, "predictor")
    varies = labels.min() < labels.max()
    labels = labels if continuous else labels.astype(np.int64)
    return (make(seed, continuous) if varies else Constant()).fit(codes, labels)


def success(predictions: NDArray[Any], labels: NDArray[Any], continuous: bool = False) -> float:
    """Return how good predictions are, from 0 to 1.

    The share of labels that are right; of a continuous factor, the share of the variance that is
    explained (R²), or 0 if it is below 0.

    Example:
        >>> labels = np.array([0.0, 1.0, 2.0])
        >>> success(labels, labels, True), success(labels[::-1], labels, True)
        (1.0, 0.0)
    """
    if not continuous:
        return float(np.mean(predictions == labels))
    return max(0.0, 1 - float(relative_error(predictions, labels)))


def relative_error(predictions: NDArray[Any], values: NDArray[Any]) -> float:
    """Return the mean squared error of predictions in units of the variance of the values.

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
    """Return the `success` of a model with the samples that it was fitted to, and with others."""
    # Boosted trees remember what they said of the samples they were fitted to.
    fitted = model.fitted_ if hasattr(model, "fitted_") else model.predict(codes)
    return (
        success(fitted, labels, continuous),
        success(model.predict(test_codes), test_labels, continuous),
    )
