"""Chains of simple layers give what Keras gives, and what a user attaches to a layer still acts."""

import copy

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import BACKEND

from keras_disent.layers.acceleration import accelerate

SHAPE = (8, 8, 1)


def steps():
    return [
        layers.Conv2D(4, 4, 2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(6),
        layers.LeakyReLU(),
        layers.Dense(16, use_bias=False, activation="tanh"),
        layers.Reshape((4, 4, 1)),
        layers.Conv2DTranspose(2, 4, 2, padding="same"),
        layers.Activation("sigmoid"),
    ]


def functional(*chain):
    x = inputs = keras.Input(SHAPE)
    for step in chain:
        x = step(x)
    return keras.Model(inputs, x)


def sequential(*chain):
    return keras.Sequential([keras.Input(SHAPE), *chain])


def images(n=3):
    return np.random.default_rng(0).random((n, *SHAPE), "float32")


def assert_same_as_keras(network, x=None):
    x = ops.convert_to_tensor(images() if x is None else x)
    for layer in network._flatten_layers():
        vars(layer).pop("call", None)
    expected = ops.convert_to_numpy(network(x))
    found = ops.convert_to_numpy(accelerate(network)(x))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)
    return found


def calls(monkeypatch):
    """Note the layers that are called as Keras calls them."""
    noted, call = [], keras.Layer.__call__

    def note(self, *args, **kwargs):
        noted.append(self.name)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(keras.Layer, "__call__", note)
    return noted


@pytest.mark.parametrize("build", [functional, sequential])
def test_chains_give_what_keras_gives(build, monkeypatch):
    network = build(*steps())
    assert_same_as_keras(network)
    noted = calls(monkeypatch)
    network(ops.convert_to_tensor(images()))
    assert (noted == [network.name]) == (BACKEND == "torch")
    assert_same_as_keras(copy.deepcopy(network))


@pytest.mark.parametrize("build", [functional, sequential])
def test_chains_learn_what_those_of_keras_learn(build):
    ours, theirs = build(*steps()), build(*steps())
    theirs.set_weights(ours.get_weights())
    accelerate(ours)
    for network in (ours, theirs):
        network.compile("sgd", "mse")
        network.fit(images(), np.ones((3, 8, 8, 2), "float32"), epochs=3, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


class Doubled(layers.Dense):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs)


def two_ways():
    x = inputs = keras.Input((4,))
    dense = layers.Dense(4)
    return keras.Model(inputs, dense(dense(x)))


def branches():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(4)(inputs) + layers.Dense(4)(inputs))


def part_of_a_chain():
    """Share the layers of a longer chain."""
    x = inputs = keras.Input((4,))
    x = layers.Dense(4)(x)
    keras.Model(inputs, layers.Dense(2)(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "make",
    [
        two_ways,
        branches,
        part_of_a_chain,
        lambda: keras.Sequential([keras.Input((4,)), Doubled(3), layers.Dropout(0.5)]),
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="bfloat16")]),
        lambda: keras.Sequential([keras.Input((2, 4)), layers.Dense(3), layers.Flatten()]),
        lambda: keras.Sequential(
            [keras.Input((4,)), keras.Sequential([layers.Dense(3), layers.ReLU()]), layers.Dense(2)]
        ),
    ],
)
def test_other_networks_give_what_keras_gives(make):
    network = make()
    assert_same_as_keras(
        network, images(2).reshape(2, -1)[:, :8].reshape(-1, *network.input_shape[1:])
    )


@pytest.mark.parametrize("place", [lambda x: [x], lambda x: (x,), lambda x: {"y": x}])
def test_outputs_stay_where_they_are(place):
    inputs = keras.Input((4,))
    network = keras.Model(inputs, place(layers.Dense(3)(inputs)))
    x = ops.convert_to_tensor(images(2).reshape(-1, 4))
    expected, found = network(x), accelerate(network)(x)
    assert type(found) is type(expected)
    keras.tree.assert_same_structure(found, expected)


@pytest.mark.parametrize(
    "build", [keras.Model, lambda i, o: keras.Sequential([i, layers.Dense(3)])]
)
def test_inputs_of_another_dtype_are_cast(build):
    inputs = keras.Input((4,), dtype="int32")
    network = build(inputs, layers.Dense(3)(inputs))
    assert_same_as_keras(network, 9 * images(2).reshape(-1, 4))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_precisions_give_what_keras_gives(policy):
    dense = [layers.Dense(6, dtype=policy), layers.Dense(2, dtype="float32")]
    network = keras.Sequential([keras.Input((4,)), *dense])
    x = ops.convert_to_tensor(images(2).reshape(-1, 4))
    expected = ops.convert_to_numpy(network(x))
    np.testing.assert_allclose(ops.convert_to_numpy(accelerate(network)(x)), expected, atol=1e-2)


def test_layers_that_are_built_later_give_what_keras_gives():
    network = accelerate(keras.Sequential([layers.Flatten(), layers.Dense(3)]))
    assert network(images()).shape == (3, 3)
    network.add(layers.Dense(2))
    assert network(images()).shape == (3, 2)
    assert_same_as_keras(network)


def test_activations_may_be_taken_away():
    network = accelerate(functional(*steps()))
    for layer in network.layers:
        if isinstance(layer, (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)):
            layer.activation = None
    assert_same_as_keras(network)


def test_losses_of_layers_are_counted():
    network = accelerate(functional(layers.Dense(2, activity_regularizer="l2")))
    network(images())
    assert len(network.losses) == 1
    assert ops.convert_to_numpy(network.losses[0]) > 0


def test_networks_are_quantized():
    network = accelerate(functional(layers.Flatten(), layers.Dense(2)))
    before = ops.convert_to_numpy(network(images()))
    network.quantize("int8")
    after = ops.convert_to_numpy(network(images()))
    assert 0 < np.abs(before - after).max() < 0.1
    assert_same_as_keras(network)


def test_low_rank_weights_act():
    network = accelerate(functional(layers.Flatten(), layers.Dense(2)))
    before = ops.convert_to_numpy(network(images()))
    dense = network.layers[-1]
    dense.enable_lora(1)
    dense.lora_kernel_b.assign(np.ones((1, 2), "float32"))
    assert np.abs(ops.convert_to_numpy(network(images())) - before).max() > 1e-3
    assert_same_as_keras(network)


@pytest.mark.skipif(BACKEND != "torch", reason="hooks are PyTorch's")
@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
def test_hooks_are_called(kind):
    network = accelerate(functional(*steps()))
    seen = []
    register = getattr(network.layers[3], f"register_{kind}_hook")
    handle = register(lambda module, *args: seen.append(module.name))
    ops.sum(network(ops.convert_to_tensor(images()))).backward()
    assert seen == [network.layers[3].name]
    handle.remove()


def test_images_of_another_shape_are_refused():
    network = accelerate(functional(*steps()))
    with pytest.raises(ValueError, match="shape"):
        network(np.zeros((2, 9, 8, 1), "float32"))
