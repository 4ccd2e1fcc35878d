"""Imports: cheap, without effects, and clear about what has to be installed."""

import dataclasses
import importlib.util
import inspect
import pkgutil
import pydoc
import re
from functools import partial
from operator import attrgetter
from pathlib import Path

import keras
import numpy as np
import pytest
from support.checks import BACKEND, LATENTS, TINY, compiled, images, small
from support.commands import python

import keras_disent
from keras_disent import metrics, networks
from keras_disent.engine import registration
from keras_disent.engine.backend import choice

CONV = {"shape": (16, 16, 1), "decoder": networks.mlp_decoder((16, 16, 1), LATENTS, 0.01)}
HEAVY = ("keras", "tensorflow", "jax", "torch")


def test_importing_loads_nothing_heavy():
    code = f"""
import warnings
warnings.simplefilter("error")
import keras_disent
assert not set({HEAVY}) & set(sys.modules)
assert keras_disent.__version__
dir(keras_disent)
assert not set({HEAVY}) & set(sys.modules)
"""
    assert python(code) == (0, "", "")


def test_metrics_and_data_sets_work_without_keras():
    code = f"""
import numpy as np
from keras_disent import datasets, metrics
data = datasets.load("sprites", image_size=32, subset={{"shape": [0], "orientation": [0]}})
def middle(images):
    ink = images[..., 0].astype(float)
    weight = ink.sum((1, 2))
    rows, columns = np.arange(32)[:, None], np.arange(32)
    return np.stack([(ink * p).sum((1, 2)) / weight for p in (rows, columns)] + [weight], 1)
small = {{"variance_samples": 200, "train_votes": 50, "eval_votes": 50}}
asked = {{"mig": {{}}, "factor_vae_score": small}}
scores = metrics.evaluate(middle, data, asked, n_samples=500, verbose=0)
assert scores["factor_vae_score"] == 1.0, scores
assert scores["mig"] > 0.5, scores
assert not set({HEAVY}) & set(sys.modules)
"""
    assert python(code, hidden=("keras", "torch", "jax")) == (0, "", "")


def test_every_public_name_is_there():
    for name in keras_disent.__all__:
        assert getattr(keras_disent, name) is not None
        assert name in dir(keras_disent)
    for name, model in keras_disent.MODELS.items():
        assert getattr(keras_disent, model.__name__) is model
        assert keras_disent.models.MODELS[name] is model
    for name in ("datasets", "metrics", "models"):
        module = importlib.import_module(f"keras_disent.{name}")
        assert all(hasattr(module, public) for public in module.__all__)


def test_unknown_names_are_told():
    expected = r"module 'keras_disent' has no attribute 'BetaVea'. Did you mean 'BetaVAE'\?"
    with pytest.raises(AttributeError, match=expected):
        keras_disent.BetaVea  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'zzz'$"):
        keras_disent.zzz  # noqa: B018
    expected = r"^cannot import name 'BetaVae' from 'keras_disent'\. Did you mean 'BetaVAE'\?$"
    with pytest.raises(ImportError, match=expected):
        from keras_disent import BetaVae  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'zzz'"):
        from keras_disent import zzz  # noqa: F401
    from keras_disent import trackers

    assert trackers.TRACKERS


@pytest.mark.parametrize("start", ["from keras_disent import BetaVae", "keras_disent.BetaVae"])
def test_a_hint_is_given_once(start):
    status, _, last = python(f"import keras_disent\n{start}")
    assert status == 1
    assert last.count("ean") == last.count("Did you mean 'BetaVAE'?") == 1


PUBLIC = [
    *(name for name in keras_disent.__all__ if inspect.ismodule(getattr(keras_disent, name))),
    "plots.charts",
    "plots.causal",
]


@pytest.mark.parametrize("name", PUBLIC)
def test_modules_list_their_public_names_alone(name):
    module = attrgetter(name)(keras_disent)
    assert dir(module) == sorted(module.__all__)
    for public in module.__all__:
        assert not public.startswith("_")
        if public == "HyperModel":
            pytest.importorskip("keras_tuner")
        if public == "Widget":
            pytest.importorskip("anywidget")
        value = getattr(module, public)
        assert getattr(value, "__doc__", None) or not callable(value)


def test_signatures_name_arrays_in_one_word():
    for name in metrics.__all__:
        value = getattr(metrics, name)
        if callable(value):
            text = str(inspect.signature(value))
            assert "\n" not in text
            assert "numpy" not in text, text
            assert len(text) < 800, text
    shown = str(inspect.signature(metrics.mig)).replace("'", "")
    assert shown == (
        "(codes: ArrayLike, factors: ArrayLike, *, bins: int = 20, continuous: Continuous = None)"
        " -> float"
    )
    described = pydoc.render_doc(metrics.mig, renderer=pydoc.plaintext)
    assert "_SupportsArray" not in described
    assert "ArrayLike" in described


