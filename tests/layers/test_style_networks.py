"""The networks of QLAE and Tripod: against NumPy, their sizes, and the models that they make."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import erf
from support.checks import arrays, assert_same, images, quick_on_torch, reload

from keras_disent import QLAE, BetaVAE, Tripod, networks
from keras_disent.layers import style_networks

SHAPE, LATENTS = (32, 48, 1), 3
X = images(2, SHAPE) / np.float32(255)
CODES = np.random.default_rng(0).normal(size=(2, LATENTS)).astype("float32")


@pytest.fixture(scope="module")
def built():
    """The networks, small; one set for all tests."""
    return {
        name: (
            networks.ENCODERS[name](SHAPE, width=0.1, seed=1),
            networks.DECODERS[name](SHAPE, LATENTS, width=0.1, seed=2),
        )
        for name in ("qlae", "tripod")
    }


# -- written out in NumPy -------------------------------------------------------------------------


def weights(layer):
    return [ops.convert_to_numpy(v).astype("float64") for v in layer.weights]


def of_kind(model, kind):
    return [layer for layer in model.layers if type(layer) is kind]


def windows(x, side):
    """Return (n, rows, columns, channels, side, side)."""
    return np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))


def convolve(x, kernel, stride, bias=0.0):
    side = len(kernel)
    low = (side - stride) // 2
    x = np.pad(x, ((0, 0), (low, side - stride - low), (low, side - stride - low), (0, 0)))
    return np.einsum("nhwcij,ijco->nhwo", windows(x, side)[:, ::stride, ::stride], kernel) + bias


def spread(x, kernel, stride):
    """Add up the kernel, (side, side, out, in), times each pixel: a transposed convolution."""
    n, rows, columns, _ = x.shape
    side = len(kernel)
    full = np.zeros((n, stride * rows + side, stride * columns + side, kernel.shape[2]))
    for i in range(rows):
        for j in range(columns):
            part = np.einsum("nc,ijoc->nijo", x[:, i, j], kernel)
            full[:, stride * i : stride * i + side, stride * j : stride * j + side] += part
    low = (side - stride) // 2
    return full[:, low : low + stride * rows, low : low + stride * columns]


def normalize(x, epsilon, axes=(1, 2)):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def relu(x):
    return np.maximum(x, 0)


def dense(x, layer):
    kernel, bias = weights(layer)
    return x @ kernel + bias


def normalized_dense(x, layer, normalization):
    gamma, beta = weights(normalization)
    return gelu(normalize(dense(x, layer), 1e-5, axes=1) * gamma + beta)


def styled(decoder, style, name):
    return [
        dense(style, decoder.get_layer(f"{k}_{name}"))[:, None, None] for k in ("scale", "shift")
    ]


def qlae_features(encoder):
    x = X.astype("float64")
    convolutions, normalizations = (
        of_kind(encoder, kind) for kind in (layers.Conv2D, layers.GroupNormalization)
    )
    for place, (one, two) in enumerate(zip(convolutions, normalizations, strict=True)):
        (kernel,), (gamma, beta) = weights(one), weights(two)
        x = convolve(x, kernel, 2 if place % 3 == 2 else 1)
        x = leaky(normalize(x, 1e-6) * gamma + beta)
    x = x.reshape(len(x), -1)
    for layer in of_kind(encoder, layers.Dense):
        x = relu(dense(x, layer))
    return x


def qlae_outputs(decoder):
    style = CODES.astype("float64")
    for layer in of_kind(decoder, layers.Dense)[:2]:
        style = relu(dense(style, layer))
    (constant,) = of_kind(decoder, style_networks.LearnedConstant)
    x = np.repeat(weights(constant)[0][None], len(CODES), axis=0)
    for place, layer in enumerate(of_kind(decoder, layers.Conv2DTranspose)):
        x = leaky(spread(x, weights(layer)[0], 2 if place % 3 == 2 else 1))
        scale, shift = styled(decoder, style, f"{place // 3}_{place % 3}")
        x = normalize(x, 1e-6) * relu(scale) + relu(shift)
    return convolve(x, weights(decoder.get_layer("outputs"))[0], 1)


def tripod_features(encoder):
    x = X.astype("float64")
    convolutions = iter(sorted(of_kind(encoder, layers.Conv2D), key=created))
    normalizations = iter(of_kind(encoder, layers.GroupNormalization))
    for _ in range(4):
        for _ in range(2):
            before = x
            for _ in range(2):
                kernel, bias = weights(next(convolutions))
                gamma, beta = weights(next(normalizations))
                x = gelu(normalize(convolve(x, kernel, 1, bias), 1e-5) * gamma + beta)
            if before.shape != x.shape:
                kernel, bias = weights(next(convolutions))
                before = convolve(before, kernel, 1, bias)
            x = before + x
        kernel, bias = weights(next(convolutions))
        x = convolve(x, kernel, 2, bias)
    (last,), (normalization,) = (
        of_kind(encoder, kind) for kind in (layers.Dense, layers.LayerNormalization)
    )
    return normalized_dense(x.mean((1, 2)), last, normalization)


def created(layer):
    """Return the number at the end of a name that Keras made."""
    return int(layer.name.rpartition("_")[2]) if layer.name[-1].isdigit() else -1


def tripod_outputs(decoder):
    style, inner = CODES.astype("float64"), decoder.get_layer("style")
    pairs = zip(
        of_kind(inner, layers.Dense), of_kind(inner, layers.LayerNormalization), strict=True
    )
    for layer, normalization in pairs:
        style = normalized_dense(style, layer, normalization)
    (constant,) = of_kind(decoder, style_networks.LearnedConstant)
    x = np.repeat(weights(constant)[0][None], len(CODES), axis=0)
    for filters in (512, 256, 128, 64):
        stage = decoder.get_layer(f"stage_{filters}")
        *inside, last = of_kind(stage, layers.Conv2D)
        for block in range(2):
            before = x
            for place in range(2):
                kernel, bias = weights(inside[2 * block + place])
                scale, shift = styled(stage, style, f"{block}_{place}")
                x = gelu(normalize(convolve(x, kernel, 1, bias), 1e-5) * (1 + scale) + shift)
            x = before + x
        kernel, bias = weights(last)
        x = convolve(x.repeat(2, axis=1).repeat(2, axis=2), kernel, 1, bias)
    return x


BY_HAND = {"qlae": (qlae_features, qlae_outputs), "tripod": (tripod_features, tripod_outputs)}


@pytest.mark.parametrize("name", BY_HAND)
def test_networks_compute_what_is_written_out(name, built):
    for model, inputs, by_hand in zip(built[name], (X, CODES), BY_HAND[name], strict=True):
        expected = by_hand(model)
        outputs = model.predict_on_batch(inputs)
        assert outputs.shape == expected.shape
        assert np.ptp(expected, axis=0).max() > 1e-3  # of the two rows
        np.testing.assert_allclose(outputs, expected, atol=2e-4 * abs(expected).max())


# -- sizes and initial weights --------------------------------------------------------------------


@quick_on_torch
def test_published_sizes():
    def convolutions(sizes, side, bias):
        return sum(side**2 * a * b + bias * b for a, b in sizes)

    filters = (32, 64, 128, 256)
    pairs = list(zip((3, *filters), filters, strict=False))
    three = [(b, b) for _, b in pairs]
    qlae = convolutions([*pairs, *three], 3, 0) + convolutions(three, 4, 0)
    qlae += 3 * 2 * sum(filters) + (4096 + 1 + 256 + 1) * 256
    assert style_networks.qlae_encoder((64, 64, 3)).count_params() == qlae
    back = list(zip((256, 256, 128, 64), (256, 128, 64, 32), strict=True))
    qlae = 4096 + (12 + 1 + 256 + 1) * 256 + convolutions([(32, 3)], 3, 0)
    qlae += convolutions([*back, *three], 3, 0) + convolutions(three, 4, 0)
    qlae += 3 * sum(2 * 257 * f for f in filters)
    assert style_networks.qlae_decoder((64, 64, 3), 12).count_params() == qlae


@pytest.mark.parametrize("name", BY_HAND)
def test_a_seed_fixes_all_weights(name, built):
    encoder, decoder = built[name]
    with_seed = networks.DECODERS[name](SHAPE, LATENTS, width=0.1, seed=2)
    assert_same(arrays(with_seed.variables), arrays(decoder.variables))
    for model in (encoder, decoder):
        starts = [a.ravel()[:10].tobytes() for a in arrays(model.variables) if np.ptp(a)]
        assert len(set(starts)) == len(starts) > 4


def test_initial_weights_are_uniform_by_the_inputs_of_a_unit(built):
    kernel = weights(of_kind(built["qlae"][1], layers.Conv2DTranspose)[3])[0]
    limit = 1 / np.sqrt(9 * kernel.shape[3])
    assert 0.98 * limit < abs(kernel).max() <= limit
    kernel, bias = weights(of_kind(built["qlae"][0], layers.Dense)[0])
    limit = 1 / np.sqrt(len(kernel))
    assert 0.98 * limit < abs(kernel).max() <= limit
    assert 0.8 * limit < abs(bias).max() <= limit


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("shape", [(16, 16, 1), (40, 32, 1), (32, 16, 3)])
def test_sides_are_divisible_by_16_and_at_least_32(name, shape):
    for build in (networks.ENCODERS[name], lambda s: networks.DECODERS[name](s, 2)):
        with pytest.raises(ValueError, match=r"divisible by 16, of at least 32 .* Got image_shape"):
            build(shape)


# -- models ---------------------------------------------------------------------------------------


@quick_on_torch
@pytest.mark.parametrize(("kind", "name"), [(QLAE, "qlae"), (Tripod, "tripod")])
def test_models_learn_and_load(kind, name, built):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")  # images are channels-last all the same
    try:
        encoder, decoder = (
            networks.ENCODERS[name](SHAPE, width=0.1, seed=1),
            networks.DECODERS[name](SHAPE, LATENTS, width=0.1, seed=2),
        )
    finally:
        keras.config.set_image_data_format(before)
    model = kind(SHAPE, LATENTS, encoder=encoder, decoder=decoder)
    model.compile(model.default_optimizer(3e-3))
    x = images(16, SHAPE)
    history = model.fit(x, batch_size=8, epochs=8, shuffle=False, verbose=0).history
    assert history["reconstruction"][-1] < history["reconstruction"][0] - 5
    assert_same([reload(model).encode(x)], [model.encode(x)])


def test_hidden_layers_of_tripod_are_those_of_the_published_penalty(built):
    encoder, decoder = built["tripod"]
    model = Tripod(SHAPE, LATENTS, encoder=encoder, decoder=decoder)
    shapes = {tuple(output.shape[1:]) for output in model._hidden.outputs}
    assert shapes == {(26,), (2, 3, 51), (4, 6, 26), (8, 12, 13), (16, 24, 6)}  # and the constant


@pytest.mark.parametrize(("kind", "rate", "decay"), [(QLAE, 1e-3, 0.1), (Tripod, 2e-4, None)])
def test_published_optimizers(kind, rate, decay):
    model = kind((8, 8, 3), 2, encoder="mlp", decoder="mlp")
    optimizer = model.default_optimizer()
    assert float(optimizer.learning_rate) == pytest.approx(rate)
    assert optimizer.weight_decay == decay
    assert optimizer.epsilon == pytest.approx(1e-8 * 8 * 8 * 3)
    assert model.discrete_codes
    assert not BetaVAE.discrete_codes
