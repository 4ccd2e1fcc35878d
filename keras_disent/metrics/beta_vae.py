"""The beta-VAE score: classify which factor pairs of images share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keras_disent.metrics._predictors.logistic import fit_softmax
from keras_disent.metrics.checks import check_counts, check_labeled
from keras_disent.metrics.encoding import CHUNK, POOL, Encoder, GroundTruth
from keras_disent.metrics.results import Result
from keras_disent.metrics.sampling import encoded_groups, generator


class BetaVAEScore(Result):
    """Outcome of the classifier; `float()` of it is `eval_accuracy`.

    Attributes:
        eval_accuracy: Accuracy of the classifier on evaluation points, from 0 to 1.
        train_accuracy: The same on the training points.
        eval_points: Number of evaluation points.
        factors_used: Numbers of the factors that were drawn.
    """

    eval_accuracy: float
    train_accuracy: float
    eval_points: int
    factors_used: tuple[int, ...]

    def __float__(self) -> float:
        return self.eval_accuracy


def beta_vae_score(
    encoder: Encoder,
    data: GroundTruth,
    *,
    batch_size: int = 64,
    train_points: int = 10_000,
    eval_points: int = 800,
    pool: int = POOL,
    seed: int = 0,
    legacy_stream: bool = False,
) -> BetaVAEScore:
    """Score how well the code differences of image pairs reveal the factor that they share.

    For one point, `batch_size` pairs of images are drawn. The two images of a pair share the
    value of one factor, the same factor in all pairs, and differ in all others. The absolute
    differences of their codes, averaged over the pairs, are the features from which a linear
    classifier (softmax, L2 penalty of 1/2) predicts the factor. Higgins et al. (2017), "beta-VAE:
    Learning Basic Visual Concepts with a Constrained Variational Framework", section 3.

    Factors of size 1 are never drawn as the shared factor. Without a grid, pairs are drawn from the
    images that exist (see `factor_vae_score`). The features are not scaled, so
    latents of small range have little influence: the score depends on the scale of the codes.

    Args:
        encoder: Deterministic function, or object with such a method `encode`, from images
            (uint8 `(n, height, width, channels)`) to codes (floats `(n, latents)`). Each image
            may be encoded only once if that saves work.
        data: Labeled data set.
        batch_size: Number of image pairs for one point.
        train_points: Number of training points of the classifier.
        eval_points: Number of evaluation points. Large studies use 5,000.
        pool: Number of images that pairs are drawn from, each encoded once; see `factor_vae_score`.
        seed: Random seed of all draws.
        legacy_stream: Draw as disentanglement_lib does from `numpy.random.RandomState(seed)`.

    Returns:
        Accuracies of 1 if each factor has a latent that depends on it alone, and often even if
        latents are mixed: this is the most lenient of the scores. About `1 / factors` for
        uninformative codes.

    Raises:
        ValueError: For settings that are too small, unlabeled data, fewer than two factors that
            vary, or an encoder that does not return one row of finite codes per image.

    Example:
        >>> from keras_disent.datasets import Sprites
        >>> data = Sprites(32).subgrid({"shape": [0], "scale": [5], "orientation": [0]})
        >>> def center(images):
        ...     pixels = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        ...     at = np.arange(32)
        ...     return np.stack([pixels.sum(axis=2) @ at, pixels.sum(axis=1) @ at], axis=1)
        >>> float(beta_vae_score(center, data, train_points=200, eval_points=100))
        1.0
    """
    check_labeled(data, "beta_vae_score")
    check_counts(1, batch_size=batch_size, train_points=train_points, eval_points=eval_points)
    check_counts(0, pool=pool)
    if np.count_nonzero(np.asarray(data.factor_sizes) > 1) < 2:
        raise ValueError(
            "'beta_vae_score' classifies factors, so it needs two with more than one value. "
            f"Got `factor_sizes` {tuple(data.factor_sizes)}."
        )
    sampler, codes_of = encoded_groups(
        encoder,
        data,
        "beta_vae_score",
        generator(seed, legacy_stream),
        batch_size=batch_size,
        planned=2 * batch_size * (train_points + eval_points),
        pool=pool,
    )

    def points(number: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        # As many points at a time as fit into one call of the encoder.
        step = max(1, CHUNK // (2 * batch_size))
        features, labels = [], []
        for start in range(0, number, step):
            shared, indices = sampler.groups(min(step, number - start), (2, batch_size))
            codes = codes_of(indices.reshape(-1))
            first, second = np.moveaxis(codes.reshape(*indices.shape, -1), 1, 0)
            features.append(np.abs(first - second).mean(axis=1))
            labels.append(shared)
        return np.concatenate(features).astype(np.float64), np.concatenate(labels)

    features, labels = points(train_points)
    classifier = fit_softmax(features, labels)
    train_accuracy = float(np.mean(classifier.predict(features) == labels))
    features, labels = points(eval_points)
    eval_accuracy = float(np.mean(classifier.predict(features) == labels))
    used = tuple(sampler.candidates.tolist())
    return BetaVAEScore(eval_accuracy, train_accuracy, eval_points, used)