def _public():
    """Yield all public functions, classes and their own methods, with their names."""
    for module in map(partial(getattr, keras_disent), keras_disent.__all__):
        if not inspect.ismodule(module):
            continue
        for name in module.__all__:
            try:
                value = getattr(module, name)
            except ImportError:  # of an extra that is not installed
                continue
            if isinstance(value, type) and issubclass(value, Exception):
                continue
            if callable(value):
                yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", function


def test_every_signature_is_one_line_that_can_be_read():
    found = dict(_public())
    assert len(found) > 200
    for name, value in found.items():
        text = str(inspect.signature(value))
        assert len(text) < 800, name
        assert not re.search(r"\n| at 0x|<class|<function", text), (name, text)


USES = f"""
import numpy as np
import keras_disent
from keras_disent.experiments import Config, Run, Study
for name in keras_disent.__all__:
    getattr(keras_disent, name)

model = keras_disent.VAE((16, 16, 1), latent_dim=2, encoder="mlp", decoder="mlp")
model.compile()
model.fit(np.zeros((8, 16, 16, 1), "uint8") + 9, batch_size=8, verbose=0)
config = Config(**{dataclasses.asdict(TINY)!r})
run = Run.create(config, "run")
run.train(verbose=0)
run.save_to_preset("preset")
assert Run.open("run").model.steps_taken() == config.steps
if {importlib.util.find_spec("keras_tuner") is not None}:
    from keras_disent.experiments import Search
    study = Study.create(Search(config, "loss", {{"latent_dim": [2]}}, trials=1), "search")
    study.run(n_jobs=1, verbose=0)
    assert study.trials()[0].values == {{"latent_dim": 2}}

found = {{name.partition(".")[0] for name in sys.modules}}
unwanted = {{"tensorflow_probability", "tensorflow"}} - {{{BACKEND!r}}}
assert not found & unwanted, found & unwanted
"""


def test_using_everything_imports_no_tensorflow_and_prints_nothing(tmp_path, monkeypatch):
    """Keras would, to ask of each object it saves whether it is one of TensorFlow's types."""
    monkeypatch.chdir(tmp_path)
    status, out, last = python(USES)
    assert (status, out) == (0, ""), last
    assert BACKEND == "tensorflow" or not last  # which says itself that it finds no GPU


@pytest.mark.parametrize("hidden", [HEAVY, HEAVY[1:], ("keras",)])
def test_without_a_backend_models_say_what_to_install(hidden):
    code = """
import keras_disent
from keras_disent import datasets, metrics, plots
keras_disent.VAE
"""
    code, _, last = python(code, hidden=hidden)
    assert code == 1
    assert last == (
        "ImportError: keras_disent's models need Keras and a backend: "
        "pip install 'keras-disent[jax]' (or [torch], [tensorflow])."
    )


def test_an_installed_backend_is_chosen_and_told(monkeypatch, tmp_path):
    other = "jax" if BACKEND == "torch" else "torch"
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"needs {other}")
    hidden = tuple({*HEAVY[1:]} - {other})
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    code = """
import os
os.environ.pop("KERAS_BACKEND", None)
from keras_disent import VAE
import keras
print(keras.backend.backend())
"""
    status, out, last = python(code, hidden=hidden, KERAS_HOME=str(tmp_path))
    assert (status, out) == (0, f"{other}\n"), last
    assert last == (
        f"keras_disent: tensorflow is not installed, so Keras runs on {other}. "
        "KERAS_BACKEND chooses another backend."
    )


def test_a_backend_that_is_too_old_is_refused():
    code = f"""
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "0.1.9" if name == {BACKEND!r} else real(name)
from keras_disent import VAE
"""
    status, _, last = python(code)
    oldest = ".".join(map(str, choice.OLDEST[BACKEND]))
    assert status == 1
    assert last == (
        f"ImportError: keras_disent needs {BACKEND} {oldest} or newer. Got 0.1.9: "
        f"pip install --upgrade '{BACKEND}>={oldest}'."
    )


def test_the_oldest_versions_are_those_of_the_package():
    text = (Path(keras_disent.__file__).parents[1] / "pyproject.toml").read_text()
    for package, numbers in choice.OLDEST.items():
        assert f'"{package}>={".".join(map(str, numbers))}"' in text


