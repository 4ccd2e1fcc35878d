"""InfoMEC: modularity, explicitness and compactness in terms of information."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import (
    Continuous,
    FactorError,
    check_arrays,
    check_counts,
    factors_that_vary,
    in_bins,
    train_and_test,
)
from keras_disent.metrics.mutual_information import entropy, mutual_information, present
from keras_disent.metrics.predictors import FILTERS
from keras_disent.metrics.results import Result, keeps_names


class InfoMEC(Result):
    """Modularity, explicitness and compactness; `float()` of it is `modularity`.

    Attributes:
        modularity: InfoM, from 0 to 1: whether each active latent informs about one factor only.
        explicitness: InfoE, at most 1: whether a linear model predicts the factors from the codes.
        compactness: InfoC, from 0 to 1: whether each factor is encoded by one active latent only.
        information: Mutual information of each latent with each factor used, divided by the
            entropy of the factor, float64 `(latents, factors used)`; estimates may exceed 1
            slightly.
        active: Numbers of the latents that count for modularity and compactness.
        factors_used: Numbers of the factors with more than one value.
    """

    axes = {"information": ("latents", "factors_used")}

    modularity: float
    explicitness: float
    compactness: float
    information: NDArray[np.float64]
    active: tuple[int, ...]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.modularity


@keeps_names
def infomec(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    n_neighbors: int = 10,
    discrete: bool = False,
    bins: int = 20,
    continuous: Continuous = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
) -> InfoMEC:
    """Score modularity, explicitness and compactness by information: InfoM, InfoE, InfoC.

    The mutual information of each latent with each factor is divided by the entropy of the factor.
    Modularity takes the largest entry of each active latent divided by the sum of its entries, and
    averages over latents. Compactness does the same over factors. Both are rescaled so that equal
    entries give 0. Explicitness is the mean over factors of the predictive information of a
    logistic regression (no penalty, balanced classes): 1 minus its cross entropy divided by that of
    a uniform guess. Hsu et al. (2023), "Disentanglement via Latent Quantization", section 5.

    A latent is inactive if its range is below a twentieth of the largest; the relative scale of
    latents matters only there. An active latent without information counts as 0 in modularity, and
    a factor without information as 0 in compactness. Both are 0 if no latent is active, and
    compactness is 0 if only one is. Copies of a latent do not change modularity, but halve its
    contribution to compactness. Factors with a single value are skipped.

    The published code treats every factor as a label. Here a continuous factor is sorted into bins
    of equal width, so that its information is also normalized by an entropy and has the same
    weight. Its explicitness is that of a linear regression: R², the explained variance divided by
    the variance.

    Args:
        codes: Floats `(samples, latents)`, at least two latents.
        factors: Numbers `(samples, factors)`, integers unless continuous; at least two that vary.
        n_neighbors: Number of neighbors in the estimate of mutual information, if not `discrete`.
        discrete: Whether each distinct value of a code is a symbol, as in quantized latents. Then
            information is estimated from counts, a latent is active if it varies, and the inputs
            of the regression are one-hot.
        bins: Number of bins for each continuous factor.
        continuous: Continuous factors: all (True), none (False) or their column numbers; default,
            the columns with a non-integer value.
        test: Codes and factors `(samples, ...)` that test the regression; default, the training
            samples (as published). Test samples with a value that is not in `factors` are ignored
            for that factor.

    Returns:
        All 1 if each active latent determines one factor, each factor is encoded by one latent,
        and a linear model predicts its values. For uninformative codes, modularity and compactness
        depend on noisy estimates (0.2 to 0.8); explicitness is slightly above 0 on training
        samples and slightly below 0 on others.

    Raises:
        ValueError: For malformed arrays, fewer than two latents, bins or factors that vary, less
            than one neighbor, or a factor of which `test` has no value that is in `factors`.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> result = infomec(factors, factors, discrete=True)
        >>> round(float(result), 6), round(result.explicitness, 2), round(result.compactness, 6)
        (1.0, 1.0, 1.0)
    """
    if test is None:
        codes, factors, mask = check_arrays(codes, factors, continuous)
        test_codes, test_factors = codes, factors
    else:
        codes, factors, test_codes, test_factors, mask = train_and_test(
            codes, factors, test, 0, continuous
        )
    check_counts(1, n_neighbors=n_neighbors)
    check_counts(2, bins=bins)
    if codes.shape[1] < 2:
        raise ValueError(
            f"InfoMEC compares latents, so `codes` needs at least 2. Got {codes.shape[1]}."
        )
    used = factors_that_vary(factors, "InfoMEC")
    if len(used) < 2:
        raise ValueError(
            f"InfoMEC compares factors, so `factors` needs at least 2 that vary. Got {len(used)}."
        )
    labels = in_bins(factors, mask, bins)[:, used]
    if discrete:
        symbols = np.stack([np.unique(code, return_inverse=True)[1] for code in codes.T], axis=1)
        information = mutual_information(symbols, labels)
        smallest = 0.0
    else:
        information = nearest_neighbor_information(codes, labels, n_neighbors)
        smallest = float(np.ptp(codes, axis=0).max()) / 20
    information /= entropy(labels)
    active = np.flatnonzero(np.ptp(codes, axis=0) > smallest)
    return InfoMEC(
        modularity=_concentration(information[active]),
        explicitness=_explicitness(codes, factors, test_codes, test_factors, discrete, used, mask),
        compactness=_concentration(information[active].T),
        information=information,
        active=tuple(active.tolist()),
        factors_used=tuple(used.tolist()),
    )


def nearest_neighbor_information(
    codes: NDArray[Any], factors: NDArray[np.int64], n_neighbors: int = 10
) -> NDArray[np.float64]:
    """Estimate the mutual information of continuous latents with factors, without bins.

    Around each sample, a ball reaches just short of the k-th neighbor with the same factor value.
    The information depends on the proportion of samples in the ball with that value. Ross (2014),
    "Mutual Information between Discrete and Continuous Data Sets", equation 2. Where values of a
    latent repeat, the samples in the ball are counted rather than assumed to be k, so that no
    noise is needed to break ties. Values of a factor that occur once are ignored.

    Args:
        codes: Finite floats `(samples, latents)`.
        factors: Integers `(samples, factors)`, or `MISSING` for samples that are left out.
        n_neighbors: Number k of neighbors; smaller in classes with fewer samples.

    Returns:
        Mutual information in nats, at least 0, float64 `(latents, factors)`; 0 for constant
        columns.

    Example:
        >>> factors = np.repeat([0, 1], 50)[:, None]
        >>> codes = np.linspace(-1, 1, 100)[:, None]
        >>> nearest_neighbor_information(codes, factors, n_neighbors=3).round(2)
        array([[0.69]])
    """
    result = np.zeros((codes.shape[1], factors.shape[1]))
    for j, factor in enumerate(factors.T):
        _, label, count = np.unique(factor, return_inverse=True, return_counts=True)
        rows = np.flatnonzero(present(factor) & (count[label] > 1))
        for i, code in enumerate(codes.T):
            if rows.size and code.min() < code.max():
                code = code[rows].astype(np.float64)
                result[i, j] = _information(code, label[rows], n_neighbors)
    return result


def _information(code: NDArray[np.float64], label: NDArray[np.int64], n_neighbors: int) -> float:
    """Estimate the mutual information of one latent and one label; each label occurs repeatedly."""
    from scipy.special import digamma

    order = np.lexsort((code, label))
    classes = np.split(code[order], np.flatnonzero(np.diff(label[order])) + 1)
    all_codes = np.sort(code)
    # Rounding error of sums and differences of codes: the k-th neighbor stays outside the ball.
    rounding = 4 * np.finfo(np.float64).eps * np.abs(all_codes[[0, -1]]).max()
    total = 0.0
    for values in classes:
        k = min(n_neighbors, len(values) - 1)
        padded = np.concatenate([np.full(k, -np.inf), values, np.full(k, np.inf)])
        # In sorted order, the k nearest neighbors and the sample are k + 1 consecutive values.
        starts = [padded[j : j + len(values)] for j in range(2 * k + 1)]
        windows = zip(starts[: k + 1], starts[k:], strict=True)
        radius = np.min([np.maximum(values - low, high - values) for low, high in windows], axis=0)
        radius = np.maximum(radius - rounding, 0)
        inside = [
            np.searchsorted(neighbors, values + radius, "right")
            - np.searchsorted(neighbors, values - radius, "left")
            for neighbors in (values, all_codes)
        ]
        total += np.sum(digamma(inside[0]) - digamma(inside[1])) - len(values) * digamma(
            len(values)
        )
    return max(0.0, float(digamma(len(code)) + total / len(code)))


def _concentration(information: NDArray[np.float64]) -> float:
    """Return the mean of largest entry / sum per row, rescaled: 0 for equal entries, 1 for one."""
    rows, columns = information.shape
    if not rows or columns < 2:
        return 0.0
    largest, total = information.max(axis=1), information.sum(axis=1)
    ratios = np.divide(largest, total, out=np.full(rows, 1 / columns), where=total > 0)
    return float((ratios.mean() - 1 / columns) / (1 - 1 / columns))


def _explicitness(
    codes: NDArray[Any],
    factors: NDArray[Any],
    test_codes: NDArray[Any],
    test_factors: NDArray[Any],
    discrete: bool,
    used: NDArray[np.int64],
    continuous: NDArray[np.bool_],
) -> float:
    """Return the predictive information of linear models, the mean over the `used` factors."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaler = OneHotEncoder(handle_unknown="ignore") if discrete else StandardScaler()
    all_inputs = scaler.fit_transform(codes.astype(np.float64))
    all_test_inputs = scaler.transform(test_codes.astype(np.float64))
    scores = []
    for number in used:
        has_value, test_has_value = present(factors[:, number]), present(test_factors[:, number])
        inputs, test_inputs = all_inputs[has_value], all_test_inputs[test_has_value]
        factor, test_factor = factors[has_value, number], test_factors[test_has_value, number]
        if continuous[number] and test_factor.size:
            regression = LinearRegression().fit(inputs, factor)
            # The best constant prediction is the mean of the training samples.
            error = np.mean((test_factor - regression.predict(test_inputs)) ** 2)
            scores.append(1 - error / np.mean((test_factor - factor.mean()) ** 2))
            continue
        is_fitted = np.isin(test_factor, factor)
        if not is_fitted.any():
            raise FactorError(
                "Explicitness is tested on values of a factor that were fitted. "
                "Got none of {factor} in `test`.",
                number,
            )
        # Infinite C means no penalty. For separable classes, the weights grow without bound, and
        # the published limit of 100 iterations stops them.
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        with FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Setting penalty=None")  # scikit-learn 1.8
            model.fit(inputs, factor)
        probabilities = model.predict_proba(test_inputs[is_fitted])
        loss = log_loss(test_factor[is_fitted], probabilities, labels=model.classes_)
        # With balanced classes, the best constant prediction is uniform.
        scores.append(1 - loss / np.log(len(model.classes_)))
    return float(np.mean(scores))
