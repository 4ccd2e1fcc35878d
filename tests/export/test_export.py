"""Exported models give the model's own numbers where neither Keras nor this package is there."""

import inspect
import itertools
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
from keras import layers
from support.checks import BACKEND, LATENTS, SHAPE, compiled, learned_from, policy, small
from support.exports import ENDPOINTS, ROOT, answers, questions, trained

from keras_disent import MODELS, datasets, export, load_model
from keras_disent.experiments import Config, Run

OWN = [name for name, format in export.FORMATS.items() if format.backend == BACKEND]
OTHERS = [name for name in export.FORMATS if name not in OWN]


# -- asking an exported model and the model itself ------------------------------------------------


def ask(folder, requests):
    """Ask artifacts in one new process: `requests` are (format, folder, inputs) -> outputs."""
    listed = []
    for i, (format, artifact, asked) in enumerate(requests):
        paths = [str(folder / f"{i}.{kind}.npz") for kind in ("asked", "answered")]
        np.savez(paths[0], **asked)
        listed.append([format, str(artifact), *paths])
    (folder / "request.json").write_text(json.dumps(listed))
    done = subprocess.run(
        [sys.executable, "-P", ROOT / "tests" / "support" / "exported.py", folder / "request.json"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [dict(np.load(outputs)) for *_, outputs in listed]


def assert_answers(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def check(folder, formats, *models):
    """Export models to formats and compare them with what they say themselves."""
    requests, expected = [], []
    for i, model in enumerate(models):
        asked = questions(model)
        for format in formats:
            artifact = export.model(model, folder / f"{i}_{format}", format)
            requests.append((format, artifact, asked))
            expected.append(answers(model, asked))
    for found, right in zip(ask(folder, requests), expected, strict=True):
        assert_answers(found, right)


# -- every model, every format --------------------------------------------------------------------

here = pytest.mark.skipif(not OWN, reason="every format is written by another backend")


def of_half_precision():
    """Return a model of mixed precision, and one of single precision with the same weights."""
    with policy("mixed_bfloat16"):
        half = small("vae")
    single = small("vae")
    for variable, value in zip(single.variables, half.variables, strict=True):
        variable.assign(value)
    return half, single


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return, for each case, pairs of what exported models answer and what the models do."""
    format = "onnx" if BACKEND == "tensorflow" else "torch"
    quick = [format for format in OWN if format in ("saved_model", "litert", "torch")]
    factor_vae, (half, single), vae = trained("factor_vae"), of_half_precision(), trained("vae")
    cases = [
        *(("numbers", form, factor_vae, factor_vae, "float32") for form in quick),
        *(
            ("rounded", format, model, model, "float32")
            for model in (trained("qlae"), trained("info_gan", categorical=(3,)))
        ),
        ("half", format, half, single, "float32"),
        ("bytes", OWN[0], vae, vae, "uint8"),
    ]
    folder, requests, expected = tmp_path_factory.mktemp("exported"), [], []
    for i, (_, form, model, same, images) in enumerate(cases):
        asked = questions(same)
        artifact = export.model(model, folder / str(i), form, images=images)
        requests.append((form, artifact, asked))
        expected.append(answers(same, asked))
    pairs = {}
    for (case, *_), found, right in zip(cases, ask(folder, requests), expected, strict=True):
        pairs.setdefault(case, []).append((found, right))
    return pairs


@here
@pytest.mark.parametrize("case", ["numbers", "rounded", "half"])
def test_exported_models_give_the_models_numbers(case, exported):
    for found, expected in exported[case]:
        assert_answers(found, expected)


@here
def test_images_come_out_as_bytes_if_asked_for(exported):
    ((found, expected),) = exported["bytes"]
    for name, array in expected.items():
        if "/mean" in name or "/log_variance" in name:
            np.testing.assert_allclose(found[name], array, atol=1e-5)
        else:
            assert found[name].dtype == np.uint8
            assert np.abs(found[name] - 255 * array).max() <= 0.5 + 1e-3


@pytest.mark.skipif(BACKEND == "tensorflow", reason="it writes all formats but one")
def test_another_backend_writes_what_this_one_cannot(tmp_path):
    check(tmp_path, ["saved_model"], trained("factor_vae"))


@pytest.mark.slow
@pytest.mark.parametrize("format", OTHERS)
def test_every_format_from_every_backend(tmp_path, format):
    check(tmp_path, [format], trained("factor_vae"), trained("qlae"))


@pytest.mark.slow
@pytest.mark.parametrize("format", OWN)
def test_every_model_in_every_format(tmp_path, format):
    requests, expected, failed = [], {}, {}
    for case in itertools.product(MODELS, ("conv", "mlp")):
        model = learned(*case)
        asked = questions(model, pictures)
        artifact = export.model(model, tmp_path / "_".join(case), format)
        requests.append((format, artifact, asked))
        expected[case] = answers(model, asked)
    for (case, right), found in zip(expected.items(), ask(tmp_path, requests), strict=True):
        try:
            assert_answers(found, right)
        except AssertionError as error:
            failed[case] = str(error)
    came_out = {name: "no" if {case[0] for case in failed} & {name} else "yes" for name in MODELS}
    if os.environ.get("WRITE_TABLE"):  # make export-table
        write_table({name: {**table().get(name, {}), format: came_out[name]} for name in MODELS})
    assert {name: row[format] for name, row in table().items()} == came_out
    assert not failed


def learned(name, network):
    """Return a model with real networks for images in color, after some training."""
    model = MODELS[name].with_networks((32, 32, 3), LATENTS, network, 0.1)
    x = pictures(16, model.image_shape, seed=0)
    # Standardized codes that hardly vary would be divided by mere rounding.
    steps, rate = (60, 1e-3) if hasattr(model, "frame") else (1, 1e-5)
    kind = keras.optimizers.Adam if steps > 1 else keras.optimizers.SGD
    compiled(model, partial(kind, rate), run_eagerly=True)
    strips = x.reshape(len(x), LATENTS, -1).mean(axis=2)  # how bright: top, middle and bottom
    model.fit(*learned_from(model, x, strips), batch_size=16, epochs=steps, verbose=0)
    return model


def pictures(n, shape, seed):
    """Return images (n, h, w, c) of sprites that vary as data do."""
    data = datasets.load("sprites", image_size=shape[0], channels=shape[2])
    return data.images(np.random.default_rng(seed).integers(len(data), size=n))


PAGE = ROOT / "docs" / "export.md"
TABLE = re.compile(r"(?<=<!-- models and formats -->\n\n).*?(?=\n\n)", re.DOTALL)


def table():
    """Return the table of the documentation: `{model: {format: "yes" or "no"}}`."""
    (found,) = TABLE.findall(PAGE.read_text())
    heading, _, *rows = (
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in found.splitlines()
    )
    return {name: dict(zip(heading[1:], cells, strict=True)) for name, *cells in rows}


def write_table(rows):
    formats = list(export.FORMATS)
    lines = [["Model", *formats], ["---"] * (1 + len(formats))]
    lines += [[f"`{name}`", *(row.get(f, "?") for f in formats)] for name, row in rows.items()]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines).replace(" --- ", "---")
    PAGE.write_text(TABLE.sub(text, PAGE.read_text()))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="writes a SavedModel by itself")
def test_the_signatures_of_a_saved_model_are_listed(tmp_path):
    folder = small("vae", likelihood="gaussian").export(tmp_path / "model")
    assert folder is None
    command = [Path(sys.executable).parent / "saved_model_cli", "show", "--all", "--dir"]
    done = subprocess.run([*command, tmp_path / "model"], capture_output=True, text=True)
    said = re.findall(r"signature_def\['(\w+)'\]", done.stdout)
    assert sorted(set(said) - {"__saved_model_init_op"}) == sorted([*ENDPOINTS, "serving_default"])
    height, width, channels = SHAPE
    assert "inputs['images'] tensor_info:\n        dtype: DT_UINT8\n" in done.stdout
    assert f"shape: (-1, {height}, {width}, {channels})" in done.stdout


# -- the card ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    config = Config(
        model="vae",
        image_size=32,
        subset={"shape": [0], "orientation": [0], "scale": [5]},
        latent_dim=2,
        network="mlp",
        width=0.02,
        steps=4,
        epoch_steps=2,
        player_batch=8,
        metrics=("mig",),
    )
    run = Run.create(config, folder)
    run.train()
    run.evaluate(n_samples=200)
    return folder


@here
def test_the_card_tells_what_the_model_is(tmp_path, a_run):
    format = OWN[0]
    folder = Run.open(a_run).export(tmp_path / "new" / "artifact", format)
    card = export.read_card(folder)
    assert card["model"] == "VAE"
    assert card["format"] == format
    assert card["steps"] == 4
    assert card["run"] == json.loads((a_run / "config.json").read_text())
    assert card["scores"] == json.loads((a_run / "scores.json").read_text())
    assert {"keras", "keras_disent", "numpy", "python"} <= set(card["versions"])
    assert card["config"]["latent_dim"] == 2
    assert card["latent_names"] == ["z0", "z1"]
    assert np.shape(card["latent_ranges"]) == (2, 2)
    assert np.shape(card["latent_information"]) == (2,)
    assert list(card["endpoints"]) == list(ENDPOINTS)
    assert card["endpoints"]["encode"] == {
        "inputs": [{"name": "images", "shape": [None, 32, 32, 1], "dtype": "uint8"}],
        "outputs": [
            {"name": name, "shape": [None, 2], "dtype": "float32"}
            for name in ("mean", "log_variance")
        ],
    }
    assert not list(tmp_path.glob("new/.*"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow's formats")
def test_the_card_is_inside_of_onnx_and_openvino(tmp_path):
    import onnx
    import openvino

    model = small("vae")
    folder = export.model(model, tmp_path / "onnx", "onnx", scores={"mig": {"value": 0.5}})
    proto = onnx.load(folder / "encode.onnx", load_external_data=False)
    (inside,) = [prop.value for prop in proto.metadata_props if prop.key == "card"]
    assert json.loads(inside) == export.read_card(folder)
    # The weights of all endpoints are stored once.
    weights = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (folder / "weights.bin").stat().st_size < weights + 4096 * len(model.weights)
    folder = export.model(model, tmp_path / "openvino", "openvino")
    inside = openvino.Core().read_model(folder / "encode.xml").get_rt_info("card").value
    assert json.loads(inside) == export.read_card(folder)


# -- what cannot be exported ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"format": "savedmodel"}, "Unknown format 'savedmodel'. Choose from: "),
        ({"images": "float16"}, "`images` is 'float32' or 'uint8'. Got 'float16'."),
    ],
)
def test_unknown_names_are_told(tmp_path, arguments, rule):
    with pytest.raises(ValueError, match=re.escape(rule)):
        export.model(small("vae"), tmp_path / "a", **arguments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    for taken in ("full", "full/file"):
        with pytest.raises(ValueError, match="needs a new or empty folder"):
            small("vae").export(tmp_path / taken)
    with pytest.raises(ValueError, match=r"Cannot write into .*file'"):
        small("vae").export(tmp_path / "full" / "file" / "below")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file"]
    assert (tmp_path / "full" / "file").read_text() == "kept"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find = export.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tf2onnx" else find(name)
    )
    with pytest.raises(ImportError, match=r"needs tf2onnx: pip install 'keras-disent\[export\]'"):
        small("vae").export(tmp_path / "a", "onnx")
    assert not list(tmp_path.iterdir())


def a_format():
    """Return a format that this environment can write."""
    if not OWN:
        pytest.importorskip("torch")
    return OWN[0] if OWN else "torch"


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    model, format_ = small("vae"), a_format()
    for name in ("decode_tensors", "save"):  # the second for another process
        monkeypatch.setattr(type(model), name, lambda *args: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        model.export(tmp_path / "a", format_)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_export_left_is_deleted_and_nothing_else(tmp_path):
    format_ = a_format()
    left, others = [".a.0123abcd.part", ".a.0123abcd.lock"], [".a.part", ".b.0123abcd.part", "b"]
    for name in (left[0], *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    (tmp_path / left[1]).touch()
    (tmp_path / ".a.ffff0000.part").mkdir()
    with filelock.FileLock(tmp_path / ".a.ffff0000.lock"):  # another process is at it
        small("vae").export(tmp_path / "a", format_)
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a", ".a.ffff0000.part", ".a.ffff0000.lock", *others}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        '{"format": "onnx"}',
        '{"format": 3, "endpoints": {}}',
        '{"format": "onnx", "endpoints": {"../../a": {"inputs": [], "outputs": []}}}',
        '{"format": "onnx", "endpoints": {"a": {"inputs": [{}], "outputs": []}}}',
    ],
)
def test_damaged_cards_are_named(text, tmp_path):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json' is not a card: ") as error:
        export.read_card(tmp_path)
    assert "\n" not in str(error.value)


def test_runs_that_have_not_ended_are_refused(tmp_path, a_run):
    with pytest.raises(ValueError, match=r"A run folder holds config.json"):
        Run.open(tmp_path)
    config = Run.open(a_run).config
    Run.create(config, tmp_path / "begun")
    with pytest.raises(ValueError, match=r"has no model.keras yet: train it first"):
        Run.open(tmp_path / "begun").export(tmp_path / "a")
    load_model(a_run).save(tmp_path / "begun" / "model.keras")
    text = (tmp_path / "begun" / "config.json").read_text()
    (tmp_path / "begun" / "config.json").write_text(text.replace('"steps": 4,', '"steps": 9,'))
    with pytest.raises(ValueError, match=r"has taken 4 of 9 steps"):
        Run.open(tmp_path / "begun").export(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_code_in_a_file_is_not_run(tmp_path, a_run):
    code = layers.Lambda(lambda x: x)
    network = keras.Sequential([layers.Input(SHAPE), layers.Flatten(), code])
    model = MODELS["vae"](SHAPE, 2, encoder=network, decoder="mlp")
    Run.create(Run.open(a_run).config, tmp_path / "run")
    model.save(tmp_path / "run" / "model.keras")
    with pytest.raises(ValueError, match=r"holds Python code, in a Lambda layer. It is not run"):
        Run.open(tmp_path / "run").export(tmp_path / "a")
    assert not (tmp_path / "a").exists()


SCRIPT = """
import sys
import keras
from keras_disent import VAE
print("imported")

@keras.saving.register_keras_serializable("mine")
class Mine(VAE):
    def decode_tensors(self, codes, training=False):
        return 0 * super().decode_tensors(codes, training)

{guard}Mine((8, 8, 1), 2, "mlp", "mlp").export(sys.argv[1], {format!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__':\n    "])
def test_a_model_of_a_script_is_exported_if_the_script_can_be_imported(tmp_path, guard):
    format = "torch" if BACKEND == "tensorflow" else "saved_model"
    (tmp_path / "script.py").write_text(SCRIPT.format(guard=guard, format=format))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "imported\n"
    if guard:
        assert done.returncode == 0, done.stderr
        size = questions(small("vae", latent_dim=2))
        (found,) = ask(tmp_path, [(format, tmp_path / "out", size)])
        assert not found["decode/7/decoded"].any()
    else:
        assert "in a script with its main code under `if __name__ == '__main__':`" in done.stderr
        assert not (tmp_path / "out").exists()


@here
def test_export_takes_what_that_of_keras_takes(tmp_path, capsys):
    model = small("vae")
    names = {"saved_model": "tf_saved_model"}
    model.export(tmp_path / "quiet", names.get(OWN[0], OWN[0]))
    assert capsys.readouterr().out == ""
    card = export.read_card(tmp_path / "quiet")
    assert card["format"] == OWN[0]
    model.export(tmp_path / "told", names.get(OWN[0], OWN[0]), True)
    said = capsys.readouterr().out
    assert str(tmp_path / "told") in said
    assert "endpoints serve, encode, decode, reconstruct, traverse" in said
    assert inspect.signature(model.export).parameters["format"].default == "tf_saved_model"
    for wrong in (
        {"input_signature": [keras.InputSpec(shape=(None, *SHAPE))]},
        {"opset_version": 18},
    ):
        with pytest.raises(TypeError, match=f"`export` takes no {next(iter(wrong))}: ") as error:
            model.export(tmp_path / "refused", OWN[0], **wrong)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "refused").exists()
