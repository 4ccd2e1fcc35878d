"""`parallel.devices` and `--devices`: two devices learn what one does, and files are the same.

The number of devices is fixed when a backend starts, so what needs two runs in a process of its
own, where the CPU is divided.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import (
    BACKEND,
    SHAPE,
    arrays,
    assert_same,
    compiled,
    elsewhere,
    images,
    labels_of,
    learned_from,
    small,
    state,
    trained,
)
from support.commands import SMALL, call, process

from keras_disent import VAE, FactorVAE, load_model, networks, parallel
from keras_disent.engine.batches import Batches
from keras_disent.experiments import Config, Run
from keras_disent.models import MODELS
from keras_disent.models.supervision import Supervision

SEVERAL = pytest.mark.skipif(
    BACKEND == "torch" or (os.cpu_count() or 1) < 2, reason="needs JAX or TensorFlow, and two cores"
)
ON_JAX = pytest.mark.skipif(BACKEND != "jax", reason="about JAX")
ON_TENSORFLOW = pytest.mark.skipif(BACKEND != "tensorflow", reason="about TensorFlow")
SGD = partial(keras.optimizers.SGD, 0.001)  # Adam would make much of the rounding of a gradient


def new(name):
    """Return a small model; "vae:l2" is one with supervision of that kind."""
    name, _, kind = name.partition(":")
    return small(name, **({"supervision": Supervision(kind, 100.0)} if kind else {}))


def fit(name, noise=False):
    """Train a small model for four steps; return it, and what `fit` and `evaluate` logged."""
    model, x = compiled(new(name), SGD), images(32)
    model.noise.enabled = noise
    labels = None
    if ":" in name:  # the two devices know labels of different numbers of images
        labels = labels_of(x) / 255
        labels[np.arange(32) % 16 > 8] = np.nan
    data = learned_from(model, x, labels)
    given = {"batch_size": 16, "verbose": 0}
    logs = model.fit(*data, epochs=2, shuffle=False, **given).history
    evaluated = model.evaluate(*data, return_dict=True, **given)
    return model, np.array([*(values[-1] for values in logs.values()), *evaluated.values()])


def assert_two_learn_what_one_does(names, noise=False):
    with parallel.devices(2) as found:
        assert found == ["cpu:0", "cpu:1"]
    for name in names:
        one, logs = fit(name, noise)
        with parallel.devices(2):
            two, logs_of_two = fit(name, noise)
        assert np.abs(trained(one) - trained(new(name))).max() > 1e-3
        # All of it: also the moments of codes and labels, seeds, multipliers and the step.
        for a, b in zip(state(one), state(two), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(logs_of_two, logs, rtol=1e-3, atol=1e-5, err_msg=name)


@SEVERAL
def test_two_devices_learn_what_one_does():
    if BACKEND == "jax":  # one program: also the noise is that of one device
        elsewhere(assert_two_learn_what_one_does, ["vae", "factor_vae"], True)
    else:
        elsewhere(assert_two_learn_what_one_does, ["autoencoder", "vae:l2"])


@SEVERAL
@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, "vae:l2", "vae:cross_entropy", "vae:covariance"])
def test_two_devices_learn_what_one_does_with_every_method(name):
    elsewhere(assert_two_learn_what_one_does, [name])


def look_at_the_layout_on_jax():
    import jax

    seen = []

    class Watched(FactorVAE):
        def encode_batch(self, batch, training):
            found = super().encode_batch(batch, training)
            for tensor in (batch, found[2]):
                look = partial(see, shape=tensor.shape)
                jax.debug.inspect_array_sharding(tensor, callback=look)
            return found

    def see(sharding, shape):
        seen.append((shape, sharding.shard_shape(shape)))

    batches = Batches(lambda n, rng: images(n), 32, 16, steps=2)
    with parallel.devices(2):
        discriminator = networks.discriminator(3, units=16, depth=2)
        model = Watched(SHAPE, 3, encoder="mlp", decoder="mlp", discriminator=discriminator)
        model.compile()
        model.fit(batches, verbose=0)
    # Of 16 images, each of two players sees 8: 4 on each device, and the same for their codes.
    assert sorted(set(seen)) == [((8, 3), (4, 3)), ((8, *SHAPE), (4, *SHAPE))]
    assert len(seen) >= 4
    for variable in model.trainable_variables:
        left, right = (np.asarray(shard.data) for shard in variable.value.addressable_shards)
        np.testing.assert_array_equal(left, right)
        assert left.shape == tuple(variable.shape)
    assert keras.distribution.distribution() is None


@SEVERAL
@ON_JAX
def test_each_device_holds_half_of_a_batch_and_all_weights():
    elsewhere(look_at_the_layout_on_jax)


def look_at_the_replicas_on_tensorflow():
    import tensorflow as tf

    seen = {}

    class Watched(VAE):
        def objective(self, player, batch, training):
            tf.print(tf.shape(batch)[0], tf.reduce_sum(tf.cast(batch, "int32")), output_stream=said)
            pixels = tf.cast(batch, "float32")
            seen[pixels.device] = True
            return super().objective(player, batch, training)

    said = "file://shares.txt"
    x = images(8)
    batches = Batches(lambda n, rng: x[:n], 32, 8, steps=1)
    with parallel.devices(2):
        model = Watched(SHAPE, 3, encoder="mlp", decoder="mlp")
        model.compile()
    model.fit(batches, epochs=3, verbose=0)  # it has been made for two, and stays so
    assert [device[-5:] for device in sorted(seen)] == ["CPU:0", "CPU:1"]
    lines = Path("shares.txt").read_text().splitlines()
    shares = {tuple(map(int, line.split())) for line in lines}
    assert shares == {(4, int(x[:4].sum())), (4, int(x[4:].sum()))}
    for variable in [*model.trainable_variables, *model.optimizer.variables]:
        copies = model.distribute_strategy.experimental_local_results(variable.value)
        assert [copy.device[-5:] for copy in copies] == ["CPU:0", "CPU:1"]
        np.testing.assert_array_equal(*(copy.numpy() for copy in copies))
    assert not tf.distribute.has_strategy()
    with parallel.devices(2):
        model = VAE(SHAPE, 3, encoder=_with_batch_normalization(), decoder="mlp")
        model.compile()
    _refused("normalizes by batch", model.fit, images(8), batch_size=8, verbose=0)
    with parallel.devices(2):
        encoder = _with_batch_normalization(synchronized=True)
        model = VAE(SHAPE, 3, encoder=encoder, decoder="mlp")
        model.compile()
    model.fit(images(8), batch_size=8, verbose=0)


def _with_batch_normalization(**kwargs):
    normalize = layers.BatchNormalization(**kwargs)
    return keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(4), normalize])


@pytest.mark.slow
@SEVERAL
@ON_TENSORFLOW
def test_replicas_share_a_batch_and_keep_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere(look_at_the_replicas_on_tensorflow)


# -- runs -----------------------------------------------------------------------------------------

# Without noise, of which replicas of TensorFlow draw their own.
RUN = [*SMALL, "--model", "autoencoder", "--metrics", "unsupervised"]


@SEVERAL
@pytest.mark.slow
def test_a_run_goes_on_with_any_number_of_devices(tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    training = process("train", "--out", two, *RUN, "--devices", "2")
    out, _ = training.communicate(timeout=240)
    assert training.returncode == 0, out
    assert f"({BACKEND}, 2 devices)" in out
    assert call("train", "--out", one, *RUN) == 0
    names = [{p.relative_to(run).as_posix() for p in run.rglob("*")} for run in (one, two)]
    assert names[0] == names[1]
    first, second = (json.loads((run / "config.json").read_text()) for run in (one, two))
    del first["made_with"], second["made_with"]  # one of them with more threads
    assert first == second
    _assert_alike(one, two, 6)
    for run in (one, two):
        assert call("train", "--out", run, "--resume", "--steps", "9") == 0
    _assert_alike(one, two, 9)
    # And the other way round.
    resume = ("--resume", "--steps", "12", "--devices", "2")
    training = process("train", "--out", one, *resume)
    out, _ = training.communicate(timeout=240)
    assert training.returncode == 0, out
    assert call("train", "--out", two, "--resume", "--steps", "12") == 0
    _assert_alike(one, two, 12)


def _assert_alike(one, two, step):
    models = [load_model(run) for run in (one, two)]
    assert [model.steps_taken() for model in models] == [step, step]
    compiled_as = [model.get_compile_config() for model in models]
    for config in compiled_as:  # Keras numbers the optimizers of a process
        del config["optimizer"]["config"]["name"]
    assert compiled_as[0] == compiled_as[1]
    for a, b in zip(*map(state, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    histories = [
        np.loadtxt(run / "history.csv", delimiter=",", skiprows=1, ndmin=2) for run in (one, two)
    ]
    np.testing.assert_allclose(*histories, rtol=1e-4)
    scores = [json.loads((run / "scores.json").read_text())["loss"]["value"] for run in (one, two)]
    np.testing.assert_allclose(*scores, rtol=1e-4)


def go_on_with_two(folder):
    run, taken = Run.open(folder), []
    model = run.train(lambda done, logs: taken.append(done), devices=2)
    assert model.steps_taken() == run.config.steps == sum(taken)
    if BACKEND == "jax":
        assert len(model.trainable_variables[0].value.sharding.device_set) == 2
    else:
        assert model.distribute_strategy.num_replicas_in_sync == 2


@pytest.mark.slow
@SEVERAL
def test_a_run_of_one_device_goes_on_with_two(tmp_path):
    options = {"image_size": 32, "network": "mlp", "width": 0.02, "latent_dim": 3}
    config = Config(
        model="autoencoder",
        subset={"shape": ["square"], "orientation": [0], "scale": [0, 5]},
        steps=4,
        epoch_steps=2,
        player_batch=8,
        **options,
    )
    one = Run.create(config, tmp_path / "one")
    one.train(pictures=False)
    one.extend(8)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one.train(pictures=False)
    elsewhere(go_on_with_two, str(tmp_path / "two"))
    models = [load_model(tmp_path / name) for name in ("one", "two")]
    for a, b in zip(*map(state, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


# -- what is refused ------------------------------------------------------------------------------


def _refused(message, function, *args, **kwargs):
    with pytest.raises(ValueError, match=message):
        function(*args, **kwargs)


def _enter(number):
    with parallel.devices(number):
        pass


@pytest.mark.parametrize("number", [0, -2, 1.5, "2", True, None])
def test_numbers_of_devices(number):
    _refused("`devices` must be an integer of at least 1. Got", _enter, number)


def test_one_device_changes_nothing():
    with parallel.devices(1) as found:
        assert found == []
        model = compiled(small("vae"))
    x = images(7)  # any batch will do
    model.fit(x, batch_size=5, verbose=0)
    with parallel.devices(1):
        again = compiled(small("vae"))
    assert_same(arrays(again.trainable_variables), arrays(small("vae").trainable_variables))


@pytest.mark.skipif(BACKEND != "torch", reason="about PyTorch")
@pytest.mark.parametrize("number", [2, "all"])
def test_pytorch_is_told_what_can(number):
    message = "with JAX and with TensorFlow, not with PyTorch. Set KERAS_BACKEND=jax or tensorflow"
    _refused(message, _enter, number)


@pytest.mark.skipif(BACKEND == "torch", reason="about the others")
def test_more_devices_than_there_are():
    ops.zeros(1)  # the backend has started, and its devices are what they are
    _refused(r"at most the number of available devices, 1 \(cpu:0\). Got 3.", _enter, 3)


def refuse_batches():
    with parallel.devices(2):
        vae, factor_vae = compiled(small("vae")), compiled(small("factor_vae"))
        two = "among 2 devices: `batch_size` and the size of the last batch must be multiples of 2"
        four = "multiples of 4"
        _refused(f"^A batch of `x` .* {two}.* Got 5", vae.fit, images(10), batch_size=5)
        _refused(f"^The last batch of `x` .* {two}.* Got 1", vae.fit, images(9), batch_size=8)
        stream = Batches(lambda n, rng: images(n), 32, 5, steps=2)
        _refused(f"{two}.* Got 5", vae.fit, stream)
        _refused(f"{two}.* Got 5", vae.evaluate, images(10), batch_size=5)
        _refused(four, factor_vae.fit, images(12), batch_size=6)
        assert vae.steps_taken() == factor_vae.steps_taken() == 0
        factor_vae.evaluate(images(12), batch_size=6, verbose=0)  # all see all of it


@SEVERAL
def test_batches_that_cannot_be_shared_out():
    elsewhere(refuse_batches)


def refuse_on_the_command_line(folder):
    train = ("train", "--out", folder, *SMALL, "--model", "vae")
    assert call(*train, "--devices", "2", "--batch-size", "7") == 2
    assert call(*train, "--devices", "99") == 2
    assert not Path(folder).exists()
    assert call(*train, "--batch-size", "7", "--steps", "1") == 0
    before = Path(folder, "config.json").read_text()
    assert call("train", "--out", folder, "--resume", "--steps", "5", "--devices", "2") == 2
    assert Path(folder, "config.json").read_text() == before
    assert call("train", "--out", folder, "--resume", "--steps", "2", "--devices", "1") == 0


@SEVERAL
@pytest.mark.slow
def test_the_command_line_refuses_before_it_writes(tmp_path):
    elsewhere(refuse_on_the_command_line, str(tmp_path / "run"))


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_the_command_line_tells_what_it_takes(number, tmp_path, capsys):
    assert call("train", "--out", tmp_path / "run", *RUN, "--devices", number) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--devices takes an integer of at least 1, or all. Got" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BACKEND != "torch", reason="about PyTorch")
def test_the_command_line_tells_pytorch_what_can(tmp_path, capsys):
    assert call("train", "--out", tmp_path / "run", *RUN, "--devices", "2") == 2
    assert "Set KERAS_BACKEND=jax or tensorflow" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
