"""Multinomial logistic regression for few features, many samples and many classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics.checks import check_codes

Array = NDArray[np.float64]

# Size of the largest temporary array of a pass over the samples, to fit the cache.
BLOCK = 2**16
# The full Hessian is used up to this number of classes, otherwise only its blocks within a class.
MAX_DENSE_CLASSES = 10
# It is also used for problems that do not converge, up to this number of parameters.
MAX_DENSE_PARAMETERS = 2000
# Minimum curvature that is added, in samples and relative to the diagonal of the Hessian.
FLAT = 1e-9
# Steps before the Hessian is recomputed, and the maximum number of Hessians.
STEPS, ROUNDS = 40, 25


class Softmax(NamedTuple):
    """A linear classifier whose probabilities are the softmax of its scores.

    Attributes:
        classes: Labels, ascending, `(classes,)`.
        coefficients: float64 `(classes, features)`; every column sums to 0.
        intercepts: float64 `(classes,)`; they sum to 0.
    """

    classes: NDArray[Any]
    coefficients: Array
    intercepts: Array

    def predict_proba(self, features: ArrayLike) -> Array:
        """Return the probability of every class, float64 `(samples, classes)`."""
        scores = np.asarray(features, np.float64) @ self.coefficients.T + self.intercepts
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        return scores / scores.sum(axis=1, keepdims=True)

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of every sample, the first of equal ones."""
        scores = np.asarray(features, np.float64) @ self.coefficients.T + self.intercepts
        return self.classes[scores.argmax(axis=1)]


def fit_softmax(
    features: ArrayLike, labels: ArrayLike, *, penalty: float = 1.0, tolerance: float = 0.01
) -> Softmax:
    """Fit a logistic regression with a softmax over classes.

    It minimizes `penalty / 2 * |coefficients|² - Σ log p(label)`; intercepts have no penalty. For
    two classes the penalty is on the difference of their coefficients. This is the problem of
    scikit-learn's `LogisticRegression(C=1 / penalty)`.

    The solver is L-BFGS, started from linear discriminant analysis and preconditioned with the
    Hessian there. So neither the scale of the features nor rare classes slow it down.

    Args:
        features: Floats `(samples, features)` of any scale; fast up to some dozens of features.
        labels: Integers `(samples,)` with at least two values.
        penalty: Strength of the ridge penalty, more than 0.
        tolerance: Norm of the preconditioned gradient at which the solver stops. The objective is
            then above its minimum by the order of `tolerance²`. There are at most 1,000 steps.

    Raises:
        ValueError: For malformed arrays, a single class, or a penalty or tolerance of 0 or less.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> model = fit_softmax(features, [7, 7, 9, 9])
        >>> model.predict([[0.5], [2.5]])
        array([7, 9])
        >>> model.predict_proba([[1.5]]).round(3)
        array([[0.5, 0.5]])
    """
    features = check_codes(features, "`features`").astype(np.float64)
    labels = np.asarray(labels)
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"`labels` needs one label per row of `features`, shape {features.shape[:1]}. "
            f"Got shape {labels.shape}."
        )
    for name, value in (("penalty", penalty), ("tolerance", tolerance)):
        if not value > 0:
            raise ValueError(f"`{name}` must be more than 0. Got {value}.")
    classes, targets, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Got {len(classes)}.")
    # The symmetric solution w, -w halves the difference, so the penalty is doubled.
    ridge = 2 * penalty if len(classes) == 2 else penalty
    # The products are too small for threads to pay off.
    with _threads().limit(limits=1, user_api="blas"):
        problem = _Problem(features, targets, counts, ridge)
        weights = _minimize(problem, tolerance)
    # At the optimum, each column of coefficients sums to 0; intercepts have a free offset.
    weights -= weights.mean(axis=0)
    coefficients, intercepts = weights[:, :-1].copy(), weights[:, -1]
    return Softmax(classes, coefficients, intercepts - coefficients @ problem.mean)


