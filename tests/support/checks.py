"""What the tests of models share, and what is demanded of ours beyond `keras_disent.testing`.

`LAWS` maps what is demanded to a function of `make`, and `make(**kwargs)` gives a small new model.
A name added to `MODELS` gets all of them; what is special in making it small goes into `small`.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_disent
from keras_disent import causal, networks
from keras_disent.experiments.config import Config
from keras_disent.models import MODELS

BACKEND = keras.backend.backend()
BACKENDS = ("tensorflow", "jax", "torch")
SHAPE, LATENTS = (8, 8, 1), 3


SLOW_TO_COMPILE = () if BACKEND == "torch" else (pytest.mark.slow,)
"""Marks of a case that takes many seconds on the backends that compile."""


def quick_on_torch(test):
    """Mark a test slow on the backends that compile, where it takes many seconds."""
    return test if BACKEND == "torch" else pytest.mark.slow(test)


def on(backend):
    """Run a test on one backend: what it calls is tested on all of them, or has none."""
    return pytest.mark.skipif(backend != BACKEND, reason=f"runs on {backend}")


# -- small models, runs and data ------------------------------------------------------------------


# Larger weights overflow float16 for some steps, until its scale is found.
SMALLER = {
    "annealed_vae": {"gamma": 10.0},
    "info_vae": {"mmd_weight": 1.0},
    "hfs_vae": {"gamma": 1.0},
    "tripod": {"hessian_weight": 1e-8},
}


def small(name, shape=SHAPE, latent_dim=LATENTS, **kwargs):
    """Return a model of a few hundred weights, with hidden layers that have no dead units."""
    given = {
        "encoder": networks.mlp_encoder(shape, width=0.02, seed=1),
        "decoder": networks.mlp_decoder(shape, latent_dim, width=0.01, seed=2),
    }
    given |= {"seed": 0, **SMALLER.get(name, {})}
    if name == "info_gan":
        kwargs = {"noise_dim": 4, **kwargs}
        categorical = kwargs.get("categorical", ())
        inputs = kwargs["noise_dim"] + latent_dim - len(categorical) + sum(categorical)
        given = {
            "discriminator": given["encoder"],
            "generator": networks.mlp_decoder(shape, inputs, width=0.01, seed=2),
            "seed": 0,
        }
    if name == "causal_vae":
        given["concept_dim"] = 1
        given["graph"] = 1 - np.eye(latent_dim, dtype=int)  # edges from the start
        given["concept_scale"] = 1.0  # 0.1 overflows float16 for some steps
        given["acyclicity"] = causal.AugmentedLagrangian(penalty=1.0, every=2)
    if name == "factor_vae":
        given["discriminator"] = networks.discriminator(latent_dim, units=16, depth=2, seed=3)
    return MODELS[name](shape, latent_dim, **{**given, **kwargs})


def compiled(model, optimizer=None, **kwargs):
    """Compile every player with the same kind of optimizer, each with its own, and return `model`.

    Args:
        optimizer: a function without arguments that gives one. Default: Adam(0.01).
    """
    make = optimizer or partial(keras.optimizers.Adam, 0.01)
    model.compile({player: make() for player in model.players}, **kwargs)
    return model


SUBSET = {"shape": ["square"], "orientation": [0], "scale": [0, 5]}
TINY = Config(
    model="vae",
    subset=SUBSET,
    image_size=32,
    steps=6,
    epoch_steps=4,
    player_batch=8,
    seed=1,
    learning_rate=1e-3,
    latent_dim=3,
    network="mlp",
    width=0.02,
    metrics=("mig",),
)
"""A run of a second."""


def images(n=16, shape=SHAPE, seed=0):
    """Return uint8 images (n, h, w, c) with some structure: a gradient with noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, shape[1])[None, None, :, None]
    mixed = rng.uniform(size=(n, 1, 1, 1)) * ramp + 0.5 * rng.uniform(size=(n, *shape))
    return (255 * mixed / 1.5).astype("uint8")


def learned_from(model, x, labels=None):
    """Return what `model` learns from, given images: (x,), and labels if it takes any."""
    if not model.pairs:
        return (x, labels_of(x) if labels is None else labels) if model.labeled else (x,)
    pairs = np.stack([x, np.roll(x, 1, axis=0)], axis=1)
    return (pairs, np.eye(2, dtype="int32")[np.arange(len(x)) % 2]) if model.labeled else (pairs,)


