"""Probabilistic layers: posterior, prior and pixel likelihoods.

Their `distribution` is TensorFlow Probability's on TensorFlow and JAX where it is installed and
works, and one with the same methods in `engine.backend.distributions` elsewhere. All layers compute
in float32, also in a model of mixed precision.
"""

from __future__ import annotations

import ast
import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Distribution, Tensor
from keras_disent.engine import backend
from keras_disent.layers.networks import initializers

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "ContinuousBernoulliLikelihood",
    "GaussianLikelihood",
    "GaussianPosterior",
    "Likelihood",
    "Noise",
    "SeedGenerator",
    "StandardNormalPrior",
    "likelihood",
]


def __dir__() -> list[str]:
    return sorted(__all__)


register = keras.saving.register_keras_serializable("keras_disent")
LOG_TWO_PI = math.log(2 * math.pi)
MIN_SCALE = 1 / (255 * math.sqrt(12))  # standard deviation of rounding a pixel to a byte
MAX_LOG_VARIANCE = 30.0  # squared gradients then fit float32, with features up to 10,000


class SeedGenerator(keras.random.SeedGenerator):
    """Generate seeds of independent draws, on every replica, from an integer of any size.

    Args:
        seed: Random seed (int), at least 0.
    """

    def __init__(self, seed: int, **kwargs: Any):
        # Keras keeps at most 32 bits of a seed: hash all of its bits into them.
        number = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
        with backend.seed_device():
            super().__init__(number, **kwargs)

    def next(self, ordered: bool = True) -> Tensor:
        """Return the next seed, (2,) integers, on the device that computes."""
        with backend.seed_device():
            return backend.scatter_seed(super().next(ordered))


