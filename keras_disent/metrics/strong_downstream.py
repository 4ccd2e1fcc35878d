"""A downstream task under distribution shift of another factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.checks import check_counts, check_labeled
from keras_disent.metrics.encoding import Encoder, GroundTruth, codes_by_index
from keras_disent.metrics.predictors import (
    Fit,
    call_in_parallel,
    check_predictor,
    fit_predictor,
    train_and_test_accuracy,
)
from keras_disent.metrics.results import Result
from keras_disent.metrics.sampling import factors_of, generator


class StrongDownstream(Result):
    """Accuracies under a shift of another factor; `float()` is the mean test accuracy.

    Attributes:
        train_accuracy: Accuracy on the training samples without a shift, `(factors,)`.
        test_accuracy: The same on the test samples.
        strong_train_accuracy: Accuracy on the training samples with a shift,
            `(factors, n_repeats)`.
        strong_test_accuracy: The same on the test samples.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {
        "train_accuracy": ("factors_used",),
        "test_accuracy": ("factors_used",),
        "strong_train_accuracy": ("factors_used", "repeats"),
        "strong_test_accuracy": ("factors_used", "repeats"),
    }

    train_accuracy: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    strong_train_accuracy: NDArray[np.float64]
    strong_test_accuracy: NDArray[np.float64]
    factors_used: tuple[int, ...]

    @property
    def generalization_gap(self) -> float:
        """Relative loss of mean test accuracy due to the shift; 0 if that accuracy is 0."""
        plain = float(self.test_accuracy.mean())
        return 1 - float(self) / plain if plain else 0.0

    def __float__(self) -> float:
        return float(self.strong_test_accuracy.mean())


def strong_downstream(
    encoder: Encoder,
    data: GroundTruth,
    *,
    train_samples: int = 1000,
    test_samples: int = 1000,
    n_repeats: int = 10,
    predictor: str = "boosting",
    seed: int = 0,
    legacy_stream: bool = False,
    legacy_global_seed: int = 0,
    n_jobs: int = 1,
) -> StrongDownstream:
    """Score how well a classifier of one factor generalizes to unseen values of another factor.

    A classifier is trained on images that all share one value of another factor, and tested on
    images with its other values only. This other factor and its value are drawn `n_repeats` times
    for each classified factor.
    Locatello et al. (2020), "Weakly-Supervised Disentanglement Without Compromises", section 5.

    Factors of size 1 are neither predicted nor shifted.

    Args:
        encoder: Deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`). Each image
            may be encoded only once if that saves work.
        data: Ground-truth data set.
        train_samples: Number of training images.
        test_samples: Number of test images.
        n_repeats: Number of shifts for each factor.
        predictor: "boosting", "exact_boosting" (that of scikit-learn, about 20 times slower) or
            "logistic".
        seed: Random seed of all draws.
        legacy_stream: Draw factors as disentanglement_lib does from
            `numpy.random.RandomState(seed)`, and shifts as it does from NumPy's global generator.
        legacy_global_seed: Random seed of the substitute for that global generator. (In
            disentanglement_lib, the classifier drew from it too, so values of "exact_boosting"
            differ.)
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        Accuracies of 1 if each factor is predictable from the codes whatever the others are; about
        the frequency of the most frequent value for uninformative codes.

    Raises:
        ValueError: For numbers below 1, an unknown predictor, unlabeled data, fewer than two
            factors that vary, or an encoder that does not return one row of finite codes per
            image.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> one, four = [0], range(0, 32, 8)
        >>> subset = {"shape": one, "scale": one, "orientation": one}
        >>> data = Sprites(32).subgrid({**subset, "position_x": four, "position_y": four})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> float(strong_downstream(center, data, train_samples=200, n_repeats=1))
        1.0
    """
    check_labeled(data, "strong_downstream")
    check_predictor(predictor)
    check_counts(1, train_samples=train_samples, test_samples=test_samples, n_repeats=n_repeats)
    check_counts(1, n_jobs=n_jobs)
    used = np.flatnonzero(np.asarray(data.factor_sizes) > 1)
    if used.size < 2:
        raise ValueError(
            "'strong_downstream' predicts one factor under shifts of another, so it needs two "
            f"with more than one value. Got `factor_sizes` {tuple(data.factor_sizes)}."
        )
    random = generator(seed, legacy_stream)
    shift = np.random.RandomState(legacy_global_seed) if legacy_stream else random
    runs = 1 + n_repeats * used.size
    codes_of = codes_by_index(encoder, data, (train_samples + test_samples) * runs)
    train, test = (factors_of(data, n, random) for n in (train_samples, test_samples))

    def encode(train: Any, test: Any) -> tuple[Any, Any]:
        return codes_of(data.indices(train)), codes_of(data.indices(test))

    def task(codes: tuple[Any, Any], factor: Any) -> tuple[Any, ...]:
        return Fit(predictor, codes[0], train[:, factor], seed), codes[1], test[:, factor]

    plain = encode(train, test)
    tasks = [task(plain, factor) for factor in used]
    for factor in used:
        for _ in range(n_repeats):
            other = shift.choice(used[used != factor])
            value = shift.choice(data.factor_sizes[other])
            unseen = np.delete(np.arange(data.factor_sizes[other]), value)
            # The labels of `factor` stay as they were.
            train_shifted, test_shifted = train.copy(), test.copy()
            train_shifted[:, other] = value
            test_shifted[:, other] = shift.choice(unseen, test_samples)
            tasks.append(task(encode(train_shifted, test_shifted), factor))
    seconds = sum(fit.seconds for fit, *_ in tasks)
    accuracies = np.array(call_in_parallel(_accuracies, tasks, n_jobs, seconds)).T
    train, test = accuracies[:, : used.size]
    strong_train, strong_test = accuracies[:, used.size :].reshape(2, used.size, n_repeats)
    return StrongDownstream(train, test, strong_train, strong_test, tuple(used.tolist()))


def _accuracies(fit: Fit, test_codes: Any, test_labels: Any) -> tuple[float, float]:
    """Fit a predictor and return its accuracy on training and test samples."""
    return train_and_test_accuracy(
        fit_predictor(*fit), fit.codes, fit.labels, test_codes, test_labels
    )
