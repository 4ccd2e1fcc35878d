"""Training through Keras's own `fit`: every way to feed, compile and steer it, and bad input."""

import warnings
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import (
    BACKEND,
    LATENTS,
    SHAPE,
    SLOW_TO_COMPILE,
    arrays,
    assert_same,
    batches,
    compiled,
    images,
    reload,
    small,
    state,
    trained,
)

from keras_disent import networks, schedules
from keras_disent.engine import backend
from keras_disent.models import MODELS, VAE, BetaTCVAE, BetaVAE, FactorVAE

SGD = keras.optimizers.SGD
ONE_AND_TWO_PLAYERS = pytest.mark.parametrize("name", ["vae", "factor_vae"])


def quiet(model, x, **kwargs):
    return model.fit(x, **{"batch_size": 8, "shuffle": False, "verbose": 0, **kwargs}).history


def without_noise(model):
    model.noise.enabled = False
    return model


# -- feeding --------------------------------------------------------------------------------------


class Items(keras.utils.PyDataset):
    def __init__(self, x, size=8):
        super().__init__()
        self.parts = batches(x, size)

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


def tf_data(x, size=8):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


def data_loader(x, size=8):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x)), size)


FEEDS = {
    "PyDataset": Items,
    "generator": lambda x, size=8: (part for part in batches(x, size)),
    "tf.data": tf_data,
    "DataLoader": data_loader,
}


@pytest.fixture(scope="module")
def fed_with_an_array():
    model = compiled(small("factor_vae"))
    history = quiet(model, images(20), validation_data=images(12, seed=1))
    return model, history


# The other backends would import PyTorch for its loader.
LOADER = pytest.param("DataLoader", marks=[] if BACKEND == "torch" else pytest.mark.slow)


@pytest.mark.parametrize("feed", [*(feed for feed in FEEDS if feed != "DataLoader"), LOADER])
def test_every_feed_trains_like_an_array(feed, fed_with_an_array):
    expected, logs = fed_with_an_array
    give = FEEDS[feed]
    model = compiled(small("factor_vae"))
    history = model.fit(
        give(images(20)), validation_data=give(images(12, seed=1)), shuffle=False, verbose=0
    ).history
    np.testing.assert_allclose(trained(model), trained(expected), rtol=1e-5, atol=1e-6)
    # The end of a stream of unknown length must not count as a step, nor draw noise.
    assert int(model.steps) == 3
    assert_same(arrays(model._seeds()), arrays(expected._seeds()))
    assert set(history) == set(logs)
    for term in logs:
        np.testing.assert_allclose(history[term], logs[term], rtol=1e-4, atol=1e-5)
    x = images(12, seed=1)
    np.testing.assert_allclose(model.predict(give(x), verbose=0), model.reconstruct(x), atol=1e-6)
    compiled(without_noise(model))
    from_feed = model.evaluate(give(x), verbose=0)
    np.testing.assert_allclose(from_feed, model.evaluate(x, batch_size=8, verbose=0), rtol=1e-5)


def test_floats_train_like_bytes():
    x = images(16)
    models = [compiled(small("vae")) for _ in range(2)]
    quiet(models[0], x)
    quiet(models[1], x.astype("float32") / 255)
    np.testing.assert_allclose(trained(models[0]), trained(models[1]), rtol=1e-4, atol=1e-5)


def test_predict_gives_the_reconstructions():
    model, x = compiled(small("vae")), images(5)
    np.testing.assert_allclose(
        model.predict(x, batch_size=2, verbose=0), model.reconstruct(x), atol=1e-6
    )
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), model.reconstruct(x), atol=1e-6)


def test_a_call_has_gradients_to_the_images():
    """A look at the values of tensors must not keep a transformed function from its work."""
    model, x = small("vae"), ops.convert_to_tensor(images(4).astype("float32") / 255)
    slopes = backend.input_gradient(lambda pixels: ops.sum(model(pixels)), x)
    slopes = ops.convert_to_numpy(slopes)
    assert slopes.shape == (4, *SHAPE)
    assert (slopes != 0).any()


