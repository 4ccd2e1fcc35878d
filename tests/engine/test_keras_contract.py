"""What users of Keras expect: arguments, settings and interruptions take effect or are refused."""

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import (
    BACKEND,
    LATENTS,
    SHAPE,
    arrays,
    assert_same,
    compiled,
    images,
    labels_of,
    quick_on_torch,
    reload,
    small,
    state,
    trained,
)

from keras_disent import latents, networks, schedules
from keras_disent.models import MODELS, VAE, BetaVAE, FactorVAE
from keras_disent.models.supervision import Supervision

SGD = keras.optimizers.SGD
DOCS = Path(__file__).parents[2] / "docs"


def quiet(model, x, *args, **kwargs):
    return model.fit(x, *args, **{"batch_size": 8, "verbose": 0, **kwargs}).history


# -- arguments ------------------------------------------------------------------------------------

METHODS = (
    *("compile", "fit", "evaluate", "predict"),
    *("train_on_batch", "test_on_batch", "predict_on_batch"),
)


@pytest.mark.parametrize("method", METHODS)
def test_every_argument_is_in_the_documentation(method):
    section = (DOCS / "keras.md").read_text().split(f"\n## {method}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    own = list(inspect.signature(getattr(keras.Model, method)).parameters)
    assert listed == [name for name in own if name not in ("self", "kwargs")]


@pytest.mark.parametrize("name", ["compute_loss", "compute_metrics"])
def test_overrides_that_would_be_dropped_are_refused(name):
    own = type("Own", (MODELS["vae"],), {name: lambda self, *args, **kwargs: {}})
    with pytest.raises(ValueError, match=f"Own overrides `{name}`, which its training"):
        own(SHAPE, LATENTS, encoder="mlp", decoder="mlp").compile("adam")


def test_terms_that_would_not_be_logged_are_refused():
    class Forgetful(MODELS["vae"]):
        def penalty(self, codes, mean, log_variance, kl):
            return kl, {"sparsity": ops.mean(mean)}

    with pytest.raises(ValueError, match="Forgetful returns sparsity, which its `terms` lack"):
        quiet(compiled(Forgetful(SHAPE, LATENTS, encoder="mlp", decoder="mlp", seed=0)), images(16))


def own_class(**methods):
    return type("Own", (MODELS["vae"],), methods)


def own_model(cls, **options):
    return cls(SHAPE, LATENTS, encoder="mlp", decoder="mlp", seed=0, **options)


def test_losses_that_the_model_adds_count_once():
    def penalty(self, codes, mean, log_variance, kl):
        self.add_loss(1000.0 * ops.mean(ops.square(mean)))
        return kl, {}

    classes = (VAE, own_class(penalty=penalty))
    plain, adding = (compiled(own_model(c), lambda: SGD(1e-4)) for c in classes)
    x = images(8)
    mean = adding.encode(x)
    more = adding.evaluate(x, return_dict=True, verbose=0)["loss"]
    less = plain.evaluate(x, return_dict=True, verbose=0)["loss"]
    assert more - less == pytest.approx(1000 * np.mean(mean**2), rel=1e-3)
    first, second = (quiet(adding, x)["loss"][0] for _ in range(2))
    assert first == pytest.approx(more, rel=0.05)
    assert second < first
    assert not adding.losses


class Watching(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = keras.metrics.Sum(name="seen")

    def call(self, inputs):
        self.seen.update_state(ops.shape(inputs)[0])
        return inputs


def test_metrics_of_a_subclass_and_of_layers_are_logged_and_reset():
    def init(self, *args, **kwargs):
        VAE.__init__(self, *args, **kwargs)
        self.size = keras.metrics.Sum(name="size")

    def penalty(self, codes, mean, log_variance, kl):
        self.size.update_state(ops.shape(mean)[0])
        return kl, {}

    cls = own_class(__init__=init, penalty=penalty)
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(4), Watching()])
    model = compiled(cls(SHAPE, LATENTS, encoder=encoder, decoder="mlp", seed=0))
    logs = quiet(model, images(16), epochs=2)
    assert logs["size"] == logs["seen"] == [16, 16]
    logs = model.evaluate(images(8), verbose=0, return_dict=True)
    assert logs["size"] == logs["seen"] == 8
    assert len(model.metrics_names) == len(set(model.metrics_names))


def test_weights_that_no_player_trains_are_refused():
    def init(self, *args, **kwargs):
        VAE.__init__(self, *args, **kwargs)
        self.scale = self.add_weight(name="scale")

    model = own_model(own_class(__init__=init))
    with pytest.raises(ValueError, match=r"No player of Own trains own/scale: name the attribute"):
        model.compile("adam")
    model.scale.trainable = False
    model.compile("adam")


