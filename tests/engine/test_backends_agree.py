"""The three backends compute the same numbers, and one module knows which of them runs.

Each test here looks at all backends, so the suite runs them once, with TensorFlow.
"""

import ast
from importlib import util
from pathlib import Path

import keras
import numpy as np
import pytest
from support.checks import (
    BACKEND,
    BACKENDS,
    compiled,
    elsewhere,
    images,
    learned_from,
    small,
    trained,
)
from support.published import published

import keras_disent
from keras_disent.models import MODELS

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="once is enough")

VARIANTS = {
    **{name: (lambda name=name: small(name)) for name in MODELS},
    "published": published,
    "continuous": lambda: small("vae", likelihood="continuous_bernoulli"),
    "gaussian": lambda: small("vae", likelihood="gaussian"),
    "dip_vae_i": lambda: small("dip_vae", variant="i"),
    "stratified": lambda: small("beta_tcvae", estimator="mss", dataset_size=80),
}


def train_all(folder, backend):
    for path in sorted(Path(folder).glob("*.keras")):
        model = keras.saving.load_model(path)
        model.noise.enabled = False
        x = images(80, model.image_shape)
        fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
        logs = model.fit(*learned_from(model, x), **fit).history
        terms = {term: values[0] for term, values in logs.items()}
        np.savez(path.with_name(f"{path.stem}.{backend}.npz"), weights=trained(model), **terms)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agree")
    for name, make in VARIANTS.items():
        model = compiled(make(), lambda: keras.optimizers.Adam(1e-3))
        np.save(folder / f"{name}.npy", trained(model))
        model.save(folder / f"{name}.keras")
    for backend in filter(util.find_spec, BACKENDS):
        elsewhere(train_all, str(folder), backend, backend=backend)
    return folder


@pytest.mark.parametrize("other", ["jax", "torch"])
@pytest.mark.parametrize("name", VARIANTS)
def test_ten_steps_are_the_same_on_every_backend(name, other, folder):
    if not util.find_spec(other):
        pytest.skip(f"{other} is not installed")
    here, there = (np.load(folder / f"{name}.{b}.npz") for b in ("tensorflow", other))
    assert np.abs(here["weights"] - np.load(folder / f"{name}.npy")).max() > 5e-3
    np.testing.assert_allclose(there["weights"], here["weights"], rtol=0, atol=1e-4)
    assert set(there.files) == set(here.files)
    for term in set(here.files) - {"weights"}:
        np.testing.assert_allclose(there[term], here[term], rtol=1e-4, atol=1e-5, err_msg=term)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_only_the_backend_module_and_exporters_import_a_backend():
    package = Path(keras_disent.__file__).parent
    backends = {"jax", "jaxlib", "tensorflow", "tensorflow_probability", "tf_keras", "torch"}
    knowing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if backends & {name.split(".")[0] for name in imported(path)}
    }
    exporters = {f"export/with_{backend}.py" for backend in ("tensorflow", "torch")}
    assert {path for path in knowing if not path.startswith("engine/backend/")} == exporters
