"""InfoGAN: its objective in NumPy, what its codes are, and what it refuses."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import SHAPE, arrays, compiled, images

from keras_disent import InfoGAN, networks, schedules
from keras_disent.datasets import Sprites
from keras_disent.engine import backend
from keras_disent.experiments import Config
from keras_disent.models import gan_networks

IMAGES = images(6)
NOISE, CLASSES = 3, (3, 2)
KWARGS = {"latent_dim": 4, "categorical": CLASSES, "noise_dim": NOISE, "seed": 0}


def make(**kwargs):
    """Return an InfoGAN of one hidden layer on either side, and no gradient that is nought."""
    inputs = kwargs.get("noise_dim", NOISE) + (
        2 + sum(CLASSES) if "categorical" not in kwargs else 4
    )
    initial = networks.initializers(3)
    trunk = [layers.Flatten(), layers.Dense(7, "tanh", kernel_initializer=next(initial))]
    to_images = [layers.Dense(64, kernel_initializer=next(initial)), layers.Reshape(SHAPE)]
    given = {
        "discriminator": keras.Sequential([layers.Input(SHAPE), *trunk]),
        "generator": keras.Sequential([layers.Input((inputs,)), *to_images]),
    }
    return InfoGAN(SHAPE, **{**KWARGS, **given, **kwargs})


# -- the objective --------------------------------------------------------------------------------


class Oracle:
    """The objective of a model of `make`, in NumPy and float64."""

    def __init__(self, model):
        self.model = model
        parts = (model.generator, model.discriminator, model.logit_head, model.code_head)
        generator, trunk, verdict, code = (
            [a.astype("float64") for a in arrays(part.trainable_variables)] for part in parts
        )
        self.generator, self.code = generator, code
        self.trunk, self.verdict = trunk, verdict
        draws = 2 * np.random.default_rng(1).uniform(size=(6, NOISE + 2 + len(CLASSES))) - 1
        model.noise.uniform = lambda rows, columns: ops.convert_to_tensor(draws.astype("float32"))
        one_hot = [
            np.eye(k)[np.minimum(((draws[:, NOISE + 2 + i] + 1) / 2 * k).astype(int), k - 1)]
            for i, k in enumerate(CLASSES)
        ]
        self.continuous, self.one_hot = draws[:, NOISE : NOISE + 2], one_hot
        self.inputs = np.concatenate([draws[:, : NOISE + 2], *one_hot], axis=1)

    def made(self):
        kernel, bias = self.generator
        return 1 / (1 + np.exp(-(self.inputs @ kernel + bias)))

    def features(self, x):
        return np.tanh(x @ self.trunk[0] + self.trunk[1])

    def logits(self, x):
        return (self.features(x) @ self.verdict[0] + self.verdict[1])[:, 0]

    def information(self):
        hidden = self.features(self.made()) @ self.code[0] + self.code[1]
        q_parameters = np.where(hidden > 0, hidden, 0.2 * hidden) @ self.code[2] + self.code[3]
        means, rest = q_parameters[:, :2], q_parameters[:, 2:]
        stddev = self.model.code_stddev
        z = (self.continuous - means) / stddev
        log_q = (-0.5 * z**2 - np.log(stddev * np.sqrt(2 * np.pi))).sum(axis=1)
        start = 0
        for k, chosen in zip(CLASSES, self.one_hot, strict=True):
            powers = np.exp(rest[:, start : start + k])
            log_q = log_q + np.log((powers * chosen).sum(axis=1) / powers.sum(axis=1))
            start += k
        return 2 * np.log(2) + np.log(3) + np.log(2) + log_q.mean()

    def penalty(self, x):
        slopes = 1 - self.features(x) ** 2  # of tanh
        gradients = (slopes * self.verdict[0][:, 0]) @ self.trunk[0].T
        return (gradients**2).sum(axis=1).mean()

    def terms(self, weight, gamma):
        def log_sigmoid(x):
            return -np.log1p(np.exp(-x))

        real = IMAGES.reshape(6, -1) / 255
        information, fake = self.information(), self.logits(self.made())
        verdict = -(log_sigmoid(self.logits(real)).mean() + log_sigmoid(-fake).mean())
        right = np.concatenate([self.logits(real) > 0, fake < 0]).mean()
        terms = {
            "discriminator_loss": verdict - weight * information,
            "generator_loss": -log_sigmoid(fake).mean() - weight * information,
            "mutual_information": information,
            "discriminator_accuracy": right,
        }
        if gamma:
            terms["gradient_penalty"] = self.penalty(real)
            terms["discriminator_loss"] += gamma / 2 * self.penalty(real)
        return terms


@pytest.mark.parametrize(("stddev", "gamma"), [(1.0, 0.0), (0.3, 3.0)])
def test_the_objective_is_that_of_numpy(stddev, gamma):
    weight = schedules.Linear(0.0, 2.0, steps=4)
    model = make(
        mutual_information_weight=weight, code_stddev=stddev, gradient_penalty_weight=gamma
    )
    model.steps.assign(1)
    expected = Oracle(model).terms(0.5, gamma)
    model.compile(run_eagerly=True)
    found = model.evaluate(IMAGES, verbose=0, return_dict=True)
    assert set(found) == {*expected, "mutual_information_weight", "gradient_penalty_weight"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


def test_a_code_that_is_read_back_exactly_has_all_the_information_there_is():
    model = make(code_stddev=0.1)
    codes = np.concatenate([np.zeros((6, 2)), np.eye(3)[[0, 1, 2] * 2], np.eye(2)[[0, 1] * 3]], 1)
    logits = codes[:, 2:] * 100
    q_parameters = np.concatenate([np.zeros((6, 2)), logits], axis=1)
    tensors = (ops.convert_to_tensor(a.astype("float32")) for a in (q_parameters, codes))
    found = float(model.mutual_information(*tensors))
    density = -math.log(0.1 * math.sqrt(2 * math.pi))
    assert found == pytest.approx(2 * (math.log(2) + density) + math.log(6), rel=1e-5)


def test_the_bound_moves_the_trunk_and_not_the_verdict():
    moved = {}
    for weight in (0.0, 1.0):
        model = make(mutual_information_weight=weight, gradient_penalty_weight=0.0)
        Oracle(model)
        model.compile({p: keras.optimizers.SGD(0.1) for p in model.players}, run_eagerly=True)
        owned = model.player_variables("discriminator_loss")

        def objective(model=model):
            batch = ops.convert_to_tensor(IMAGES)
            terms = model.objective("discriminator_loss", batch, training=True)
            return terms["discriminator_loss"], terms

        _, gradients = backend.gradients(model, objective, owned)
        moved[weight] = arrays(gradients)
    same = [np.allclose(a, b, atol=1e-7) for a, b in zip(moved[0.0], moved[1.0], strict=True)]
    of_verdict = {id(v) for v in model.logit_head.variables}
    assert same == [id(v) in of_verdict for v in owned]
    assert len(same) == 4


def test_published_optimizers_are_the_default():
    model = make()
    model.compile()
    rates = {p: float(model._optimizer_of(p).learning_rate) for p in model.players}
    assert rates == pytest.approx({"discriminator_loss": 2e-4, "generator_loss": 1e-3})
    assert all(model._optimizer_of(p).beta_1 == 0.5 for p in model.players)
    sgd = {
        "generator_loss": keras.optimizers.SGD(0.1),
        "discriminator_loss": keras.optimizers.SGD(0.2),
    }
    model.compile(sgd)
    rates = {p: float(model._optimizer_of(p).learning_rate) for p in model.players}
    assert rates == pytest.approx({"discriminator_loss": 0.2, "generator_loss": 0.1})


# -- codes and images -----------------------------------------------------------------------------


def test_codes_have_the_units_of_a_standard_normal():
    known = make().codes
    draws = np.random.default_rng(0).uniform(-1, 1, (20_000, 4)).astype("float32")
    columns = known.from_uniform(ops.convert_to_tensor(draws))
    codes = ops.convert_to_numpy(known.most_probable(columns))  # a one-hot row as logits
    again = known.columns(ops.convert_to_tensor(codes))
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (again, columns)), atol=1e-6)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.02)
    assert np.abs(codes[:, :2]).max() == pytest.approx(math.sqrt(3), abs=1e-3)
    np.testing.assert_allclose(
        np.unique(codes[:, 2]), [-math.sqrt(1.5), 0, math.sqrt(1.5)], rtol=1e-6
    )
    np.testing.assert_allclose(np.unique(codes[:, 3]), [-1, 1])


def test_encode_gives_means_and_most_probable_classes():
    model = make()
    codes = model.encode(IMAGES)
    assert codes.shape == (6, model.latent_dim) == (6, 4)
    _, q_parameters = model._discriminate(
        model.preprocess(ops.convert_to_tensor(IMAGES)), training=False
    )
    q_parameters = ops.convert_to_numpy(q_parameters)
    np.testing.assert_allclose(codes[:, :2], q_parameters[:, :2] * math.sqrt(3), atol=1e-5)
    number = q_parameters[:, 2:5].argmax(axis=1)
    np.testing.assert_allclose(codes[:, 2], (number - 1) * math.sqrt(1.5), atol=1e-6)
    np.testing.assert_allclose(codes[:, 3], 2 * q_parameters[:, 5:].argmax(axis=1) - 1, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(IMAGES, verbose=0), model.reconstruct(IMAGES), atol=1e-6
    )


def test_decode_takes_the_nearest_code_and_one_noise():
    model = make()
    codes = np.array([[0.5, -0.5, 0.0, 1.0]], "float32")
    picture = model.decode(codes)
    np.testing.assert_array_equal(model.decode(codes), picture)
    for column, outside, edge in [(0, 9, math.sqrt(3)), (1, -2, -math.sqrt(3)), (2, 5, 1.3)]:
        beyond, at = codes.copy(), codes.copy()
        beyond[0, column], at[0, column] = outside, edge
        np.testing.assert_allclose(model.decode(beyond), model.decode(at), atol=1e-6)
        assert np.abs(model.decode(at) - picture).max() > 1e-3
    kernel, bias = arrays(model.generator.trainable_variables)
    inputs = [0, 0, 0, 0.5 / math.sqrt(3), -0.5 / math.sqrt(3), 0, 1, 0, 0, 1]
    expected = 1 / (1 + np.exp(-(np.array([inputs]) @ kernel + bias)))
    np.testing.assert_allclose(picture.reshape(1, -1), expected, atol=1e-5)


def test_samples_differ_in_noise_and_codes():
    model = make(noise_dim=0, categorical=())
    assert np.unique(model.sample(50, seed=0), axis=0).shape[0] == 50
    deep = make()
    deep.generator.layers[0].kernel.assign(  # images of the noise alone
        np.concatenate([np.ones((3, 64)), np.zeros((7, 64))]).astype("float32")
    )
    assert np.unique(deep.sample(50, seed=0)[:, 0, 0, 0]).size == 50
    assert np.ptp(deep.decode(np.eye(4)), axis=0).max() < 1e-6


def test_a_single_code_is_enough():
    to_images = networks.mlp_decoder(SHAPE, 2 + 4, width=0.01)
    trunk = networks.mlp_encoder(SHAPE, width=0.01)
    model = compiled(InfoGAN(SHAPE, 1, to_images, trunk, (4,), noise_dim=2))
    model.fit(images(8), batch_size=8, verbose=0)
    assert model.reconstruct(IMAGES).shape == IMAGES.shape
    assert model.latent_importance(IMAGES).shape == (1,)


def test_the_convolutional_networks_are_as_told():
    trunk, generator = gan_networks.trunk((32, 64, 3)), gan_networks.generator((32, 64, 3), 9)
    filters = [layer.filters for layer in trunk.layers if hasattr(layer, "filters")]
    assert filters == [32, 64, 128]
    slopes = [layer.negative_slope for layer in trunk.layers if hasattr(layer, "negative_slope")]
    assert slopes == pytest.approx([0.2] * 4)
    assert trunk.output_shape == (None, 256)
    shapes = [layer.output.shape[1:] for layer in generator.layers if hasattr(layer, "filters")]
    assert shapes == [(8, 16, 64), (16, 32, 32), (32, 64, 3)]
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds.count("BatchNormalization") == 4
    assert generator.layers[-1].activation.__name__ == "linear"
    with pytest.raises(ValueError, match=r"divisible by 8.*Got image_shape \(12, 8, 1\)"):
        InfoGAN((12, 8, 1))


def test_profiles_are_products_of_what_rows_and_columns_say():
    generator = gan_networks.profiles((6, 4, 2), inputs=3, seed=0)
    codes = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype("float32")
    weights = [a.astype("float64") for a in arrays(generator.trainable_variables)]
    numbers = []
    for which, side in enumerate((6, 4)):  # the layers of rows and columns take turns
        places = np.broadcast_to(np.linspace(-1, 1, side)[None, :, None], (5, side, 1))
        x = np.concatenate([np.broadcast_to(codes[:, None], (5, side, 3)), places], axis=2)
        for depth in range(4):
            kernel, bias = weights[4 * depth + 2 * which :][:2]
            x = x @ kernel + bias
            x = np.where((x > 0) | (depth == 3), x, 0.2 * x)
        numbers.append(x.reshape(5, side, 2, 8))
    expected = np.einsum("nycr,nxcr->nyxc", *numbers) - 2
    found = ops.convert_to_numpy(generator(ops.convert_to_tensor(codes)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


# -- in runs and pictures -------------------------------------------------------------------------

DATA = Sprites(32).subgrid({"shape": ["square"], "orientation": [0]})
RUN = {"model": "info_gan", "image_size": 32, "latent_dim": 3, "network": "mlp", "width": 0.01}


def test_runs_make_it_of_named_networks():
    model = Config(**RUN, options={"categorical": [4], "noise_dim": 5}).build(DATA)
    assert (model.codes.continuous, model.categorical, model.latent_dim) == (2, (4,), 3)
    assert model.generator.input_shape == (None, 5 + 2 + 4)
    assert model.discriminator.output_shape == (None, 12)
    rates = {p: float(model._optimizer_of(p).learning_rate) for p in model.players}
    assert rates == pytest.approx({"discriminator_loss": 2e-4, "generator_loss": 1e-3})
    assert model._optimizer_of("generator_loss").beta_1 == 0.5
    given = Config(**RUN, learning_rate=3e-3).build(DATA)
    assert float(given._optimizer_of("generator_loss").learning_rate) == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likelihood": "gaussian"}, "InfoGAN has no `likelihood`. Got 'gaussian'"),
        (
            {"options": {"categorical": [2] * 4}},
            "at least 4, the number of `categorical` ones. Got 3",
        ),
        ({"options": {"gamma": 2}}, "Unknown option of InfoGAN 'gamma'.*categorical"),
    ],
)
def test_options_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{**RUN, **change}).build(DATA)


# -- what is refused ------------------------------------------------------------------------------

BAD = {
    "no codes": ({"latent_dim": 0, "categorical": ()}, "`latent_dim` .* of at least 1. Got 0"),
    "half a code": ({"latent_dim": 4.5}, r"`latent_dim` must be an integer.*Got 4\.5"),
    "one class": ({"categorical": (1,)}, "`categorical` must be an integer of at least 2. Got 1"),
    "negative class": ({"categorical": (3, -2)}, "`categorical` must be an integer.*Got -2"),
    "no tuple": ({"categorical": 10}, r"`categorical` holds the number of classes.*Got 10"),
    "negative noise": ({"noise_dim": -3}, "`noise_dim` must be an integer of at least 0. Got -3"),
    "negative lambda": (
        {"mutual_information_weight": -0.1},
        "`mutual_information_weight` is a number of at least 0, or a schedule. Got -0.1",
    ),
    "no deviation": ({"code_stddev": 0}, "`code_stddev` is a number above 0. Got 0"),
    "negative gamma": (
        {"gradient_penalty_weight": -1},
        "`gradient_penalty_weight` is a number of at least 0",
    ),
    "codes that do not add up": (
        {"generator": networks.mlp_decoder(SHAPE, 9, width=0.01)},
        r"`generator` must take inputs of shape \(n, 10\)",
    ),
    "other images": (
        {"generator": networks.mlp_decoder((8, 8, 3), 10, width=0.01)},
        r"`generator` must give outputs of shape \(n, 8, 8, 1\).*Got \(n, 8, 8, 3\)",
    ),
    "no features": (
        {"discriminator": keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3)])},
        r"`discriminator` must give features.*Got \(n, 6, 6, 2\)",
    ),
    "unknown network": (
        {"generator": "cnn"},
        "Unknown generator 'cnn'. Choose from: burgess, conv, higgins, mlp, profiles",
    ),
    "negative seed": ({"seed": -1}, "`seed` must be an integer of at least 0. Got -1"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_models_are_refused(bad):
    kwargs, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_bad_data_are_refused():
    model = compiled(make(), run_eagerly=True)
    with pytest.raises(ValueError, match=r"A batch of `x` must hold at least 2.*InfoGAN.*Got 1"):
        model.fit(IMAGES[:1])
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 8, 8, 1\)"):
        model.fit(IMAGES[..., 0])
    for method in (model.encode, model.reconstruct, model.traverse, model.latent_importance):
        with pytest.raises(ValueError, match="`images` must be uint8"):
            method(IMAGES.astype("int64"))
    with pytest.raises(ValueError, match=r"`codes` must be \(n, 4\).*Got shape \(2, 3\)"):
        model.decode(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"Unknown latent 4\. Choose from: z0, z1, z2, z3, or"):
        model.traverse(IMAGES[:1], [4])