@cache
def _threads() -> Any:
    """Return the controller of BLAS threads, cached because its creation takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Problem:
    """The penalized log-loss as a function of `weights` `(classes, features + 1)`.

    Features are centered, and a constant column of 1 is appended for the intercept.
    """

    def __init__(
        self, features: Array, targets: NDArray[np.int64], counts: NDArray[np.int64], ridge: float
    ):
        self.samples, self.counts = len(features), counts
        self.mean = features.mean(axis=0)
        self.inputs = np.column_stack([features - self.mean, np.ones(self.samples)])
        self.transposed = np.ascontiguousarray(self.inputs.T)
        self.ridge = np.append(np.full(features.shape[1], ridge), 0.0)
        self.class_sums = np.array([np.bincount(targets, row) for row in self.transposed]).T

    def start(self) -> Array:
        """Return the solution of linear discriminant analysis, with 10 % shrinkage."""
        means, inputs = self.class_sums[:, :-1] / self.counts[:, None], self.inputs[:, :-1]
        total, between = inputs.T @ inputs, means.T @ (self.counts[:, None] * means)
        within = 1.1 * total - between + len(means) * np.diag(self.ridge[:-1])
        slopes = np.linalg.solve(within, self.samples * means.T).T
        offsets = np.log(self.counts / self.samples) - np.sum(slopes * means, axis=1) / 2
        return np.column_stack([slopes, offsets])

    def blocks(self, weights: Array, height: int) -> Iterator[tuple[slice, Array, Array, Array]]:
        """Yield slices of rows with `exp(scores - top)` `(classes, rows)`, its sums, and `top`.

        The slices are so small that `height` numbers per row fit the cache.
        """
        step = max(256, BLOCK // height)
        for first in range(0, self.samples, step):
            rows = slice(first, first + step)
            scores = weights @ self.transposed[:, rows]
            top = scores.max(axis=0)
            scores -= top
            np.exp(scores, out=scores)
            yield rows, scores, scores.sum(axis=0), top

    def loss_and_gradient(self, weights: Array) -> tuple[float, Array]:
        loss = np.sum(self.ridge * weights**2) / 2 - np.sum(weights * self.class_sums)
        gradient = self.ridge * weights - self.class_sums
        for rows, exponentials, sums, top in self.blocks(weights, len(weights)):
            loss += top.sum() + np.log(sums).sum()
            gradient += exponentials @ (self.inputs[rows] / sums[:, None])
        return float(loss), gradient

    def curvature(self, weights: Array, dense: bool) -> Array:
        """Return the Hessian `(1, parameters, parameters)`, or its blocks per class.

        Some directions are flat (the same number added to all intercepts changes nothing), so a
        small diagonal is added. It keeps the result positive definite in spite of rounding.
        """
        classes, width = weights.shape
        first, second = np.triu_indices(classes) if dense else 2 * (np.arange(classes),)
        same = (first == second)[:, None]
        left, right = np.triu_indices(width)
        packed = np.zeros((len(left), len(first)))
        for rows, exponentials, sums, _ in self.blocks(weights, max(len(first), len(left))):
            probability, inputs = exponentials / sums, self.transposed[:, rows]
            products = np.concatenate([inputs[i:] * inputs[i] for i in range(width)])
            packed += products @ (probability[first] * (same - probability[second])).T
        pairs = np.empty((len(first), width, width))
        pairs[:, left, right] = pairs[:, right, left] = packed.T
        diagonal = np.einsum("kii->ki", pairs)
        diagonal += same * (self.ridge + FLAT + FLAT * diagonal)
        if not dense:
            return pairs
        hessian = np.empty((classes, classes, width, width))
        hessian[first, second] = hessian[second, first] = pairs
        return hessian.transpose(0, 2, 1, 3).reshape(1, weights.size, weights.size)


def _minimize(problem: _Problem, tolerance: float) -> Array:
    weights = problem.start()
    for attempt in range(ROUNDS):
        dense = len(weights) <= MAX_DENSE_CLASSES or (
            attempt > 0 and weights.size <= MAX_DENSE_PARAMETERS
        )
        weights, slope, steps = _descend(problem, weights, dense, tolerance)
        if slope <= tolerance or not steps:
            break
    return weights


def _descend(
    problem: _Problem, start: Array, dense: bool, tolerance: float
) -> tuple[Array, float, int]:
    """Run L-BFGS in coordinates where the Hessian at `start` is about the identity.

    Returns:
        Weights, the norm of the gradient in those coordinates, and the number of steps.
    """
    from scipy.optimize import minimize

    # Curvature C = L L'. With weights = start + L'⁻¹ u, the gradient by u is L⁻¹ that by weights.
    roots = np.linalg.inv(np.linalg.cholesky(problem.curvature(start, dense)))
    slope = np.inf

    def weights(u: Array) -> Array:
        return start + (u.reshape(len(roots), 1, -1) @ roots).reshape(start.shape)

    def objective(u: Array) -> tuple[float, Array]:
        nonlocal slope
        loss, gradient = problem.loss_and_gradient(weights(u))
        gradient = (roots @ gradient.reshape(len(roots), -1, 1)).ravel()
        slope = float(np.linalg.norm(gradient))
        return loss, gradient

    def stop(_: Array) -> None:
        # The norm does not depend on the order of features and classes, unlike the solver's own
        # criterion, the largest entry.
        if slope <= tolerance:
            raise StopIteration

    result = minimize(
        objective,
        np.zeros(start.size),
        jac=True,
        method="L-BFGS-B",
        callback=stop,
        options={"maxiter": STEPS, "gtol": 0.0, "ftol": 0.0},
    )
    return weights(result.x), slope, result.nit
