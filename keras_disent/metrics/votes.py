"""Majority-vote scores: the FactorVAE score and Z-max."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.checks import check_at_least, check_counts, check_labeled
from keras_disent.metrics.encoding import CHUNK, POOL, Codes, Encoder, GroundTruth, cached
from keras_disent.metrics.results import Result
from keras_disent.metrics.sampling import encoded_groups, generator, group_sampler


class VoteScore(Result):
    """Result of a majority-vote classifier; `float()` of it is `eval_accuracy`.

    Attributes:
        eval_accuracy: Accuracy of the classifier on evaluation votes, from 0 to 1.
        train_accuracy: The same on the training votes.
        active: Numbers of the active latents, which can win votes.
        votes: Training votes, int64 `(latents, factors)`; rows of other latents are 0.
        eval_points: Number of evaluation votes.
        factors_used: Numbers of the factors that were drawn.
    """

    axes = {"votes": ("latents", "factors")}

    eval_accuracy: float
    train_accuracy: float
    active: tuple[int, ...]
    votes: NDArray[np.int64]
    eval_points: int
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.eval_accuracy


def factor_vae_score(
    encoder: Encoder,
    data: GroundTruth,
    *,
    batch_size: int = 64,
    variance_samples: int = 10_000,
    train_votes: int = 800,
    eval_votes: int = 800,
    threshold: float = 0.05,
    pool: int = POOL,
    seed: int = 0,
    legacy_stream: bool = False,
) -> VoteScore:
    """Score how well the latent of lowest variance reveals which factor was fixed.

    For one vote, a batch of images shares the value of one factor, drawn at random, and differs
    in all others. The active latent with the lowest variance in the batch, relative to its variance
    over the data, gets the vote. A majority classifier from latent to factor is fitted to the
    training votes and tested on evaluation votes. Kim & Mnih (2018), "Disentangling by
    Factorizing", section 4. Also known as Z-min variance.

    Votes need many images, 64 for each. So `pool` images are encoded once, and each batch is drawn
    from those of them that share its value. With 800 evaluation votes, as in the paper, the
    standard error of the score is up to 0.018. Large studies use 10,000 and 5,000 votes of newly
    drawn images (`pool=0`), which is `reference=True` in `evaluate`.

    Factors of size 1 are never fixed. Without a grid (combinations of factors have no image, or
    several), batches are drawn from the images that exist: the first one from all images, the
    others from those that share the value. Then factors that depend on each other are told apart
    less well, whatever the codes. Images without a value of a factor, images that share theirs with
    no other, and continuous factors are left out.

    Args:
        encoder: Deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`). Each image
            may be encoded only once if that saves work.
        data: Labeled data set.
        batch_size: Number of images per vote.
        variance_samples: Number of images that estimate the variances over the data.
        train_votes: Number of training votes.
        eval_votes: Number of evaluation votes.
        threshold: Minimum standard deviation of an active latent. Constant latents are never
            active.
        pool: Number of images that batches are drawn from. All images, if there are no more. Each
            batch is of newly drawn images if a factor has so many values that the pool would hold
            fewer than `batch_size` images of each, or with `legacy_stream`.
        seed: Random seed of all draws.
        legacy_stream: Draw as disentanglement_lib does from `numpy.random.RandomState(seed)`.

    Returns:
        Accuracies of 1 if each active latent is constant for one fixed factor only, and each factor
        has such a latent; about `1 / factors` for uninformative latents; 0 if no latent is active.

    Raises:
        ValueError: For settings too small for variances or votes, unlabeled data, no factor
            that varies, or an encoder that does not return one row of finite codes per image.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> data = Sprites(32).subgrid({"shape": [0], "scale": [5], "orientation": [0]})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> result = factor_vae_score(center, data, train_votes=100, eval_votes=50)
        >>> float(result), result.active
        (1.0, (0, 1))
    """
    check_labeled(data, "factor_vae_score")
    sizes = batch_size, variance_samples, train_votes, eval_votes
    random = generator(seed, legacy_stream)
    return _vote("factor_vae_score", encoder, data, False, *sizes, threshold, pool, random)


def z_max_score(
    encoder: Encoder,
    data: GroundTruth,
    *,
    batch_size: int = 64,
    variance_samples: int = 10_000,
    train_votes: int = 800,
    eval_votes: int = 800,
    threshold: float = 0.05,
    seed: int = 0,
) -> VoteScore:
    """Score how well the latent of highest variance reveals which factor alone was varied.

    As `factor_vae_score`, but the images of a batch share the values of all factors but one, and
    the active latent with the highest relative variance gets the vote. So a factor that is spread
    over several latents is not penalized, and one latent for two factors is penalized as there.
    Kim et al. (2019), "Relevance Factor VAE: Learning and Identifying Disentangled Factors",
    section 4.

    Without a grid, batches are drawn from the images that exist, as far as images differ in one
    factor alone.

    Args:
        encoder, data, batch_size, variance_samples, train_votes, eval_votes, threshold, seed: As in
            `factor_vae_score`.

    Returns:
        Accuracies of 1 if each factor varies a latent more than any other factor does; about
        `1 / factors` for uninformative latents; 0 if no latent is active.

    Raises:
        ValueError: As `factor_vae_score`.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> data = Sprites(32).subgrid({"shape": [0], "scale": [5], "orientation": [0]})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> float(z_max_score(center, data, train_votes=100, eval_votes=50))
        1.0
    """
    check_labeled(data, "z_max")
    sizes = batch_size, variance_samples, train_votes, eval_votes
    return _vote("z_max", encoder, data, True, *sizes, threshold, 0, generator(seed, False))


def _vote(
    name: str,
    encoder: Encoder,
    data: GroundTruth,
    varies_one: bool,
    batch_size: int,
    variance_samples: int,
    train_votes: int,
    eval_votes: int,
    threshold: float,
    pool: int,
    random: Any,
) -> VoteScore:
    check_counts(2, batch_size=batch_size, variance_samples=variance_samples)
    check_counts(1, train_votes=train_votes, eval_votes=eval_votes)
    check_counts(0, pool=pool)
    check_at_least(0, threshold=threshold)
    width = len(data.factor_sizes)
    planned = variance_samples + batch_size * (train_votes + eval_votes)
    codes_of: Callable[[NDArray[np.int64]], Codes]
    if varies_one:
        sampler = group_sampler(data, name, random, others=True)
        codes_of = cached(encoder, data).codes  # a group has few different images
    else:
        sampler, codes_of = encoded_groups(
            encoder, data, name, random, batch_size=batch_size, planned=planned, pool=pool
        )
    used = tuple(sampler.candidates.tolist())

    codes = codes_of(sampler.images(variance_samples))
    variances = variance(codes, axis=0)
    varies = codes.max(axis=0) > codes.min(axis=0)
    active = np.flatnonzero(varies & (np.sqrt(variances) >= threshold))
    if not active.size:
        none = np.zeros((len(variances), width), np.int64)
        return VoteScore(0.0, 0.0, (), none, eval_votes, used)

    def votes(number: int) -> NDArray[np.int64]:
        # As many votes at a time as fit into one call of the encoder.
        step = max(1, CHUNK // batch_size)
        result = np.zeros((len(variances), width), np.int64)
        for start in range(0, number, step):
            labels, indices = sampler.groups(min(step, number - start), (batch_size,))
            codes = codes_of(indices.reshape(-1))
            local = variance(codes.reshape(len(labels), batch_size, -1), axis=1)
            lowest = -local if varies_one else local
            result += count_votes(lowest, labels, variances, active, width)
        return result

    train, evaluation = votes(train_votes), votes(eval_votes)
    train_accuracy, eval_accuracy = vote_accuracies(train, evaluation)
    numbers = tuple(active.tolist())
    return VoteScore(eval_accuracy, train_accuracy, numbers, train, eval_votes, used)


def count_votes(
    local: NDArray[Any],
    fixed: NDArray[Any],
    variances: NDArray[Any],
    active: NDArray[Any],
    factors: int,
) -> NDArray[np.int64]:
    """Count the votes of active latents; the lowest relative variance wins, the first if equal.

    Args:
        local: Variances within each batch `(votes, latents)`.
        fixed: Number of the fixed factor of each batch, integers `(votes,)`.
        variances: Variances over the data `(latents,)`.
        active: Numbers of the active latents.
        factors: Number of factors.

    Returns:
        Numbers of votes, int64 `(latents, factors)`.

    Example:
        >>> local = np.array([[0.1, 1.0, 0.0], [3.0, 1.0, 0.0]])
        >>> count_votes(local, np.array([1, 0]), np.ones(3), np.array([0, 1]), factors=2)
        array([[0, 1],
               [1, 0],
               [0, 0]])
    """
    winner = active[np.argmin(local[:, active] / variances[active], axis=1)]
    latents = len(variances)
    counts = np.bincount(winner * factors + fixed, minlength=latents * factors)
    return counts.reshape(latents, factors)


def vote_accuracies(train: NDArray[np.int64], evaluation: NDArray[np.int64]) -> tuple[float, float]:
    """Return training and evaluation accuracy of the majority classifier of the `train` votes.

    Both arguments are numbers of votes `(latents, factors)`. A latent predicts the factor with its
    most votes, the first if equal.

    Example:
        >>> vote_accuracies(np.array([[3, 1], [0, 4]]), np.array([[1, 1], [0, 2]]))
        (0.875, 0.75)
    """
    latent, factor = np.arange(len(train)), train.argmax(axis=1)
    train_accuracy, eval_accuracy = (
        float(votes[latent, factor].sum() / votes.sum()) for votes in (train, evaluation)
    )
    return train_accuracy, eval_accuracy


def variance(codes: Codes, axis: int) -> NDArray[np.float64]:
    """Return the unbiased variance, in float64 so that a large mean loses no precision."""
    offsets = np.moveaxis(codes - codes.mean(axis=axis, keepdims=True, dtype=np.float64), axis, -1)
    return np.einsum("...i,...i->...", offsets, offsets) / (codes.shape[axis] - 1)