def labels_of(x, columns=LATENTS):
    """Return labels (n, columns) of images: the first of their pixels."""
    return x.reshape(len(x), -1)[:, :columns].astype("float32")


def batches(x, size=8):
    return [x[i : i + size] for i in range(0, len(x), size)]


# -- looking at a model ---------------------------------------------------------------------------


def arrays(variables):
    return [ops.convert_to_numpy(v) for v in variables]


def trained(model):
    """Return the trainable weights as one array, for comparisons with a tolerance."""
    return np.concatenate([a.ravel() for a in arrays(model.trainable_variables)])


def state(model):
    """Return all that training goes on from: weights, seeds, steps and the optimizers' state."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return arrays([*variables, *model.optimizer.variables])


def plain(config):
    """Return a configuration as text, in which tuples and lists do not differ."""
    return json.dumps(config, sort_keys=True, indent=1)


def assert_same(left, right):
    """Assert that two lists of arrays agree to the last bit."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


def reload(model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return keras.saving.load_model(path)


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def elsewhere(function, *args, backend=BACKEND, **env):
    """Call a function of a test module in a new process, under any backend.

    Its arguments must be such that `repr` gives them back; results go through files.
    """
    own = Path(sys.modules[function.__module__].__file__).parent
    folders = [own, Path(__file__).parents[1], Path(keras_disent.__file__).parents[1]]
    path = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    code = f"import {function.__module__} as m; m.{function.__name__}(*{args!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{function.__name__} on {backend}:\n{done.stderr[-4000:]}"


# -- the laws -------------------------------------------------------------------------------------


def arrays_have_their_shapes(make):
    model, x = make(), images(7)
    codes = model.encode(x)
    assert codes.shape == (7, LATENTS)
    sampled = model.sample(5, seed=1)
    assert sampled.shape == (5, *SHAPE)
    assert_same([sampled], [model.sample(5, seed=1)])
    assert (sampled != model.sample(5, seed=2)).any()
    grid = model.traverse(x[:2], latents=[2, 0], values=[-1.0, 0.0, 1.0])
    assert grid.shape == (2, 2, 3, *SHAPE)
    turned = codes[1].copy()
    turned[0] = 1.0
    np.testing.assert_allclose(grid[1, 1, 2], model.decode(turned[None])[0], atol=1e-5)
    assert model.traverse(x[:1]).shape == (1, LATENTS, 9, *SHAPE)
    assert model.latent_importance(x).shape == (LATENTS,)
    pictures = [model.decode(codes), model.reconstruct(x), sampled, grid]
    for array in [codes, *pictures, model.latent_importance(x)]:
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float32
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in pictures)


def batch_size_changes_no_result(make):
    model, x = make(), images(7)
    codes, pictures = model.encode(x), model.reconstruct(x)
    for size in (1, 3, 7, 100):
        np.testing.assert_allclose(model.encode(x, batch_size=size), codes, atol=1e-6)
        np.testing.assert_allclose(model.reconstruct(x, batch_size=size), pictures, atol=1e-6)
    np.testing.assert_allclose(model.encode(x.astype("float32") / 255), codes, atol=1e-5)
    np.testing.assert_allclose(model.encode(x[2:3])[0], codes[2], atol=1e-6)


def posterior_is_a_distribution(make):
    model, x = make(), images(5)
    mean, log_variance = model.posterior_parameters(x)
    assert mean.shape == log_variance.shape == (5, LATENTS)
    assert mean.dtype == log_variance.dtype == np.float32
    assert_same([mean], [model.encode(x)])
    posterior = model.posterior(x)
    np.testing.assert_allclose(ops.convert_to_numpy(posterior.mean()), mean, atol=1e-6)
    assert tuple(posterior.batch_shape) == (5,)
    assert tuple(posterior.event_shape) == (LATENTS,)
    codes = np.random.default_rng(0).normal(size=(5, LATENTS)).astype("float32")
    log_density = ops.convert_to_numpy(posterior.log_prob(ops.convert_to_tensor(codes)))
    z = (codes - mean) * np.exp(-0.5 * log_variance)
    expected = -0.5 * (z**2 + log_variance + np.log(2 * np.pi)).sum(axis=1)
    np.testing.assert_allclose(log_density, expected, rtol=1e-4, atol=1e-4)