class Noise(keras.layers.Layer):
    """Draw all random numbers of a model's training from one seed.

    With `enabled = False` a sample is its mean, the columns of a permutation are rolled instead of
    shuffled, and directions are constant. Results are then the same on every backend, for tests and
    debugging. A traced step keeps the setting it was traced with, until the model is compiled
    again.

    Args:
        seed: Random seed (int).

    >>> noise = Noise(seed=0)
    >>> noise.enabled = False
    >>> float(noise.gaussian(ops.zeros((1, 1)) + 3, ops.ones((1, 1)))[0, 0])
    3.0
    """

    def __init__(self, seed: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.enabled = True
        self.built = True

    def gaussian(self, mean: Tensor, stddev: Tensor | float) -> Tensor:
        """Draw from a diagonal Gaussian, differentiable in `mean` and `stddev`."""
        if not self.enabled:
            return mean
        return mean + stddev * keras.random.normal(
            ops.shape(mean), dtype="float32", seed=self.seed_generator
        )

    def permute(self, codes: Tensor) -> Tensor:
        """Shuffle each column of `codes` (n, latents) independently: a sample of prod_d q(z_d)."""
        if self.enabled:
            keys = keras.random.uniform(ops.shape(codes), dtype="float32", seed=self.seed_generator)
            order = ops.argsort(keys, axis=0)
        else:
            rows, latents = ops.shape(codes)
            row, latent = (ops.arange(size, dtype="int32") for size in (rows, latents))
            order = (ops.expand_dims(row, 1) + ops.expand_dims(latent, 0)) % rows
        return ops.take_along_axis(codes, order, axis=0)

    def directions(self, rows: int, latents: int, each: int) -> tuple[Tensor, Tensor]:
        """Draw `each` vectors of random signs and as many Gaussian ones for each row.

        Args:
            rows: Number of rows (int or scalar tensor).
            latents: Number of columns (int).
            each: Number of vectors per row (int).

        Returns:
            Two tensors (each, rows, latents).
        """
        if self.enabled:
            shape = (each, rows, latents)
            normal = [
                keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
                for _ in range(2)
            ]
        else:
            fixed = np.random.default_rng(0).standard_normal((2, each, 1, latents))
            normal = [
                ops.convert_to_tensor(part.astype("float32")) + ops.zeros((1, rows, 1), "float32")
                for part in fixed
            ]
        return 2 * ops.cast(normal[0] > 0, "float32") - 1, normal[1]


@register
class GaussianPosterior(keras.layers.Layer):
    """Map features to the posterior q(z|x): the mean and log-variance of a diagonal Gaussian.

    Args:
        latent_dim: Number of latents D (int).
        seed: Random seed of the initial weights (int; Glorot uniform). None draws one.

    Call: features (n, f) -> (mean, log_variance), each (n, D) float32. Log-variances are clipped to
    -30 and 30, beyond which squared gradients overflow float32; the clipping passes gradients
    through.

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", equation 9.

    >>> head = GaussianPosterior(3)
    >>> mean, log_variance = head(ops.ones((2, 5)))
    >>> tuple(mean.shape)
    (2, 3)
    """

    def __init__(self, latent_dim: int, seed: int | None = None, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.latent_dim, self.seed = latent_dim, seed
        self.mean_head, self.log_variance_head = (
            keras.layers.Dense(latent_dim, kernel_initializer=initial, dtype="float32", name=name)
            for name, initial in zip(("mean", "log_variance"), initializers(seed), strict=False)
        )

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        """Create the weights of both heads, for features (n, k)."""
        self.mean_head.build(features_shape)
        self.log_variance_head.build(features_shape)

    def call(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances (n, D) of the posterior for features (n, k)."""
        return self.mean_head(features), clip_straight_through(
            self.log_variance_head(features), -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE
        )

    @staticmethod
    def distribution(mean: Tensor, log_variance: Tensor) -> Distribution:
        """Return q(z|x) as the backend's distribution: batch (n,), event (D,)."""
        return backend.normal(mean, ops.exp(0.5 * log_variance), event_dims=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent_dim": self.latent_dim, "seed": self.seed}


class StandardNormalPrior(keras.layers.Layer):
    """Represent the prior p(z) = N(0, I) over D latents.

    Args:
        latent_dim: Number of latents D (int).

    >>> prior = StandardNormalPrior(2)
    >>> prior.kl(ops.zeros((1, 2)), ops.zeros((1, 2))).shape[1]
    2
    """

    def __init__(self, latent_dim: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.latent_dim = latent_dim
        self.built = True

    def distribution(self) -> Distribution:
        """Return p(z) as the backend's distribution: event (D,)."""
        return backend.normal(
            ops.zeros((self.latent_dim,), "float32"),
            ops.ones((self.latent_dim,), "float32"),
            event_dims=1,
        )

    @staticmethod
    def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return KL(q(z_d|x) || p(z_d)) in closed form: (n, D), nats.

        Source: Kingma & Welling 2014, appendix B.
        """
        return 0.5 * (ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0)


def clip_straight_through(values: Tensor, low: float, high: float) -> Tensor:
    """Clip values to [low, high]; the gradient is that of the values without clipping."""
    return values + ops.stop_gradient(ops.clip(values, low, high) - values)


def gaussian_log_density(codes: Tensor, mean: Tensor, log_variance: Tensor | float) -> Tensor:
    """Return log N(codes; mean, exp(log_variance)) elementwise, in nats."""
    return -0.5 * (ops.square(codes - mean) * ops.exp(-log_variance) + log_variance + LOG_TWO_PI)


class Likelihood(keras.layers.Layer):
    """Define p(x|z) by the decoder's outputs, (n, height, width, channels) real numbers."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.built = True

    def distribution(self, outputs: Tensor) -> Distribution:
        """Return p(x|z) as the backend's distribution: batch (n,), event the image."""
        raise NotImplementedError(f"{type(self).__name__} has no `distribution`.")

    def negative_log_likelihood(self, images: Tensor, outputs: Tensor) -> Tensor:
        """Return -log p(x|z) summed over pixels and channels: (n,), nats."""
        return -self.distribution(outputs).log_prob(images)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the expected image, in [0, 1]."""
        return self.distribution(outputs).mean()

    def call(self, outputs: Tensor) -> Tensor:
        """Return mean images, float32, for the outputs of a decoder (n, h, w, c)."""
        return self.mean(ops.cast(outputs, "float32"))


@register
class BernoulliLikelihood(Likelihood):
    """Model pixels as Bernoulli variables whose logits the decoder returns.

    Gray pixels in [0, 1] count as probabilities (cross-entropy), as in the published studies.

    >>> image, logits = ops.ones((1, 1, 1, 1)), ops.zeros((1, 1, 1, 1))
    >>> round(float(BernoulliLikelihood().negative_log_likelihood(image, logits)[0]), 3)
    0.693
    """

    def distribution(self, outputs: Tensor) -> Distribution:
        return backend.bernoulli(outputs, event_dims=3)

    def negative_log_likelihood(self, images: Tensor, outputs: Tensor) -> Tensor:
        return -ops.sum(backend.bernoulli_log_density(images, outputs), axis=(1, 2, 3))

    def mean(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)  # also for batches of unknown size, as in an export


@register
class ContinuousBernoulliLikelihood(Likelihood):
    """Model pixels as continuous Bernoulli variables whose logits the decoder returns.

    Source: Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli".

    >>> image, logits = ops.ones((1, 1, 1, 1)), ops.zeros((1, 1, 1, 1))
    >>> abs(float(ContinuousBernoulliLikelihood().negative_log_likelihood(image, logits)[0])) < 1e-6
    True
    """

    def distribution(self, outputs: Tensor) -> Distribution:
        return backend.continuous_bernoulli(outputs, event_dims=3)

    def negative_log_likelihood(self, images: Tensor, outputs: Tensor) -> Tensor:
        density = backend.continuous_bernoulli_log_density(images, outputs)
        return -ops.sum(density, axis=(1, 2, 3))

    def mean(self, outputs: Tensor) -> Tensor:
        return backend.continuous_bernoulli_mean(outputs)


@register
class GaussianLikelihood(Likelihood):
    """Model pixels as Gaussian around the sigmoid of the decoder's outputs, with one shared scale.

    Args:
        scale: Standard deviation of a pixel (of an image in [0, 1]), a float above 0.
        learn_scale: Whether the scale is learned with the decoder (bool), starting from `scale`. It
            stays above 1 / (255 sqrt(12)), the error of rounding to bytes. Without this minimum,
            images that can be reconstructed exactly would drive it to 0 and the objective to
            infinity.

    Attributes:
        scale: Current scale (float), which may be set between two `fit`.

    Raises:
        ValueError: If `scale` is not above 0.

    Source of the learned scale: Rybkin et al. 2021, "Simple and effective VAE training with
    calibrated decoders", equation 4.

    >>> round(float(GaussianLikelihood(1.0).negative_log_likelihood(
    ...     ops.ones((1, 1, 1, 1)) / 2, ops.zeros((1, 1, 1, 1)))[0]), 3)
    0.919
    """

    def __init__(self, scale: float = 0.1, learn_scale: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.learn_scale = bool(learn_scale)
        self.log_scale = self.add_weight(
            shape=(), initializer="zeros", trainable=self.learn_scale, name="log_scale"
        )
        self.scale = scale

    @property
    def scale(self) -> float:
        current = math.exp(float(ops.convert_to_numpy(self.log_scale)))
        current = max(current, MIN_SCALE) if self.learn_scale else current
        return self._exact if math.isclose(current, self._exact, rel_tol=1e-6) else current

    @scale.setter
    def scale(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"`scale` of a Gaussian likelihood is above 0. Got {value!r}.")
        self._exact = float(value)
        self.log_scale.assign(math.log(value))

    def _log_scale(self) -> Tensor:
        log_scale = ops.convert_to_tensor(self.log_scale)
        if not self.learn_scale:
            return log_scale
        return clip_straight_through(log_scale, math.log(MIN_SCALE), math.inf)

    def distribution(self, outputs: Tensor) -> Distribution:
        mean = ops.sigmoid(outputs)
        return backend.normal(mean, ops.exp(self._log_scale()) * ops.ones_like(mean), event_dims=3)

    def negative_log_likelihood(self, images: Tensor, outputs: Tensor) -> Tensor:
        density = backend.normal_log_density(images, ops.sigmoid(outputs), self._log_scale())
        return -ops.sum(density, axis=(1, 2, 3))

    def mean(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "learn_scale": self.learn_scale}


LIKELIHOODS: dict[str, Any] = {
    "bernoulli": BernoulliLikelihood,
    "continuous_bernoulli": ContinuousBernoulliLikelihood,
    "gaussian": GaussianLikelihood,
    "gaussian_learned_scale": functools.partial(GaussianLikelihood, learn_scale=True),
}


def likelihood(text: str) -> Likelihood:
    """Build a likelihood from its name, or from its name with numbers: "gaussian(scale=0.05)".

    Raises:
        ValueError: If there is no such likelihood, or it does not take these arguments.

    >>> likelihood("gaussian(scale=0.05)").scale
    0.05
    """
    name, bracket, rest = text.partition("(")
    build = lookup(name.strip(), LIKELIHOODS, "likelihood")
    try:
        call: Any = ast.parse(f"_({rest}" if bracket else "_()", mode="eval").body
        arguments = [ast.literal_eval(argument) for argument in call.args]
        return build(*arguments, **{k.arg: ast.literal_eval(k.value) for k in call.keywords})
    except (SyntaxError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{text!r} is not a likelihood: {error}") from None
