"""Training under Keras's and TensorFlow's own distributions equals training on one device.

The number of devices is fixed when a backend starts, so all of it runs in processes of its own.
"""

import os

import keras
import numpy as np
import pytest
from support.checks import BACKEND, compiled, elsewhere, images, small, trained

NAMES = ["vae", "factor_vae", "beta_tcvae"]
SGD = keras.optimizers.SGD


def fit(model, x, batch_size=16):
    model.noise.enabled = False
    model.fit(x, batch_size=batch_size, shuffle=False, verbose=0)
    return trained(model)


# -- JAX: one program over all devices ------------------------------------------------------------


def on_two_devices(path):
    devices = keras.distribution.list_devices("cpu")
    assert len(devices) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    weights = {name: fit(compiled(small(name)), images(80)) for name in NAMES}
    layout = small("vae").encoder.layers[-1].kernel.value.sharding
    assert len(layout.device_set) == 2
    np.savez(path, **weights)


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is for JAX")
def test_data_parallel_training_is_that_of_one_device(tmp_path):
    path = str(tmp_path / "weights.npz")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    elsewhere(on_two_devices, path, XLA_FLAGS=flags)
    there = np.load(path)
    for name in NAMES:
        model = compiled(small(name))
        born = trained(model)
        np.testing.assert_allclose(there[name], fit(model, images(80)), atol=1e-5)
        assert np.abs(there[name] - born).max() > 1e-2


# -- TensorFlow: one program for each device ------------------------------------------------------


def mirrored():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def one_player_moves(model, player):
    """Compile so that the weights after a step reveal the gradient of one player's term."""
    model.compile({p: SGD(0.01 * (p == player)) for p in model.players})
    return model


def on_two_replicas(path):
    strategy = mirrored()
    with strategy.scope():
        model = compiled(small("vae"))
        assert strategy.num_replicas_in_sync == 2
    results = {"vae": fit(model, images(80))}
    for name in NAMES[1:]:
        with strategy.scope():
            players = small(name).players
        for player in players:
            with strategy.scope():
                model = one_player_moves(small(name), player)
            results[f"{name}-{player}"] = fit(model, images(16))
    np.savez(path, **results)


def draw_on_two_replicas(path):
    strategy = mirrored()
    with strategy.scope():
        noise = small("vae").noise
    zeros, codes = np.zeros((4, 3), "float32"), np.arange(24, dtype="float32").reshape(8, 3)

    def draw():
        return noise.gaussian(zeros, zeros + 1), noise.permute(codes)

    import tensorflow as tf

    gaussian, permuted = strategy.run(tf.function(draw))
    first, second = strategy.experimental_local_results(gaussian)
    left, right = strategy.experimental_local_results(permuted)
    np.savez(path, first=first, second=second, left=left, right=right)


TENSORFLOW = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")


@TENSORFLOW
def test_mirrored_training(tmp_path):
    path = str(tmp_path / "weights.npz")
    elsewhere(on_two_replicas, path)
    there = np.load(path)
    model = compiled(small("vae"))
    born = trained(model)
    np.testing.assert_allclose(there["vae"], fit(model, images(80)), atol=1e-5)
    assert np.abs(there["vae"] - born).max() > 1e-2

    # Also terms that compare the images of a batch (total correlation), whose gradient is that of
    # the whole batch, and not the mean of those of the replicas' parts.
    x = images(16)
    for name in NAMES[1:]:
        for player in small(name).players:
            born = trained(small(name))
            moved = there[f"{name}-{player}"] - born
            expected = fit(one_player_moves(small(name), player), x) - born
            assert np.abs(expected).max() > 1e-4
            np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-6)
            if name == "beta_tcvae":
                halves = [
                    fit(one_player_moves(small(name), player), half) for half in (x[:8], x[8:])
                ]
                assert np.abs(expected - (np.mean(halves, axis=0) - born)).max() > 1e-5


@TENSORFLOW
def test_noise_differs_between_replicas(tmp_path):
    path = str(tmp_path / "noise.npz")
    elsewhere(draw_on_two_replicas, path)
    there = np.load(path)
    assert (there["first"] != there["second"]).all()
    assert (there["left"] != there["right"]).any()
    np.testing.assert_array_equal(np.sort(there["left"], axis=0), np.sort(there["right"], axis=0))
