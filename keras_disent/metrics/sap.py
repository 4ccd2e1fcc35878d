"""Separated attribute predictability: how far the best latent leads in predicting a factor."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import (
    Continuous,
    check_arrays,
    check_codes,
    check_values,
    factors_that_vary,
    train_and_test,
)

Array = NDArray[np.float64]

# Weight of the losses against the penalty of the support vector machines.
C = 0.01
# Variance below which a latent counts as constant in the continuous score.
DEAD = 1e-12
# Deviation that no slope makes up for; its square still is a number.
TINY = 1e-100
# Decision values closer than this are equal; they are of the order of 1.
TIE = 1e-9
ITERATIONS, HALVINGS = 100, 40


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: Continuous = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> float:
    """Score how much better one latent alone predicts each factor than the second best does.

    The separated attribute predictability of Kumar et al. (2018), "Variational Inference of
    Disentangled Latent Concepts from Unlabeled Observations", section 3: for every factor, the
    best score in its column of `sap_matrix` minus the second best; then the mean over factors.

    Args:
        codes: floats `(samples, latents)`, at least two latents.
        factors: numbers `(samples, factors)`, whole unless continuous. Those with a single value
            in training are skipped.
        continuous: factors for which a latent scores its squared correlation, as published for
            continuous ones, instead of the accuracy of a classifier: all (True), none (False) or
            their column numbers; by default, those with numbers that are not whole.
        test: a pair (codes, factors) to judge the classifiers on. By default, a third of the
            rows, which are not used for fitting. The squared correlation has no use for it.
        seed: of the draw of that third.

    Returns:
        1 if each factor is predicted fully from one latent, and not at all from the others; 0 if
        each has two latents that predict it equally well, such as duplicates, or codes that know
        nothing. Even an ideal latent scores far less for a factor of many values, because the
        classifiers are linear. See `sap_matrix` for constant latents and for what scale does.

    Raises:
        ValueError: for malformed arrays, fewer than two latents, no factor that varies, or fewer
            samples to train on than a factor has values.

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


