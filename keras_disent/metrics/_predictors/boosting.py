"""Gradient boosting of shallow trees, vectorized over all classes of a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent.metrics._predictors.trees import (
    DEPTH,
    Floats,
    Indices,
    SortedCodes,
    descend,
    grow,
)
from keras_disent.metrics.checks import check_codes, check_counts


class _Boosting:
    """Base class of boosted classifiers and regressors."""

    feature_importances_: Floats
    _prior: Floats
    _trees: list[tuple[slice, Indices, NDArray[np.float32], Floats]]

    def __init__(
        self,
        *,
        rounds: int = 100,
        learning_rate: float = 0.1,
        bins: int = 255,
        refine: bool = True,
    ) -> None:
        check_counts(1, rounds=rounds)
        check_counts(2, bins=bins)
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.bins = bins
        self.refine = refine

    def _staged_scores(self, codes: ArrayLike) -> Iterator[Floats]:
        columns = np.ascontiguousarray(check_codes(codes).T, np.float32)
        if len(columns) != len(self.feature_importances_):
            raise ValueError(
                f"`codes` must have {len(self.feature_importances_)} latents, as in training. "
                f"Got {len(columns)}."
            )
        scores = np.repeat(self._prior, columns.shape[1], axis=1)
        for part, latents, thresholds, steps in self._trees:
            scores[part] += steps[_entries(descend(columns, latents, thresholds))]
            if part.stop == len(scores):
                yield scores


class BoostedTrees(_Boosting):
    """Gradient-boosted classification trees, with deterministic and symmetric splits.

    The algorithm of Friedman (2001), "Greedy Function Approximation: A Gradient Boosting
    Machine", with the settings of scikit-learn's `GradientBoostingClassifier`: log-loss; a tree
    of depth 3 for each class and round, or one per round for two classes; splits that lower the
    squared error most; Newton steps in the leaves; codes rounded to float32.

    Two things differ. First, latents with more than `bins` values in more than 4 times as many
    samples are binned. Splits are then compared at the edges of bins of equally many samples.
    Single values are compared only at both ends of a node, where trees often split off a few
    samples, and around the best edge of the most promising latents. Second, latents with equally
    good splits share the importance of the split, where scikit-learn draws one of them. So nothing
    is random, and the order of samples and latents does not matter. Signs matter only for ties
    within a latent.

    Args:
        rounds: Number of trees for each class.
        learning_rate: Factor of the step of each tree.
        bins: Maximum number of bins for a latent; `4 * bins` samples or fewer are not binned.
        refine: Whether single values are compared, too, where latents are binned.

    Attributes:
        classes_: Distinct labels, ascending.
        feature_importances_: Relative contribution of each latent to the decrease of squared
            error, float64 `(latents,)`; sums to 1, or is all 0 if no latent varies.
        fitted_: Labels predicted for the training samples.

    Example:
        >>> codes = np.array([[0, 5], [1, 5], [2, 5], [3, 5]], "float32")
        >>> trees = BoostedTrees(rounds=10).fit(codes, [7, 7, 9, 9])
        >>> trees.predict(codes + 0.1), trees.feature_importances_
        (array([7, 7, 9, 9]), array([1., 0.]))
    """

    classes_: NDArray[Any]
    fitted_: NDArray[Any]

    def fit(self, codes: ArrayLike, labels: ArrayLike) -> Self:
        """Fit the trees to `codes` `(samples, latents)` and their `labels` `(samples,)`.

        Raises:
            ValueError: For malformed codes, not one label per code, or only one class.
        """
        codes, labels = check_codes(codes), np.asarray(labels)
        if labels.shape != codes.shape[:1]:
            raise ValueError(f"`labels` must have shape {codes.shape[:1]}. Got {labels.shape}.")
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"`labels` must be of at least 2 classes. Got {self.classes_}.")
        columns = SortedCodes.of(codes, self.bins, self.refine)
        # Two classes have one score: that of the second, with 0 for the first.
        classes = np.arange(len(self.classes_))[len(self.classes_) == 2 :, None]
        target = (numbers == classes).astype(np.float64)
        prior = target.mean(axis=1, keepdims=True)
        self._prior = np.log(prior) - (np.log1p(-prior) if len(classes) == 1 else 0)
        factor = self.learning_rate * (1 - 1 / len(classes) if len(classes) > 1 else 1)

        scores = np.repeat(self._prior, len(numbers), axis=1)
        blocks = columns.blocks(len(classes))
        gains = np.zeros(codes.shape[1])
        self._trees = []
        for _ in range(self.rounds):
            probabilities = _probabilities(scores)
            residuals = target - probabilities
            curvatures = probabilities * (1 - probabilities)
            for block in blocks:
                part = slice(block[0], block[-1] + 1)
                latents, thresholds, leaves, gain = grow(residuals[part], columns)
                entries = _entries(leaves)
                gradients, hessians = (
                    np.bincount(entries.ravel(), weights[part].ravel(), len(block) * 2**DEPTH)
                    for weights in (residuals, curvatures)
                )
                steps = np.divide(
                    gradients, hessians, out=np.zeros_like(hessians), where=hessians > 1e-150
                )
                steps *= factor
                scores[part] += steps[entries]
                gains += gain
                self._trees.append((part, latents, thresholds, steps))
        self.feature_importances_ = gains / (gains.sum() or 1)
        self.fitted_ = self._best(scores)
        return self

    def predict(self, codes: ArrayLike) -> NDArray[Any]:
        """Return the most likely label of each row of `codes`, `(samples,)`."""
        *_, scores = self._staged_scores(codes)
        return self._best(scores)

    def predict_proba(self, codes: ArrayLike) -> Floats:
        """Return the probability of each of `classes_`, float64 `(samples, classes)`."""
        *_, scores = self._staged_scores(codes)
        probabilities = _probabilities(scores).T
        if len(scores) > 1:
            return probabilities
        return np.hstack([1 - probabilities, probabilities])

    def staged_predict(self, codes: ArrayLike) -> Iterator[NDArray[Any]]:
        """Yield the predictions after 1, 2, ... rounds."""
        return map(self._best, self._staged_scores(codes))

    def _best(self, scores: Floats) -> NDArray[Any]:
        single = len(scores) == 1
        return self.classes_[(scores[0] >= 0).astype(np.intp) if single else scores.argmax(axis=0)]


class BoostedRegression(_Boosting):
    """Gradient-boosted regression trees, the counterpart of `BoostedTrees`.

    The settings are those of scikit-learn's `GradientBoostingRegressor`: squared error, trees of
    depth 3, and in each leaf the mean residual of the previous trees.

    Args:
        rounds: Number of trees.
        learning_rate: Factor of the step of each tree.
        bins, refine: As in `BoostedTrees`.

    Attributes:
        feature_importances_: As in `BoostedTrees`.
        fitted_: float64 `(samples,)`, numbers predicted for the training samples.

    Example:
        >>> codes = np.array([[0, 5], [1, 5], [2, 5], [3, 5]], "float32")
        >>> trees = BoostedRegression().fit(codes, [0.5, 0.5, 2.5, 2.5])
        >>> trees.predict(codes + 0.1).round(2), trees.feature_importances_
        (array([0.5, 0.5, 2.5, 2.5]), array([1., 0.]))
    """

    fitted_: Floats

    def fit(self, codes: ArrayLike, values: ArrayLike) -> Self:
        """Fit the trees to `codes` `(samples, latents)` and their `values` `(samples,)`.

        Raises:
            ValueError: For malformed codes, not one finite number per code, or all of one value.
        """
        codes, values = check_codes(codes), np.asarray(values, np.float64)
        if values.shape != codes.shape[:1] or not np.isfinite(values).all():
            raise ValueError(
                f"`values` must be finite numbers of shape {codes.shape[:1]}. "
                f"Got shape {values.shape}, {np.isfinite(values).sum()} finite."
            )
        if values.min() == values.max():
            raise ValueError(f"`values` must vary. Got {values[0]} alone.")
        columns = SortedCodes.of(codes, self.bins, self.refine)
        # Standardized, so that nothing depends on the scale of the values.
        self._mean, self._scale = values.mean(), values.std()
        residuals = ((values - self._mean) / self._scale)[None]
        self._prior = np.zeros((1, 1))
        self._trees = []
        gains = np.zeros(codes.shape[1])
        fitted = np.zeros_like(residuals)
        for _ in range(self.rounds):
            latents, thresholds, leaves, gain = grow(residuals, columns)
            entries = _entries(leaves)
            sums = np.bincount(entries.ravel(), residuals.ravel(), 2**DEPTH)
            counts = np.bincount(entries.ravel(), minlength=2**DEPTH)
            steps = self.learning_rate * sums / np.maximum(counts, 1)
            fitted += steps[entries]
            residuals = residuals - steps[entries]
            gains += gain
            self._trees.append((slice(0, 1), latents, thresholds, steps))
        self.feature_importances_ = gains / (gains.sum() or 1)
        self.fitted_ = self._values(fitted)
        return self

    def predict(self, codes: ArrayLike) -> Floats:
        """Return the number predicted for each row of `codes`, float64 `(samples,)`."""
        *_, scores = self._staged_scores(codes)
        return self._values(scores)

    def staged_predict(self, codes: ArrayLike) -> Iterator[Floats]:
        """Yield the predictions after 1, 2, ... rounds."""
        return map(self._values, self._staged_scores(codes))

    def _values(self, scores: Floats) -> Floats:
        return self._mean + self._scale * scores[0]


def _probabilities(scores: Floats) -> Floats:
    """Convert scores `(classes, samples)` to probabilities; one row is the second of 2 classes."""
    if len(scores) == 1:
        return 1 / (1 + np.exp(-scores))
    exponentials = np.exp(scores - scores.max(axis=0))
    exponentials /= exponentials.sum(axis=0)
    return exponentials


def _entries(leaves: NDArray[np.uint8]) -> Indices:
    """Number the leaves `(classes, samples)` consecutively over all trees."""
    return leaves + 2**DEPTH * np.arange(len(leaves))[:, None]
