"""The published networks: sizes counted by hand, and the same numbers as Keras's own layers."""

import io
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import BACKEND, arrays, assert_same, quick_on_torch

from keras_disent import networks
from keras_disent.layers import convolutions
from keras_disent.layers.acceleration import accelerate
from keras_disent.models import MODELS, VAE, gan_networks

SIDES = (16, 16, 1)
WAYS = ["keras", "matmul", *(["native"] if BACKEND != "jax" else [])]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Compute strided convolutions in every way, whichever the backend is quick with."""

    def chosen(to_few=False):
        return (
            "keras"
            if (BACKEND, request.param) == ("tensorflow", "native") and not to_few
            else request.param
        )

    monkeypatch.setattr(convolutions.backend, "strided_convolutions", chosen)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _decoder(build, shape, **kwargs):
    return build(shape, 5, **kwargs)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


STRIDED = (layers.Conv2D, layers.Conv2DTranspose)


def twin(model):
    """Return the model as Keras computes it, with the same weights."""
    other = keras.models.clone_model(model)
    assert all(accelerated(layer) for layer in model.layers if type(layer) in STRIDED)
    assert not any(accelerated(layer) for layer in other.layers)
    other.set_weights(model.get_weights())
    return other


def accelerated(layer):
    return "call" in vars(layer)


# -- strided convolutions -------------------------------------------------------------------------


def chain(shape, kernel, stride, ours=True):
    """Return a model whose gradients go through the inputs and the weights of both layers."""
    same = {"strides": stride, "padding": "same", "bias_initializer": "glorot_uniform"}
    steps = [
        layers.Conv2D(2, 1, name="before"),
        layers.Conv2D(4, kernel, activation="relu", name="down", **same),
        layers.Conv2DTranspose(3, kernel, activation="tanh", name="up", **same),
    ]
    model = keras.Sequential([keras.Input(shape), *steps])
    return accelerate(model) if ours else model


GEOMETRIES = [
    ((16, 16, 1), 4, 2),
    ((16, 16, 3), 2, 2),
    ((6, 10, 3), 4, 2),  # to odd numbers of rows and columns
    ((10, 6, 1), 6, 2),  # kernels of three strides
    ((9, 15, 1), 3, 3),
    ((4, 2, 1), 4, 2),  # to a single column
]
geometries = pytest.mark.parametrize(("shape", "kernel", "stride"), GEOMETRIES)


@geometries
def test_strided_layers_give_what_those_of_keras_give(shape, kernel, stride, way):
    model = chain(shape, kernel, stride)
    x = noise(2, *shape)
    ours, theirs = model.predict_on_batch(x), twin(model).predict_on_batch(x)
    assert ours.shape == theirs.shape == (2, *shape[:2], 3)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert model.get_layer("down").output.shape[1:3] == (shape[0] // stride, shape[1] // stride)


@pytest.mark.parametrize(("shape", "kernel", "stride"), GEOMETRIES[1:4])
def test_strided_layers_learn_what_those_of_keras_learn(shape, kernel, stride, way):
    ours, theirs = chain(shape, kernel, stride), chain(shape, kernel, stride, ours=False)
    start = ours.get_weights()
    theirs.set_weights(start)
    x, y = noise(3, *shape), noise(3, *shape[:2], 3, seed=1)
    for model in (ours, theirs):
        model.compile(keras.optimizers.SGD(1.0), loss="mse")
        model.train_on_batch(x, y)
    for a, b, old in zip(ours.get_weights(), theirs.get_weights(), start, strict=True):
        np.testing.assert_allclose(a - old, b - old, atol=1e-5)
        assert (b != old).any()


@pytest.mark.parametrize("shape", [(16, 16, 1), (32, 48, 3), (64, 64, 1)])
def test_whole_networks_give_what_layers_of_keras_give(shape, way):
    x, codes = noise(2, *shape), noise(2, 5)
    encoder = accelerate(networks.conv_encoder(shape, width=0.1, seed=1))
    features = encoder.predict_on_batch(x)
    assert features.shape == (2, 26)
    np.testing.assert_allclose(features, twin(encoder).predict_on_batch(x), atol=1e-5)
    decoder = accelerate(networks.conv_decoder(shape, 5, width=0.1, seed=2))
    outputs = decoder.predict_on_batch(codes)
    assert outputs.shape == (2, *shape)
    np.testing.assert_allclose(outputs, twin(decoder).predict_on_batch(codes), atol=1e-5)


# Of sides 8; the faster ways know the first of each kind and must leave the others to Keras.
BASE = {"kernel_size": 4, "strides": 2, "padding": "same"}
ARGUMENTS = [
    {"padding": "valid"},
    {"use_bias": False},
    {"kernel_size": 3},
    {"kernel_size": (4, 2)},
    {"strides": (2, 1)},
    {"strides": 1, "dilation_rate": 2},
    {"kernel_size": 3, "strides": 1},
    {"kernel_size": 2, "strides": 4},
    {"padding": "valid", "use_bias": False, "activation": "relu"},
    {"data_format": "channels_first"},
]
ONLY_DOWN = [{"groups": 2}, {"groups": 2, "use_bias": False}, {"lora_rank": 1}]
ONLY_UP = [{"output_padding": 1}, {"padding": "valid", "output_padding": 0}]


@pytest.mark.parametrize("kind", STRIDED)
def test_strided_layers_take_every_argument_of_those_of_keras(kind, way):
    own = ONLY_DOWN if kind is layers.Conv2D else ONLY_UP
    x = noise(2, 8, 8, 8)
    for arguments in [{}, *ARGUMENTS, *own]:
        if BACKEND == "tensorflow" and "data_format" in arguments:
            continue  # TensorFlow has no such convolution on a CPU
        if BACKEND == "tensorflow" and own is ONLY_UP and "dilation_rate" in arguments:
            continue  # nor this one, where the CPU is not one that it uses oneDNN on
        both = [
            kind(4, **{**BASE, **arguments, "bias_initializer": "glorot_uniform"}) for _ in range(2)
        ]
        accelerate(both[0])
        for layer in both:
            layer.build(x.shape)
        for mine, theirs in zip(*(layer.variables for layer in both), strict=True):
            theirs.assign(mine.value)
        outputs = [numpy(layer(x)) for layer in both]
        assert outputs[0].shape == tuple(both[1].compute_output_shape(x.shape))
        np.testing.assert_allclose(*outputs, atol=1e-5, err_msg=str(arguments))


@pytest.mark.parametrize("kind", STRIDED)
def test_strided_layers_take_inputs_of_free_sides(kind, way):
    layer, theirs = accelerate(kind(3, **BASE)), kind(3, **BASE)
    for each in (layer, theirs):
        each.build((None, None, None, 2))
    theirs.set_weights(layer.get_weights())
    free = [keras.Input((None, 6, 2)) for _ in range(2)]
    models = [keras.Model(x, each(x)) for x, each in zip(free, (layer, theirs), strict=True)]
    x = noise(2, 5, 6, 2)
    np.testing.assert_allclose(*(m.predict_on_batch(x) for m in models), atol=1e-5)


@pytest.mark.parametrize(
    "build", [lambda: networks.discriminator(3, units=4), lambda: networks.conv_decoder(SIDES, 2)]
)
def test_networks_without_a_seed_follow_that_of_keras(build):
    first = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        first.append(build().get_weights()[0])
    assert_same([first[0]], [first[1]])
    assert (first[0] != first[2]).any()


@pytest.mark.skipif(BACKEND != "torch", reason="transforms of PyTorch")
@pytest.mark.filterwarnings("ignore")  # of tracing
def test_pictures_are_differentiated_as_those_of_keras():
    import torch

    decoder = accelerate(networks.conv_decoder((16, 16, 1), 3, width=0.1, seed=1))
    theirs, codes = twin(decoder), torch.tensor(noise(2, 3))
    taken = {
        "backward": torch.func.jacrev,
        "forward": torch.func.jacfwd,
        "each": lambda f: torch.func.vmap(torch.func.jacrev(lambda code: f(code[None]))),
        "twice": lambda f: torch.func.hessian(lambda codes: (f(codes) ** 2).sum()),
    }
    for name, derivative in taken.items():
        ours, expected = (numpy(derivative(network)(codes)) for network in (decoder, theirs))
        assert np.abs(expected).max() > 1e-4, name
        np.testing.assert_allclose(ours, expected, atol=1e-5, err_msg=name)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(codes, codes)
        ours, expected = (
            numpy(torch.autograd.forward_ad.unpack_dual(network(dual)).tangent)
            for network in (decoder, theirs)
        )
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    traced = torch.jit.trace(decoder.forward, (codes,), check_trace=False, strict=False)
    torch.jit.save(traced, io.BytesIO())
    np.testing.assert_allclose(numpy(traced(codes)), numpy(theirs(codes)), atol=1e-5)


def test_weights_have_the_layout_of_keras():
    model = chain((8, 8, 2), 4, 2)
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    assert shapes == [tuple(v.shape) for v in twin(model).trainable_variables]
    assert shapes[2:] == [(4, 4, 2, 4), (4,), (4, 4, 3, 4), (3,)]


# -- sizes ----------------------------------------------------------------------------------------


def conv(kernel, before, after):
    return kernel * kernel * before * after + after


def dense(before, after):
    return before * after + after


ENCODER = conv(4, 1, 32) + conv(4, 32, 32) + conv(2, 32, 64) + conv(2, 64, 64) + dense(1024, 256)
HIGGINS = conv(4, 1, 32) + conv(4, 32, 32) + conv(4, 32, 64) + conv(4, 64, 64) + dense(1024, 256)
BURGESS = conv(4, 1, 32) + 3 * conv(4, 32, 32) + dense(512, 256) + dense(256, 256)
UPWARDS = conv(4, 64, 64) + conv(4, 64, 32) + conv(4, 32, 32) + conv(4, 32, 1)
DECODER = dense(10, 256) + dense(256, 1024) + UPWARDS
BURGESS_DECODER = dense(10, 256) + dense(256, 256) + dense(256, 512)
BURGESS_DECODER += 3 * conv(4, 32, 32) + conv(4, 32, 1)
MLP_ENCODER = dense(4096, 1200) + dense(1200, 1200)
MLP_DECODER = dense(10, 1200) + 2 * dense(1200, 1200) + dense(1200, 4096)


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [
        ("conv", 304_064, 381_313),
        ("higgins", 377_792, 381_313),
        ("burgess", 246_912, 249_953),
        ("mlp", 6_357_600, 7_814_896),
    ],
)
def test_published_sizes(name, encoder, decoder):
    by_hand = {
        "conv": (ENCODER, DECODER),
        "higgins": (HIGGINS, DECODER),
        "burgess": (BURGESS, BURGESS_DECODER),
        "mlp": (MLP_ENCODER, MLP_DECODER),
    }
    assert by_hand[name] == (encoder, decoder)
    assert networks.ENCODERS[name]((64, 64, 1)).count_params() == encoder
    assert networks.DECODERS[name]((64, 64, 1), 10).count_params() == decoder


def test_published_sizes_of_models():
    vae = ENCODER + 2 * dense(256, 10) + DECODER
    judge = dense(10, 1000) + 5 * dense(1000, 1000) + dense(1000, 2)

    def weights(model):
        return sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    assert weights(VAE()) == vae == 690_517
    assert networks.discriminator(10).count_params() == judge == 5_018_002


def test_width_scales_every_network_of_a_model(tmp_path):
    full, quarter = (
        MODELS["factor_vae"].with_networks((16, 16, 1), 3, "mlp", width=width, seed=2)
        for width in (1.0, 0.25)
    )
    for part, units in (("encoder", 1200), ("decoder", 1200), ("discriminator", 1000)):
        for model, width in ((full, 1.0), (quarter, 0.25)):
            dense = [x for x in getattr(model, part).layers if isinstance(x, layers.Dense)]
            assert {layer.units for layer in dense[:-1]} == {int(units * width)}, part
    quarter.save(tmp_path / "quarter.keras")
    again = keras.saving.load_model(tmp_path / "quarter.keras")
    for a, b in zip(quarter.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    default = MODELS["factor_vae"]((16, 16, 1), 3, encoder="mlp", decoder="mlp", seed=2)
    assert_same(full.discriminator.get_weights(), default.discriminator.get_weights())


def test_published_layers():
    encoder = networks.conv_encoder((64, 64, 3))
    names = [type(layer).__name__ for layer in encoder.layers]
    assert names == ["InputLayer", *["Conv2D"] * 4, "Flatten", "Dense"]
    assert [tuple(layer.output.shape[1:]) for layer in encoder.layers[1:]] == [
        (32, 32, 32),
        (16, 16, 32),
        (8, 8, 64),
        (4, 4, 64),
        (1024,),
        (256,),
    ]
    assert {layer.activation.__name__ for layer in encoder.layers if hasattr(layer, "filters")} == {
        "relu"
    }
    decoder = networks.conv_decoder((64, 64, 3), 10)
    assert [tuple(layer.output.shape[1:]) for layer in decoder.layers[1:]] == [
        (256,),
        (1024,),
        (4, 4, 64),
        (8, 8, 64),
        (16, 16, 32),
        (32, 32, 32),
        (64, 64, 3),
    ]
    assert decoder.layers[-1].activation.__name__ == "linear"  # logits, for the likelihood
    judge = networks.discriminator(10)
    slopes = [layer.negative_slope for layer in judge.layers if hasattr(layer, "negative_slope")]
    assert slopes == pytest.approx([0.2] * 6)


@pytest.mark.parametrize("shape", [(16, 16, 1), (48, 48, 3), (32, 64, 1), (64, 16, 3)])
@pytest.mark.parametrize("name", ["conv", "higgins", "burgess", "mlp", "silu_mlp"])
def test_encoders_and_decoders_fit_each_other(name, shape):
    encoder = networks.ENCODERS[name](shape, width=0.05)
    decoder = networks.DECODERS[name](shape, 7, width=0.05)
    assert encoder.input_shape == decoder.output_shape == (None, *shape)
    assert decoder.input_shape == (None, 7)
    assert encoder.output_shape == (None, 60 if name == "mlp" else 13)


def test_silu_networks_read_centered_pixels():
    encoder = networks.ENCODERS["silu_mlp"]((4, 4, 3), width=0.1, seed=0)
    assert [type(layer).__name__ for layer in encoder.layers[1:3]] == ["Rescaling", "Flatten"]
    dense = encoder.layers[3]
    assert (dense.units, dense.activation.__name__) == (26, "silu")
    x = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
    before = (2 * x - 1).reshape(2, -1) @ ops.convert_to_numpy(dense.kernel)
    expected = before / (1 + np.exp(-before))
    first = keras.Model(encoder.input, dense.output)
    np.testing.assert_allclose(ops.convert_to_numpy(first(x)), expected, atol=1e-5)
    decoder = networks.DECODERS["silu_mlp"]((4, 4, 3), 2, width=0.1)
    assert [layer.units for layer in decoder.layers if hasattr(layer, "units")] == [26, 26, 26, 48]


def test_dense_networks_take_any_size():
    for shape in [(5, 7, 3), (1, 1, 1)]:
        assert networks.mlp_encoder(shape, width=0.01).output_shape == (None, 12)
        assert networks.mlp_decoder(shape, 2, width=0.01).output_shape == (None, *shape)


def test_width_multiplies_and_leaves_one_at_least():
    def filters(width):
        encoder = networks.conv_encoder((16, 16, 1), width=width)
        return [layer.filters for layer in encoder.layers if hasattr(layer, "filters")]

    assert filters(2.0) == [64, 64, 128, 128]
    assert filters(0.5) == [16, 16, 32, 32]
    assert filters(0.001) == [1, 1, 1, 1]


@pytest.mark.parametrize("build", [networks.conv_encoder, networks.conv_decoder])
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 40, 1), (8, 16, 3)])
def test_convolutions_need_sides_divisible_by_16(build, shape):
    rest = (4,) if build is networks.conv_decoder else ()
    with pytest.raises(ValueError, match=r"sides divisible by 16 .*'mlp'.* Got image_shape \("):
        build(shape, *rest)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 0), (32, 32, 1, 1), 32, (16.5, 16, 1)])
def test_wrong_image_shapes(shape):
    for build in (networks.conv_encoder, networks.mlp_encoder):
        with pytest.raises(ValueError, match=r"`image_shape` is \(height, width, channels\)"):
            build(shape)


# -- initial weights ------------------------------------------------------------------------------

BUILDERS = {
    "conv_encoder": lambda seed: networks.conv_encoder((16, 16, 1), 0.2, seed=seed),
    "conv_decoder": lambda seed: networks.conv_decoder((16, 16, 1), 3, 0.2, seed=seed),
    "mlp_encoder": lambda seed: networks.mlp_encoder((4, 4, 1), 0.01, seed=seed),
    "mlp_decoder": lambda seed: networks.mlp_decoder((4, 4, 1), 3, 0.01, seed=seed),
    "discriminator": lambda seed: networks.discriminator(3, units=12, depth=3, seed=seed),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_seed_fixes_all_weights_and_nothing_else(build):
    keras.utils.set_random_seed(1)
    first = build(4)
    keras.utils.set_random_seed(2)
    assert_same(arrays(build(4).variables), arrays(first.variables))
    kernels = [a for a in arrays(first.variables) if a.ndim > 1]
    for other in (build(5), build(None)):
        for a, b in zip(kernels, [b for b in arrays(other.variables) if b.ndim > 1], strict=True):
            assert (a != b).mean() > 0.99
    starts = [a.ravel()[:10].tobytes() for a in kernels]  # no two layers alike
    assert len(set(starts)) == len(starts) > 1
    assert all((a == 0).all() for a in arrays(first.variables) if a.ndim == 1)


def test_initial_weights_are_glorot_uniform():
    for layer in networks.mlp_encoder((8, 8, 1), width=0.1, seed=0).layers[2:]:
        kernel = numpy(layer.kernel)
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.99 * limit < abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)


SEEDS = (0, 1, 2**31, 2**32 - 1, 2**63 - 1)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_seeds_are_of_any_size(build):
    kernels = [next(a for a in arrays(build(seed).variables) if a.ndim > 1) for seed in SEEDS]
    assert len({kernel.tobytes() for kernel in kernels}) == len(SEEDS)


@pytest.mark.parametrize("name", ["vae", "info_gan"])
def test_no_two_parts_of_models_of_any_seeds_are_alike(name):
    kind, seen = MODELS[name], []
    for seed in range(4):
        parts = kind.with_networks((8, 8, 1), 8 * 8, "mlp", 0.01, seed=seed)
        for part in ("encoder", "decoder") if name == "vae" else ("generator", "discriminator"):
            kernels = [a for a in arrays(getattr(parts, part).variables) if a.ndim > 1]
            seen += [kernel.ravel()[:20].tobytes() for kernel in kernels]
            # Uniform draws of one stream would be multiples of each other.
            seen += [
                (kernel / abs(kernel).max()).ravel()[:20].round(4).tobytes() for kernel in kernels
            ]
    assert len(set(seen)) == len(seen)


def test_networks_of_any_width_begin_as_those_by_name():
    by_name = VAE((16, 16, 1), 3, seed=7)
    wide = VAE.with_networks((16, 16, 1), 3, "conv", seed=7)
    assert_same(arrays(by_name.variables), arrays(wide.variables))


# -- Keras's global settings ----------------------------------------------------------------------

SHAPE = (16, 16, 3)
EVERY = {
    **{f"{name}_encoder": build for name, build in networks.ENCODERS.items()},
    "trunk": gan_networks.trunk,
    **{
        f"{name}_decoder": partial(_decoder, build)
        for name, build in {**networks.DECODERS, **gan_networks.GENERATORS}.items()
    },
    "generator": partial(_decoder, gan_networks.generator),
}


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@quick_on_torch
@pytest.mark.parametrize("name", EVERY)
def test_no_network_depends_on_the_image_data_format(name, request):
    build = EVERY[name]
    shape = (32, 32, 3) if name.startswith(("qlae", "tripod")) else SHAPE
    expected = build(shape, width=0.1, seed=1)
    request.getfixturevalue("channels_first")
    got = build(shape, width=0.1, seed=1)
    x = noise(2, *expected.input_shape[1:])
    assert_same([got.predict_on_batch(x)], [expected.predict_on_batch(x)])
    settings = [layer.data_format for layer in got.layers if hasattr(layer, "data_format")]
    assert set(settings) <= {"channels_last"}


class Subclassed(keras.Model):
    def __init__(self, kind, **kwargs):
        super().__init__()
        self.first, self.flat = kind(**kwargs), layers.Flatten(data_format="channels_last")

    def call(self, images):
        return self.flat(self.first(images))


CHANNELLED = {
    "conv": lambda: layers.Conv2D(4, 1, name="mine"),
    "pool": lambda: layers.AveragePooling2D(2, name="mine"),
    "flatten": lambda: layers.Flatten(name="mine"),
    "global_pool": lambda: layers.GlobalAveragePooling2D(name="mine"),
}


@pytest.mark.parametrize("kind", ["flatten", "global_pool", "conv", "pool"])
def test_own_encoders_of_another_data_format_are_refused(kind, channels_first):
    if BACKEND == "tensorflow" and kind in ("conv", "pool"):
        pytest.skip("TensorFlow has none on a CPU")
    inside = keras.Sequential([CHANNELLED[kind](), layers.Flatten(data_format="channels_last")])
    rule = (
        "`encoder` must read the axes .* data_format='channels_last' to layer 'mine', "
        "or put .* before it"
    )
    for own in (
        keras.Sequential([keras.Input(SHAPE), CHANNELLED[kind](), layers.Flatten(name="last")]),
        keras.Sequential([keras.Input(SHAPE), inside]),
    ):
        with pytest.raises(ValueError, match=rule) as error:
            VAE(SHAPE, 3, encoder=own, decoder="mlp")
        assert "Got data_format='channels_first'." in str(error.value)
        assert "\n" not in str(error.value)


def test_own_subclassed_encoders_of_another_data_format_are_refused(channels_first):
    rule = "data_format='channels_last' to layer 'mine'"
    with pytest.raises(ValueError, match=rule):
        VAE(SHAPE, 3, encoder=Subclassed(layers.GlobalMaxPooling2D, name="mine"), decoder="mlp")


def test_own_networks_that_permute_the_axes_are_taken(channels_first):
    images = keras.Input(SHAPE)
    by_layer = layers.GlobalAveragePooling2D()(layers.Permute((3, 1, 2))(images))
    by_operation = layers.GlobalAveragePooling2D()(ops.transpose(images, (0, 3, 1, 2)))
    codes = keras.Input((3,))
    x = layers.Flatten()(codes)  # of one axis: nothing to reorder
    x = layers.Reshape((3, 8, 8))(layers.Dense(192)(x))
    decoder = keras.Model(codes, layers.Permute((2, 3, 1))(layers.UpSampling2D(2)(x)))
    for pooled in (by_layer, by_operation):
        VAE(SHAPE, 3, encoder=keras.Model(images, pooled), decoder=decoder)
    backwards = keras.Model(codes, layers.Reshape(SHAPE)(layers.UpSampling2D(2)(x)))
    with pytest.raises(ValueError, match=r"`decoder` must read the axes .* after it"):
        VAE(SHAPE, 3, encoder="mlp", decoder=backwards)


@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_a_dtype_that_cannot_learn_is_refused(dtype):
    rule = f"VAE cannot learn in {dtype}: use float32, .* or mixed_bfloat16. Got '{dtype}'"
    with pytest.raises(ValueError, match=rule):
        VAE(SHAPE, 3, "mlp", "mlp", dtype=dtype)


def test_pure_float16_is_refused():
    rule = "cannot learn in pure float16, .* use .*, mixed_float16 .*Got 'float16'"
    with pytest.raises(ValueError, match=f"VAE {rule}"):
        VAE(SHAPE, 3, "mlp", "mlp", dtype="float16")
    with pytest.raises(ValueError, match="InfoGAN cannot learn in pure float16"):
        MODELS["info_gan"](SHAPE, 3, "mlp", "mlp", dtype="float16")
    keras.config.set_dtype_policy("float16")
    encoder = networks.mlp_encoder(SHAPE, 0.01)
    with pytest.raises(ValueError, match=rule):
        VAE.with_networks(SHAPE, 3, "mlp", 0.01)
    with pytest.raises(ValueError, match="`encoder` cannot learn in pure float16"):
        VAE(SHAPE, 3, encoder, "mlp", dtype="float32")


def test_networks_of_any_width_have_the_precision_of_their_model():
    for name in ("vae", "info_gan"):
        model = MODELS[name].with_networks(SHAPE, 3, "mlp", 0.01, dtype="mixed_bfloat16")
        part = model.discriminator if name == "info_gan" else model.encoder
        assert {layer.compute_dtype for layer in part.layers[1:]} == {"bfloat16"}
    assert keras.config.dtype_policy().name == "float32"


# -- configuration and precision ------------------------------------------------------------------


def test_networks_go_into_a_configuration_and_back():
    for network in (BUILDERS["conv_encoder"](0), BUILDERS["conv_decoder"](0)):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(network))
        assert [type(layer) for layer in again.layers] == [type(layer) for layer in network.layers]
        again.set_weights(network.get_weights())
        x = noise(2, *network.input_shape[1:])
        assert_same([again.predict_on_batch(x)], [network.predict_on_batch(x)])


def test_outputs_are_float32_in_mixed_precision(way):
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert BUILDERS["conv_encoder"](0).output.dtype == "bfloat16"
    codes = noise(2, 3)
    half = {
        name: BUILDERS[name](0).predict_on_batch(codes)
        for name in ("conv_decoder", "mlp_decoder", "discriminator")
    }
    keras.config.set_dtype_policy("float32")
    for name, outputs in half.items():
        assert outputs.dtype == np.float32
        full = BUILDERS[name](0).predict_on_batch(codes)
        np.testing.assert_allclose(outputs, full, atol=0.03)