def test_odd_batches_are_shared_out_too():
    model = compiled(small("factor_vae"))
    history = quiet(model, images(19), batch_size=7, epochs=2)
    assert np.isfinite(list(history.values())).all()
    assert int(model.steps) == 6


def test_published_networks_train():
    model = VAE(
        (16, 32, 3),
        4,
        encoder=networks.conv_encoder((16, 32, 3), width=0.1),
        decoder=networks.conv_decoder((16, 32, 3), 4, width=0.1),
        likelihood="gaussian_learned_scale",
    )
    history = quiet(compiled(model), images(16, (16, 32, 3)), epochs=4)
    assert history["loss"][-1] < history["loss"][0]
    assert float(model.likelihood.log_scale) != pytest.approx(np.log(0.1), abs=1e-3)


# -- what a step does -----------------------------------------------------------------------------


def test_each_player_sees_its_own_share_of_the_batch():
    model = without_noise(small("factor_vae"))
    model.compile({player: SGD(0.0) for player in model.players})
    x = images(14)
    logs = {term: values[0] for term, values in quiet(model, x, batch_size=14).items()}
    first, second = (
        model.evaluate(x[turn::2], batch_size=14, verbose=0, return_dict=True) for turn in (0, 1)
    )
    for term in ("loss", "reconstruction", "kl", "total_correlation"):
        assert logs[term] == pytest.approx(first[term], rel=1e-5)
        assert first[term] != pytest.approx(second[term], rel=1e-4)
    assert logs["discriminator_loss"] == pytest.approx(second["discriminator_loss"], rel=1e-5)
    assert first["discriminator_loss"] != pytest.approx(second["discriminator_loss"], rel=1e-5)


def test_logs_are_means_over_samples():
    model = without_noise(small("vae"))
    model.compile(SGD(0.0))
    x = images(11)
    logs = quiet(model, x)["reconstruction"][0]
    parts = [model.evaluate(part, verbose=0, return_dict=True) for part in (x[:8], x[8:])]
    mean = (8 * parts[0]["reconstruction"] + 3 * parts[1]["reconstruction"]) / 11
    assert logs == pytest.approx(mean, rel=1e-5)


class Oracle(keras.Model):
    """Keras's own training step on a loss written down anew."""

    def __init__(self, parts, loss):
        super().__init__()
        self.parts, self.of = parts, loss

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.of(ops.convert_to_tensor(x))


@pytest.mark.parametrize("player_count", [1, 2])
def test_steps_are_those_of_keras_on_the_written_out_loss(player_count):
    name, gamma = {1: ("vae", 0.0), 2: ("factor_vae", 5.0)}[player_count]
    special = {"gamma": gamma} if player_count == 2 else {}
    model, twin = (without_noise(small(name, **special)) for _ in range(2))
    # The oracle runs eagerly: what it reads of the other player's weights must not be traced.

    def encode(x):
        return twin.posterior_head(twin.encoder(x))

    def evidence(x):
        mean, log_variance = encode(x)
        logits = twin.decoder(mean)
        likelihood = ops.sum(x * logits - ops.softplus(logits), axis=(1, 2, 3))
        kl = ops.sum(ops.square(mean) + ops.exp(log_variance) - log_variance - 1, axis=1) / 2
        loss = ops.mean(kl - likelihood)
        if player_count == 2:
            logits = twin.discriminator(mean)
            loss = loss + gamma * ops.mean(logits[:, 0] - logits[:, 1])
        return loss

    def cross_entropy(x):
        codes = encode(x)[0]
        rolled = ops.stack([ops.roll(codes[:, d], -d) for d in range(LATENTS)], axis=1)
        true = ops.log_softmax(twin.discriminator(codes))[:, 0]
        false = ops.log_softmax(twin.discriminator(rolled))[:, 1]
        return -(ops.mean(true) + ops.mean(false)) / 2

    oracles = [Oracle([twin.encoder, twin.posterior_head, twin.decoder], evidence)]
    if player_count == 2:
        oracles.append(Oracle([twin.discriminator], cross_entropy))
    for oracle in oracles:
        oracle.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    x = images(32)
    quiet(compiled(model), x, epochs=2)
    for batch in 2 * batches(x):
        for turn, oracle in enumerate(oracles):
            oracle.train_on_batch(batch[turn::player_count].astype("float32") / 255)
    np.testing.assert_allclose(trained(model), trained(twin), rtol=1e-4, atol=2e-5)


