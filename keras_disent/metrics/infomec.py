"""InfoMEC: modularity, explicitness and compactness in terms of information."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import (
    Continuous,
    FactorError,
    check_arrays,
    check_at_least,
    factors_that_vary,
    in_bins,
    train_and_test,
)
from keras_disent.metrics.mutual_information import entropy, mutual_information
from keras_disent.metrics.predictors import FILTERS


class InfoMEC(NamedTuple):
    """Modularity, explicitness and compactness; `float()` of it is `modularity`.

    Attributes:
        modularity: InfoM, from 0 to 1: whether each active latent knows one factor alone.
        explicitness: InfoE, at most 1: whether a linear model reads the factors from the codes.
        compactness: InfoC, from 0 to 1: whether each factor is in one active latent alone.
        information: mutual information of each latent with each factor used, as a share of the
            factor's entropy, float64 `(latents, factors used)`; estimates may exceed 1 slightly.
        active: numbers of the latents that count for modularity and compactness.
        factors_used: numbers of the factors that take more than one value.
    """

    modularity: float
    explicitness: float
    compactness: float
    information: NDArray[np.float64]
    active: tuple[int, ...]
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.modularity


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

    From the mutual information of each latent with each factor, as a share of the factor's
    entropy: modularity is the mean over active latents of their largest entry's share in the sum
    of their entries, compactness the same over factors; both are stretched so that equal entries
    give 0. Explicitness is the mean over factors of the predictive information of a logistic
    regression (no penalty, classes balanced): 1 minus its cross entropy in units of that of a
    guess. Hsu et al. (2023), "Disentanglement via Latent Quantization", section 5.

    A latent is inactive if its range is below a twentieth of the largest; so the scale of one
    latent relative to another matters only there. An active latent without any information
    counts as 0 in modularity, a factor of which nothing is known as 0 in compactness; both are
    0 if no latent is active, and compactness is 0 if only one is, for want of a choice. Copies
    do not change modularity, but halve what compactness finds. Factors with a single value are
    skipped.

    The published code takes every factor for a label. Here information about a continuous factor
    is that about its bin, of equal width, so that it is a share of an entropy too and weighs as
    much as that about a label. Its explicitness is that of a linear regression to the number: the
    share of the variance that is explained.

    Args:
        codes: floats `(samples, latents)`, at least two latents.
        factors: numbers `(samples, factors)`, whole unless continuous; at least two that vary.
        n_neighbors: neighbors from which mutual information is estimated, if not `discrete`.
        discrete: whether each distinct value of a code is a symbol, as in quantized latents:
            then information comes from counts, a latent is active if it varies, and the
            regression sees indicators of the values.
        bins: number of bins for each continuous factor.
        continuous: which factors are continuous: all (True), none (False) or their column
            numbers; by default, those with numbers that are not whole.
        test: codes and factors `(samples, ...)` that the regression is judged on, in place of
            those it was fitted to (as published). Samples with a value that is not in `factors`
            are left out of the judgment on that factor.

    Returns:
        All 1 if each active latent determines one factor, each factor is in one latent, and a
        linear model tells its values. For codes that know nothing, modularity and compactness
        are not 0 but the shares of the largest of noisy estimates (0.2 to 0.8); explicitness is
        close to 0, from above on the samples fitted, from below on others.

    Raises:
        ValueError: for malformed arrays, fewer than two latents, bins or factors that vary, less
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
    check_at_least(1, n_neighbors=n_neighbors)
    check_at_least(2, bins=bins)
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

    Around each sample, a ball reaches just short of its k-th neighbor in latent and factor;
    what share of all samples in it have the factor's value, tells the information. Ross (2014),
    "Mutual Information between Discrete and Continuous Data Sets", equation 2. Where values of a
    latent repeat, the samples in the ball are counted rather than taken to be k, so that no
    noise is needed to break ties. A value of a factor that occurs once is left out.

    Args:
        codes: finite floats `(samples, latents)`.
        factors: integers `(samples, factors)`.
        n_neighbors: k; less in classes of fewer samples.

    Returns:
        Nats, never negative, float64 `(latents, factors)`; 0 for constant columns.

    Example:
        >>> factors = np.repeat([0, 1], 50)[:, None]
        >>> codes = np.linspace(-1, 1, 100)[:, None]
        >>> nearest_neighbor_information(codes, factors, n_neighbors=3).round(2)
        array([[0.69]])
    """
    result = np.zeros((codes.shape[1], factors.shape[1]))
    for j, factor in enumerate(factors.T):
        _, label, count = np.unique(factor, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(count[label] > 1)
        for i, code in enumerate(codes.T):
            if kept.size and code.min() < code.max():
                code = code[kept].astype(np.float64)
                result[i, j] = _information(code, label[kept], n_neighbors)
    return result


def _information(code: NDArray[np.float64], label: NDArray[np.int64], n_neighbors: int) -> float:
    """Estimate the information between one latent and one label, each of which recurs."""
    from scipy.special import digamma

    order = np.lexsort((code, label))
    classes = np.split(code[order], np.flatnonzero(np.diff(label[order])) + 1)
    everything = np.sort(code)
    # What sums and differences of codes are off by: the k-th neighbor itself stays outside.
    rounding = 4 * np.finfo(np.float64).eps * np.abs(everything[[0, -1]]).max()
    total = 0.0
    for own in classes:
        k = min(n_neighbors, len(own) - 1)
        padded = np.concatenate([np.full(k, -np.inf), own, np.full(k, np.inf)])
        # The k nearest in sorted order are one of the runs of k + 1 that contain the sample.
        starts = [padded[j : j + len(own)] for j in range(2 * k + 1)]
        runs = zip(starts[: k + 1], starts[k:], strict=True)
        radius = np.min([np.maximum(own - low, high - own) for low, high in runs], axis=0)
        radius = np.maximum(radius - rounding, 0)
        inside = [
            np.searchsorted(values, own + radius, "right")
            - np.searchsorted(values, own - radius, "left")
            for values in (own, everything)
        ]
        total += np.sum(digamma(inside[0]) - digamma(inside[1])) - len(own) * digamma(len(own))
    return max(0.0, float(digamma(len(code)) + total / len(code)))


def _concentration(information: NDArray[np.float64]) -> float:
    """Mean share of the largest entry of each row, from 0 for equal entries to 1 for a single."""
    rows, columns = information.shape
    if not rows or columns < 2:
        return 0.0
    largest, total = information.max(axis=1), information.sum(axis=1)
    share = np.divide(largest, total, out=np.full(rows, 1 / columns), where=total > 0)
    return float((share.mean() - 1 / columns) / (1 - 1 / columns))


def _explicitness(
    codes: NDArray[Any],
    factors: NDArray[Any],
    test_codes: NDArray[Any],
    test_factors: NDArray[Any],
    discrete: bool,
    used: NDArray[np.int64],
    continuous: NDArray[np.bool_],
) -> float:
    """Mean over the factors `used` of the information that a linear model predicts, as a share."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaler = OneHotEncoder(handle_unknown="ignore") if discrete else StandardScaler()
    inputs = scaler.fit_transform(codes.astype(np.float64))
    test_inputs = scaler.transform(test_codes.astype(np.float64))
    shares = []
    for number in used:
        factor, test_factor = factors[:, number], test_factors[:, number]
        if continuous[number]:
            regression = LinearRegression().fit(inputs, factor)
            # Without codes, the answer is the mean of the samples fitted.
            error = np.mean((test_factor - regression.predict(test_inputs)) ** 2)
            shares.append(1 - error / np.mean((test_factor - factor.mean()) ** 2))
            continue
        known = np.isin(test_factor, factor)
        if not known.any():
            raise FactorError(
                "Explicitness is judged on values of a factor that were fitted. "
                "Got none of {factor} in `test`.",
                number,
            )
        # Infinite C is no penalty. Where classes can be told apart without error, the weights
        # grow without end: the published 100 iterations are what stops them.
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        with FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, factor)
        chances = model.predict_proba(test_inputs[known])
        loss = log_loss(test_factor[known], chances, labels=model.classes_)
        # Without codes, balanced classes are equally likely.
        shares.append(1 - loss / np.log(len(model.classes_)))
    return float(np.mean(shares))