@pytest.mark.parametrize("start", ["from keras_disent import VAE", "import keras_disent.models"])
def test_without_the_chosen_backend_it_says_what_to_install(start):
    code, _, last = python(start, hidden=(BACKEND,))
    assert code == 1
    others = [name for name in HEAVY[1:] if name != BACKEND and importlib.util.find_spec(name)]
    missing = "the backend that Keras is set to" if others else "Keras and a backend"
    assert last.startswith(f"ImportError: keras_disent's models need {missing}: pip install ")
    for name in HEAVY[1:]:
        assert f"[{name}]" in last


def test_another_backend_of_keras_is_refused():
    code, _, last = python("from keras_disent import VAE", KERAS_BACKEND="numpy")
    assert code == 1
    assert last == (
        "ImportError: keras_disent runs on the Keras backends tensorflow, jax and torch. "
        "Got KERAS_BACKEND=numpy."
    )


# A network of ours first, in a file of its own: its layers are looked for before any model.
IN_ANY_ORDER = [
    ("import keras_disent; import keras", ("encoder", "model")),
    ("from keras_disent import datasets, metrics; import keras.saving", ("model", "encoder")),
    pytest.param("import keras_disent.layers.networks", ("model",), marks=pytest.mark.slow),
    pytest.param("from keras_disent import schedules", ("encoder",), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("first", "files"), IN_ANY_ORDER)
def test_keras_itself_loads_files_in_any_order_of_imports(tmp_path, monkeypatch, first, files):
    monkeypatch.chdir(tmp_path)
    model = compiled(small("factor_vae", encoder=networks.conv_encoder((16, 16, 1), 0.05), **CONV))
    data = images(8, (16, 16, 1))
    model.fit(data, batch_size=8, verbose=0)
    model.save("model.keras")
    model.encoder.save("encoder.keras")
    np.savez("arrays.npz", images=data, codes=model.encode(data))
    code = f"""
{first}
import keras
import numpy as np
arrays = np.load("arrays.npz")
for file in {files}:
    loaded = keras.saving.load_model(file + ".keras")
    print(type(loaded).__name__, type(loaded.layers[1]).__name__)
    if file == "model":
        assert int(loaded.steps) == 1
        np.testing.assert_allclose(loaded.encode(arrays["images"]), arrays["codes"], atol=1e-6)
"""
    layers = {
        "model": ["FactorVAE", type(model.layers[1]).__name__],
        "encoder": ["Functional", "Conv2D"],
    }
    status, out, last = python(code)
    assert (status, out.split()) == (0, [word for file in files for word in layers[file]]), last


def test_networks_in_a_file_need_nothing_but_keras(tmp_path):
    parts = []
    for network in ("conv", "higgins", "burgess", "mlp"):
        model = small("vae", encoder=network, decoder=network, shape=(16, 16, 1))
        image = images(4, (16, 16, 1)) / np.float32(255)
        codes = np.ones((4, LATENTS), "float32")
        for part, inputs in {"encoder": image, "decoder": codes}.items():
            path = str(tmp_path / f"{network}_{part}")
            getattr(model, part).save(f"{path}.keras")
            outputs = getattr(model, part).predict(inputs, verbose=0)
            np.savez(f"{path}.npz", inputs=inputs, outputs=outputs)
            parts.append(path)
    code = f"""
import keras
import numpy as np
for path in {parts}:
    arrays = np.load(path + ".npz")
    outputs = keras.saving.load_model(path + ".keras").predict(arrays["inputs"], verbose=0)
    np.testing.assert_allclose(outputs, arrays["outputs"], atol=1e-5, err_msg=path)
assert "keras_disent" not in sys.modules
"""
    status, _, last = python(code)
    assert status == 0, last


def test_every_class_in_a_file_can_be_found():
    pytest.importorskip("keras_tuner")
    for module in pkgutil.walk_packages(keras_disent.__path__, "keras_disent."):
        if "cli" not in module.name and "elsewhere" not in module.name:
            importlib.import_module(module.name)
    registered = {
        (name.removeprefix("keras_disent>"), cls)
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("keras_disent>")
    }
    classes = [name for names in registration.CLASSES.values() for name in names]
    assert sorted(classes) == sorted(name for name, _ in registered)
    for module, names in registration.CLASSES.items():
        for name in names:
            cls = getattr(importlib.import_module(f"keras_disent.{module}"), name)
            assert (name, cls) in registered


def test_keras_of_another_backend_is_left_alone():
    code = """
import keras_disent, keras
from keras_disent import metrics
print(keras.backend.backend())
"""
    assert python(code, KERAS_BACKEND="numpy")[:2] == (0, "numpy\n")