class Breaking(keras.optimizers.Optimizer):
    """An optimizer whose second step makes weights NaN."""

    def update_step(self, gradient, variable, learning_rate):
        broken = ops.where(self.iterations > 0, float("nan"), 1.0)
        self.assign_sub(variable, learning_rate * gradient * ops.cast(broken, gradient.dtype))


@pytest.mark.parametrize(
    ("optimizer", "taken"),
    [
        (lambda: Breaking(1e-3), 1),
        (lambda: keras.optimizers.Adam(1e-3, epsilon=0.0), 0),
        (lambda: keras.optimizers.Adafactor(1e-3), 0),
        (lambda: SGD(1e38), 0),
    ],
)
def test_an_optimizer_that_breaks_weights_leaves_the_last_finite_ones(optimizer, taken):
    x = images(24)
    x[:, 0] = 0  # gradients of 0
    model = compiled(small("vae"), optimizer)
    if taken:
        quiet(model, x[:8], shuffle=False)
    before = arrays([*model.trainable_variables, *model.optimizer.variables])
    with pytest.raises(FloatingPointError, match="with the model as before that step: "):
        quiet(model, x[8:], shuffle=False)
    assert model.steps_taken() == taken
    assert_same(arrays([*model.trainable_variables, *model.optimizer.variables]), before)


def test_weights_without_the_seed_of_a_new_random_layer_load(tmp_path):
    def model(*more):
        encoder = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(4), *more]
        return VAE(SHAPE, LATENTS, encoder=keras.Sequential(encoder), decoder="mlp", seed=0)

    before, after = model(), model(layers.Dropout(0.5, seed=1))
    before.save_weights(tmp_path / "a.weights.h5")
    after.load_weights(tmp_path / "a.weights.h5")
    assert_same([trained(after)], [trained(before)])


@pytest.mark.parametrize("frozen", ["encoder", "layer"])
def test_freezing_in_the_middle_of_fit_is_refused(frozen):
    model = compiled(small("vae"))

    def freeze(batch, logs):
        part = model.encoder if frozen == "encoder" else model.decoder.layers[1]
        part.trainable = False

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=freeze)
    with pytest.raises(ValueError, match="`trainable` was set in the middle of `fit`"):
        quiet(model, images(24), callbacks=[callback])
    model.compile("adam")
    kept = model.encoder.layers[-1] if frozen == "encoder" else model.decoder.layers[1]
    before = arrays(kept.variables)
    quiet(model, images(24))
    assert_same(arrays(kept.variables), before)


def test_codes_follow_a_layer_that_is_changed_before_compile():
    model, x = compiled(small("vae")), images(4)
    before = model.encode(x)
    for layer in model.encoder.layers:
        if getattr(layer, "activation", None) is not None:
            layer.activation = keras.activations.tanh
    model.compile("adam")
    assert np.abs(model.encode(x) - before).max() > 1e-4


def test_a_quantized_model_comes_back_from_its_file(tmp_path):
    model, x = small("factor_vae"), images(8)
    before = model.encode(x)
    model.quantize("int8")
    model.save(tmp_path / "a.keras")
    assert np.abs(model.encode(x) - before).max() > 1e-6
    assert_same([keras.saving.load_model(tmp_path / "a.keras").encode(x)], [model.encode(x)])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_first_step_leaves_the_model_as_it_was(error):
    class Interrupted(MODELS["vae"]):
        error = None

        def penalty(self, codes, mean, log_variance, kl):
            if self.error:
                raise self.error
            return kl, {}

        def call(self, images, training=False):
            if self.error:
                raise self.error
            return super().call(images, training=training)

    x = images(16)
    model = compiled(Interrupted(SHAPE, LATENTS, encoder="mlp", decoder="mlp", seed=0))
    before = arrays(model.trainable_variables)
    model.error = error
    for use in (model.fit, model.evaluate, model.predict):
        with pytest.raises(error):
            use(x, batch_size=8, verbose=0)
        assert_same(arrays(model.trainable_variables), before)
    model.error = None
    quiet(model, x)
    assert model.steps_taken() == 2


@quick_on_torch
def test_arguments_may_be_positional():
    x = images(16)
    by_name, by_position = compiled(small("vae")), compiled(small("vae"))
    quiet(by_name, x, batch_size=4, epochs=2, shuffle=False)
    by_position.fit(x, x, 4, 2, 0, None, 0.0, None, False)
    assert_same(state(by_position), state(by_name))


