"""The backend's probability distributions."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_disent.engine.backend.choice import BACKEND

if BACKEND == "tensorflow":
    from tensorflow_probability import distributions
elif BACKEND == "jax":
    from tensorflow_probability.substrates.jax import distributions
else:
    from torch import distributions


_UNCHECKED: dict[str, Any] = {"validate_args": False}  # torch refuses gray pixels otherwise


def normal(mean, stddev, event_dims: int = 0):
    """Return a diagonal Gaussian; the last `event_dims` axes are one event."""
    return _independent(distributions.Normal(mean, stddev, **_UNCHECKED), event_dims)


def bernoulli(logits, event_dims: int = 0):
    """Return independent Bernoulli variables; the last `event_dims` axes are one event."""
    return _independent(distributions.Bernoulli(logits=logits, **_UNCHECKED), event_dims)


def continuous_bernoulli(logits, event_dims: int = 0):
    """Return independent continuous Bernoulli variables on [0, 1]."""
    kind = _ContinuousBernoulli if BACKEND == "torch" else distributions.ContinuousBernoulli
    return _independent(kind(logits=logits, **_UNCHECKED), event_dims)


if BACKEND == "torch":

    class _ContinuousBernoulli(distributions.ContinuousBernoulli):
        """PyTorch's, with the density in closed form: its own stops at logits of 16."""

        def log_prob(self, value):
            return continuous_bernoulli_log_density(value, self.logits)


def continuous_bernoulli_log_density(pixels, logits):
    """Return log p of pixels in [0, 1], elementwise, in nats.

    log p = x l - softplus(l) + log(l / tanh(l / 2)). Near l = 0 the last term is a series.

    Source: Loaiza-Ganem & Cunningham 2019, equation 7, written for logits.
    """
    ops = keras.ops
    size = ops.abs(logits)
    small = size < 0.5
    far = ops.where(small, ops.ones_like(size), size)
    # log tanh(l / 2) = log(1 - exp(-l)) - log(1 + exp(-l))
    normalizer = ops.log(far) - ops.log(-ops.expm1(-far)) + ops.log1p(ops.exp(-far))
    square = ops.square(ops.where(small, logits, ops.zeros_like(logits)))
    series = math.log(2) + square * (1 / 12 - square * (7 / 1440 - square * (31 / 90720)))
    return pixels * logits - ops.softplus(logits) + ops.where(small, series, normalizer)


def _independent(distribution, event_dims: int):
    if not event_dims:
        return distribution
    if BACKEND == "torch":
        return distributions.Independent(distribution, event_dims, **_UNCHECKED)
    return distributions.Independent(distribution, event_dims)


def mean(distribution):
    """Return the mean of a distribution of any backend."""
    return distribution.mean if BACKEND == "torch" else distribution.mean()
