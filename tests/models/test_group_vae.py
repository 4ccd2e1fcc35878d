"""Weakly supervised VAEs: which latents a pair shares, what their posterior is, and the loss."""

import numpy as np
import pytest
from keras import ops
from scipy import stats
from support.checks import LATENTS, SHAPE, compiled, images, reload, small, state

from keras_disent.datasets import ChangedPairs, Sprites
from keras_disent.models.group_vae import GVAE, MLVAE, AdaGVAE, AdaMLVAE, divergences

METHODS = (AdaGVAE, AdaMLVAE, GVAE, MLVAE)
RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(6, 2, LATENTS)).astype("float32")
LOG_VARIANCE = RNG.normal(size=(6, 2, LATENTS)).astype("float32")
DIFFERS = RNG.integers(2, size=(6, 2))


def pairs(n=8, seed=0):
    return images(2 * n, seed=seed).reshape(n, 2, *SHAPE)


def new(cls, **kwargs):
    """A small model of a class; `small` of a beta-VAE has the networks."""
    donor = small("beta_vae")
    return cls(SHAPE, LATENTS, encoder=donor.encoder, decoder=donor.decoder, **kwargs)


def given(model, n=8):
    """What the model learns from."""
    return (pairs(n), RNG.integers(2, size=(n, 2))) if model.labeled else (pairs(n),)


def tensors(*arrays):
    return [ops.convert_to_tensor(a) for a in arrays]


def test_divergence_is_that_of_the_integral():
    found = ops.convert_to_numpy(divergences(*tensors(MEAN, LOG_VARIANCE)))
    at = np.linspace(-40, 40, 400_001)
    for i in range(2):
        for d in range(LATENTS):
            p, q = (
                stats.norm(MEAN[i, side, d], np.exp(LOG_VARIANCE[i, side, d] / 2))
                for side in (0, 1)
            )
            integral = np.trapezoid(p.pdf(at) * (p.logpdf(at) - q.logpdf(at)), at)
            assert found[i, d] == pytest.approx(integral, rel=1e-4)


def test_the_threshold_lies_halfway():
    model = new(AdaGVAE)
    found = ops.convert_to_numpy(model.is_shared(*tensors(MEAN, LOG_VARIANCE), None))
    kl = ops.convert_to_numpy(divergences(*tensors(MEAN, LOG_VARIANCE)))
    for row, shared in zip(kl, found, strict=True):
        expected = [k < (min(row) + max(row)) / 2 for k in row]
        assert shared[0].tolist() == expected
        assert any(expected)
        assert not all(expected)


@pytest.mark.parametrize("cls", [GVAE, MLVAE])
def test_labels_tell_what_is_shared(cls):
    found = ops.convert_to_numpy(new(cls).is_shared(*tensors(MEAN, LOG_VARIANCE, DIFFERS)))
    assert (found[:, 0, :2] == (DIFFERS == 0)).all()
    assert found[:, 0, 2:].all()


def test_the_average():
    mean, log_variance = new(AdaGVAE).common(*tensors(MEAN, LOG_VARIANCE))
    assert ops.convert_to_numpy(mean)[:, 0] == pytest.approx(MEAN.mean(1), abs=1e-6)
    variance = np.exp(ops.convert_to_numpy(log_variance))[:, 0]
    assert variance == pytest.approx(np.exp(LOG_VARIANCE).mean(1), rel=1e-5)


@pytest.mark.parametrize(("kind", "factor"), [("exact", 1), ("doubled", 2)])
def test_the_product_is_that_of_the_densities(kind, factor):
    model = new(AdaMLVAE, variance=kind)
    mean, log_variance = map(ops.convert_to_numpy, model.common(*tensors(MEAN, LOG_VARIANCE)))
    at = np.linspace(-40, 40, 400_001)
    for i in range(3):
        for d in range(LATENTS):
            density = np.prod(
                [
                    stats.norm(MEAN[i, s, d], np.exp(LOG_VARIANCE[i, s, d] / 2)).pdf(at)
                    for s in (0, 1)
                ],
                axis=0,
            )
            density /= np.trapezoid(density, at)
            center = np.trapezoid(at * density, at)
            spread = np.trapezoid((at - center) ** 2 * density, at)
            assert mean[i, 0, d] == pytest.approx(center, abs=1e-4)
            assert np.exp(log_variance[i, 0, d]) == pytest.approx(factor * spread, rel=1e-4)