REFUSED = {
    "loss": (lambda m, x: m.compile("adam", "mse"), "likelihood="),
    "loss_weights": (
        lambda m, x: m.compile("adam", loss_weights=[2.0]),
        "weights of its objective",
    ),
    "a metric with the name of a term": (
        lambda m, x: m.compile("adam", metrics=[keras.metrics.MeanSquaredError(name="kl")]),
        "`metrics` need names that no term of VAE has. Got kl",
    ),
    "class_weight without classes": (
        lambda m, x: quiet(m, x, class_weight={0: 1.0}),
        r"`class_weight` needs classes: .*`y` \(n,\)",
    ),
    "weights below 0": (
        lambda m, x: quiet(m, x, sample_weight=np.full(16, -1.0)),
        "`sample_weight` must hold one number of at least 0 for each of 16 images. Got values from",
    ),
    "no batch": (lambda m, x: m.train_on_batch(None), "`x` must hold images. Got None"),
    "floats up to 255": (
        lambda m, x: m.predict_on_batch(x.astype("float32")),
        r"`x` as floats must lie in \[0, 1\]",
    ),
    "floats up to 255 in a call": (
        lambda m, x: m(x.astype("float32")),
        r"`images` as floats must lie in \[0, 1\]",
    ),
    "a tensor up to 255 in a call": (
        lambda m, x: m(ops.convert_to_tensor(x.astype("float32"))),
        r"`images` as floats must lie in \[0, 1\]",
    ),
    "weights of another length": (
        lambda m, x: quiet(m, x, sample_weight=np.ones(3)),
        r"`sample_weight` must hold one number .* Got shape \(3,\)",
    ),
    "other images as y": (lambda m, x: quiet(m, x, 255 - x), "VAE reconstructs `x` itself"),
    "batch_size of a stream": (
        lambda m, x: quiet(m, (b for b in [x]), batch_size=8),
        "`batch_size` is for arrays. `x` comes in batches already",
    ),
    "bytes 0 and 1": (lambda m, x: quiet(m, x % 2), "must use the range 0..255. Got bytes 0 and 1"),
    "all of it for validation": (
        lambda m, x: quiet(m, x[:2], validation_split=0.9),
        "`validation_split` must divide 2 images into two sets that are not empty",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_take_effect_is_refused_before_a_weight_moves(what):
    call, message = REFUSED[what]
    model = compiled(small("vae"))
    before = arrays(model.variables)
    with pytest.raises(ValueError, match=message) as error:
        call(model, images(16))
    assert "\n" not in str(error.value)
    assert_same(arrays(model.variables), before)


INVALID = {
    "compile": [
        ("steps_per_execution", (0, -1, 1.5, True)),
        ("run_eagerly", ("yes", None)),
        ("jit_compile", ("maybe", 3)),
        ("auto_scale_loss", ("no",)),
    ],
    "fit": [
        ("batch_size", (0, -1, 2.5, "8", True)),
        ("epochs", (-1, 1.5, None)),
        ("initial_epoch", (-1,)),
        ("steps_per_epoch", (0, -2, 1.5)),
        ("validation_steps", (0, -1)),
        ("validation_batch_size", (0, -3)),
        ("validation_freq", (0, -1, "2", [], [0])),
        ("shuffle", ("rows", 3)),
        ("verbose", (7, "loud")),
    ],
    "evaluate": [("batch_size", (0, 2.5)), ("steps", (0,)), ("verbose", (7,))],
    "predict": [("batch_size", (0, 2.5)), ("steps", (0,)), ("verbose", (7,))],
}


@pytest.mark.parametrize(
    ("method", "name", "values"),
    [(method, *argument) for method, arguments in INVALID.items() for argument in arguments],
)
def test_numbers_that_keras_would_take_as_they_come_are_refused(method, name, values):
    x = images(16)
    data = [] if method == "compile" else [x]
    more = {"validation_data": x} if name.startswith("validation") else {}
    model = compiled(small("vae"))
    before = arrays(model.variables)
    for value in values:
        with pytest.raises(ValueError, match=f"^`{name}` (is|must)") as error:
            getattr(model, method)(*data, **more, **{name: value})
        assert "\n" not in str(error.value)
    assert_same(arrays(model.variables), before)


@pytest.mark.parametrize(
    "argument", [{"validation_steps": 1}, {"validation_batch_size": 4}, {"validation_freq": 2}]
)
def test_arguments_of_validation_need_validation(argument):
    model, x = compiled(small("vae")), images(16)
    with pytest.raises(ValueError, match=f"Without validation, `{next(iter(argument))}` cannot"):
        quiet(model, x, **argument)
    assert model.steps_taken() == 0
    history = quiet(model, x, validation_split=0.5, epochs=2, **argument)
    assert len(history["val_loss"]) == (1 if "validation_freq" in argument else 2)


def test_numbers_of_numpy_and_switches_of_0_and_1_are_taken():
    model = compiled(small("vae"))
    one = np.int64(1)
    quiet(model, images(16), batch_size=np.int32(8), epochs=one, steps_per_epoch=one, shuffle=1)
    assert model.steps_taken() == 1


COMPARING = sorted(
    set(MODELS)
    - {"vae", "beta_vae", "autoencoder", "qlae", "ada_gvae", "ada_mlvae", "gvae", "mlvae"}
)


@pytest.mark.parametrize("name", COMPARING)
def test_models_that_compare_images_refuse_weights_by_name(name):
    model, x = compiled(small(name)), images(16)
    labels = (labels_of(x),) if model.labeled else ()
    kind = type(model).__name__
    with pytest.raises(ValueError, match=f"{kind} compares the images of a batch.*sample_weight"):
        quiet(model, x, *labels, sample_weight=np.ones(16))


@quick_on_torch
def test_a_penalty_of_ones_own_does_not_take_weights_without_saying_so():
    class Own(VAE):
        def penalty(self, codes, mean, log_variance, kl):
            return kl + ops.mean(ops.square(mean)), {}

    mlp = {"encoder": "mlp", "decoder": "mlp"}
    model = compiled(Own(SHAPE, LATENTS, **mlp))
    with pytest.raises(ValueError, match="Own compares the images of a batch"):
        quiet(model, images(16), sample_weight=np.ones(16))


@quick_on_torch
def test_unused_labels_are_told():
    model, x = compiled(small("vae")), images(16)
    with pytest.warns(UserWarning, match="VAE learns without labels: those passed with `x`"):
        quiet(model, x, np.arange(16))


def test_class_weights_are_weights_of_images():
    x, classes = images(16), np.arange(16) % 2
    by_class, by_image = compiled(small("vae")), compiled(small("vae"))
    quiet(by_class, x, classes, class_weight={0: 0.5, 1: 2.0})
    quiet(by_image, x, sample_weight=np.where(classes, 2.0, 0.5).astype("float32"))
    np.testing.assert_allclose(trained(by_class), trained(by_image), rtol=1e-5, atol=1e-6)


def test_weights_are_those_of_the_gradient():
    x, weights = images(8), np.arange(8, dtype="float32")
    model, twin = (small("vae") for _ in range(2))
    for either in (model, twin):
        either.noise.enabled = False
        either.compile(SGD(1e-3))
    start, before = arrays(model.trainable_variables), trained(model)
    quiet(model, x, sample_weight=weights)
    moves = []
    for i in range(8):  # the gradient of a mean is the mean of gradients
        quiet(twin, x[i : i + 1])
        moves.append(trained(twin) - before)
        for variable, value in zip(twin.trainable_variables, start, strict=True):
            variable.assign(value)
    expected = sum(w * move for w, move in zip(weights, moves, strict=True)) / 8
    np.testing.assert_allclose(trained(model) - before, expected, rtol=1e-3, atol=1e-7)


@quick_on_torch
def test_weights_reach_supervision_and_moments():
    x, labels = images(16), labels_of(images(16)) / 255
    weights = np.repeat([1.0, 0.0], 8).astype("float32")
    supervised = lambda: compiled(small("vae", supervision=Supervision("l2", 10.0)))  # noqa: E731
    first, second = supervised(), supervised()
    other = labels.copy()
    other[8:] = 0.9
    quiet(first, x, labels, sample_weight=weights, batch_size=16)
    quiet(second, x, other, sample_weight=weights, batch_size=16)
    assert_same(state(first), state(second))
    x_other = x.copy()
    x_other[8:] = 255 - x[8:]
    codes = []
    for pixels in (x, x_other):
        model = compiled(small("autoencoder"))
        quiet(model, pixels, sample_weight=weights, batch_size=16)
        codes.append(model.encode(x))
    assert_same(codes[:1], codes[1:])


@quick_on_torch
def test_labels_of_streams_come_as_weights_too():
    x, weights = images(16), np.repeat([2.0, 0.0], 8).astype("float32")

    class Items(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            rows = slice(8 * i, 8 * i + 8)
            return x[rows], x[rows], weights[rows]

    streamed, given = compiled(small("vae")), compiled(small("vae"))
    streamed.fit(Items(), shuffle=False, verbose=0)
    quiet(given, x, sample_weight=weights, shuffle=False)
    np.testing.assert_allclose(trained(streamed), trained(given), rtol=1e-5, atol=1e-6)
    refusing = compiled(small("dip_vae"))
    with pytest.raises(ValueError, match="DIPVAE compares the images of a batch"):
        refusing.fit(Items(), verbose=0)


@quick_on_torch
def test_epochs_of_arrays_are_permutations_of_their_own():
    model, x = small("vae"), images(12)
    seen = []

    model.compile(SGD(0.0), run_eagerly=True)
    original = model.preprocess

    def preprocess(batch):
        seen.append(ops.convert_to_numpy(batch))
        return original(batch)

    object.__setattr__(model, "preprocess", preprocess)
    quiet(model, x, batch_size=5, epochs=2)
    epochs = [np.concatenate(seen[:3]), np.concatenate(seen[3:6])]
    for epoch in epochs:
        assert sorted(image.tobytes() for image in epoch) == sorted(image.tobytes() for image in x)
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[0] != x).any()


@quick_on_torch
def test_more_steps_than_arrays_have_are_taken():
    model = compiled(small("vae"))
    quiet(model, images(16), steps_per_epoch=5, epochs=2)
    assert model.steps_taken() == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_shape": SHAPE}, r"Got 'input_shape'. Did you mean 'image_shape'\?"),
        ({"gama": 3.0}, r"Got 'gama'. Did you mean 'gamma'\?"),
        ({"latent_dims": 3}, r"Got 'latent_dims'. Did you mean 'latent_dim'\?"),
        ({"activity_regularizer": "l2"}, r"Got 'activity_regularizer'\.$"),
        ({"autocast": False}, r"Got 'autocast'\.$"),
    ],
)
def test_arguments_of_layers_that_a_model_would_ignore_are_refused(given, message):
    with pytest.raises(TypeError, match=message):
        FactorVAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp", **given)


