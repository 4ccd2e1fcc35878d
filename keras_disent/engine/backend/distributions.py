"""Probability distributions: TensorFlow Probability's where it works, and our own elsewhere.

Training needs none of them: its terms are the closed forms below and in `layers.latents`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from functools import cache
from typing import Any

import keras
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine.backend.choice import BACKEND

LOG_TWO_PI = math.log(2 * math.pi)


def normal(mean: Tensor, stddev: Tensor, event_dims: int = 0) -> Distribution:
    """Return a diagonal Gaussian; the last `event_dims` axes are one event."""
    if library := _probability():
        return _independent(library, library.Normal(mean, stddev), event_dims)
    return Normal(mean, stddev, event_dims)


def bernoulli(logits: Tensor, event_dims: int = 0) -> Distribution:
    """Return independent Bernoulli variables; the last `event_dims` axes are one event."""
    if library := _probability():
        return _independent(library, library.Bernoulli(logits=logits), event_dims)
    return Bernoulli(logits, event_dims)


def continuous_bernoulli(logits: Tensor, event_dims: int = 0) -> Distribution:
    """Return independent continuous Bernoulli variables on [0, 1]."""
    if library := _probability():
        return _independent(library, library.ContinuousBernoulli(logits=logits), event_dims)
    return ContinuousBernoulli(logits, event_dims)


@cache
def _probability() -> Any:
    """Return the distributions of TensorFlow Probability, or None where it does not work.

    It is imported when a distribution is first asked for, because that takes seconds.
    """
    if BACKEND == "torch" or importlib.util.find_spec("tensorflow_probability") is None:
        return None
    substrate = "" if BACKEND == "tensorflow" else ".substrates.jax"
    try:
        return importlib.import_module(f"tensorflow_probability{substrate}").distributions
    except Exception as error:  # it raises whatever its backend's newer version lacks
        if BACKEND == "tensorflow":  # on JAX, its releases are known to lag behind
            warnings.warn(
                "TensorFlow Probability does not work here, so distributions are those of "
                "keras_disent. To mend it: pip install --upgrade tensorflow-probability tf-keras. "
                f"Got {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                stacklevel=4,
            )
        return None


def _independent(library: Any, distribution: Any, event_dims: int) -> Any:
    return library.Independent(distribution, event_dims) if event_dims else distribution


class Distribution:
    """Independent variables of one kind, with the methods of TensorFlow Probability.

    Args:
        event_dims: Number of the last axes that are one event. `log_prob`, `entropy` and
            `kl_divergence` sum over them.
    """

    parameters: tuple[Any, ...]

    def __init__(self, *parameters: Any, event_dims: int = 0):
        self.parameters = tuple(ops.convert_to_tensor(p) for p in parameters)
        self.event_dims = event_dims

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name} batch_shape={self.batch_shape} event_shape={self.event_shape}>"

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """Shape of the independent events."""
        shape = tuple(self.mean().shape)
        return shape[: len(shape) - self.event_dims]

    @property
    def event_shape(self) -> tuple[int | None, ...]:
        """Shape of one event."""
        shape = tuple(self.mean().shape)
        return shape[len(shape) - self.event_dims :]

    def mean(self) -> Any:
        """Return the expectation of every variable."""
        raise NotImplementedError

    def variance(self) -> Any:
        """Return the variance of every variable."""
        raise NotImplementedError

    def mode(self) -> Any:
        """Return the most probable value of every variable."""
        raise NotImplementedError

    def _log_density(self, value: Any) -> Any:
        raise NotImplementedError

    def _entropy(self) -> Any:
        raise NotImplementedError

    def _kl_divergence(self, other: Any) -> Any:
        raise NotImplementedError

    def _sample(self, shape: tuple[int, ...], seed: Any) -> Any:
        raise NotImplementedError

    def stddev(self) -> Any:
        """Return the standard deviation of every variable."""
        return ops.sqrt(self.variance())

    def log_prob(self, value: Any) -> Any:
        """Return the log density of `value`, in nats, summed over each event."""
        return self._over_event(self._log_density(ops.convert_to_tensor(value)))

    def prob(self, value: Any) -> Any:
        """Return the density of `value`."""
        return ops.exp(self.log_prob(value))

    def entropy(self) -> Any:
        """Return the entropy in nats, summed over each event."""
        return self._over_event(self._entropy())

    def kl_divergence(self, other: Any) -> Any:
        """Return the divergence from this distribution to another of its kind, in nats.

        Raises:
            TypeError: For a distribution of another kind.
        """
        if type(other) is not type(self):
            raise TypeError(
                f"`other` needs to be a {type(self).__name__}. Got {type(other).__name__}."
            )
        return self._over_event(self._kl_divergence(other))

    def sample(self, sample_shape: int | tuple[int, ...] = (), seed: Any = None) -> Any:
        """Draw samples, `sample_shape` followed by the shape of the variables.

        Args:
            sample_shape: Number of samples, or their shape.
            seed: Random seed (int) or `keras.random.SeedGenerator`.
        """
        first = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return self._sample(first + tuple(ops.shape(self.mean())), seed)

    def _over_event(self, values: Any) -> Any:
        if not self.event_dims:
            return values
        return ops.sum(values, axis=tuple(range(-self.event_dims, 0)))


class Normal(Distribution):
    """Gaussian variables of given means and standard deviations.

    >>> round(float(Normal([0.0, 1.0], [1.0, 1.0], event_dims=1).log_prob([0.0, 1.0])), 4)
    -1.8379
    """

    def __init__(self, mean: Any, stddev: Any, event_dims: int = 0):
        super().__init__(mean, stddev, event_dims=event_dims)
        shape = ops.zeros_like(self.parameters[0] + self.parameters[1])
        self._mean, self._stddev = (p + shape for p in self.parameters)

    def mean(self) -> Any:
        return self._mean

    def mode(self) -> Any:
        return self._mean

    def stddev(self) -> Any:
        return self._stddev

    def variance(self) -> Any:
        return ops.square(self._stddev)

    def _log_density(self, value: Any) -> Any:
        return normal_log_density(value, self._mean, ops.log(self._stddev))

    def _entropy(self) -> Any:
        return 0.5 + 0.5 * LOG_TWO_PI + ops.log(self._stddev)

    def _kl_divergence(self, other: Any) -> Any:
        ratio = ops.square(self._stddev / other._stddev)
        distance = ops.square((self._mean - other._mean) / other._stddev)
        return 0.5 * (ratio + distance - 1 - ops.log(ratio))

    def _sample(self, shape: tuple[int, ...], seed: Any) -> Any:
        noise = keras.random.normal(shape, dtype=self._mean.dtype, seed=seed)
        return self._mean + self._stddev * noise


class _Exponential(Distribution):
    """Variables whose log density is linear in the value, with logits as slopes.

    So the expectation of a log density is its value at the mean.
    """

    def __init__(self, logits: Any, event_dims: int = 0):
        super().__init__(logits, event_dims=event_dims)
        (self.logits,) = self.parameters

    def mode(self) -> Any:
        return ops.cast(self.logits > 0, self.logits.dtype)

    def _entropy(self) -> Any:
        return -self._log_density(self.mean())

    def _kl_divergence(self, other: Any) -> Any:
        mean = self.mean()
        return self._log_density(mean) - other._log_density(mean)


class Bernoulli(_Exponential):
    """Variables of value 0 or 1. Values between count as the probability of 1 (cross-entropy).

    >>> round(float(Bernoulli(0.0).log_prob(1.0)), 4)
    -0.6931
    """

    def mean(self) -> Any:
        return ops.sigmoid(self.logits)

    def variance(self) -> Any:
        return ops.sigmoid(self.logits) * ops.sigmoid(-self.logits)

    def _log_density(self, value: Any) -> Any:
        return bernoulli_log_density(value, self.logits)

    def _sample(self, shape: tuple[int, ...], seed: Any) -> Any:
        uniform = keras.random.uniform(shape, dtype=self.logits.dtype, seed=seed)
        return ops.cast(uniform < self.mean(), self.logits.dtype)


class ContinuousBernoulli(_Exponential):
    """Variables on [0, 1] with the density of a Bernoulli variable, normalized.

    Source: Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli".

    >>> round(float(ContinuousBernoulli(50.0).log_prob(1.0)), 3)
    3.912
    """

    def mean(self) -> Any:
        return continuous_bernoulli_mean(self.logits)

    def variance(self) -> Any:
        """Return 1 / l^2 - 1 / (4 sinh(l / 2)^2) for logits l; near 0 its series."""
        small = ops.abs(self.logits) < 0.5
        size = ops.where(small, ops.ones_like(self.logits), ops.abs(self.logits))
        far = 1 / ops.square(size) - ops.exp(-size) / ops.square(ops.expm1(-size))
        square = ops.square(ops.where(small, self.logits, ops.zeros_like(self.logits)))
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172_800))
        return ops.where(small, series, far)

    def _log_density(self, value: Any) -> Any:
        return continuous_bernoulli_log_density(value, self.logits)

    def _sample(self, shape: tuple[int, ...], seed: Any) -> Any:
        """Invert the cumulative distribution for negative logits; mirror it for positive ones."""
        uniform = keras.random.uniform(shape, dtype=self.logits.dtype, seed=seed)
        size = ops.abs(self.logits)
        small = size < 1e-3
        far = ops.where(small, ops.ones_like(size), size)
        low = ops.where(
            small,
            uniform - size * uniform * (1 - uniform) / 2,
            -ops.log1p(uniform * ops.expm1(-far)) / far,
        )
        low = ops.clip(low, 0.0, 1.0)
        return ops.where(self.logits > 0, 1 - low, low)


def normal_log_density(values: Tensor, mean: Tensor, log_stddev: Tensor) -> Tensor:
    """Return log N(values; mean, exp(log_stddev)^2) elementwise, in nats."""
    scaled = ops.subtract(values, mean) * ops.exp(-log_stddev)
    return -0.5 * (ops.square(scaled) + LOG_TWO_PI) - log_stddev


def bernoulli_log_density(pixels: Tensor, logits: Tensor) -> Tensor:
    """Return log p of pixels, elementwise, in nats; gray pixels count as probabilities."""
    return ops.multiply(pixels, logits) - ops.softplus(logits)


def continuous_bernoulli_log_density(pixels: Tensor, logits: Tensor) -> Tensor:
    """Return log p of pixels in [0, 1], elementwise, in nats.

    log p = x l - softplus(l) + log(l / tanh(l / 2)). Near l = 0 the last term is a series.

    Source: Loaiza-Ganem & Cunningham 2019, equation 7, written for logits.
    """
    size = ops.abs(logits)
    small = size < 0.5
    far = ops.where(small, ops.ones_like(size), size)
    # log tanh(l / 2) = log(1 - exp(-l)) - log(1 + exp(-l))
    normalizer = ops.log(far) - ops.log(-ops.expm1(-far)) + ops.log1p(ops.exp(-far))
    square = ops.square(ops.where(small, logits, ops.zeros_like(logits)))
    series = math.log(2) + square * (1 / 12 - square * (7 / 1440 - square * (31 / 90720)))
    return bernoulli_log_density(pixels, logits) + ops.where(small, series, normalizer)


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """Return the mean of continuous Bernoulli variables, from 0 to 1, elementwise.

    Source: Loaiza-Ganem & Cunningham 2019, equation 8, written for logits. Near 0 it is 0 / 0, so
    a series replaces it.
    """
    small = ops.abs(logits) < 0.3
    far = ops.where(small, ops.ones_like(logits), logits)
    mean = -1 / ops.expm1(-far) - 1 / far
    series = 0.5 + logits / 12 - logits**3 / 720 + logits**5 / 30240
    return ops.clip(ops.where(small, series, mean), 0.0, 1.0)
