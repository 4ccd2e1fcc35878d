"""Scores by vote: which latent stands still, or moves, when a factor does."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics.checks import check_at_least, check_labeled
from keras_disent.metrics.encoding import CHUNK, Codes, Encoder, GroundTruth, codes_by_index
from keras_disent.metrics.sampling import factors_of, generator, groups


class VoteScore(NamedTuple):
    """Outcome of a vote; `float()` of it is `eval_accuracy`.

    Attributes:
        eval_accuracy: share of fresh votes that the classifier gets right, from 0 to 1.
        train_accuracy: the same for the votes that made the classifier.
        active: numbers of the latents that were allowed to win votes.
        votes: the training votes, int64 `(latents, factors)`; rows of other latents are 0.
        eval_points: how many fresh votes there were.
    """

    eval_accuracy: float
    train_accuracy: float
    active: tuple[int, ...]
    votes: NDArray[np.int64]
    eval_points: int

    def __float__(self) -> float:
        return self.eval_accuracy


def factor_vae_score(
    encoder: Encoder,
    data: GroundTruth,
    *,
    batch_size: int = 64,
    variance_samples: int = 10_000,
    train_votes: int = 10_000,
    eval_votes: int = 5_000,
    threshold: float = 0.05,
    seed: int = 0,
    legacy_stream: bool = False,
) -> VoteScore:
    """Score how well the stillest latent tells which factor was held fixed.

    For one vote, a batch of images shares the value of one factor, drawn at random, and differs
    in all others. The active latent whose variance in the batch, relative to its variance over
    the data, is lowest, gets the vote. A majority classifier from latent to factor is made from
    the training votes and judged on fresh ones. Kim & Mnih (2018), "Disentangling by
    Factorizing", section 4. Also known as Z-min variance.

    Factors of size 1 are never chosen to be held fixed.

    Args:
        encoder: deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`). Each image
            may be encoded only once if that saves work.
        data: a ground-truth data set.
        batch_size: images per vote.
        variance_samples: images from which the variances over the data are estimated.
        train_votes: votes that make the classifier.
        eval_votes: votes that judge it.
        threshold: latents with a standard deviation below this are not active; nor are constant
            ones, whatever the threshold.
        seed: of all random draws.
        legacy_stream: draw as disentanglement_lib does from `numpy.random.RandomState(seed)`.

    Returns:
        Accuracies of 1 if each active latent goes still for one factor only, and each factor has
        such a latent; about one in the number of factors if the latents know nothing of them.
        0 if no latent is active.

    Raises:
        ValueError: for settings too small to take variances or votes, unlabeled data, no factor
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
    return _vote(encoder, data, False, *sizes, threshold, generator(seed, legacy_stream))


def z_max_score(
    encoder: Encoder,
    data: GroundTruth,
    *,
    batch_size: int = 64,
    variance_samples: int = 10_000,
    train_votes: int = 10_000,
    eval_votes: int = 5_000,
    threshold: float = 0.05,
    seed: int = 0,
) -> VoteScore:
    """Score how well the liveliest latent tells which factor alone was moved.

    As `factor_vae_score`, but the images of a batch share the values of all factors but one, and
    the active latent whose relative variance is highest gets the vote. So a factor that is spread
    over several latents costs nothing, and one latent for two factors costs all the same.
    Kim et al. (2019), "Relevance Factor VAE: Learning and Identifying Disentangled Factors",
    section 4.

    Args:
        encoder, data, batch_size, variance_samples, train_votes, eval_votes, threshold, seed: as
            `factor_vae_score`.

    Returns:
        Accuracies of 1 if each factor moves a latent more than any other factor does; about one
        in the number of factors if the latents know nothing of them. 0 if no latent is active.

    Raises:
        ValueError: as `factor_vae_score`.

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
    return _vote(encoder, data, True, *sizes, threshold, generator(seed, False))


def _vote(
    encoder: Encoder,
    data: GroundTruth,
    one_moves: bool,
    batch_size: int,
    variance_samples: int,
    train_votes: int,
    eval_votes: int,
    threshold: float,
    random: Any,
) -> VoteScore:
    check_at_least(2, batch_size=batch_size, variance_samples=variance_samples)
    check_at_least(1, train_votes=train_votes, eval_votes=eval_votes)
    check_at_least(0, threshold=threshold)
    width = len(data.factor_sizes)
    codes_of = codes_by_index(
        encoder, data, variance_samples + batch_size * (train_votes + eval_votes)
    )

    codes = codes_of(data.indices(factors_of(data, variance_samples, random)))
    variances = variance(codes, axis=0)
    varies = codes.max(axis=0) > codes.min(axis=0)
    active = np.flatnonzero(varies & (np.sqrt(variances) >= threshold))
    if not active.size:
        none = np.zeros((len(variances), width), np.int64)
        return VoteScore(0.0, 0.0, (), none, eval_votes)

    def votes(number: int) -> NDArray[np.int64]:
        # As many votes at a time as fit into one call of the encoder.
        step = max(1, CHUNK // batch_size)
        result = np.zeros((len(variances), width), np.int64)
        for start in range(0, number, step):
            chosen, factors = groups(data, min(step, number - start), (batch_size,), random)
            vote = np.arange(len(chosen))
            if one_moves:
                moved = factors[vote, :, chosen]
                factors[:] = factors[:, :1]
                factors[vote, :, chosen] = moved
            else:
                factors[vote, :, chosen] = factors[vote, :1, chosen]
            codes = codes_of(data.indices(factors.reshape(-1, width)))
            local = variance(codes.reshape(len(chosen), batch_size, -1), axis=1)
            lowest = -local if one_moves else local
            result += count_votes(lowest, chosen, variances, active, width)
        return result

    train, evaluation = votes(train_votes), votes(eval_votes)
    train_accuracy, eval_accuracy = vote_accuracies(train, evaluation)
    return VoteScore(eval_accuracy, train_accuracy, tuple(active.tolist()), train, eval_votes)


def count_votes(
    local: NDArray[Any],
    fixed: NDArray[Any],
    variances: NDArray[Any],
    active: NDArray[Any],
    factors: int,
) -> NDArray[np.int64]:
    """Give each vote to the active latent of lowest relative variance, the first among equals.

    Args:
        local: variances within each batch `(votes, latents)`.
        fixed: the factor each batch has in common, integers `(votes,)`.
        variances: variances over the data `(latents,)`.
        active: numbers of the latents that may win.
        factors: how many factors there are.

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
    """Return train and eval accuracy of the majority classifier that the `train` votes make.

    Both arguments are numbers of votes `(latents, factors)`. A latent stands for the factor it
    has most votes for, the first among equals.

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
    """Unbiased variance, in float64 so that a large mean costs no precision."""
    offsets = np.moveaxis(codes - codes.mean(axis=axis, keepdims=True, dtype=np.float64), axis, -1)
    return np.einsum("...i,...i->...", offsets, offsets) / (codes.shape[axis] - 1)