def test_build_takes_the_shape_of_the_images_alone():
    model = small("vae")
    model.build((None, *SHAPE))
    with pytest.raises(ValueError, match=r"is built of images .*another `image_shape`"):
        model.build((None, 2 * SHAPE[0], *SHAPE[1:]))


# -- settings -------------------------------------------------------------------------------------


def test_what_the_constructor_takes_is_fixed():
    model = MODELS["dip_vae"](SHAPE, LATENTS, encoder="mlp", decoder="mlp")
    for name, value in {"variant": "i", "seed": 3, "encoder": model.encoder}.items():
        with pytest.raises(AttributeError, match=f"`{name}` of DIPVAE is fixed by the constructor"):
            setattr(model, name, value)
    model.lambda_od = 3  # a weight is alive
    supervision = Supervision("l2", 10.0)
    model = small("vae", supervision=supervision)
    with pytest.raises(AttributeError, match=r"model\.supervision_weight"):
        supervision.weight = 5.0
    model.supervision_weight = 5.0
    assert VAE.from_config(model.get_config()).supervision_weight == 5.0


def test_no_seed_means_one_that_is_drawn_and_recorded():
    keras.utils.set_random_seed(5)
    first, second = (VAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp") for _ in range(2))
    keras.utils.set_random_seed(5)
    again = VAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp")
    assert first.seed != second.seed
    assert again.seed == first.seed
    assert_same(arrays(first.trainable_variables), arrays(again.trainable_variables))
    recorded = VAE.from_config(second.get_config())
    assert_same(arrays(recorded.trainable_variables), arrays(second.trainable_variables))


def test_weights_that_make_no_objective_are_refused():
    with pytest.raises(ValueError, match=r"`alpha` \+ `mmd_weight` of InfoVAE are at least 1"):
        small("info_vae", alpha=0.0, mmd_weight=0.5)
    model = small("info_vae", alpha=1.0, mmd_weight=0.5)
    with pytest.raises(ValueError, match=r"Got 0.25 \+ 0.5"):
        model.alpha = 0.25
    assert model.alpha == 1.0
    model = compiled(small("beta_tcvae", estimator="mss", dataset_size=5))
    with pytest.raises(ValueError, match="'mss' is for batches of at most `dataset_size`"):
        quiet(model, images(16))
    with pytest.raises(ValueError, match="created without a gradient penalty"):
        small("info_gan", gradient_penalty_weight=0.0).gradient_penalty_weight = 1.0


def test_the_scale_of_pixels_is_alive_and_has_a_floor():
    x, outputs = ops.ones((1, 1, 1, 1), "float32"), ops.zeros((1, 1, 1, 1), "float32")
    likelihood = latents.GaussianLikelihood(0.5)
    wide = float(likelihood.negative_log_likelihood(x, outputs)[0])
    likelihood.scale = 0.1
    narrow = float(likelihood.negative_log_likelihood(x, outputs)[0])
    for scale, got in ((0.5, wide), (0.1, narrow)):
        expected = 0.5 * (0.5 / scale) ** 2 + np.log(scale) + 0.5 * np.log(2 * np.pi)
        assert got == pytest.approx(expected, rel=1e-5)
    assert likelihood.get_config()["scale"] == 0.1
    learned = latents.GaussianLikelihood(0.1, learn_scale=True)
    learned.log_scale.assign(-50.0)
    exact = ops.full((1, 1, 1, 1), 0.5, "float32")
    least = 1 / (255 * np.sqrt(12))
    assert learned.scale == pytest.approx(least)
    expected = np.log(least) + 0.5 * np.log(2 * np.pi)
    assert float(learned.negative_log_likelihood(exact, outputs)[0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("logit", "pixel", "expected"),
    [
        (50.0, 1.0, -3.912023),
        (-50.0, 0.0, -3.912023),
        (-200.0, 0.0, -5.298317),
        (-20.0, 0.0, -2.995732),
    ],
)
def test_continuous_bernoulli_far_out(logit, pixel, expected):
    likelihood = latents.ContinuousBernoulliLikelihood()
    x, outputs = (ops.full((1, 1, 1, 1), v, "float32") for v in (pixel, logit))
    loss = float(likelihood.negative_log_likelihood(x, outputs)[0])
    assert loss == pytest.approx(expected, rel=1e-5)
    density = likelihood.distribution(outputs).log_prob(x)
    assert float(density[0]) == pytest.approx(-expected, rel=1e-4)


def test_continuous_bernoulli_integrates_to_one():
    pixels = np.linspace(0, 1, 100_001)
    for logit in (-30.0, -3.0, -0.6, -0.5, -0.4, 1e-3, 0.0, 0.49, 2.0, 12.0):
        x = pixels.astype("float32")[:, None, None, None]
        outputs = np.full_like(x, logit)
        loss = latents.ContinuousBernoulliLikelihood().negative_log_likelihood(
            ops.convert_to_tensor(x), ops.convert_to_tensor(outputs)
        )
        assert np.trapezoid(np.exp(-ops.convert_to_numpy(loss)), pixels) == pytest.approx(
            1, abs=1e-5
        )


# -- compile and files ----------------------------------------------------------------------------


@quick_on_torch
def test_what_an_optimizer_spares_is_spared_also_after_a_file():
    def biases(model):
        return np.concatenate(
            [
                a.ravel()
                for v, a in zip(
                    model.trainable_variables, arrays(model.trainable_variables), strict=True
                )
                if v.name == "bias"
            ]
        )

    optimizer = keras.optimizers.AdamW(1e-6, weight_decay=1e5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = small("vae")
    for v in model.trainable_variables:
        v.assign(np.ones(v.shape))
    model.compile(optimizer, auto_scale_loss=False)
    again = reload(model)
    for either in (model, again):
        assert either.get_compile_config()["auto_scale_loss"] is False
        quiet(either, images(8))
        np.testing.assert_allclose(biases(either), 1.0, atol=1e-5)
        assert float(np.median(trained(either))) == pytest.approx(0.9, abs=1e-3)


def test_changes_of_what_is_trainable_need_another_compile():
    model = compiled(small("factor_vae"))
    model.encoder.trainable = False
    before = state(model)
    with pytest.raises(ValueError, match=r"have changed since `compile`\. Call `compile` again"):
        quiet(model, images(16))
    assert_same(state(model), before)
    compiled(model)
    frozen = arrays(model.encoder.variables)
    quiet(model, images(16))
    assert_same(arrays(model.encoder.variables), frozen)


def test_a_player_may_be_frozen_whole():
    model = small("factor_vae")
    model.discriminator.trainable = False
    frozen, before = arrays(model.discriminator.variables), trained(model)
    history = quiet(compiled(model), images(16))
    assert np.isfinite(list(history.values())).all()
    assert_same(arrays(model.discriminator.variables), frozen)
    assert (trained(model) != before).any()


@pytest.mark.parametrize("name", ["vae", "factor_vae"])
def test_an_optimizer_is_replaced_by_compile_alone(name):
    model = compiled(small(name))
    model.optimizer = keras.optimizers.SGD(0.0)
    before = trained(model)
    with pytest.raises(ValueError, match=r"`optimizer` was replaced.*call `compile\(optimizer\)`"):
        quiet(model, images(16))
    assert (trained(model) == before).all()


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5"])
def test_the_legacy_format_of_files_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"legacy HDF5 .* save to 'model.keras'"):
        compiled(small("vae")).save(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_a_function_of_keras_that_refuses_the_legacy_format_leaves_the_model_whole(tmp_path):
    model = compiled(small("vae"))
    with pytest.raises(ValueError, match=r"legacy HDF5 .* save to a file NAME.keras"):
        keras.saving.save_model(model, tmp_path / "model.h5")
    keras.saving.save_model(model, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(state(again), state(model))


# -- layers of one's own --------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_keras_contract")
class Adding(layers.Layer):
    """Adds a loss, and notes how often it is called in training."""

    def call(self, x):
        self.add_loss(0.5 * ops.sum(ops.square(x)))
        return x


@pytest.mark.parametrize("name", ["vae", "factor_vae", "tripod", "beta_tcvae"])
def test_losses_of_layers_count_once_for_their_owner(name):
    def logs(layer):
        decoder = keras.Sequential(
            [
                layers.Input((LATENTS,)),
                layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
                layer,
                layers.Dense(64, kernel_initializer=keras.initializers.GlorotUniform(seed=4)),
                layers.Reshape(SHAPE),
            ]
        )
        model = compiled(small(name, decoder=decoder))
        model.noise.enabled = False
        values = model.evaluate(x, batch_size=8, verbose=0, return_dict=True)
        codes = model.encode(x)
        if name == "tripod":
            codes = ops.convert_to_numpy(model.nearest_codes(model.code_transform.inverse(codes)))
        hidden = codes @ arrays([decoder.layers[0].kernel])[0]
        return values, 0.5 * np.square(hidden).sum()

    x = images(8)
    (plain, _), (added, expected) = logs(layers.Activation("linear")), logs(Adding())
    assert added["loss"] - plain["loss"] == pytest.approx(expected, rel=1e-2)
    if name == "factor_vae":
        assert added["discriminator_loss"] == pytest.approx(plain["discriminator_loss"])


# -- callbacks ------------------------------------------------------------------------------------


def test_callbacks_keep_their_order_and_scores_come_first():
    heard = []

    class Scoring(keras.callbacks.Callback):
        scores = True

        def measure(self, epoch, logs):
            logs["val_score"] = 1.0

        def on_epoch_end(self, epoch, logs=None):
            heard.append("scoring")

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            heard.append(("reader", logs.get("val_score")))

    model = compiled(small("vae"))
    history = quiet(model, images(8), callbacks=[Reader(), Scoring(), Reader()])
    assert heard == [("reader", 1.0), "scoring", ("reader", 1.0)]
    assert history["val_score"] == [1.0]


@quick_on_torch
def test_a_restored_epoch_is_for_one_training_only(tmp_path):
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "b"), delete_checkpoint=False)
    model = compiled(small("vae"))
    quiet(model, images(8), epochs=2, callbacks=[backup])
    again = compiled(small("vae"))
    quiet(again, images(8), epochs=3, callbacks=[backup])
    assert again.steps_taken() == 3
    assert len(quiet(again, images(8), epochs=2)["loss"]) == 2


# -- steps that are not finite --------------------------------------------------------------------


def test_the_first_term_that_is_not_finite_is_named():
    class Broken(VAE):
        terms = (*VAE.terms, "own")

        def penalty(self, codes, mean, log_variance, kl):
            own = ops.log(ops.cast(2 - self.steps, "float32"))  # 0 in step 3
            return kl + own, {"own": own}

    model = Broken(SHAPE, LATENTS, encoder="mlp", decoder="mlp", seed=0)
    model.compile(SGD(1e-3))
    with pytest.raises(FloatingPointError, match=r"stopped at step 3, .*`own` is not finite"):
        quiet(model, images(64))
    assert model.steps_taken() == 2
    assert np.isfinite(trained(model)).all()
    model.evaluate(images(8), verbose=0)


@quick_on_torch
def test_gradients_that_are_never_finite_end_training_in_mixed_precision():
    class Broken(VAE):
        def penalty(self, codes, mean, log_variance, kl):
            return kl + ops.sqrt(0.0 * ops.sum(ops.square(mean))), {}

    model = Broken(SHAPE, LATENTS, encoder="mlp", decoder="mlp", seed=0, dtype="mixed_float16")
    with pytest.raises(FloatingPointError, match=r"the gradient of `loss` is not finite"):
        quiet(compiled(model), images(8), epochs=50)
    assert np.isfinite(trained(model)).all()


@quick_on_torch
def test_gradients_whose_squares_overflow_destroy_nothing():
    encoder = keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Rescaling(1e9)])
    model = compiled(small("vae", encoder=encoder))
    with pytest.raises(FloatingPointError, match="is not finite"):
        quiet(model, images(16), epochs=5)
    assert np.isfinite(trained(model)).all()