def test_steps_are_counted_through_all_fits():
    model = compiled(small("vae"), run_eagerly=True)
    quiet(model, images(20), epochs=2)
    assert int(model.steps) == 6
    model.evaluate(images(8), verbose=0)
    model.fit(images(16), batch_size=8, steps_per_epoch=1, verbose=0)
    assert int(model.steps) == 7
    assert int(reload(model).steps) == 7


def test_schedule_shows_in_the_logs_and_in_the_gradient():
    beta = schedules.Linear(0.0, 8.0, steps=4)
    model, x = without_noise(small("beta_vae", beta=beta)), images(8)
    model.compile(SGD(0.0))
    assert quiet(model, x, epochs=6)["beta"] == pytest.approx([0, 2, 4, 6, 8, 8])
    for steps, value in ((1, 2.0), (3, 6.0)):
        scheduled = without_noise(small("beta_vae", beta=beta))
        constant = without_noise(small("beta_vae", beta=value))
        scheduled.steps.assign(steps)
        for either in (scheduled, constant):
            before = trained(either)
            either.compile(SGD(1e-2), run_eagerly=True)
            quiet(either, x)
        np.testing.assert_allclose(trained(scheduled), trained(constant), atol=1e-7)
        assert (trained(constant) != before).any()


def test_noise_goes_on_and_comes_from_the_seed():
    x = images(8)
    models = [small("vae", seed=seed) for seed in (0, 0, 1)]
    logs = []
    for model in models:
        model.compile(SGD(0.0), run_eagerly=True)
        logs.append(quiet(model, x, epochs=3)["reconstruction"])
    assert logs[0] == logs[1]
    assert len(set(logs[0])) == 3
    assert logs[0] != logs[2]


def own_encoder(*middle):
    return keras.Sequential([layers.Input(SHAPE), layers.Flatten(), *middle], name="encoder")


