"""Probability distributions: our own against SciPy, numerical integrals and the libraries."""

import importlib.util

import numpy as np
import pytest
from keras import ops
from scipy import integrate, special, stats
from support.checks import BACKEND
from support.commands import python

from keras_disent.engine import backend
from keras_disent.engine.backend import distributions
from keras_disent.layers import latents

N = 100_000


def arguments(seed, low=-50.0, high=50.0):
    """Return pixels in [0, 1] and logits, float32, with the extremes of both."""
    rng = np.random.default_rng(seed)
    pixels = rng.random(N).astype("float32")
    logits = rng.uniform(low, high, N).astype("float32")
    logits[: N // 2] = rng.normal(size=N // 2)
    pixels[:4], logits[:4] = (0, 1, 0, 1), (low, low, high, high)
    logits[4:20] = np.logspace(-8, -0.25, 16)
    return pixels, logits


def numbers(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def assert_near(found, expected, rtol=2e-6, atol=2e-6):
    np.testing.assert_allclose(numbers(found), expected, rtol=rtol, atol=atol)


def log_partition(logits):
    """Return the logarithm of the integral of exp(x l) over [0, 1], in float64."""
    size = np.abs(logits.astype("float64"))
    tiny = size < 1e-4
    far = np.where(tiny, 1, size)
    value = np.log(-np.expm1(-far) / far)  # times exp(size) if the logit is positive
    return np.where(tiny, -size / 2 + size**2 / 24, value) + np.maximum(logits, 0)


def test_densities_at_many_arguments():
    pixels, logits = arguments(0)
    exact = pixels.astype("float64") * logits
    bernoulli = exact - np.logaddexp(0, logits.astype("float64"))
    assert_near(distributions.Bernoulli(logits).log_prob(pixels), bernoulli)
    continuous = exact - log_partition(logits)
    assert_near(distributions.ContinuousBernoulli(logits).log_prob(pixels), continuous, atol=8e-6)
    deviation = np.exp(np.clip(logits, -6, 6) / 2).astype("float32")
    normal = stats.norm.logpdf(pixels.astype("float64"), logits, deviation.astype("float64"))
    assert_near(distributions.Normal(logits, deviation).log_prob(pixels), normal)


@pytest.mark.parametrize("logit", [-40.0, -3.0, -0.49, -1e-3, 0.0, 1e-5, 0.31, 2.0, 30.0])
def test_continuous_bernoulli_against_integrals(logit):
    own = distributions.ContinuousBernoulli(np.float32(logit))

    def expectation(function):
        partition = log_partition(np.array(logit))
        value, _ = integrate.quad(
            lambda x: function(x) * np.exp(x * logit - partition), 0, 1, points=[0.02, 0.98]
        )
        return value

    mean = expectation(lambda x: x)
    assert_near(own.mean(), mean, rtol=1e-5)
    assert_near(own.variance(), expectation(lambda x: (x - mean) ** 2), rtol=1e-4)
    entropy = expectation(lambda x: log_partition(np.array(logit)) - x * logit)
    assert_near(own.entropy(), entropy, rtol=1e-5, atol=1e-5)
    other = distributions.ContinuousBernoulli(np.float32(1.5))
    divergence = expectation(
        lambda x: x * (logit - 1.5) - log_partition(np.array(logit)) + log_partition(np.array(1.5))
    )
    assert_near(own.kl_divergence(other), divergence, rtol=1e-4, atol=1e-5)


KINDS = {
    "normal": (lambda p: backend.normal(p, np.float32(0.5) + p**2, 1), distributions.Normal),
    "bernoulli": (lambda p: backend.bernoulli(p, 1), distributions.Bernoulli),
    "continuous_bernoulli": (
        lambda p: backend.continuous_bernoulli(p, 1),
        distributions.ContinuousBernoulli,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments(kind):
    _, own = KINDS[kind]
    logits = np.array([-3.0, -1e-4, 0.2, 8.0], "float32")
    parameters = (logits, 0.5 + logits**2) if kind == "normal" else (logits,)
    distribution = own(*parameters)
    drawn = numbers(distribution.sample(40_000, seed=3))
    assert drawn.shape == (40_000, 4)
    error = 5 * numbers(distribution.stddev()) / np.sqrt(40_000)
    assert (np.abs(drawn.mean(0) - numbers(distribution.mean())) <= error + 1e-6).all()
    assert_near(distribution.variance(), drawn.var(axis=0), rtol=0.2, atol=0.01)
    again = numbers(distribution.sample((40_000,), seed=3))
    np.testing.assert_array_equal(drawn, again)


@pytest.mark.parametrize("kind", KINDS)
def test_events_and_methods(kind):
    _, own = KINDS[kind]
    first = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    second = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")

    def pair(values):
        parameters = (values, 0.5 + values**2) if kind == "normal" else (values,)
        return own(*parameters, event_dims=1)

    a, b = pair(first), pair(second)
    assert tuple(a.log_prob(np.ones((3, 5), "float32")).shape) == (3,)
    assert tuple(a.sample(2, seed=0).shape) == (2, 3, 5)
    assert (numbers(a.kl_divergence(b)) > 0).all()
    assert_near(a.kl_divergence(a), np.zeros(3))
    if kind == "normal":
        assert_near(a.entropy(), stats.norm(0, 0.5 + first.astype("f8") ** 2).entropy().sum(1))
    else:
        assert ((numbers(a.mode()) == 1) == (first > 0)).all()
    if kind == "bernoulli":
        p = special.expit(first.astype("float64"))
        assert_near(a.entropy(), stats.bernoulli(p).entropy().sum(1))
    with pytest.raises(TypeError, match="needs to be a"):
        a.kl_divergence(object())
    assert "batch_shape=(3,) event_shape=(5,)" in repr(a)


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_agrees(kind):
    """TensorFlow Probability on TensorFlow and JAX; on PyTorch its own distributions."""
    make, own = KINDS[kind]
    logits = np.random.default_rng(0).uniform(-9, 9, (50, 4)).astype("float32")
    pixels = np.random.default_rng(1).random((50, 4)).astype("float32")
    if kind == "bernoulli":
        pixels = np.round(pixels)
    parameters = (logits, np.float32(0.5) + logits**2) if kind == "normal" else (logits,)
    ours = own(*parameters, event_dims=1)
    if BACKEND == "torch":
        import torch

        name = {"normal": "Normal", "bernoulli": "Bernoulli"}.get(kind, "ContinuousBernoulli")
        given = [torch.tensor(p) for p in parameters]
        kind_ = getattr(torch.distributions, name)
        one = kind_(*given) if kind == "normal" else kind_(logits=given[0])
        theirs = torch.distributions.Independent(one, 1)
        assert_near(
            theirs.log_prob(torch.tensor(pixels)), numbers(ours.log_prob(pixels)), 1e-4, 1e-3
        )
        assert_near(theirs.mean, numbers(ours.mean()), 1e-3, 1e-4)
        return
    if importlib.util.find_spec("tensorflow_probability") is None:
        pytest.skip("needs TensorFlow Probability")
    theirs = make(logits)
    assert "tensorflow_probability" in type(theirs).__module__
    assert_near(theirs.log_prob(pixels), numbers(ours.log_prob(pixels)), 1e-4, 1e-3)
    assert_near(theirs.mean(), numbers(ours.mean()), 1e-3, 1e-4)


def test_layers_give_distributions_of_events():
    outputs = np.zeros((2, 4, 4, 1), "float32")
    for make in latents.LIKELIHOODS.values():
        likelihood = make()
        images = np.full_like(outputs, 0.25)
        given = likelihood.distribution(ops.convert_to_tensor(outputs)).log_prob(images)
        ours = -numbers(likelihood.negative_log_likelihood(images, outputs))
        assert_near(given, ours, 1e-4, 1e-4)
        assert_near(likelihood.mean(outputs), np.full(outputs.shape, 0.5))
    zeros = np.zeros((2, 3), "float32")
    posterior = latents.GaussianPosterior.distribution(zeros, zeros)
    assert tuple(posterior.log_prob(zeros).shape) == (2,)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no use for it")
def test_without_probability_our_own_take_its_place():
    code = """
from keras_disent import latents
print(type(latents.StandardNormalPrior(2).distribution()).__module__)
"""
    status, out, last = python(code, hidden=("tensorflow_probability",))
    assert (status, out) == (0, "keras_disent.engine.backend.distributions\n"), last


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no use for it")
def test_a_broken_probability_is_told_on_tensorflow(tmp_path):
    (tmp_path / "tensorflow_probability").mkdir()
    (tmp_path / "tensorflow_probability" / "__init__.py").write_text("raise AttributeError('old')")
    code = f"""
import sys, warnings
sys.path.insert(0, {str(tmp_path)!r})
from keras_disent import latents
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    kind = type(latents.StandardNormalPrior(2).distribution())
print(kind.__module__)
print([str(w.message) for w in heard if "Probability" in str(w.message)])
"""
    status, out, last = python(code)
    assert status == 0, last
    module, heard = out.splitlines()
    assert module == "keras_disent.engine.backend.distributions"
    assert ("pip install --upgrade" in heard) == (BACKEND == "tensorflow")
