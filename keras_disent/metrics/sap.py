"""Separated attribute predictability (SAP): the gap between the two most predictive latents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import (
    Continuous,
    FactorError,
    check_arrays,
    check_codes,
    check_values,
    factors_that_vary,
    train_and_test,
)
from keras_disent.metrics.mutual_information import present
from keras_disent.metrics.results import keeps_names

Array = NDArray[np.float64]

# Weight of the losses relative to the penalty of the support vector machines.
C = 0.01
# Variance below which a latent counts as constant in the continuous score.
DEAD = 1e-12
# Standard deviation below which inputs are not rescaled; its square does not underflow.
TINY = 1e-100
# Decision values, of the order of 1, that differ by less than this are equal.
TIE = 1e-9
ITERATIONS, HALVINGS = 100, 40


@keeps_names
def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: Continuous = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> float:
    """Score how much better the best latent predicts each factor than the second best.

    The separated attribute predictability of Kumar et al. (2018), "Variational Inference of
    Disentangled Latent Concepts from Unlabeled Observations", section 3: for every factor, the
    best score in its column of `sap_matrix` minus the second best; then the mean over factors.

    Args:
        codes: Floats `(samples, latents)`, at least two latents.
        factors: Numbers `(samples, factors)`, integers unless continuous. Those with a single value
            in training are skipped.
        continuous: Continuous factors, scored by squared correlation (as published) instead of
            the accuracy of a classifier: all (True), none (False) or their column numbers;
            default, the columns with a non-integer value.
        test: Codes and factors that test the classifiers; default, a third of the rows, which are
            then not used for fitting. The squared correlation does not use it.
        seed: Random seed of that split.

    Returns:
        1 if each factor is fully predictable from one latent, and not at all from the others; 0
        for uninformative codes, or if each factor has two equally predictive latents, such as
        duplicates. Even an ideal latent scores far less for a factor of many values, because the
        classifiers are linear. See `sap_matrix` for constant latents and the role of scale.

    Raises:
        ValueError: For malformed arrays, fewer than two latents, no factor that varies, or fewer
            training samples than a factor has values.

    Example:
        >>> factors = np.indices((2, 2, 50)).reshape(3, -1)[:2].T
        >>> sap(factors, factors, continuous=True)
        1.0
        >>> sap(factors[:, [0, 0]], factors)
        0.0
    """
    codes = check_codes(codes)
    if codes.shape[1] < 2:
        raise ValueError(
            "SAP compares the two best latents of a factor, so `codes` needs at least 2 latents. "
            f"Got {codes.shape[1]}."
        )
    matrix = sap_matrix(codes, factors, continuous=continuous, test=test, seed=seed)
    second, first = np.sort(matrix, axis=0)[-2:]
    return float(np.mean(first - second))


@keeps_names
def sap_matrix(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: Continuous = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Array:
    """Score how well each latent alone predicts each factor.

    By default, the score is the test accuracy of a linear support vector machine with the latent as
    its only input: squared hinge loss weighted by 0.01, one class against the rest, losses of a
    class weighted by samples / (classes * samples of the class), and a penalty on slope and
    intercept. So the scale and offset of a latent matter, but not its sign. A constant latent gets
    the accuracy of the most frequent class in training. A sample with equal decision values for k
    classes counts as 1 / k of a hit.

    For `continuous` factors, it is the squared correlation of latent and factor over all of
    `codes`. It is 0 for a latent with a variance of at most 1e-12. Otherwise the scale of latents
    does not matter, but the values of the factor do.

    Args:
        codes: Floats `(samples, latents)`.
        factors: Numbers `(samples, factors)`, integers unless continuous.
        continuous, test, seed: As in `sap`.

    Returns:
        Scores from 0 to 1, float64 `(latents, factors that vary)`.

    Raises:
        ValueError: As `sap`, except that a single latent is allowed.

    Example:
        >>> factors = np.indices((2, 2, 50)).reshape(3, -1)[:2].T
        >>> sap_matrix(factors, factors, continuous=True)
        array([[1., 0.],
               [0., 1.]])
    """
    codes, factors, mask = check_arrays(codes, factors, continuous)
    if mask.all():
        return _squared_correlations(codes, factors[:, factors_that_vary(factors, "SAP")])
    columns = np.flatnonzero(mask).tolist()
    train_codes, train_factors, test_codes, test_factors, _ = train_and_test(
        codes, factors, test, seed, columns
    )
    used = factors_that_vary(train_factors, "SAP")
    matrix = np.empty((codes.shape[1], len(used)))
    matrix[:, mask[used]] = _squared_correlations(codes, factors[:, used[mask[used]]])
    classes = used[~mask[used]]
    check_values(train_factors, test_factors, classes)
    columns_of = np.flatnonzero(~mask[used])
    # Factors whose values the same samples have are fitted together.
    groups: dict[bytes, list[int]] = {}
    has_value = [present(part[:, classes]) for part in (train_factors, test_factors)]
    for i in range(len(classes)):
        key = b"".join(flags[:, i].tobytes() for flags in has_value)
        groups.setdefault(key, []).append(i)
    for group in groups.values():
        train_rows, test_rows = (flags[:, group[0]] for flags in has_value)
        if not test_rows.any():
            raise FactorError(
                "SAP needs a test sample with a value of {factor}.", classes[group[0]]
            )
        targets = [
            _Targets.of(train_factors[train_rows, i], test_factors[test_rows, i])
            for i in classes[group]
        ]
        inputs, test_inputs = (
            rows.astype(np.float64) for rows in (train_codes[train_rows], test_codes[test_rows])
        )
        matrix[:, columns_of[group]] = [
            _accuracies(column, test_column, targets)
            for column, test_column in zip(inputs.T, test_inputs.T, strict=True)
        ]
    return matrix


def _squared_correlations(codes: NDArray[Any], factors: NDArray[Any]) -> Array:
    has_value = present(factors)
    if not has_value.all():
        columns = zip(factors.T, has_value.T, strict=True)
        parts = [_squared_correlations(codes[rows], factor[rows, None]) for factor, rows in columns]
        return np.concatenate(parts, axis=1)
    codes, factors = (x - x.mean(axis=0, dtype=np.float64) for x in (codes, factors))
    scale = len(codes) - 1
    code_variance, factor_variance = (np.sum(x**2, axis=0) / scale for x in (codes, factors))
    covariance = codes.T @ factors / scale
    varies = code_variance > DEAD
    result = np.zeros(covariance.shape)
    result[varies] = covariance[varies] ** 2 / np.outer(code_variance[varies], factor_variance)
    return result


class _Targets(NamedTuple):
    """Labels and class weights of one factor."""

    labels: NDArray[np.int64]  # class numbers of the training samples, from 0
    test_labels: NDArray[np.int64]  # the same for test samples; -1 for values not in training
    positive: Array  # loss weight of each class
    negative: Array  # loss weight of the rest, for each class

    @classmethod
    def of(cls, factor: NDArray[Any], test_factor: NDArray[Any]) -> _Targets:
        values, labels, counts = np.unique(factor, return_inverse=True, return_counts=True)
        candidates = np.searchsorted(values, test_factor).clip(max=len(values) - 1)
        test_labels = np.where(values[candidates] == test_factor, candidates, -1)
        positive = C * len(factor) / (len(values) * counts)
        # Two classes are one problem (stored twice), in which both classes have their own weight.
        negative = positive[::-1] if len(values) == 2 else np.full(len(values), C)
        return cls(labels, test_labels, positive, negative)


def _accuracies(codes: Array, test_codes: Array, targets: list[_Targets]) -> Array:
    """Fit all classes of all factors to one latent; return the test accuracy per factor."""
    machines = _Machines(codes, targets)
    slopes, intercepts = machines.fit()
    inputs = (test_codes - machines.mean) / machines.scale
    result, start = [], 0
    for target in targets:
        stop = start + len(target.positive)
        decisions = np.outer(slopes[start:stop], inputs) + intercepts[start:stop, None]
        is_best = decisions >= decisions.max(axis=0) - TIE
        rows = np.flatnonzero(target.test_labels >= 0)
        hits = is_best[target.test_labels[rows], rows] / is_best.sum(axis=0)[rows]
        result.append(hits.sum() / len(inputs))
        start = stop
    return np.array(result)


class _Machines:
    """Support vector machines with one input, one for each class of each factor.

    The samples inside a margin are those below (or above) some input. Inputs are sorted, and the
    sums of 1, x and x² up to each input are precomputed. So loss, gradient and Hessian of any slope
    and intercept take two binary searches instead of a pass over the samples.
    """

    def __init__(self, codes: Array, targets: list[_Targets]):
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        # Standardized for precision; the penalty is still on the slope of the raw input.
        self.mean = ordered.mean()
        deviation = ordered.std()
        self.scale = deviation if deviation > TINY else 1.0
        self.inputs = (ordered - self.mean) / self.scale
        self.positive = np.concatenate([target.positive for target in targets])
        self.negative = np.concatenate([target.negative for target in targets])
        # All samples sorted by class, then by input. The key of a sample is
        # class number * samples + position among all inputs.
        samples, keys, first = len(codes), [], 0
        for target in targets:
            keys.append(np.sort((target.labels[order] + first) * samples + np.arange(samples)))
            first += len(target.positive)
        self.keys = np.concatenate(keys)
        self.firsts = samples * np.arange(first)
        self.sums = _running_sums(self.inputs)
        self.class_sums = _running_sums(self.inputs[self.keys % samples])
        self.starts = np.searchsorted(self.keys, self.firsts)

    def below(self, position: NDArray[np.int64]) -> Array:
        """Return sums `(3, classes)` over each class among the first `position` inputs."""
        ends = np.searchsorted(self.keys, self.firsts + position)
        return self.class_sums[:, ends] - self.class_sums[:, self.starts]

    def margins(self, slopes: Array, intercepts: Array) -> tuple[Array, Array]:
        """Return sums of 1, x, x² over samples inside the margin, per class and for the rest."""
        all_positions = np.full(len(slopes), len(self.inputs))
        own, everything = self.below(all_positions), self.sums[:, -1:]
        steep = np.where(slopes == 0, np.finfo(float).tiny, slopes)
        with np.errstate(over="ignore"):
            inner, outer = (
                np.searchsorted(self.inputs, (side - intercepts) / steep) for side in (1, -1)
            )
        own_below = self.below(inner)
        rest_below = self.sums[:, outer] - self.below(outer)
        rising = slopes >= 0
        return (
            np.where(rising, own_below, own - own_below),
            np.where(rising, everything - own - rest_below, rest_below),
        )

    def loss(self, slopes: Array, intercepts: Array) -> Array:
        (n, x, xx), (m, y, yy) = self.margins(slopes, intercepts)
        a, b = intercepts - 1, intercepts + 1
        own = xx * slopes**2 + 2 * x * slopes * a + n * a**2
        rest = yy * slopes**2 + 2 * y * slopes * b + m * b**2
        raw_slopes = slopes / self.scale
        penalty = raw_slopes**2 + (intercepts - raw_slopes * self.mean) ** 2
        return penalty / 2 + self.positive * own + self.negative * rest

    def newton(self, slopes: Array, intercepts: Array) -> tuple[Array, Array]:
        """Return the minimum, assuming that the samples inside the margins stay the same."""
        (n, x, xx), (m, y, yy) = self.margins(slopes, intercepts)
        p, q = 2 * self.positive, 2 * self.negative
        offset = self.mean / self.scale
        h_ss = p * xx + q * yy + 1 / self.scale**2 + offset**2
        h_si = p * x + q * y - offset
        h_ii = p * n + q * m + 1
        g_s, g_i = p * x - q * y, p * n - q * m
        determinant = h_ss * h_ii - h_si**2
        return (h_ii * g_s - h_si * g_i) / determinant, (h_ss * g_i - h_si * g_s) / determinant

    def fit(self) -> tuple[Array, Array]:
        """Minimize by Newton's method, halving steps that do not lower the loss."""
        slopes, intercepts = np.zeros((2, len(self.positive)))
        loss = self.loss(slopes, intercepts)
        for _ in range(ITERATIONS):
            to_slopes, to_intercepts = self.newton(slopes, intercepts)
            step = np.ones(len(loss))
            for _ in range(HALVINGS):
                new_slopes = slopes + step * (to_slopes - slopes)
                new_intercepts = intercepts + step * (to_intercepts - intercepts)
                new_loss = self.loss(new_slopes, new_intercepts)
                worse = new_loss > loss * (1 + 1e-12)
                if not worse.any():
                    break
                step[worse] /= 2
            change = np.abs(new_slopes - slopes) + np.abs(new_intercepts - intercepts)
            slopes, intercepts, loss = new_slopes, new_intercepts, new_loss
            if change.max() < TIE / 100:
                break
        return slopes, intercepts


def _running_sums(inputs: Array) -> Array:
    """Return sums of 1, x and x² over the first 0, 1, 2, ... inputs, `(3, inputs + 1)`."""
    terms = np.zeros((3, len(inputs) + 1))
    terms[:, 1:] = np.ones_like(inputs), inputs, inputs**2
    return terms.cumsum(axis=1)
