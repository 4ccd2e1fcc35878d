"""Presets: ready models in the package, and folders like them."""

import json
import shlex
import shutil

import h5py
import keras
import numpy as np
import pytest
from support.checks import LATENTS, SHAPE, compiled, images, small
from support.commands import call, python

from keras_disent import VAE, BetaTCVAE, BetaVAE, load_model, metrics, presets
from keras_disent.experiments import Config, Run
from keras_disent.experiments.command import command
from keras_disent.models import MODELS
from keras_disent.models.image_model import ImageModel

NAMES = [preset.name for preset in presets.list()]


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a preset of an untrained model."""
    return small("beta_vae").save_to_preset(tmp_path / "saved", {"description": "A test."})


def card(folder, **changes):
    """Change what a card holds."""
    path = folder / "preset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# -- the presets of the package -------------------------------------------------------------------


def test_all_fit_into_a_wheel():
    found = presets.list()
    assert len(found) >= 6
    assert sum(preset.size for preset in found) < 6e6


def test_the_list_needs_no_backend():
    code = """
from keras_disent import presets
assert "faces_person" in repr(presets.list()), presets.list()
assert not {"keras", "jax", "torch", "tensorflow"} & set(sys.modules)
"""
    assert python(code, hidden=("keras", "torch", "jax")) == (0, "", "")


def test_the_list_is_a_table():
    found = presets.list()
    assert found.rows()[0][:2] == (found[0].name, found[0].model)
    lines = repr(found).splitlines()
    assert [line.split()[0] for line in lines] == ["name", *NAMES]
    assert found._repr_html_().count("<tr>") == len(lines)


@pytest.mark.parametrize("name", NAMES)
def test_each_draws_the_data_that_it_was_trained_on(name):
    preset, run = presets.read(name), Run.open(f"preset:{name}")
    model = ImageModel.from_preset(name)
    assert type(model).__name__ == preset.model
    assert list(model.latent_names) == preset.card["latent_names"]
    assert model.steps_taken() == preset.card["steps"] == run.config.steps
    assert {str(w.dtype) for w in model.weights if "float" in str(w.dtype)} == {"float32"}
    x = run.data.images(np.linspace(0, len(run.data) - 1, 40).astype(int))
    codes = model.encode(x)
    assert codes.shape == (40, model.latent_dim)
    drawn = 255 * model.decode(codes)
    mean = x.astype(float).mean(axis=0)
    assert np.square(drawn - x).mean() < 0.5 * np.square(mean - x).mean()
    for key in ("description", "data", "command", "scores", "backend"):
        assert preset.card[key], key
    assert preset.description.endswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_scores_of_the_card_are_those_of_the_model(name):
    preset, run = presets.read(name), Run.open(f"preset:{name}")
    for score in run.config.metrics:
        entry = preset.card["scores"][score]
        found = metrics.evaluate(run.model, run.data, [score], seed=entry["settings"]["seed"])
        # Two samples of 800 votes differ: each has a standard error of up to 0.018.
        tolerance = 0.05 if score == "factor_vae_score" else 0.02
        assert found[score] == pytest.approx(entry["value"], abs=tolerance), score


@pytest.mark.slow
def test_the_causal_graph_is_the_true_one():
    run = Run.open("preset:pendulum_causal")
    np.testing.assert_array_equal(run.model.graph(), run.data.graph)


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_from_its_preset(name, tmp_path):
    model = compiled(small(name))
    model.latent_names = {0: "size"}
    path = model.save_to_preset(tmp_path / "a" / "saved")
    loaded = MODELS[name].from_preset(path)
    assert type(loaded) is MODELS[name]
    assert loaded.latent_names == model.latent_names
    x = images(5)
    np.testing.assert_allclose(loaded.encode(x), model.encode(x), atol=5e-3)
    codes = model.encode(x)
    np.testing.assert_allclose(loaded.decode(codes), model.decode(codes), atol=5e-3)
    again = type(loaded).from_preset(loaded.save_to_preset(tmp_path / "again"))
    np.testing.assert_array_equal(again.encode(x), loaded.encode(x))  # half floats stay the same


def test_a_preset_can_be_trained_further(folder):
    model = BetaVAE.from_preset(folder)
    model.compile()
    x = images(6)
    before = model.encode(x)
    model.fit(x, batch_size=6, epochs=2, verbose=0)
    assert model.steps_taken() == 2
    assert (model.encode(x) != before).any()


def test_weights_are_half_floats_and_the_optimizer_is_left_out(folder):
    dtypes = set()

    def visit(name, item):
        assert not name.startswith("optimizer")
        if isinstance(item, h5py.Dataset) and item.ndim:
            dtypes.add(str(item.dtype))

    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(visit)
    assert dtypes <= {"float16", "uint32", "int64", "int32"}
    assert "float16" in dtypes
    assert sorted(path.name for path in folder.iterdir()) == ["model.weights.h5", "preset.json"]


def test_large_weights_keep_their_precision(tmp_path):
    model = small("vae")
    bias = model.posterior_head.mean_head.bias
    bias.assign(np.full(bias.shape, 1e6, "float32"))
    loaded = VAE.from_preset(model.save_to_preset(tmp_path / "saved"))
    x = images(2)
    np.testing.assert_allclose(loaded.encode(x), model.encode(x), rtol=1e-4)


def test_a_folder_is_read_as_a_name_is(folder, monkeypatch):
    x = images(3)
    expected = BetaVAE.from_preset(folder).encode(x)
    monkeypatch.chdir(folder.parent)
    for path in ("saved", "./saved", str(folder)):
        np.testing.assert_array_equal(ImageModel.from_preset(path).encode(x), expected)
        np.testing.assert_array_equal(presets.load(path).encode(x), expected)
        np.testing.assert_array_equal(load_model(path).encode(x), expected)
    assert presets.read("saved").description == "A test."


def test_without_its_weights_a_preset_is_a_new_model(folder):
    x = images(3)
    trained = BetaVAE.from_preset(folder)
    trained.encoder.layers[-1].bias.assign(trained.encoder.layers[-1].bias + 1)
    path = trained.save_to_preset(folder.parent / "changed")
    fresh = BetaVAE.from_preset(path, load_weights=False)
    assert np.abs(fresh.encode(x) - BetaVAE.from_preset(path).encode(x)).max() > 0.1


def test_a_base_class_loads_it_and_another_names_its_class(folder):
    assert type(VAE.from_preset(folder)) is BetaVAE
    with pytest.raises(ValueError, match=r"is not a BetaTCVAE: load it by BetaVAE\.from_preset"):
        BetaTCVAE.from_preset(folder)


# -- what bad input gets --------------------------------------------------------------------------


def test_an_unknown_name_lists_the_names(tmp_path):
    for preset in ("face", "preset:face", tmp_path / "none"):
        with pytest.raises(ValueError, match=r"Unknown preset .* Choose from: .*faces_person"):
            presets.load(preset)
    with pytest.raises(ValueError, match=r"There is no preset\.json in"):
        presets.load(tmp_path)


def test_another_version_is_refused(folder):
    card(folder, format=2)
    with pytest.raises(ValueError, match=r"is of format 2; keras-disent .* reads format 1"):
        presets.load(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1, "card": {}, "model": {}}', "[" * 9999]
)
def test_a_damaged_card_is_refused(folder, text):
    (folder / "preset.json").write_text(text)
    with pytest.raises(ValueError, match=r"preset\.json' is not the card of a preset: "):
        presets.load(folder)


def test_damaged_weights_are_refused(folder):
    path = folder / "model.weights.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        presets.load(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"There is no model\.weights\.h5 in"):
        presets.load(folder)


def test_a_folder_that_holds_something_is_kept(folder):
    before = (folder / "preset.json").read_bytes()
    with pytest.raises(ValueError, match="needs a new or empty folder"):
        small("vae").save_to_preset(folder)
    assert (folder / "preset.json").read_bytes() == before


def test_a_card_that_json_does_not_hold_leaves_nothing(tmp_path):
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            small("vae").save_to_preset(tmp_path / "saved", {"description": value})
    assert list(tmp_path.iterdir()) == []


def test_a_class_must_be_registered(tmp_path):
    class Own(BetaVAE):
        pass

    model = Own(SHAPE, LATENTS, encoder="mlp", decoder="mlp")
    with pytest.raises(ValueError, match=r"register_keras_serializable\(\) above it. Got Own"):
        model.save_to_preset(tmp_path / "saved")
    registered = keras.saving.register_keras_serializable("test_presets")(Own)
    path = model.save_to_preset(tmp_path / "saved")
    assert type(VAE.from_preset(path)) is registered


def test_code_in_a_card_is_not_run(folder):
    stored = json.loads((folder / "preset.json").read_text())
    layer = stored["model"]["config"]["encoder"]["config"]["layers"][1]
    layer.update(class_name="Lambda", registered_name=None, module="keras.layers")
    layer["config"] = {
        "name": "x",
        "function": {"class_name": "__lambda__", "config": {"code": "x"}},
    }
    (folder / "preset.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="is damaged"):
        presets.load(folder)


# -- in place of a run ----------------------------------------------------------------------------


def test_commands_take_a_preset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("presets") == 0
    assert "faces_person" in capsys.readouterr().out
    assert call("traverse", "preset:faces_person") == 0
    assert (tmp_path / "faces_person" / "traversal.png").is_file()
    model = VAE.from_preset("faces_person")
    change = f"{model.latent_names[0]}=1"
    assert call("edit", "preset:faces_person", "0", "--out", "edit.png", "--set", change) == 0
    assert (tmp_path / "edit.png").is_file()
    assert call("knobs", "preset:none") == 2
    capsys.readouterr()
    shutil.copytree(presets.read("faces_person").folder, tmp_path / "own")
    assert call("latents", "own") == 0
    assert model.latent_names[0] in capsys.readouterr().out
    assert call("latents", "own", "--name", "0=first") == 2
    assert "A preset is not renamed in its place" in capsys.readouterr().err
    assert call("traverse", "preset:none") == 2
    assert "Unknown preset 'none'" in capsys.readouterr().err


def test_the_command_of_the_card_trains_the_same_run(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Run, "create", lambda config, *args, **options: made.append(config))
    schedule = "CosineDecay(0, 9, warmup_target=0.1, warmup_steps=3)"
    config = Config(
        model="beta_vae",
        subset={"shape": ["square"], "scale": [0, 5]},
        correlate={"position_x,position_y": 0.2},
        image_size=32,
        learning_rate=schedule,
        likelihood="gaussian(scale=0.05)",
        options={"beta": "Linear(0, 4, steps=5)"},
        metrics=("mig", "sap"),
        jit_compile=False,
    )
    words = shlex.split(command(config, tmp_path / "run"))
    call(*words[1:])
    assert made == [config]


def test_a_preset_without_a_run_has_no_data(folder):
    with pytest.raises(ValueError, match="was saved without its run"):
        Run.open(folder)


def test_a_preset_is_not_trained_in_its_place():
    run = Run.open("preset:faces_person")
    for refused in (run.train, lambda: run.extend(9), run.name_latents):
        with pytest.raises(
            ValueError, match=r"load it by `from_preset`.* Got 'preset:faces_person'"
        ):
            refused()
    with pytest.raises(ValueError, match="A preset is a folder already: copy '"):
        run.save_to_preset("copy")
