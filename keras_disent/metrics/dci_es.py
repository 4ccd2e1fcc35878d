"""DCI-ES: the scores of DCI, with explicitness and size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import Continuous, FactorError, check_counts
from keras_disent.metrics.dci import Matrix, completeness, disentanglement, fit_factors, prepare
from keras_disent.metrics.mutual_information import present
from keras_disent.metrics.predictors import relative_error
from keras_disent.metrics.results import Result, keeps_names


class DCIES(Result):
    """Explicitness and size beside the scores of DCI; `float()` of them is `explicitness`.

    Attributes:
        explicitness: Ease of prediction: high if probes of low capacity suffice; from -1 to 1.
        size: Number of factors used divided by the number of latents.
        disentanglement: As in DCI, for the probe of largest capacity.
        completeness: As in DCI, for that probe.
        informativeness: 1 minus the loss of that probe on the test samples, mean over factors.
        explicitness_per_factor: float64 `(factors used,)`.
        losses: float64 `(factors used, capacities)`, loss on the test samples of the best probe
            of at most that capacity: the error rate or, for a continuous factor, the squared
            error divided by the variance.
        capacities: int64, numbers of boosting rounds.
        baselines: float64 `(factors used,)`, loss of the best constant prediction.
        factors_used: Numbers of the factors with more than one value; others are skipped.
    """

    axes = {
        "explicitness_per_factor": ("factors_used",),
        "losses": ("factors_used", "capacities"),
        "baselines": ("factors_used",),
    }

    explicitness: float
    size: float
    disentanglement: float
    completeness: float
    informativeness: float
    explicitness_per_factor: Matrix
    losses: Matrix
    capacities: NDArray[np.int64]
    baselines: Matrix
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.explicitness


@keeps_names
def dci_es(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: Continuous = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> DCIES:
    """Score how explicit codes are: how little capacity a predictor needs to use them.

    Predictors of growing capacity, or probes, are fitted from all latents to each factor.
    Explicitness is 1 minus the area below the curve of their test losses against capacity. The
    unit of the area is the triangle below a straight line from the loss without codes, at the
    least capacity, to 0 at the largest. Eastwood et al. (2023), "DCI-ES: An Extended
    Disentanglement Framework with Connections to Identifiability", section 4.

    The probes here are `BoostedTrees` of 1 to 100 rounds of trees of depth 3; capacity is the
    logarithm of the number of rounds, and loss the error rate. Continuous factors have
    `BoostedRegression`, whose loss is the unexplained proportion of the variance. As no probe
    needs to be worse than a weaker one, the least loss up to each capacity counts. The area reaches
    down to a loss of 0, not only to the least loss of these codes, so that uninformative codes are
    not explicit. So scores compare with each other, but not with those of other probes.

    Factors with a single value are skipped.

    Args:
        codes: Floats `(samples, latents)`, at least two latents. They are rounded to float32.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        test: Codes and factors that test the probes; default, a third of the rows, which are then
            not used for fitting.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        seed: Random seed of the split.
        n_jobs: Number of predictors fitted in parallel. It does not change the result.

    Returns:
        An explicitness of 1 if the weakest probe predicts every factor; 0 if the loss falls
        linearly to 0; -1 if no probe is better than none.

    Raises:
        ValueError: For malformed arrays, fewer than two latents or two factors that vary, fewer
            than one job, or test samples with a single value of a factor.

    Example:
        >>> factors = np.indices((4, 5, 3)).reshape(3, -1).T
        >>> result = dci_es(factors.astype("float32"), factors, test=(factors, factors))
        >>> float(result), result.size, result.capacities[[0, -1]]
        (1.0, 1.0, array([  1, 100]))
    """
    check_counts(1, n_jobs=n_jobs)
    arrays, used = prepare(codes, factors, test, seed, continuous, "DCI-ES")
    has_value = present(arrays.test_factors).T
    test_codes = [arrays.test_codes[mask] for mask in has_value]
    labels_of = [labels[k] for labels, k in zip(arrays.test_factors.T, has_value, strict=True)]
    tests = list(zip(labels_of, arrays.continuous, strict=True))
    for number, (labels, _) in zip(used, tests, strict=True):
        if not labels.size or labels.min() == labels.max():
            raise FactorError(
                "Explicitness needs at least 2 values of each factor among the test samples. "
                f"Got {len(np.unique(labels))} of {{factor}}.",
                number,
            )
    baselines = np.array([1.0 if real else 1 - _majority(labels) for labels, real in tests])
    models = fit_factors("boosting", arrays, seed, n_jobs)
    errors = [
        [
            relative_error(answers, labels) if real else np.mean(answers != labels)
            for answers in model.staged_predict(rows)
        ]
        for model, rows, (labels, real) in zip(models, test_codes, tests, strict=True)
    ]
    losses = np.minimum.accumulate(np.minimum(errors, baselines[:, None]), axis=1)
    capacities = np.arange(1, losses.shape[1] + 1)
    areas = np.trapezoid(losses, np.log(capacities), axis=1)
    per_factor = 1 - 2 * areas / (baselines * np.log(capacities[-1]))
    importance = np.stack([model.feature_importances_ for model in models], axis=1)
    return DCIES(
        float(per_factor.mean()),
        len(used) / arrays.codes.shape[1],
        disentanglement(importance)[0],
        completeness(importance)[0],
        1 - float(np.mean([min(row[-1], 1.0) for row in errors])),
        per_factor,
        losses,
        capacities,
        baselines,
        used,
    )


def _majority(labels: NDArray[np.int64]) -> float:
    """Return the relative frequency of the most frequent label."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