def edits_are_traversals(make):
    model, x = make(), images(7)
    model.latent_names = {1: "hue"}
    edited = model.edit(x[0], {"hue": 1.5})
    assert edited.shape == SHAPE
    np.testing.assert_allclose(edited, model.traverse(x[:1], ["hue"], [1.5])[0, 0, 0], atol=1e-5)
    as_bytes = model.edit(x[0], {"hue": 1.5}, dtype="uint8")
    assert_same([as_bytes], [np.rint(255 * edited).astype("uint8")])
    codes = model.encode(x)
    moved = codes + np.array([0, 0.5, 0], "float32")
    both = model.edit(list(x), {"hue": 0.5}, relative=True)
    np.testing.assert_allclose(both, model.decode(moved), atol=1e-5)
    each = model.edit(x, {1: np.arange(7.0), 0: -1})
    moved = np.stack([np.full(7, -1), np.arange(7), codes[:, 2]], axis=1)
    np.testing.assert_allclose(each, model.decode(moved), atol=1e-5)
    between = model.interpolate(x[0], codes[1], 3)
    middle = (codes[0] + codes[1]) / 2
    expected = model.decode(np.stack([codes[0], middle, codes[1]]))
    np.testing.assert_allclose(between, expected, atol=1e-5)


def images_are_found_by_their_codes(make):
    model, x = make(), images(9)
    codes = model.encode(x)
    distances = np.linalg.norm(codes - codes[4], axis=1)
    found = model.nearest(x[4], x, 3)
    np.testing.assert_allclose(distances[found], np.sort(distances)[:3], atol=1e-6)
    assert_same([model.nearest(codes[4], x, 3)], [found])
    assert len(model.nearest(x[4], x, 99)) == 9
    lowest, highest = model.extremes(model.latent_names[2], x, 4)
    assert codes[lowest, 2].tolist() == np.sort(codes[:, 2])[:4].tolist()
    assert codes[highest, 2].tolist() == np.sort(codes[:, 2])[::-1][:4].tolist()


def names_and_ranges_stay_with_the_model(make):
    model, x = make(), images(9)
    default, codes = model.latent_names, model.encode(x)
    assert len(set(default)) == LATENTS
    assert "latent_names" not in model.get_config()
    assert model.latent_ranges is None
    model.latent_names = ("hue", "size", "$x$ y")
    model.measure_latents(x)
    assert_same([model.latent_ranges], [np.stack([codes.min(axis=0), codes.max(axis=0)], axis=1)])
    loaded = reload(model)
    assert loaded.latent_names == model.latent_names
    assert_same([loaded.latent_ranges], [model.latent_ranges])
    clone = keras.models.clone_model(model)
    assert clone.latent_names == model.latent_names
    assert clone.latent_ranges is None  # its weights are other ones
    clone.latent_names = None
    assert clone.latent_names == default


def seed_fixes_the_initial_weights(make):
    def born(seed):
        keras.utils.set_random_seed(seed + 100)  # of no influence
        return type(make()).with_networks(SHAPE, LATENTS, "mlp", width=0.05, seed=seed)

    first, same, other = born(1), born(1), born(2)
    assert_same(arrays(first.variables), arrays(same.variables))
    assert_seeded(first, other)


def assert_seeded(model, other):
    """Assert that no kernel is that of another model, or another kernel of the same."""
    kernels, others = (
        arrays(v for v in either.trainable_variables if v.name == "kernel")
        for either in (model, other)
    )
    assert all((a != b).any() for a, b in zip(kernels, others, strict=True))
    flat = [kernel.ravel()[:100].tobytes() for kernel in kernels]
    assert len(set(flat)) == len(flat)


LAWS = {
    law.__name__: law
    for law in (
        arrays_have_their_shapes,
        batch_size_changes_no_result,
        posterior_is_a_distribution,
        edits_are_traversals,
        images_are_found_by_their_codes,
        names_and_ranges_stay_with_the_model,
        seed_fixes_the_initial_weights,
    )
}


OF_POSTERIORS = {"posterior_is_a_distribution"}


def laws_of(name):
    """Return the laws for a model: some are about q(z|x), which not every model has."""
    return [law for law in LAWS if law not in OF_POSTERIORS or hasattr(MODELS[name], "posterior")]


def check_model(name, laws=None, **kwargs):
    """Check that the model `name`, made with `kwargs`, obeys the laws."""
    for law in laws or laws_of(name):
        LAWS[law](lambda **more: small(name, **{**kwargs, **more}))