def test_own_layers_keep_their_moving_averages():
    normalized = own_encoder(layers.Dense(6), layers.BatchNormalization(momentum=0.5))
    model, x = small("vae", encoder=normalized), images(16, seed=4)
    model.compile(SGD(0.0))
    quiet(model, x, batch_size=16)
    features = x.reshape(16, -1) / 255 @ arrays([normalized.layers[1].kernel])[0]
    mean = arrays([normalized.layers[2].moving_mean])[0]
    np.testing.assert_allclose(mean, 0.5 * features.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_regularizers_of_own_layers_shrink_their_weights():
    def kernel(penalty):
        regularizer = keras.regularizers.L2(penalty)
        encoder = own_encoder(layers.Dense(6, kernel_regularizer=regularizer))
        model = small("vae", encoder=encoder)
        encoder.layers[1].kernel.assign(np.full((64, 6), 0.01))
        model.compile(SGD(0.01))
        logs = quiet(without_noise(model), images(8))
        return arrays([encoder.layers[1].kernel])[0], logs["loss"]

    (free, free_loss), (bound, bound_loss) = kernel(0.0), kernel(5.0)
    np.testing.assert_allclose(free - bound, 0.01 * 2 * 5.0 * 0.01, rtol=1e-2)
    added = 5.0 * 64 * 6 * 0.01**2  # as in Keras, `loss` is all that is minimized
    assert bound_loss[0] == pytest.approx(free_loss[0] + added, rel=1e-5)


class Penalty(layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * ops.sum(ops.square(x)))
        return x


@pytest.mark.parametrize("added", ["activity_regularizer", "add_loss"])
def test_what_a_dead_layer_keeps_from_the_loss_is_said(added):
    """As after large steps: all units of a ReLU are 0 for every image, and so is what it adds."""

    def model(bias):
        dense = layers.Dense(6, "relu", bias_initializer=keras.initializers.Constant(bias))
        if added == "activity_regularizer":
            dense.activity_regularizer = keras.regularizers.L2(0.1)
        penalties = [Penalty()] if added == "add_loss" else []
        model = small("vae", encoder=own_encoder(dense, *penalties))
        model.compile(SGD(0.0))
        return model

    alive, dead, x = model(0.0), model(-1e3), images(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        quiet(alive, x)
        alive.diagnose(x)
    stream = data_loader(x) if BACKEND == "torch" else tf_data(x)
    for data, batch_size in ((x, 8), (Items(x), None), (stream, None)):
        with pytest.warns(UserWarning, match=r"`dense.*` of the encoder outputs 0 for all images"):
            quiet(dead, data, batch_size=batch_size)
    assert "have died" in dead.diagnose(x).warnings[0]


def test_a_stream_that_is_used_up_does_not_end_a_training_with_an_error():
    tf = pytest.importorskip("tensorflow")
    parts = iter(batches(images(24), 8))
    signature = tf.TensorSpec((None, *SHAPE), tf.uint8)
    once = tf.data.Dataset.from_generator(lambda: parts, output_signature=signature)
    dense = layers.Dense(6, "relu", activity_regularizer=keras.regularizers.L2(0.1))
    model = compiled(small("vae", encoder=own_encoder(dense)))
    quiet(model, once, batch_size=None)
    assert model.steps_taken() >= 1


# -- compiling ------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "torch", reason="a limit of Keras on torch")
def test_several_steps_at_once_are_refused_on_torch():
    model = compiled(small("vae"), steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution"):
        quiet(model, images(16))


def test_compiling_automatically_is_stored_as_such():
    model = compiled(small("vae"))
    assert model.get_compile_config()["jit_compile"] == "auto"
    model.compile(jit_compile=False)
    assert model.get_compile_config()["jit_compile"] is False


def test_default_optimizers_are_the_published_ones():
    model = FactorVAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp")
    model.compile()
    first, second = (model._optimizer_of(player) for player in model.players)
    for optimizer, betas in ((first, (0.9, 0.999)), (second, (0.5, 0.9))):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(1e-4)
        assert (optimizer.beta_1, optimizer.beta_2) == betas
    small("vae").compile("sgd")
    model = small("vae")
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_discriminator_optimizer_can_be_given():
    model = small("factor_vae")
    model.compile({"loss": "sgd", "discriminator_loss": keras.optimizers.RMSprop(0.5)})
    for either in (model, reload(model)):
        first, second = (either._optimizer_of(player) for player in either.players)
        assert isinstance(first, SGD)
        assert isinstance(second, keras.optimizers.RMSprop)
        assert float(second.learning_rate) == 0.5


def test_players_without_an_optimizer_get_their_own_default():
    model = small("factor_vae")
    for optimizer in ("sgd", {"loss": "sgd"}):
        model.compile(optimizer)
        first, second = (model._optimizer_of(player) for player in model.players)
        assert isinstance(first, SGD)
        assert isinstance(second, keras.optimizers.Adam)
        assert second.beta_1 == 0.5
    model.compile({"discriminator_loss": "sgd"})
    first, second = (model._optimizer_of(player) for player in model.players)
    assert (first.beta_1, type(second).__name__) == (0.9, "SGD")


def test_optimizers_are_one_for_each_player():
    model, adam = small("factor_vae"), keras.optimizers.Adam()
    with pytest.raises(ValueError, match=r"loss, discriminator_loss. Got one for critic"):
        model.compile({"critic": adam})
    with pytest.raises(ValueError, match="cannot share one optimizer object"):
        model.compile({"loss": adam, "discriminator_loss": adam})


ADAMS = {
    "Adam": partial(keras.optimizers.Adam, 0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
    "AdamW": partial(keras.optimizers.AdamW, 0.01, weight_decay=0.1),
    "clipped": partial(keras.optimizers.Adam, 0.01, global_clipnorm=1e-3),
    "averaged": partial(keras.optimizers.Adam, 0.01, use_ema=True),
    "accumulated": partial(keras.optimizers.Adam, 0.01, gradient_accumulation_steps=2),
    "amsgrad": partial(keras.optimizers.Adam, 0.01, amsgrad=True),
}


@pytest.mark.parametrize(
    "adam",
    [
        *("Adam", "averaged", "accumulated"),
        *(pytest.param(adam, marks=SLOW_TO_COMPILE) for adam in ("AdamW", "clipped", "amsgrad")),
    ],
)
def test_adam_is_that_of_keras(adam, monkeypatch):
    ours = compiled(small("vae"), ADAMS[adam])
    monkeypatch.setattr(backend, "accelerate", lambda optimizer: None)
    theirs = compiled(small("vae"), ADAMS[adam])
    for model in (ours, theirs):
        quiet(without_noise(model), images(32), epochs=4)
    np.testing.assert_allclose(trained(ours), trained(theirs), rtol=1e-4, atol=1e-5)


# Without averages: what becomes of them when `fit` is interrupted differs with Keras's backend.
@pytest.mark.parametrize("adam", [adam for adam in ADAMS if adam != "averaged"])
def test_a_step_that_is_not_finite_leaves_the_bits_of_weights_and_moments(adam):
    x = images(32).astype("float32") / 255
    name = "factor_vae" if adam == "Adam" else "vae"
    stopped, unbroken = (compiled(small(name), ADAMS[adam]) for _ in range(2))
    unbroken.fit((batch for batch in [x[:16]] * 2), verbose=0)
    with pytest.raises(ValueError, match="step 3"):
        stopped.fit((batch for batch in [x[:16], x[:16], np.full_like(x[:16], np.nan)]), verbose=0)
    for model in (stopped, unbroken):
        assert model.steps_taken() == 2
    variables = ([*m.trainable_variables, *m.optimizer.variables] for m in (stopped, unbroken))
    assert_same(*map(arrays, variables))


@ONE_AND_TWO_PLAYERS
def test_clipnorm_bounds_each_move(name):
    model = compiled(small(name), lambda: SGD(1.0, clipnorm=1e-3), run_eagerly=True)
    before = arrays(model.trainable_variables)
    quiet(model, images(8))
    moves = zip(before, arrays(model.trainable_variables), strict=True)
    norms = [np.linalg.norm(new - old) for old, new in moves]
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


@ONE_AND_TWO_PLAYERS
def test_learning_rate_may_be_a_schedule(name):
    decay = keras.optimizers.schedules.PiecewiseConstantDecay
    model = compiled(small(name), lambda: SGD(decay([0], [0.01, 0.0])), run_eagerly=True)
    born = trained(model)
    quiet(model, images(8))
    moved = trained(model)
    quiet(model, images(8))
    assert (moved != born).any()
    assert_same([trained(model)], [moved])


@ONE_AND_TWO_PLAYERS
def test_gradients_accumulate(name):
    x = images(16)
    slow = without_noise(small(name))
    slow = compiled(slow, lambda: SGD(0.01, gradient_accumulation_steps=2))
    born = trained(slow)
    quiet(slow, x[:8])
    assert_same([trained(slow)], [born])
    quiet(slow, x[8:])
    whole = compiled(without_noise(small(name)), lambda: SGD(0.01), run_eagerly=True)
    quiet(whole, x, batch_size=16)
    owned = [
        np.concatenate([a.ravel() for a in arrays(m.player_variables("loss"))])
        for m in (slow, whole)
    ]
    np.testing.assert_allclose(*owned, rtol=1e-4, atol=1e-6)
    moved = trained(slow) != born
    sizes = [a.size for a in arrays(slow.trainable_variables)]
    assert all(part.any() for part in np.split(moved, np.cumsum(sizes)[:-1]))


@ONE_AND_TWO_PLAYERS
def test_moving_averages_of_the_weights_are_taken_over(name):
    x = images(16)
    average = compiled(
        without_noise(small(name)), lambda: SGD(0.01, use_ema=True, ema_momentum=0.9)
    )
    last = compiled(without_noise(small(name)), lambda: SGD(0.01), run_eagerly=True)
    quiet(last, x[:8])
    after_one = trained(last)
    quiet(last, x[8:])
    after_two = trained(last)
    quiet(average, x)
    expected = 0.9 * after_one + 0.1 * after_two
    np.testing.assert_allclose(trained(average), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(after_one, after_two, rtol=1e-3, atol=1e-5)


# -- callbacks ------------------------------------------------------------------------------------


def test_best_weights_come_back():
    model, x = compiled(small("vae"), run_eagerly=True), images(8)
    kept = []
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: kept.append(trained(stopping.model))
        ),
        stopping := keras.callbacks.EarlyStopping(
            "loss", patience=2, min_delta=1e9, restore_best_weights=True
        ),
    ]
    quiet(model, x, epochs=9, callbacks=callbacks)
    assert len(kept) == 3
    assert_same([trained(model)], [kept[0]])


# -- bad input ------------------------------------------------------------------------------------

GOOD = images(16)
GRAY = GOOD.astype("float32") / 255
WITH_NAN = GRAY.copy()
WITH_NAN[13, 2, 2, 0] = np.nan
BAD_IMAGES = {
    "another size": (images(16, (8, 9, 1)), r"`x` must have shape \(n, 8, 8, 1\).*Got \(\d+, 8, 9"),
    "colors": (images(16, (8, 8, 3)), r"`x` must have shape.*Got \(16, 8, 8, 3\)"),
    "no channel axis": (GOOD[..., 0], r"Got \(16, 8, 8\) \(add the channel axis"),
    "one image": (GOOD[0], r"`x` must have shape.*Got \(8, 8, 1\) \(one image is .*images\[None\]"),
    "channels first": (
        GOOD.transpose(0, 3, 1, 2),
        r"Got \(16, 1, 8, 8\) \(channels first: .*moveaxis",
    ),
    "int64": (GOOD.astype("int64"), r"`x` must be uint8 in 0..255 or floats.*Got int64"),
    "bool": (GOOD > 100, r"`x` must be uint8.*Got bool"),
    "floats to 255": (GOOD.astype("float32"), r"`x` as floats must lie in \[0, 1\].*Got values"),
    "floats below 0": (GRAY - 0.5, r"`x` as floats must lie in \[0, 1\].*Got values from -0\.5"),
    "NaN": (WITH_NAN, r"`x` must not hold NaN"),
    "infinity": (GRAY + np.inf, r"`x` as floats must lie in \[0, 1\].*inf"),
    "none at all": (GOOD[:0], r"`x` must hold at least one image"),
    "None": (None, r"`x` must hold images. Got None"),
    "a list": (GOOD.tolist(), r"`x` must be an array of images.*Got list"),
}


@pytest.fixture(scope="module")
def untouched():
    return compiled(small("factor_vae"))


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_bad_images_are_refused_before_anything_changes(bad, untouched):
    x, message = BAD_IMAGES[bad]
    before = state(untouched)
    with pytest.raises(ValueError, match=message):
        quiet(untouched, x)
    with pytest.raises(ValueError, match=message):
        untouched.evaluate(x, verbose=0)
    with pytest.raises(ValueError, match=message):
        untouched.predict(x, verbose=0)
    if bad not in ("None", "a list"):  # Keras takes a list as (x, y)
        with pytest.raises(ValueError, match=message.replace("`x`", "`validation_data`")):
            quiet(untouched, GOOD, validation_data=x)
    assert_same(state(untouched), before)


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("bad", ["another size", "int64", "floats to 255", "none at all"])
def test_bad_streams_are_refused_before_anything_changes(feed, bad, untouched):
    x, message = BAD_IMAGES[bad]
    if bad == "none at all":
        message = "`x` must hold at least one"
    if feed == "DataLoader":
        pytest.importorskip("torch")
    before = state(untouched)
    with pytest.raises(ValueError, match=message):
        quiet(untouched, FEEDS[feed](x), batch_size=None)
    assert_same(state(untouched), before)


@pytest.mark.parametrize("method", ["encode", "reconstruct", "traverse", "posterior", "latent_kl"])
def test_bad_images_are_refused_by_every_method(method, untouched):
    with pytest.raises(ValueError, match=r"`images` must have shape"):
        getattr(untouched, method)(GOOD[..., 0])
    with pytest.raises(ValueError, match=r"`images` must be uint8"):
        getattr(untouched, method)(GOOD.astype("int64"))


def test_bad_arguments_of_methods_are_refused(untouched):
    with pytest.raises(ValueError, match=r"`codes` must be \(n, 3\).*Got shape \(2, 4\)"):
        untouched.decode(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"Unknown latent 3\. Choose from: z0, z1, z2, or a"):
        untouched.traverse(GOOD[:1], latents=[3])
    with pytest.raises(ValueError, match=r"`n` must be an integer of at least 1. Got 0"):
        untouched.sample(0)
    with pytest.raises(ValueError, match=r"`batch_size` must be an integer of at least 1. Got 0"):
        untouched.encode(GOOD, batch_size=0)


TOO_SMALL = [
    ("factor_vae", 16, 3, r"A batch of `x` must hold at least 4 images for FactorVAE.*Got 3"),
    ("factor_vae", 3, 8, r"A batch of `x` must hold at least 4 images for FactorVAE.*Got 3"),
    ("factor_vae", 11, 8, r"The last batch of `x` must hold at least 4 images.*Got 3"),
    ("beta_tcvae", 16, 1, r"A batch of `x` must hold at least 2 images for BetaTCVAE.*Got 1"),
    ("beta_tcvae", 9, 8, r"The last batch of `x` must hold at least 2 images.*Got 1"),
    ("dip_vae", 9, 8, r"The last batch of `x` must hold at least 2 images for DIPVAE.*Got 1"),
]


@pytest.mark.parametrize(("name", "n", "batch_size", "message"), TOO_SMALL)
def test_batches_too_small_are_refused(name, n, batch_size, message):
    model = compiled(small(name))
    before = state(model)
    with pytest.raises(ValueError, match=message):
        quiet(model, images(n), batch_size=batch_size)
    assert_same(state(model), before)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere sizes are known before a step")
def test_later_batches_too_small_are_refused():
    model = compiled(small("factor_vae"))
    with pytest.raises(Exception, match=r"A batch must hold at least 4 images for FactorVAE"):
        quiet(model, tf_data(images(19)), batch_size=None)
    assert np.isfinite(trained(model)).all()


def test_what_is_split_off_for_validation_leaves_no_small_batch():
    model, x = compiled(small("factor_vae")), images(16)
    before = state(model)
    with pytest.raises(ValueError, match=r"The last batch of `x` must hold at least 4.*Got 1"):
        quiet(model, x, validation_split=0.4)  # leaves 8 and 1
    assert_same(state(model), before)


def test_small_batches_are_welcome_where_nothing_is_learned():
    model = compiled(small("factor_vae"), run_eagerly=True)
    assert np.isfinite(model.evaluate(images(9), batch_size=8, verbose=0)).all()
    quiet(model, images(8), validation_data=images(1))
    assert model.predict(images(1), verbose=0).shape == (1, *SHAPE)


BAD_MODELS = {
    "negative beta": (BetaVAE, {"beta": -1.0}, "`beta` is a number of at least 0.*Got -1"),
    "beta not finite": (BetaVAE, {"beta": np.inf}, "`beta` is a number of at least 0.*Got inf"),
    "beta as text": (BetaVAE, {"beta": "4"}, "`beta` is a number of at least 0.*Got '4'"),
    "negative gamma": (FactorVAE, {"gamma": -2}, "`gamma` is a number of at least 0.*Got -2"),
    "negative capacity": (MODELS["annealed_vae"], {"capacity": -1}, "`capacity` is a number"),
    "negative lambda_od": (MODELS["dip_vae"], {"lambda_od": -1}, "`lambda_od` is a number"),
    "negative lambda_d": (MODELS["dip_vae"], {"lambda_d": -1}, "`lambda_d` is a number"),
    "negative weight": (
        BetaTCVAE,
        {"mutual_information_weight": -1},
        "`mutual_information_weight` is a number of at least 0",
    ),
    "unknown variant": (MODELS["dip_vae"], {"variant": "iii"}, "is 'i' or 'ii'. Got 'iii'"),
    "unknown estimator": (
        BetaTCVAE,
        {"estimator": "mmd"},
        "Unknown estimator 'mmd'. Choose from: mss, mws",
    ),
    "mss without size": (BetaTCVAE, {"estimator": "mss"}, "needs `dataset_size`.*Got None"),
    "dataset_size": (BetaTCVAE, {"dataset_size": 0.5}, "`dataset_size` must be an integer"),
    "unknown encoder": (VAE, {"encoder": "convnet"}, "Unknown encoder 'convnet'.*burgess, conv"),
    "unknown decoder": (VAE, {"decoder": "convnet"}, "Unknown decoder 'convnet'.*burgess, conv"),
    "unknown likelihood": (VAE, {"likelihood": "poisson"}, "poisson.*bernoulli"),
    "likelihood of no kind": (VAE, {"likelihood": 3}, "`likelihood` is a name.*Got 3"),
    "encoder of no kind": (VAE, {"encoder": len}, "`encoder` must be a Keras model or the name"),
    "no latents": (VAE, {"latent_dim": 0}, "`latent_dim` must be an integer.*Got 0"),
    "half a latent": (VAE, {"latent_dim": 2.5}, r"`latent_dim` must be an integer.*Got 2\.5"),
    "negative seed": (VAE, {"seed": -1}, "`seed` must be an integer of at least 0. Got -1"),
    "flat shape": (VAE, {"image_shape": (8, 8)}, r"`image_shape` is \(height.*Got \(8, 8\)"),
    "empty shape": (VAE, {"image_shape": (0, 8, 1)}, r"`image_shape` is .*Got \(0, 8, 1\)"),
    "not sixteenths": (VAE, {"encoder": "conv"}, r"divisible by 16.*Got image_shape \(8, 8, 1\)"),
}


@pytest.mark.parametrize("bad", BAD_MODELS)
def test_bad_models_are_refused(bad):
    kind, kwargs, message = BAD_MODELS[bad]
    good = {"image_shape": SHAPE, "latent_dim": LATENTS, "encoder": "mlp", "decoder": "mlp"}
    with pytest.raises(ValueError, match=message):
        kind(**{**good, **kwargs})


def test_own_networks_of_wrong_shapes_are_refused():
    no_features = keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"`encoder` must give features.*Got \(n, 6, 6, 2\)"):
        small("vae", encoder=no_features)
    other_images = keras.Sequential([layers.Input((9, 9, 1)), layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"`encoder` must take inputs of shape \(n, 8, 8, 1\)"):
        small("vae", encoder=other_images)
    no_image = keras.Sequential([layers.Input((LATENTS,)), layers.Dense(64)])
    with pytest.raises(ValueError, match=r"`decoder` must give outputs.*\(n, 8, 8, 1\).*\(n, 64\)"):
        small("vae", decoder=no_image)
    with pytest.raises(ValueError, match=r"`decoder` must take inputs of shape \(n, 5\)"):
        small("vae", latent_dim=5, decoder=networks.mlp_decoder(SHAPE, 3, width=0.01))
    one_logit = keras.Sequential([layers.Input((LATENTS,)), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`discriminator` must give two logits.*\(n, 1\)"):
        small("factor_vae", discriminator=one_logit)


def test_damaged_files_are_refused(tmp_path):
    model = compiled(small("vae"))
    model.save(tmp_path / "whole.keras")
    content = (tmp_path / "whole.keras").read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path = tmp_path / f"first_{length}.keras"
        path.write_bytes(content[:length])
        with pytest.raises(Exception, match=r"."):
            keras.saving.load_model(path)


def test_single_batches():
    x = images(8)
    model, other = (compiled(small("factor_vae")) for _ in range(2))
    logs = model.train_on_batch(x, return_dict=True)
    assert set(logs) == set(model.terms)
    other.fit(x, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(trained(model), trained(other), atol=1e-6)
    assert model.steps_taken() == 1
    assert np.isfinite(list(model.test_on_batch(x, return_dict=True).values())).all()
    assert model.predict_on_batch(x).shape == x.shape
