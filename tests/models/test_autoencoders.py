"""The plain autoencoder with independent components, and QLAE: formulas against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import stats
from scipy.special import logsumexp
from support.checks import LATENTS, SHAPE, arrays, compiled, images, reload, small

from keras_disent.layers.standardization import RunningStandardization
from keras_disent.models import QLAE, Tripod
from keras_disent.models.qlae import LatentQuantizer
from keras_disent.models.tripod import STEP, multiinformation


def objective(model, x):
    terms = model.objective("loss", x, training=False)
    return {name: float(ops.convert_to_numpy(value)) for name, value in terms.items()}


def cross_entropy(x, pictures):
    """-log p(x|z) of a Bernoulli, summed over pixels and averaged over images."""
    x = x / 255
    return -np.mean(np.sum(x * np.log(pictures) + (1 - x) * np.log(1 - pictures), axis=(1, 2, 3)))


def test_an_autoencoder_minimises_the_reconstruction_alone():
    model, x = small("autoencoder"), images(6)
    pictures = ops.convert_to_numpy(model(ops.convert_to_tensor(x))).astype("float64")
    terms = objective(model, ops.convert_to_tensor(x))
    assert terms["loss"] == terms["reconstruction"]
    np.testing.assert_allclose(terms["loss"], cross_entropy(x, pictures), rtol=1e-5)
    np.testing.assert_allclose(model.reconstruct(x), pictures, atol=1e-5)


def test_codes_are_standardised_by_moving_moments():
    model = small("autoencoder")
    model.compile(keras.optimizers.SGD(0.0))  # codes stay what they are
    x = images(300)
    raw = model._encode_raw(ops.convert_to_tensor(x))[0]
    raw = ops.convert_to_numpy(raw).astype("float64")
    np.testing.assert_allclose(model.encode(x), raw, atol=1e-6)
    model.fit(x, batch_size=7, verbose=0)
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(model.encode(x), expected, atol=1e-3)
    shown = ops.convert_to_numpy(model(ops.convert_to_tensor(x[:5])))
    np.testing.assert_allclose(model.decode(model.encode(x[:5])), shown, atol=1e-5)


def test_moments_forget_what_is_long_ago():
    moments = RunningStandardization(LATENTS, window=100)
    rng = np.random.default_rng(0)
    for shift in [0.0] * 20 + [5.0] * 20:
        drawn = rng.normal(shift, 1 + shift, (50, LATENTS)).astype("float32")
        moments.update(ops.convert_to_tensor(drawn))
    shift, scale = moments.moments()
    np.testing.assert_allclose(shift, 5.0, atol=1.5)
    np.testing.assert_allclose(scale, 6.0, atol=1.5)


def mixed_sources(n=3000):
    """Independent uniform sources (n, 3) and a linear mixture of them."""
    sources = np.random.default_rng(0).uniform(-1, 1, (n, LATENTS))
    mixing = np.array([[1.0, 0.5, -0.3], [0.2, 1.0, 0.6], [-0.4, 0.3, 1.0]])
    return sources, (sources @ mixing + [1.0, -2.0, 0.0]).astype("float32")


def test_independent_components_are_the_sources():
    transform = small("autoencoder").code_transform
    sources, raw = mixed_sources()
    transform.fit_ica(raw, seed=0)
    codes = ops.convert_to_numpy(transform(ops.convert_to_tensor(raw)))
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(LATENTS), atol=1e-3)
    agree = np.abs(np.corrcoef(codes.T, sources.T)[:LATENTS, LATENTS:])
    assert (np.sort(agree.max(axis=0)) > 0.99).all()
    assert len(set(agree.argmax(axis=0))) == LATENTS
    back = ops.convert_to_numpy(transform.inverse(ops.convert_to_tensor(codes)))
    np.testing.assert_allclose(back, raw, atol=1e-4)


def test_components_of_codes_that_span_less():
    transform = small("autoencoder").code_transform
    _, raw = mixed_sources()
    raw[:, 1] = 2.0  # a dead latent
    raw[:, 2] = 3 * raw[:, 0]
    transform.fit_ica(raw, seed=0)
    codes = ops.convert_to_numpy(transform(ops.convert_to_tensor(raw)))
    np.testing.assert_allclose(codes.std(axis=0), [1, 0, 0], atol=1e-3)
    back = ops.convert_to_numpy(transform.inverse(ops.convert_to_tensor(codes)))
    np.testing.assert_allclose(back, raw, atol=1e-4)


def test_separation_leaves_reconstructions_and_stays_in_files():
    model, x = compiled(small("autoencoder")), images(60)
    model.fit(x, batch_size=20, verbose=0)
    pictures, before = model.reconstruct(x), model.encode(x)
    model.fit_ica(x)
    codes = model.encode(x)
    assert np.abs(codes - before).max() > 0.1
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(LATENTS), atol=1e-3)
    np.testing.assert_allclose(model.reconstruct(x), pictures, atol=1e-4)
    again = reload(model)
    np.testing.assert_array_equal(again.encode(x), codes)
    np.testing.assert_array_equal(again.decode(codes), model.decode(codes))


def test_separation_needs_images_that_differ():
    model = small("autoencoder")
    with pytest.raises(ValueError, match=r"more than the 3 latents\. Got 3\."):
        model.fit_ica(images(3))
    with pytest.raises(ValueError, match=r"codes that vary\. Got constant ones\."):
        model.fit_ica(np.repeat(images(1), 20, axis=0))
    with pytest.raises(ValueError, match=r"must have shape"):
        model.fit_ica(np.zeros((20, 4, 4, 1), "uint8"))


# -- QLAE -----------------------------------------------------------------------------------------


def test_values_are_the_nearest_and_start_even():
    quantizer = LatentQuantizer(2, 3)
    assert arrays([quantizer.table])[0].tolist() == [[-0.5, 0.0, 0.5]] * 2
    quantizer.table.assign(np.array([[-1.0, 0.0, 2.0], [5.0, 6.0, 7.0]], "float32"))
    raw = ops.convert_to_tensor(np.array([[0.9, 5.6], [1.1, 99.0]], "float32"))
    assert ops.convert_to_numpy(quantizer(raw)).tolist() == [[0.0, 6.0], [2.0, 7.0]]


def test_qlae_equals_numpy_and_gradients_pass_straight_through():
    """One step of plain gradient descent moves values by the quantization term alone.

    The head is moved by the gradient at the quantized codes, plus that of the commitment.
    """
    rate, pixels = 1e-3, float(np.prod(SHAPE))
    model, x = small("qlae", values=4, quantize_weight=0.3, commit_weight=0.2), images(16)
    table = arrays([model.quantizer.table])[0].astype("float64")
    features = ops.convert_to_numpy(model.encoder(x / np.float32(255)))
    kernel, bias = arrays(model.code_head.weights)
    raw = (features @ kernel + bias).astype("float64")
    nearest = np.abs(raw[:, :, None] - table).argmin(axis=2)
    values = np.take_along_axis(table, nearest.T, axis=1).T
    squares = np.mean((raw - values) ** 2)

    terms = objective(model, ops.convert_to_tensor(x))
    pictures = ops.convert_to_numpy(model(ops.convert_to_tensor(x))).astype("float64")
    decoded = model.likelihood(model.decoder(ops.convert_to_tensor(values.astype("float32"))))
    np.testing.assert_allclose(pictures, ops.convert_to_numpy(decoded), atol=1e-6)
    np.testing.assert_allclose(terms["reconstruction"], cross_entropy(x, pictures), rtol=1e-5)
    np.testing.assert_allclose([terms["quantization"], terms["commitment"]], squares, rtol=1e-4)
    expected = terms["reconstruction"] + pixels * 0.5 * squares
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)

    def misfit(codes):
        shown = model.likelihood(model.decoder(ops.convert_to_tensor(codes.astype("float32"))))
        return cross_entropy(x, ops.convert_to_numpy(shown).astype("float64"))

    slopes = np.zeros(LATENTS)
    for latent in range(LATENTS):
        step = 1e-2 * np.eye(LATENTS)[latent]
        slopes[latent] = (misfit(values + step) - misfit(values - step)) / 2e-2
    slopes = slopes + pixels * 0.2 * 2 * np.mean(raw - values, axis=0) / LATENTS
    model.compile(keras.optimizers.SGD(rate))
    model.fit(x, batch_size=16, verbose=0)
    moved = (arrays(model.code_head.weights)[1] - bias) / -rate
    np.testing.assert_allclose(moved, slopes, rtol=0.02, atol=0.02)

    pulls = np.zeros_like(table)
    for row, latent in np.ndindex(raw.shape):
        gap = values[row, latent] - raw[row, latent]
        pulls[latent, nearest[row, latent]] += pixels * 0.3 * 2 * gap / raw.size
    moved = (arrays([model.quantizer.table])[0] - table) / -rate
    np.testing.assert_allclose(moved, pulls, rtol=1e-2, atol=2e-3)


def test_weight_decay_spares_biases_and_values_also_after_loading():
    model, x = small("qlae"), images(8)
    for variable in model.trainable_variables:
        variable.assign(variable + 2.0)
    model.compile(keras.optimizers.AdamW(0.0, weight_decay=0.1))
    for each in (model, reload(model)):
        each.optimizer.learning_rate = 1e-6  # weights move by decay only, if it were there
        each.optimizer.weight_decay = 1e5
        before = {v.path: a for v, a in zip(each.variables, arrays(each.variables), strict=True)}
        each.fit(x, verbose=0)
        for variable in each.trainable_variables:
            change = arrays([variable])[0] / before[variable.path]
            spared = variable.name in ("bias", "latent_values")
            np.testing.assert_allclose(np.median(change), 1.0 if spared else 0.9, atol=1e-3)


def test_codes_take_few_values_and_samples_only_them():
    model, x = compiled(small("qlae", values=3)), images(50)
    model.fit(x, batch_size=25, verbose=0)
    codes = model.encode(x)
    assert all(len(np.unique(column)) <= 3 for column in codes.T)
    use = model.latent_importance(x)
    for latent, column in enumerate(codes.T):
        _, counts = np.unique(column, return_counts=True)
        shares = counts / counts.sum()
        np.testing.assert_allclose(use[latent], -np.sum(shares * np.log(shares)), atol=1e-6)
    assert len(np.unique(model.sample(200, seed=0).reshape(200, -1), axis=0)) <= 27
    near = model.decode(codes[:1] + np.float32(1e-3))
    np.testing.assert_array_equal(near, model.decode(codes[:1]))


def test_the_default_optimizer_decays_weights():
    model = QLAE((16, 16, 1), 2, encoder="mlp", decoder="mlp")
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.optimizer.weight_decay == pytest.approx(0.1)


@pytest.mark.parametrize(
    "wrong", [{"values": 1}, {"quantize_weight": -1.0}, {"commit_weight": "x"}]
)
def test_wrong_arguments_of_qlae(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}`"):
        QLAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp", **wrong)


# -- Tripod ---------------------------------------------------------------------------------------


def test_multiinformation_equals_numpy():
    codes = np.random.default_rng(0).normal(size=(40, 3)) * [1, 2, 0.5]
    scale = codes.std(axis=0)
    bandwidth = (4 / (5 * 40)) ** (1 / 7) * scale
    gaps = codes[:, None] - codes[None]
    joint = logsumexp(stats.norm.logpdf(gaps, scale=bandwidth).sum(axis=2), axis=1) - np.log(40)
    each = logsumexp(stats.norm.logpdf(gaps, scale=scale), axis=1) - np.log(40)
    given = (ops.convert_to_tensor(a.astype("float32")) for a in (codes, scale))
    found = ops.convert_to_numpy(multiinformation(*given))
    np.testing.assert_allclose(found, np.mean(joint - each.sum(axis=1)), rtol=1e-5)


def quadratic(kernel):
    """A Tripod of two latents whose decoder has one hidden layer: squares of `codes @ kernel`."""
    squares = layers.Dense(np.shape(kernel)[1], activation=ops.square, use_bias=False)
    rest = [layers.Dense(64), layers.Reshape(SHAPE)]
    decoder = keras.Sequential([layers.Input((2,)), squares, *rest])
    squares.kernel.assign(np.array(kernel, "float32"))
    model = Tripod(SHAPE, 2, encoder="mlp", decoder=decoder)
    model.noise.enabled = False
    return model


def penalty(model, scale):
    codes = np.random.default_rng(1).uniform(-1, 1, (5, 2)).astype("float32")
    scale = ops.convert_to_tensor(np.array(scale, "float32"))
    return float(ops.convert_to_numpy(model.hessian_penalty(ops.convert_to_tensor(codes), scale)))


def test_the_hessian_penalty_equals_the_hessian():
    kernel, scale = np.array([[1.0, 2.0, 0.0], [1.0, -1.0, 3.0]]), np.array([0.5, 0.8])
    model = quadratic(kernel)
    signs, normal = (ops.convert_to_numpy(v)[:, 0] for v in model.noise.directions(1, 2, 2))
    assert set(np.abs(signs).ravel()) == {1.0}
    # Of (w z)^2 the second difference is v' H v = 2 (w v)^2 exactly.
    mixed, whole = (np.var(2 * (scale * v @ kernel) ** 2, axis=0).mean() for v in (signs, normal))
    np.testing.assert_allclose(penalty(model, scale), mixed / whole, rtol=1e-3)
    assert STEP == 0.1


def test_latents_that_do_not_interact_cost_nothing():
    apart, together = quadratic([[1.0, 0.0], [0.0, 2.0]]), quadratic([[1.0], [1.0]])
    assert penalty(apart, [0.5, 0.8]) < 1e-6
    together.noise.enabled = True
    assert penalty(together, [0.5, 0.5]) > 0.1


def test_tripod_adds_its_terms_for_each_pixel():
    model, x = small("tripod", values=5, information_weight=0.3, hessian_weight=0.2), images(9)
    model.noise.enabled = False
    codes = model._encode_raw(ops.convert_to_tensor(x))[0]
    assert set(np.unique(ops.convert_to_numpy(codes))) <= {-1.0, -0.5, 0.0, 0.5, 1.0}
    terms = objective(model, ops.convert_to_tensor(x))
    added = 0.3 * terms["multiinformation"] + 0.2 * terms["hessian"]
    expected = terms["reconstruction"] + np.prod(SHAPE) * added
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    shown = ops.convert_to_numpy(model(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(model.reconstruct(x), shown, atol=1e-6)


def test_rounding_passes_gradients_straight_through():
    """With no penalty, the head's bias moves as if codes were hyperbolic tangents."""
    model, x = small("tripod", information_weight=0.0, hessian_weight=0.0), images(16)
    features = ops.convert_to_numpy(model.encoder(x / np.float32(255)))
    kernel, bias = arrays(model.code_head.weights)
    raw = (features @ kernel + bias).astype("float64")
    steps = np.round((np.tanh(raw) + 1) / 2 * 11) * 2 / 11 - 1

    def misfits(codes):
        shown = model.likelihood(model.decoder(ops.convert_to_tensor(codes.astype("float32"))))
        shown, truth = ops.convert_to_numpy(shown).astype("float64"), x / 255
        values = truth * np.log(shown) + (1 - truth) * np.log(1 - shown)
        return -values.sum(axis=(1, 2, 3))

    slopes = np.zeros(LATENTS)
    for latent in range(LATENTS):
        step = 1e-2 * np.eye(LATENTS)[latent]
        each = (misfits(steps + step) - misfits(steps - step)) / 2e-2
        slopes[latent] = np.mean(each * (1 - np.tanh(raw[:, latent]) ** 2))
    model.compile(keras.optimizers.SGD(1e-3))
    model.fit(x, batch_size=16, verbose=0)
    moved = (arrays(model.code_head.weights)[1] - bias) / -1e-3
    np.testing.assert_allclose(moved, slopes, rtol=0.02, atol=0.02)