def sap_matrix(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: Continuous = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Array:
    """Score how well each latent alone predicts each factor.

    By default, the score is the accuracy on test samples of a linear support vector machine with
    the latent as its only input: squared hinge loss weighted by 0.01, one class against the rest,
    losses of a class weighted by samples / (classes * samples of the class), and a penalty on
    slope and intercept. So the scale and offset of a latent matter, but not its sign. A constant
    latent gets the accuracy of the most frequent class in training. Samples with equal decision
    values for several classes count as that share of a hit.

    For factors that are `continuous`, it is the squared correlation of latent and factor over all
    of `codes`. It is 0 for a latent with a variance of no more than 1e-12; otherwise scale does
    not matter, but the values of the factor do, not only which are equal.

    Args:
        codes: floats `(samples, latents)`.
        factors: numbers `(samples, factors)`, whole unless continuous.
        continuous, test, seed: as in `sap`.

    Returns:
        Scores from 0 to 1, float64 `(latents, factors that vary)`.

    Raises:
        ValueError: as `sap`, but a single latent is fine.

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
    targets = [_Targets.of(train_factors[:, i], test_factors[:, i]) for i in classes]
    if targets:
        matrix[:, ~mask[used]] = [
            _accuracies(column.astype(np.float64), test_column.astype(np.float64), targets)
            for column, test_column in zip(train_codes.T, test_codes.T, strict=True)
        ]
    return matrix


def _squared_correlations(codes: NDArray[Any], factors: NDArray[Any]) -> Array:
    codes, factors = (x - x.mean(axis=0, dtype=np.float64) for x in (codes, factors))
    scale = len(codes) - 1
    code_variance, factor_variance = (np.sum(x**2, axis=0) / scale for x in (codes, factors))
    covariance = codes.T @ factors / scale
    alive = code_variance > DEAD
    result = np.zeros(covariance.shape)
    result[alive] = covariance[alive] ** 2 / np.outer(code_variance[alive], factor_variance)
    return result


class _Targets(NamedTuple):
    """One factor as a problem of classification."""

    labels: NDArray[np.int64]  # numbers of the classes in training, from 0
    test_labels: NDArray[np.int64]  # the same for test samples; -1 for a value not in training
    positive: Array  # weight of the losses of each class
    negative: Array  # weight of the losses of the rest, in the problem of each class

    @classmethod
    def of(cls, factor: NDArray[Any], test_factor: NDArray[Any]) -> "_Targets":
        values, labels, counts = np.unique(factor, return_inverse=True, return_counts=True)
        found = np.searchsorted(values, test_factor).clip(max=len(values) - 1)
        test_labels = np.where(values[found] == test_factor, found, -1)
        positive = C * len(factor) / (len(values) * counts)
        # With two classes, there is a single problem (here twice), and both keep their weights.
        negative = positive[::-1] if len(values) == 2 else np.full(len(values), C)
        return cls(labels, test_labels, positive, negative)


def _accuracies(codes: Array, test_codes: Array, targets: list[_Targets]) -> Array:
    """Fit all classes of all factors to one latent; return the test accuracy of each factor."""
    machines = _Machines(codes, targets)
    slopes, intercepts = machines.fit()
    inputs = (test_codes - machines.mean) / machines.scale
    result, start = [], 0
    for target in targets:
        stop = start + len(target.positive)
        decisions = np.outer(slopes[start:stop], inputs) + intercepts[start:stop, None]
        chosen = decisions >= decisions.max(axis=0) - TIE
        known = np.flatnonzero(target.test_labels >= 0)
        hits = chosen[target.test_labels[known], known] / chosen.sum(axis=0)[known]
        result.append(hits.sum() / len(inputs))
        start = stop
    return np.array(result)


class _Machines:
    """Support vector machines with one input, one for each class of each factor.

    The samples within the margin of one side are those below (or above) some input. So with the
    inputs sorted, and the sums of 1, x and x² up to each of them, loss, gradient and Hessian of
    any slope and intercept take two binary searches, not a pass over the samples.
    """

    def __init__(self, codes: Array, targets: list[_Targets]):
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        # Standardized for the sake of precision; the penalty is still that in the raw input.
        self.mean = ordered.mean()
        deviation = ordered.std()
        self.scale = deviation if deviation > TINY else 1.0
        self.inputs = (ordered - self.mean) / self.scale
        self.positive = np.concatenate([target.positive for target in targets])
        self.negative = np.concatenate([target.negative for target in targets])
        # All samples, class after class, and each class in the order of inputs. The key of a
        # sample is the number of its class, then its place among all inputs.
        samples, keys, first = len(codes), [], 0
        for target in targets:
            keys.append(np.sort((target.labels[order] + first) * samples + np.arange(samples)))
            first += len(target.positive)
        self.keys = np.concatenate(keys)
        self.firsts = samples * np.arange(first)
        self.sums = _running_sums(self.inputs)
        self.class_sums = _running_sums(self.inputs[self.keys % samples])
        self.starts = np.searchsorted(self.keys, self.firsts)

    def below(self, place: NDArray[np.int64]) -> Array:
        """Sums `(3, classes)` over those of each class among the first `place` inputs."""
        found = np.searchsorted(self.keys, self.firsts + place)
        return self.class_sums[:, found] - self.class_sums[:, self.starts]

    def margins(self, slopes: Array, intercepts: Array) -> tuple[Array, Array]:
        """Sums of 1, x, x² over what is within the margin, of each class and of the rest."""
        all_places = np.full(len(slopes), len(self.inputs))
        own, everything = self.below(all_places), self.sums[:, -1:]
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
        """The minimum, if what is within the margins stays the same."""
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
        """Newton's method; steps are halved as long as they do not lower the loss."""
        slopes, intercepts = np.zeros((2, len(self.positive)))
        loss = self.loss(slopes, intercepts)
        for _ in range(ITERATIONS):
            to_slopes, to_intercepts = self.newton(slopes, intercepts)
            share = np.ones(len(loss))
            for _ in range(HALVINGS):
                new_slopes = slopes + share * (to_slopes - slopes)
                new_intercepts = intercepts + share * (to_intercepts - intercepts)
                new_loss = self.loss(new_slopes, new_intercepts)
                worse = new_loss > loss * (1 + 1e-12)
                if not worse.any():
                    break
                share[worse] /= 2
            moved = np.abs(new_slopes - slopes) + np.abs(new_intercepts - intercepts)
            slopes, intercepts, loss = new_slopes, new_intercepts, new_loss
            if moved.max() < TIE / 100:
                break
        return slopes, intercepts


def _running_sums(inputs: Array) -> Array:
    """Sums of 1, x and x² over the first 0, 1, 2, ... inputs, `(3, inputs + 1)`."""
    terms = np.zeros((3, len(inputs) + 1))
    terms[:, 1:] = np.ones_like(inputs), inputs, inputs**2
    return terms.cumsum(axis=1)