def test_images_of_later_batches_are_looked_at():
    x = images(24).astype("float32") / 255
    for bad in (255 * x[8:16], np.full_like(x[:8], np.nan), x[:8] - 0.5):
        model = compiled(small("vae"))
        stream = (batch for batch in [x[:8], bad, x[16:]])
        with pytest.raises(ValueError, match=r"step 2, .*images as floats must lie in \[0, 1\]"):
            model.fit(stream, verbose=0)
        assert model.steps_taken() == 1
        assert np.isfinite(trained(model)).all()


@quick_on_torch
def test_rounding_above_one_is_no_error():
    x = images(8).astype("float32") / 255
    model = compiled(small("vae"))
    history = quiet(model, np.where(x > 0.5, np.float32(1.0000002), x))
    assert np.isfinite(history["loss"]).all()
    assert model.steps_taken() == 1


def test_weights_may_be_a_list():
    model, x = compiled(small("vae")), images(8)
    model.noise.enabled = False
    once, twice = (
        model.evaluate(x, sample_weight=[weight] * 8, verbose=0)[0] for weight in (1.0, 2.0)
    )
    assert twice == pytest.approx(2 * once, rel=1e-5)


def test_a_posterior_that_would_overflow_stays_a_number():
    encoder = keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Rescaling(1e4)])
    model = compiled(small("vae", encoder=encoder))
    quiet(model, images(16), epochs=2)
    assert np.isfinite(trained(model)).all()
    low, high = (
        model.posterior_parameters(images(4))[1].min(),
        model.posterior_parameters(images(4))[1].max(),
    )
    assert -30 <= low <= high <= 30


