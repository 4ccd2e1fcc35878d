"""Every model obeys every law of `checks.py`; what is special to one has a test of its own."""

import re

import keras
import numpy as np
import pytest
from support.checks import (
    BACKEND,
    LATENTS,
    SHAPE,
    arrays,
    assert_same,
    assert_seeded,
    check_model,
    compiled,
    images,
    laws_of,
    learned_from,
    plain,
    policy,
    quick_on_torch,
    reload,
    small,
)

from keras_disent import testing
from keras_disent.layers.latents import LIKELIHOODS
from keras_disent.models import MODELS, VAE, Autoencoder, FactorVAE

# PyTorch compiles nothing, so all laws are quick there. On the other backends, what a model has
# from its base is looked at for one model of each, and for the others among the slow tests.
INHERITED = (
    "arrays_have_their_shapes",
    "batch_size_changes_no_result",
    "posterior_is_a_distribution",
    "seed_fixes_the_initial_weights",
)
ONE_OF_EACH = ("vae", "factor_vae", "autoencoder", "info_gan")


def cases():
    for name in MODELS:
        for law in laws_of(name):
            slow = BACKEND != "torch" and law in INHERITED and name not in ONE_OF_EACH
            yield pytest.param(name, law, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "law"), list(cases()))
def test_every_model(name, law):
    check_model(name, laws=[law])


VARIANTS = [
    *[("vae", {"likelihood": name}) for name in LIKELIHOODS],
    ("dip_vae", {"variant": "i"}),
    ("beta_tcvae", {"estimator": "mss", "dataset_size": 100}),
    ("beta_tcvae", {"dataset_size": 100}),
    ("info_gan", {"categorical": (3,), "gradient_penalty_weight": 0.0}),
]


@quick_on_torch
@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_variants(name, kwargs):
    check_model(name, ["arrays_have_their_shapes"], **kwargs)
    data, promises = learned_from(small(name), images(16)), ["configuration", "terms", "players"]
    testing.check_model(lambda: small(name, **kwargs), *data, promises=promises)


# -- the order of reading and moving --------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow's graphs can lose the order")
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("qlae", "causal_vae") else pytest.param(name, marks=pytest.mark.slow)
        for name in MODELS
    ],
)
def test_no_variable_moves_before_it_is_read(name):
    import tensorflow as tf
    from tensorflow.python.eager import context

    model = compiled(small(name))
    batch = tuple(map(tf.constant, learned_from(model, images(16))))
    context.enable_run_metadata()
    try:
        tf.function(lambda: model.train_step(batch))()
        graphs = context.export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    graph = max((g.post_optimization_graph for g in graphs), key=lambda graph: len(graph.node))
    reads, moves = reads_and_moves(graph)
    assert moves
    for name, variable, waits_for in moves:
        unordered = {
            read for read, its_own, its in reads if its_own == variable and name not in its
        }
        assert unordered <= waits_for, name


def reads_and_moves(graph):
    """Return (node, its variable, the nodes that it waits for) of all reads, and of all moves."""
    inputs = {n.name: [i.lstrip("^").split(":")[0] for i in n.input] for n in graph.node}

    def waited_for(name):
        seen, left = set(), [name]
        while left:
            new = set(inputs.get(left.pop(), ())) - seen
            seen |= new
            left += new
        return seen

    found = {"read": [], "move": []}
    for node in graph.node:
        if node.op == "ReadVariableOp" or re.fullmatch("Assign.*VariableOp", node.op):
            kind = "read" if node.op == "ReadVariableOp" else "move"
            found[kind].append((node.name, inputs[node.name][0], waited_for(node.name)))
    return found["read"], found["move"]


# -- special cases --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("floatx", ["float64", "bfloat16"])
@quick_on_torch
def test_the_type_that_keras_computes_in_by_itself_changes_no_model(name, floatx):
    def trained(**given):
        model = compiled(small(name, **given), optimizer=lambda: keras.optimizers.SGD(2**-13))
        model.noise.enabled = False
        x = images(16)
        logs = model.fit(*learned_from(model, x), batch_size=8, shuffle=False, verbose=0).history
        return model.encode(x), np.array([values[0] for values in logs.values()])

    codes, logs = trained()
    policy_of_today = keras.config.dtype_policy()
    keras.config.set_floatx(floatx)
    try:
        keras.config.set_dtype_policy(policy_of_today)
        codes_there, logs_there = trained()
    finally:
        keras.config.set_floatx("float32")
    np.testing.assert_allclose(codes_there, codes, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logs_there, logs, rtol=1e-3, atol=1e-3)


@quick_on_torch
@pytest.mark.parametrize("kind", [FactorVAE, Autoencoder])
def test_named_networks_stay_names_and_have_the_seed_of_their_model(kind):
    named = {"encoder": "mlp", "decoder": "mlp"}
    first, same, other = (kind(SHAPE, LATENTS, **named, seed=seed) for seed in (1, 1, 2))
    assert_same(arrays(first.variables), arrays(same.variables))
    assert_seeded(first, other)
    config = first.get_config()
    assert named.items() <= config.items()
    assert plain(kind.from_config(config).get_config()) == plain(config)


@quick_on_torch
def test_named_networks_keep_the_precision_of_their_model():
    with policy("mixed_bfloat16"):
        model = FactorVAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp")
    model.compile()
    given = FactorVAE(SHAPE, LATENTS, encoder="mlp", decoder="mlp", dtype="mixed_bfloat16")
    loaded = reload(model)
    for other in (given, loaded):
        for part in ("encoder", "decoder", "discriminator"):
            kinds = [layer.dtype_policy.name for layer in getattr(other, part).layers]
            assert kinds == [layer.dtype_policy.name for layer in getattr(model, part).layers]
            assert "mixed_bfloat16" in kinds
    np.testing.assert_array_equal(loaded.encode(images(5)), model.encode(images(5)))


def test_likelihoods_take_their_arguments_in_words():
    shape = (4, 4, 1)
    given = {"encoder": "mlp", "decoder": "mlp"}
    model = VAE(shape, 2, likelihood="gaussian_learned_scale(scale=0.2)", **given)
    assert (model.likelihood.scale, model.likelihood.learn_scale) == (0.2, True)
    assert VAE.from_config(model.get_config()).likelihood.learn_scale
    for text, message in {
        "gauss(1)": r"Unknown likelihood 'gauss'\. Choose from: bernoulli, ",
        "gaussian(0": "'gaussian\\(0' is not a likelihood: ",
        "gaussian(scale=-1)": r"is not a likelihood: `scale` .* is above 0\. Got -1\.",
        "gaussian(width=1)": "is not a likelihood: ",
        "gaussian(open('x'))": "is not a likelihood: ",
    }.items():
        with pytest.raises(ValueError, match=message):
            VAE(shape, 2, likelihood=text, **given)
