"""A run in its folder: exact after a kill at any moment, honest when it fails, and scored."""

import base64
import csv
import dataclasses
import json
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from support.checks import BACKEND, TINY, assert_same, on, state
from support.commands import QUICK, call, files, process, wait_for

import keras_disent
from keras_disent import datasets, experiments, load_model, metrics, networks
from keras_disent.experiments import Config, LockedError, Run, training
from keras_disent.experiments.scores import SCORES
from keras_disent.experiments.stamp import STAMP, read_stamp
from keras_disent.experiments.store import RUN, Store
from keras_disent.experiments.training import HISTORY
from keras_disent.models.saving import FILE as MODEL


def change(**fields):
    return dataclasses.replace(TINY, **fields)


def two_players(steps):
    """Return a run of FactorVAE with a small discriminator."""
    judge = networks.discriminator(3, units=16, depth=2, seed=5)
    options = {"gamma": 4.0, "discriminator": keras.saving.serialize_keras_object(judge)}
    return change(model="factor_vae", steps=steps, options=options)


def trained(config, folder):
    Run.create(config, folder).train()
    return folder


def history(folder):
    with (folder / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_run(folder, expected):
    """Assert that weights, optimizers, seeds and steps agree to the last bit, and the history."""
    assert_same(state(load_model(folder)), state(load_model(expected)))
    assert (folder / HISTORY).read_text() == (expected / HISTORY).read_text()


def pictures(folder):
    return sorted(path.name for path in (folder / "traversals").iterdir())


def test_a_run_says_what_it_is(tmp_path):
    run = Run.create(TINY, tmp_path / "run")
    about = f"Run {str(run.folder)!r}: vae on sprites, "
    assert repr(run) == f"<{about}0 of 6 steps>"
    run.train()
    scores = run.evaluate(n_samples=200)
    path = run.traverse()
    assert repr(run) == f"<{about}6 of 6 steps>"
    page = run._repr_html_()
    assert f"<td>mig</td><td>{scores['mig']['value']:.4g}</td>" in page
    assert base64.b64encode(path.read_bytes()).decode() in page


# -- resuming -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return an uninterrupted run, with a copy of its folder before each of its files changed."""
    folder, before = tmp_path_factory.mktemp("whole"), {}
    replace = os.replace

    def copy_then_replace(source, target):
        name = f"{len(before):03d} {Path(target).name}"
        before[name] = shutil.copytree(folder, tmp_path_factory.mktemp("before") / "run")
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", copy_then_replace)
        trained(two_players(22), folder)
    before = {name: at for name, at in before.items() if not name.endswith("progress.json")}
    return folder, before


def test_history_and_pictures_of_a_run(whole):
    folder, _ = whole
    steps = [4, 8, 12, 16, 20, 22]  # the last epoch is a short one
    assert [int(line["step"]) for line in history(folder)] == steps
    assert pictures(folder) == [f"traversal_{step:08d}.png" for step in steps]
    model = load_model(folder)
    assert int(model.steps) == 22
    for line in history(folder):
        assert set(line) == {"step", *model.terms}
        assert all(np.isfinite(float(value)) for value in line.values())
    losses = [float(line["loss"]) for line in history(folder)]
    assert losses[-1] < losses[0]


# What `whole` writes in each epoch: its history, its model, its picture.
MOMENTS = {
    "before anything is saved": 1,
    "before the first checkpoint, with a line of history": 2,
    "before the second picture": 6,
    "before the fourth checkpoint": 11,
    "before the last checkpoint": 17,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_while_files_are_written_costs_nothing(moment, whole, tmp_path):
    expected, before = whole
    killed = list(before.values())[MOMENTS[moment]]
    (unfinished,) = killed.rglob(".*.part*")
    with unfinished.open("r+b") as file:
        file.truncate(unfinished.stat().st_size // 2)
    folder = shutil.copytree(killed, tmp_path / "run")
    Run.open(folder).train()
    assert_same_run(folder, expected)
    assert pictures(folder) == pictures(expected)
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_a_kill_before_the_first_file_leaves_a_folder_for_the_same_command(whole, tmp_path):
    expected, before = whole
    folder = shutil.copytree(next(iter(before.values())), tmp_path / "run")
    (unfinished,) = folder.glob(".*.part*")
    assert not (folder / "config.json").exists()
    trained(two_players(22), folder)
    assert_same_run(folder, expected)
    assert not unfinished.exists()


def test_the_moments_are_what_they_say(whole):
    _, before = whole
    order = ["config.json"]
    for step in (4, 8, 12, 16, 20, 22):
        order += ["history.csv", "model.keras", f"traversal_{step:08d}.png"]
    assert [name.partition(" ")[2] for name in before] == order


def test_a_run_killed_twice_ends_like_one_left_alone(whole, tmp_path):
    expected, _ = whole
    folder = tmp_path / "run"
    Run.create(two_players(22), folder)
    lines = 1
    for more in (1, 2):  # SIGKILL: nothing in the process can notice
        lines = kill_after(folder, lines + more)
        assert lines < 7
    Run.open(folder).train()
    assert_same_run(folder, expected)


def kill_after(folder, lines):
    """Resume a run in another process, and kill it when its history has some lines more."""
    history = folder / HISTORY

    def written():
        found = len(history.read_text().splitlines()) if history.exists() else 0
        return found if found >= lines else 0

    resumed = process("train", "--resume", "--out", folder)
    found = wait_for(written, resumed)
    resumed.kill()
    resumed.communicate()
    assert resumed.returncode == -signal.SIGKILL
    return found


def test_more_steps_later_are_the_same_steps(tmp_path):
    at_once, later = tmp_path / "at once", tmp_path / "later"
    trained(change(steps=11), at_once)
    trained(change(steps=6), later)
    told = []
    run = Run.open(later)
    run.extend(11)
    run.train(lambda steps, logs: told.append(steps))
    assert told[0] == 6  # as done already
    assert sum(told) == 11
    assert_same(state(load_model(later)), state(load_model(at_once)))
    assert [line["step"] for line in history(at_once)] == ["4", "8", "11"]
    assert [line["step"] for line in history(later)] == ["4", "6", "8", "11"]
    assert history(later)[0] == history(at_once)[0]
    assert history(later)[-1] == history(at_once)[-1]
    assert pictures(later) == [f"traversal_{step:08d}.png" for step in (4, 6, 8, 11)]


def test_a_run_that_is_done_stays_as_it_is(tmp_path):
    folder = trained(TINY, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    told = []
    model = Run.open(folder).train(lambda steps, logs: told.append(steps))
    assert int(model.steps) == 6
    assert told == [6]  # as done already
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


# -- guarantees -----------------------------------------------------------------------------------


def test_data_and_model_are_loaded_once(tmp_path, monkeypatch):
    calls, load, build = [], Config.load_data, Config.build
    monkeypatch.setattr(Config, "load_data", lambda c: (calls.append("data"), load(c))[1])
    monkeypatch.setattr(Config, "build", lambda c, d: (calls.append("model"), build(c, d))[1])
    run = Run.create(TINY, tmp_path / "run")
    run.train()
    run.evaluate()
    run.traverse()
    assert calls == ["data", "model"]
    assert run.model.steps_taken() == 6


def test_one_process_at_a_time_works_on_a_run(tmp_path):
    folder = trained(TINY, tmp_path / "run")
    before, run = files(folder), Run.open(folder)
    with Store(RUN, folder).lock():
        for method in (run.train, run.evaluate, run.traverse, lambda: run.extend(9)):
            with pytest.raises(LockedError, match=r"The run in '.*run' is locked by another pro"):
                method()
        assert call("train", "--resume", "--out", folder) == 1
    assert files(folder) == before
    run.evaluate()


def test_the_checkpoint_and_the_configuration_cannot_contradict_each_other(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    stored = json.loads((folder / "config.json").read_text())
    stored["latent_dim"] = 4
    (folder / "config.json").write_text(json.dumps(stored))
    before = files(folder)
    for method in (Run.open(folder).train, lambda: Run.open(folder).extend(30)):
        with pytest.raises(ValueError, match=r"model\.keras' was trained with other settings"):
            method()
    assert files(folder) == before


def test_other_images_under_the_same_name_are_refused(tmp_path):
    folder, place = tmp_path / "run", own_images(tmp_path / "images")
    trained(change(data=str(place), subset=None, metrics=()), folder)
    before = files(folder)
    Image.new("L", (20, 20)).save(place / "99.png")
    with pytest.raises(ValueError, match=r"was trained on other images than those that '.*image"):
        Run.open(folder).extend(9)
    (place / "99.png").unlink()
    Image.new("RGB", (20, 24)).save(place / "3.png")
    with pytest.raises(ValueError, match=r"was trained on other images"):
        Run.open(folder).extend(9)
    assert files(folder) == before


def test_checkpoints_of_others_are_refused(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    load_model(folder).save(folder / MODEL)  # as Keras does
    before = files(folder)
    with pytest.raises(ValueError, match=r"is not the checkpoint of a run: it was not written by"):
        Run.open(folder).extend(30)
    assert files(folder) == before
    shutil.copy(whole[0] / MODEL, folder / MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "numpy")
        with pytest.raises(ValueError, match=rf"was trained on {BACKEND}, and is resumed bit-exac"):
            Run.open(folder).extend(30)


@pytest.mark.parametrize("stamp", ["[]", '{"step": "a"}', '{"step": 1, "backend": "a b"}'])
def test_a_damaged_stamp_is_named(stamp, tmp_path):
    with zipfile.ZipFile(tmp_path / MODEL, "w") as file:
        file.writestr(STAMP, stamp)
    with pytest.raises(ValueError, match=r"keras' is not the checkpoint of a run: its run\.json"):
        read_stamp(tmp_path / MODEL)


def test_fewer_steps_than_were_taken_are_refused(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    with pytest.raises(ValueError, match=r"`steps` is at least the number of steps taken, 22. Go"):
        Run.open(folder).extend(21)
    assert Run.open(folder).config.steps == 22


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path, monkeypatch):
    folder = trained(change(steps=4), tmp_path / "run")
    before = files(folder)
    run = Run.open(folder)
    run.extend(8)
    monkeypatch.setattr(training, "_finite", lambda model: False)
    with pytest.raises(FloatingPointError, match=r"The weights are not finite at step 8; the last"):
        run.train()
    for name in (MODEL, HISTORY):
        assert (folder / name).read_bytes() == before[name]


def test_files_of_others_stay(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    mine = {
        **dict.fromkeys((".notes.part", ".a.12345678.part", "notes.txt"), "mine"),
        **{f"sub/{name}": "mine" for name in (".model.1234abcd.part.keras", "model.keras")},
        "traversals/.cat.1234abcd.part.png": "mine",
    }
    for name, text in mine.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".model.1234abcd.part.keras").write_text("left by a kill")
    (folder / "traversals" / ".traversal_00000004.1234abcd.part.png").write_text("left by a kill")
    run = Run.open(folder)
    run.extend(24)
    run.train()
    assert {name: (folder / name).read_text() for name in mine} == mine
    assert not (folder / ".model.1234abcd.part.keras").exists()
    assert not list((folder / "traversals").glob(".traversal*"))


def test_pictures_of_a_run_never_become_its_data(tmp_path):
    place = own_images(tmp_path / "images")
    config = change(data=str(place), subset=None, metrics=())
    for inside in (place / "run", place / "a" / "run"):
        with pytest.raises(ValueError, match=r"lies in the folder '.*images', whose pictures are"):
            Run.create(config, inside)
    assert len(list(place.iterdir())) == 12
    run = Run.create(config, tmp_path / "run")
    run.train()
    with pytest.raises(ValueError, match=r"a\.png' lies in the folder"):
        run.traverse(place / "a.png")
    assert len(list(place.iterdir())) == 12


def test_pictures_go_where_links_lead_and_not_onto_devices(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    run = Run.open(folder)
    (tmp_path / "target.png").write_text("old")
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    run.traverse(tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    Image.open(tmp_path / "target.png").load()
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match=r"it is not a regular file"):
        run.traverse(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(OSError, match=r"symbolic links: '.*loop\.png'"):
        run.traverse(tmp_path / "loop.png")
    assert (tmp_path / "loop.png").is_symlink()


DAMAGED = {
    "config.json": ["", "{", "[]", "{}", '{"made_with": {}}', "[" * 100_000, b"\xff"],
    "history.csv": ["", "a,b\n1,2\n", "step,loss\nx,1\n", "step,loss\n4\n", b"step\n\xff"],
    "model.keras": ["", "not a model"],
    "scores.json": ["", "{", "[]", '{"mig": 3}', '{"mig": {"value": "x"}}', "[" * 100_000],
    "progress.json": ["", "[]", '{"x": 1}', '{"step": "a"}', "[" * 100_000],
}


def look(folder, name):
    run = Run.open(folder)
    run.scores() if name == "scores.json" else run.extend(30)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(name, whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    Run.open(folder).evaluate(n_samples=100)
    for content in DAMAGED[name]:
        raw = content if isinstance(content, bytes) else content.encode()
        if name == "history.csv" and not content:
            continue  # an empty history is one without lines
        (folder / name).write_bytes(raw)
        before = files(folder)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")) as error:
            look(folder, name)
        assert "\n" not in str(error.value)
        assert files(folder) == before


def test_folders_of_another_version_are_told(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    stored = json.loads((folder / "config.json").read_text())
    for version in ({"keras_disent": "0.1.0"}, {**stored["made_with"], "format": 9}):
        (folder / "config.json").write_text(json.dumps({**stored, "made_with": version}))
        before = files(folder)
        with pytest.raises(ValueError, match=r"config\.json' is of format \d, .* reads format 2"):
            Run.open(folder)
        assert files(folder) == before


def test_scores_that_are_no_numbers_say_why(whole, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    evaluate = metrics.evaluate

    def with_nan(*args, **kwargs):
        scores = evaluate(*args, **kwargs)
        scores.results["mig"] = float("nan")
        return scores

    monkeypatch.setattr(metrics, "evaluate", with_nan)
    result = Run.open(folder).evaluate(["mig"], n_samples=100)
    assert result["mig"]["value"] is None
    assert result["mig"]["error"] == "mig is not defined for these codes: it is nan."
    text = (folder / SCORES).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["mig"]["value"] is None
    assert call("evaluate", folder, "--metrics", "mig", "--samples", "100") == 0
    assert "mig has no value: mig is not defined" in capsys.readouterr().err


def test_resume_takes_the_same_command(tmp_path, refused):
    folder = tmp_path / "run"
    command = ["train", "--out", folder, *QUICK, "--epoch-steps", "9"]
    assert call(*command) == 0
    assert call(*command, "--resume") == 0
    assert call(*command, "--resume", "--steps", "8") == 0
    assert Run.open(folder).config.steps == 8
    before = files(folder)
    line = refused(*command, "--resume", "--steps", "10", "--seed", "4", "--latent-dim", "3")
    assert line.endswith("only --steps and --track may differ. --seed is 3 there, 4 here.")
    line = refused("train", "--resume", "--out", folder, "--steps", "10", "--set", "beta=3")
    assert "--set" in line or "option of VAE" in line
    assert files(folder) == before


def own_images(folder):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(12):
        pixels = rng.integers(256, size=(20, 24, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


# -- what goes wrong ------------------------------------------------------------------------------


def test_training_that_fails_keeps_the_last_good_checkpoint(tmp_path):
    pole = keras.optimizers.schedules.InverseTimeDecay(1.0, decay_steps=8, decay_rate=-1.0)
    beta = keras.saving.serialize_keras_object(pole)  # 1 / (1 - step / 8)
    config = change(model="beta_vae", options={"beta": beta}, steps=12, epoch_steps=3)
    folder = tmp_path / "run"
    Run.create(config, folder)
    for _ in range(2):  # resumed, it comes to the same end
        with pytest.raises(FloatingPointError, match=r"at step 9, .*`loss` is not finite"):
            Run.open(folder).train()
        model = load_model(folder)
        assert int(model.steps) == 6
        assert all(np.isfinite(array).all() for array in state(model))
        assert [line["step"] for line in history(folder)] == ["3", "6"]
        assert len(pictures(folder)) == 2


def test_broken_model_files_are_named(whole, tmp_path):
    good = (whole[0] / MODEL).read_bytes()
    contents = {"half": good[: len(good) // 2], "empty": b"", "text": b"not a model"}
    for name, content in contents.items():
        path = tmp_path / f"{name}.keras"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"{name}\.keras' is not a whole \.keras file"
        ) as error:
            keras_disent.load_model(path)
        assert "\n" not in str(error.value)


def test_missing_model_files_are_named(tmp_path):
    for path in (tmp_path / "model.keras", tmp_path):
        with pytest.raises(ValueError, match=r"There is no file '.*model\.keras'"):
            keras_disent.load_model(path)


def test_models_load_from_a_file_or_a_folder(whole):
    folder, _ = whole
    for path in (folder, str(folder), folder / MODEL):
        assert int(keras_disent.load_model(path).steps) == 22


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"A run folder holds config\.json\. There is none in"):
        Run.open(tmp_path)
    run = Run.create(TINY, tmp_path / "run")
    for method in (run.evaluate, run.traverse):
        with pytest.raises(ValueError, match=r"has no model\.keras yet: train it first"):
            method()


def test_a_new_run_needs_a_new_folder(tmp_path):
    Run.create(TINY, tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds a run already"):
        Run.create(TINY, tmp_path / "run")
    with pytest.raises(ValueError, match=r"needs a new or empty folder"):
        Run.create(TINY, tmp_path)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match=r"Cannot write into '.*file"):
            Run.create(TINY, place)
    (tmp_path / "empty").mkdir()
    Run.create(TINY, tmp_path / "empty")
    assert list(files(tmp_path / "empty")) == ["config.json"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "vea"}, r"Unknown model 'vea'\. Choose from: ada_gvae, .*vae\."),
        (
            {"network": "resnet"},
            r"Unknown network 'resnet'\. Choose from: burgess, .*, qlae, silu_mlp, tripod\.",
        ),
        ({"metrics": ("mig", "x")}, r"Unknown metric 'x'\. Choose from: active_units, "),
        ({"correlate": {"scale": 0.1}}, "two factors with a comma between. Got 'scale'"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1\. Got 0\."),
        ({"epoch_steps": 2.5}, r"`epoch_steps` must be an integer of at least 1\. Got 2\.5\."),
        ({"latent_dim": -1}, r"`latent_dim` .* Got -1\."),
        ({"player_batch": 0}, r"`player_batch` .* Got 0\."),
        ({"seed": -1}, r"`seed` must be an integer of at least 0\. Got -1\."),
        ({"data_options": {"image_size": 8}}, r"Got 'image_size': set `image_size` \(--image-siz"),
        ({"data_options": {"name": "a"}}, r"`data_options` is for .* Got 'name': set `data` \(--"),
        ({"learning_rate": 0.0}, r"`learning_rate` is a number above 0\. Got 0\.0\."),
        ({"learning_rate": "fast"}, r"`learning_rate` is a number above 0\. Got 'fast'\."),
        ({"learning_rate": "CosineDecay(1)"}, r"'CosineDecay\(1\)' is not a schedule: "),
        ({"changed": "some"}, r"`changed` is a number or 'random'\. Got 'some'\."),
        ({"changed": 0}, r"`changed` must be an integer of at least 1\. Got 0\."),
        ({"width": float("nan")}, r"`width` is a number above 0\. Got nan\."),
        ({"precision": "float16"}, r"`precision` is one of: float32, .* Got 'float16'\."),
        ({"jit_compile": "yes"}, r"`jit_compile` is true, false or 'auto'\. Got 'yes'\."),
        ({"jit_compile": None}, r"`jit_compile` is true, false or 'auto'\. Got None\."),
        ({"steps_per_execution": 3, "steps": 9}, "`steps_per_execution` (divides|is 1 on PyTorch)"),
    ],
)
def test_wrong_configurations(fields, message):
    with pytest.raises(ValueError, match=message):
        change(**fields)


def test_data_that_are_not_there(tmp_path):
    config = change(data="smile")
    rule = r"Unknown data set 'smile'\. Choose from: .*sprites.*; or a folder"
    with pytest.raises(ValueError, match=rule):
        config.load_data()
    with pytest.raises(ValueError, match=rule):
        Run.create(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- what a run holds -----------------------------------------------------------------------------


def test_configurations_go_into_a_file_and_back(tmp_path):
    config = change(options={"beta": 4.0}, model="beta_vae", player_batch=64)
    Run.create(config, tmp_path)
    assert Run.open(tmp_path).config == config
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["made_with"].pop("threads") >= 1
    version = keras_disent.__version__
    assert stored["made_with"] == {"keras_disent": version, "format": 2, "backend": BACKEND}
    assert stored["options"] == {"beta": 4.0}


def test_what_the_data_cannot_give_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for choice in ({"subset": {"shape": ["square"]}}, {"correlate": {"shape,scale": 0.1}}):
        with pytest.raises(ValueError, match=r"are for a grid of factors\. '.*' has none"):
            change(**{"data": str(tmp_path), "subset": None, **choice}).load_data()
    still = {"shape": [0], "scale": [0], "orientation": [0], "position_x": [0], "position_y": [0]}
    config = change(subset=still)
    with pytest.raises(ValueError, match=r"factor with more than one value.*\(1, 1, 1, 1, 1\)"):
        config.build(config.load_data())


def test_configurations_build_what_they_say():
    data = TINY.load_data()
    assert data.image_shape == (32, 32, 1)
    assert data.factor_sizes == (1, 2, 1, 32, 32)
    model = two_players(5).build(data)
    assert type(model) is keras_disent.FactorVAE
    assert (model.latent_dim, model.gamma, model.seed) == (3, 4.0, 1)
    assert model.encoder.output_shape == (None, 24)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(1e-3)
    by_default = change(model="factor_vae", player_batch=64).batches(model, data)
    assert (by_default.batch_size, by_default.seed, len(by_default)) == (128, 1, 4)
    own = change(model="qlae", learning_rate=None, options={"values": 4}).build(data)
    assert (own.values, own.optimizer.weight_decay) == (4, 0.1)
    assert float(own.optimizer.learning_rate.numpy()) == pytest.approx(1e-3)
    falling = change(learning_rate="CosineDecay(0.002, 10)", likelihood="gaussian(scale=0.05)")
    assert Config.from_dict(json.loads(json.dumps(falling.as_dict()))) == falling
    rated = falling.build(data)
    assert rated.likelihood.scale == 0.05
    schedule = rated.optimizer.get_config()["learning_rate"]
    assert (schedule["class_name"], schedule["config"]["decay_steps"]) == ("CosineDecay", 10)
    sampled = change(model="beta_tcvae", options={"estimator": "mss"}).build(data)
    assert sampled.get_config()["dataset_size"] == 2 * 32 * 32


@pytest.mark.parametrize("precision", ["mixed_bfloat16", None])
def test_the_step_is_compiled_as_configured(precision, tmp_path):
    at_once = 1 if BACKEND == "torch" else 2
    config = change(precision=precision, steps_per_execution=at_once, jit_compile=False)
    run = Run.create(config, tmp_path / "run")
    run.train()
    assert run.model.encoder.compute_dtype == ("bfloat16" if precision else "float32")
    assert run.model.jit_compile is False
    assert run.model.steps_per_execution == at_once
    assert run.model.steps_taken() == config.steps
    assert Config.from_dict(config.as_dict()) == config


def test_scores_are_kept_with_what_they_were_made_from(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    chosen = {
        "mig": {"bins": 7},
        "factor_vae_score": {"variance_samples": 100, "train_votes": 60, "eval_votes": 40},
    }
    told = []
    note = lambda *done: told.append(done)  # noqa: E731
    result = Run.open(folder).evaluate(chosen, n_samples=300, seed=2, progress=note)
    assert told == [("mig", 1, 2), ("factor_vae_score", 2, 2)]
    assert json.loads((folder / SCORES).read_text()) == result
    model, data = load_model(folder), TINY.load_data()
    assert set(result) == {*model.terms, "mig", "factor_vae_score"}
    assert all({"value", "settings"} <= set(entry) for entry in result.values())
    assert result["factor_vae_score"]["detail"]["eval_points"] == 40

    again = metrics.evaluate(model, data, chosen, n_samples=300, seed=2)
    assert {name: result[name]["value"] for name in again} == dict(again)
    settings = result["mig"]["settings"]
    assert {name: settings[name] for name in ("n_samples", "seed", "bins", "factors_used")} == {
        "n_samples": 300,
        "seed": 2,
        "bins": 7,
        "factors_used": ["scale", "position_x", "position_y"],
    }
    assert result["factor_vae_score"]["settings"]["train_votes"] == 60
    images = experiments.config.EVALUATION_BATCHES * 8
    for term in model.terms:
        assert np.isfinite(result[term]["value"])
        assert result[term]["settings"] == {"images": images, "seed": 1_000_004, "step": 22}
    repeated = Run.open(folder).evaluate({"mig": {"bins": 7}}, n_samples=300, seed=2)
    assert repeated == {name: result[name] for name in (*model.terms, "mig")}


def test_unknown_scores_leave_the_old_ones(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    (folder / SCORES).write_text("old")
    with pytest.raises(ValueError, match=r"Unknown metric 'x'\. Choose from: active_units, "):
        Run.open(folder).evaluate(["x"])
    assert (folder / SCORES).read_text() == "old"


def test_example_images_start_in_the_middle():
    data = TINY.load_data()
    drawn = datasets.example_images(data, n=10)
    assert drawn.shape == (10, 32, 32, 1)
    np.testing.assert_array_equal(drawn, datasets.example_images(data, n=10))
    middle = data.images(data.indices([[0, 1, 0, 16, 16]]))
    np.testing.assert_array_equal(drawn[:1], middle)
    assert len(np.unique(drawn, axis=0)) > 5
    assert len(datasets.example_images(data)) == 256
    one = datasets.Images(np.arange(2 * 16, dtype="uint8").reshape(2, 4, 4))
    np.testing.assert_array_equal(datasets.example_images(one, n=5)[0], one.images([0])[0])


def test_traversals_are_drawn_where_asked(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    first = Run.open(folder).traverse()
    assert first == folder / "traversal.png"
    other = Run.open(folder).traverse(tmp_path / "new" / "other.png", image=3)
    with Image.open(first) as a, Image.open(other) as b:
        assert a.size == b.size
        assert a.tobytes() != b.tobytes()
    with pytest.raises(ValueError, match=r"`image` is a number from 0 to 255\. Got 256\."):
        Run.open(folder).traverse(image=256)


def test_models_of_pairs_get_pairs_and_what_differs(tmp_path):
    data = TINY.load_data()
    for name, changed, most in (("ada_gvae", "random", 2), ("gvae", 2, 2)):
        config = change(model=name, changed=changed, latent_dim=5)
        batch = config.batches(config.build(data), data).at(0)
        pairs, *labels = batch if isinstance(batch, tuple) else (batch,)
        assert pairs.shape == (8, 2, 32, 32, 1)
        assert [label.shape for label in labels] == ([(8, 5)] if name == "gvae" else [])
        assert all((label.sum(axis=1) == most).all() for label in labels)
    with pytest.raises(
        ValueError, match=r"at most 3, the number of factors that may change\. Got 4\."
    ):
        change(model="gvae", changed=4, latent_dim=5).build(data)
    folder = trained(change(model="gvae", latent_dim=5, steps=3), tmp_path / "run")
    result = Run.open(folder).evaluate(n_samples=50)
    assert result["loss"]["settings"]["images"] == 2 * experiments.config.EVALUATION_BATCHES * 8
    (tmp_path / "images").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "images" / "a.png")
    own = change(model="ada_gvae", data=str(tmp_path / "images"), subset=None, metrics=())
    with pytest.raises(TypeError, match="Groups need a GroundTruth"):
        own.build(own.load_data())


def test_images_of_ones_own(tmp_path):
    config = change(
        data=str(own_images(tmp_path / "images")),
        subset=None,
        model="beta_tcvae",
        options={"estimator": "mss"},
        image_size=16,
        channels=3,
        network="conv",
        width=0.1,
        steps=5,
    )
    folder = trained(config, tmp_path / "run")
    model = load_model(folder)
    assert (model.image_shape, int(model.steps)) == ((16, 16, 3), 5)
    assert model.get_config()["dataset_size"] == 12
    result = Run.open(folder).evaluate(n_samples=50)
    assert set(result) == {*model.terms, "unsupervised"}  # what needs no labels
    with pytest.raises(ValueError, match=r"'mig' compare codes with ground-truth factors"):
        Run.open(folder).evaluate("mig")
    assert result["loss"]["settings"]["images"] == experiments.config.EVALUATION_BATCHES * 8
    assert Run.open(folder).traverse().is_file()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("vae", "Each step is fed 8 images."),
        ("factor_vae", "Each step is fed 16 images: 8 for each of 2 players."),
        ("gvae", "Each step is fed 8 pairs."),
    ],
)
def test_what_a_step_is_fed_is_said_without_a_model(model, words, tmp_path, monkeypatch):
    config = change(model=model, player_batch=8, latent_dim=5)
    store = Run.create(config, tmp_path / "run").store
    monkeypatch.setattr(Run, "model", None)
    assert Run.from_store(store).fed() == words


# -- experiment trackers --------------------------------------------------------------------------


def tracked(run):
    """Return the steps at which TensorBoard has a term, a score of `evaluate`, and a picture."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    size = {"scalars": 0, "images": 0}
    board = accumulator.EventAccumulator(str(run.folder / "tensorboard"), size_guidance=size)
    board.Reload()
    return (
        [event.step for event in board.Scalars("loss")],
        [event.step for event in board.Scalars("val_mig")],
        [event.step for event in board.Images("traversals")] if board.Tags()["images"] else [],
    )


@on("torch")
def test_a_tracker_gets_terms_pictures_and_scores_of_a_resumed_run_too(tmp_path):
    config = dataclasses.replace(TINY, track="tensorboard", steps=4)
    run = Run.create(config, tmp_path / "run")
    run.train()
    run.extend(8)
    run = Run.open(tmp_path / "run")
    run.train()
    run.evaluate(n_samples=100)
    assert tracked(run) == ([4, 8], [8], [4, 8])
    assert (run.folder / "tensorboard" / "codes.tsv").exists()
    assert list(json.loads((run.folder / "tracking.json").read_text())) == ["tensorboard"]


@on("torch")
def test_the_tracker_is_no_part_of_what_is_resumed(tmp_path):
    run = Run.create(dataclasses.replace(TINY, steps=4), tmp_path / "run")
    run.train()
    run.extend(8)
    run.train(track="tensorboard", pictures=False)
    run.evaluate(n_samples=100)
    assert tracked(run) == ([8], [8], [])


def test_a_tracker_that_is_not_installed_is_refused_before_the_folder_is_made(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-disent\[tensorboard\]'"):
        Run.create(dataclasses.replace(TINY, track="tensorboard"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = Run.create(TINY, tmp_path / "other")
    with pytest.raises(ImportError, match=r"pip install 'keras-disent\[tensorboard\]'"):
        run.train(track="tensorboard")
    assert not (tmp_path / "other" / "model.keras").exists()


def test_an_unknown_tracker_is_refused():
    with pytest.raises(ValueError, match=r"Unknown tracker 'mlfow'. Choose from: mlflow"):
        dataclasses.replace(TINY, track="mlfow")