@pytest.mark.parametrize("cls", METHODS)
def test_the_loss_is_that_of_both_images_with_the_common_posterior(cls):
    model = compiled(new(cls, beta=3.0))
    model.noise.enabled = False
    batch = given(model)
    x = batch[0].reshape(-1, *SHAPE)
    mean, log_variance = (a.reshape(-1, 2, LATENTS) for a in model.posterior_parameters(x))
    labels = tensors(batch[1])[0] if model.labeled else None
    own = tensors(mean, log_variance)
    shared = ops.convert_to_numpy(model.is_shared(*own, labels))
    common = map(ops.convert_to_numpy, model.common(*own))
    m, lv = (
        np.where(shared, one, each).reshape(-1, LATENTS)
        for one, each in zip(common, (mean, log_variance), strict=True)
    )
    outputs = ops.convert_to_numpy(model.decoder(m.astype("float32"))).astype("float64")
    reconstruction = (np.logaddexp(0, outputs) - x / 255 * outputs).sum((1, 2, 3)).mean()
    kl = 0.5 * (m**2 + np.exp(lv) - lv - 1).sum(1).mean()
    logs = model.evaluate(*batch, batch_size=8, verbose=0, return_dict=True)
    assert logs["reconstruction"] == pytest.approx(reconstruction, rel=1e-4)
    assert logs["kl"] == pytest.approx(kl, rel=1e-4)
    assert logs["loss"] == pytest.approx(reconstruction + 3 * kl, rel=1e-4)
    assert shared.mean() < 1


@pytest.mark.parametrize("cls", METHODS)
def test_it_trains_on_pairs_and_encodes_images(cls):
    model = compiled(new(cls))
    batch = given(model, 16)
    history = model.fit(*batch, batch_size=8, epochs=3, validation_data=batch, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    x = batch[0][:, 0]
    assert model.encode(x).shape == (16, LATENTS)
    assert model.traverse(x[:1]).shape == (1, LATENTS, 9, *SHAPE)
    again = reload(model)
    assert type(again) is cls
    for a, b in zip(state(again), state(model), strict=True):
        assert (a == b).all()


def test_streams_of_the_data_sets_fit():
    data = Sprites(32).subgrid({"shape": [0], "orientation": [0]})
    for cls in (AdaGVAE, GVAE):
        model = cls((32, 32, 1), 5, encoder="mlp", decoder="mlp")
        model.compile()
        stream = ChangedPairs(data, 1, labels=model.labeled).batches(8, steps=2)
        model.fit(stream, validation_data=stream, verbose=0)
        assert model.steps_taken() == 2


@pytest.mark.parametrize(
    ("cls", "batch", "message"),
    [
        (
            AdaGVAE,
            (images(8),),
            r"pairs of images, \(n, 2, 8, 8, 1\), such as .* Got shape \(8, 8, 8, 1\)",
        ),
        (AdaGVAE, (np.zeros((4, 3, *SHAPE), "uint8"),), r"Got shape \(4, 3, 8, 8, 1\)"),
        (AdaGVAE, (np.zeros((4, 2, 8, 9, 1), "uint8"),), "must have shape"),
        (GVAE, (pairs(4),), "learns from labels of pairs.* Got none"),
        (GVAE, (pairs(4), np.zeros((3, 2))), r"\(4, factors\).* Got \(3, 2\)"),
        (MLVAE, (pairs(4), np.zeros((4, 4))), "at most one factor for each of the 3 latents"),
        (MLVAE, (pairs(4), np.full((4, 2), 2)), "1 for a factor that differs, else 0"),
    ],
)
def test_wrong_pairs_are_refused_before_training(cls, batch, message):
    model = compiled(new(cls))
    with pytest.raises(ValueError, match=message):
        model.fit(*batch, verbose=0)
    assert model.steps_taken() == 0


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"Unknown variance 'half'. Choose from: doubled, exact"):
        AdaMLVAE(SHAPE, LATENTS, variance="half")
    with pytest.raises(ValueError, match="`supervision` is for models of single images"):
        AdaGVAE(SHAPE, LATENTS, supervision=object())