@pytest.mark.skipif(BACKEND != "tensorflow", reason="sizes that are not known exist there only")
@pytest.mark.parametrize(
    "name",
    [
        "factor_vae",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("info_vae", "hfs_vae")),
    ],
)
def test_small_last_batches_of_streams_under_xla(name):
    import tensorflow as tf

    stream = tf.data.Dataset.from_tensor_slices(images(17)).batch(8)
    model = compiled(small(name), jit_compile=True)
    with pytest.raises(ValueError, match="A batch must hold at least"):
        model.fit(stream, verbose=0)
    assert np.isfinite(trained(model)).all()
    assert model.steps_taken() == 2


# -- evaluation -----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_keras_contract")
class Jitter(layers.Layer):
    """Draws in training and outside of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + 0.1 * keras.random.normal(
            ops.shape(x), dtype="float32", seed=self.seed_generator
        )


def test_random_layers_are_left_as_they_are():
    def encoder():
        return keras.Sequential(
            [
                layers.Input(SHAPE),
                layers.Flatten(),
                layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
                Jitter(),
                layers.Dropout(0.3, seed=2),
            ]
        )

    x = images(16)
    plain, watched = (compiled(small("vae", encoder=encoder())) for _ in range(2))
    quiet(plain, x, epochs=2)
    quiet(watched, x, epochs=1, validation_data=x)
    first, second = (watched.evaluate(x, batch_size=8, verbose=0) for _ in range(2))
    assert first == second
    watched.encode(x), watched.predict(x, verbose=0), watched.reconstruct(x), watched.diagnose(x)
    quiet(watched, x, epochs=1)
    assert_same(state(watched), state(plain))


def test_quantized_weights_are_those_that_encode():
    model, x = small("vae"), images(8)
    before = model.encode(x)
    model.encoder.quantize("int8")
    features = ops.convert_to_tensor(x.astype("float32") / 255)
    expected = ops.convert_to_numpy(model.posterior_head(model.encoder(features))[0])
    np.testing.assert_allclose(model.encode(x), expected, atol=1e-5)
    assert np.abs(model.encode(x) - before).max() > 1e-6


def test_a_schedule_in_a_callback_reaches_the_step_under_way():
    model, x = compiled(small("beta_vae", beta=1.0)), images(32)

    def on_batch(batch, logs):
        if batch == 1:
            model.beta = schedules.Linear(10.0, 20.0, steps=10)

    swap = keras.callbacks.LambdaCallback(on_train_batch_end=on_batch)
    logged = quiet(model, x, callbacks=[swap])["beta"]
    assert logged == pytest.approx([(1 + 1 + 12 + 13) / 4])


@quick_on_torch
def test_models_are_exported_and_optimized_as_keras_does():
    model = BetaVAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp", beta=2.0)
    model.compile("sgd", metrics=["mae"], run_eagerly=True)
    again = reload(model)
    assert again.run_eagerly
    assert "mae" in quiet(again, images(8))
    assert isinstance(FactorVAE.compile, type(model.compile.__func__))
    assert networks.discriminator(3, units=4).output_shape == (None, 2)
