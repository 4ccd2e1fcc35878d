"""Studies: every run once and whole, whatever is killed, broken or full on the way."""

import errno
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from checks import BACKEND
from PIL import Image
from test_cli import call, refused  # noqa: F401
from test_imports import python

import keras_disent
from keras_disent import models, runs, studies
from keras_disent.configuration import options_of
from keras_disent.studies import engine, folder, locks, plan, table, work

pandas = pytest.importorskip("pandas")

TOP = """
image_size = 32
steps = 3
epoch_steps = 2
batch_size = 8
latent_dim = 3
network = "mlp"
width = 0.02
learning_rate = 1e-3
metrics = ["mig"]
"""
SUBSET = """
[subset]
shape = ["square"]
orientation = [0]
scale = [0, 5]
"""
METHODS = """
[[methods]]
model = "beta_vae"
beta = [1, 4]
[[methods]]
model = "vae"
"""
VAES = "[[methods]]\nmodel = 'vae'\nlatent_dim = [2, 3]\n"
TINY = TOP + "seeds = 2\n" + SUBSET + METHODS


def on(backend):
    """Run a test that starts processes on one backend, or that others cover elsewhere."""
    return pytest.mark.skipif(backend != BACKEND, reason=f"runs on {backend}")


def parsed(text):
    return studies.Plan.parse(text, "a.toml")


def scores(found):
    """Return what has to be equal to the last bit."""
    return found.drop(columns="seconds")


def files(place):
    paths = [path for path in Path(place).rglob("*") if path.is_file()]
    return {str(p.relative_to(place)): p.read_bytes() for p in paths if p.name != ".guard"}


def assert_each_run_is_there_once(place, expected):
    """Assert that a folder holds all runs of a study, whole, and nothing else."""
    names = {run.name for run in expected.runs}
    assert {path.name for path in (place / "runs").iterdir()} == names
    for name in names:
        held = {path.name for path in (place / "runs" / name).iterdir()}
        assert held == {"config.json", "done.json", "history.csv", "model.keras", "scores.json"}
        assert runs.load_model(place / "runs" / name).steps_taken() == expected.runs[0].config.steps
    assert [path.name for path in (place / "locks").iterdir()] == [".guard"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a study that nothing has disturbed, its plan and its results."""
    place, told = tmp_path_factory.mktemp("whole") / "study", []
    found = studies.run(parsed(TINY), place, jobs=1, changed=told.append)
    assert told[-1].share == 1
    return place, parsed(TINY), found


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "study")


# -- the file -------------------------------------------------------------------------------------


def test_lists_are_grids():
    text = """
latent_dim = [6, 10]
seeds = [3, 5]
metrics = "standard"
[[methods]]
model = "beta_vae"
beta = [1, 4.5]
[[methods]]
model = ["vae", "dip_vae"]
learning_rate = 1e-3
"""
    found = parsed(text).runs
    assert len(found) == (2 * 2 + 2 * 2) * 2
    assert [run.config.seed for run in found] == [3, 5] * 8
    assert [run.label for run in found[::2]] == [
        "beta_vae, latent_dim 6, beta 1",
        "beta_vae, latent_dim 6, beta 4.5",
        "beta_vae, latent_dim 10, beta 1",
        "beta_vae, latent_dim 10, beta 4.5",
        "vae, latent_dim 6, learning_rate 0.001",
        "dip_vae, latent_dim 6, learning_rate 0.001",
        "vae, latent_dim 10, learning_rate 0.001",
        "dip_vae, latent_dim 10, learning_rate 0.001",
    ]
    config = found[2].config
    assert (config.model, config.latent_dim, config.options) == ("beta_vae", 6, {"beta": 4.5})
    assert config.metrics == keras_disent.metrics.STANDARD
    assert parsed("steps = 100\n[[methods]]\nmodel = 'vae'").runs[0].config.epoch_steps == 100


def test_runs_are_named_by_their_configuration():
    (first, second) = parsed(TOP + "seeds = 2\n" + "[[methods]]\nmodel = 'vae'\n").runs
    assert first.name.startswith("vae-")
    assert len(first.name) == 4 + 12
    assert first.name != second.name
    one, other = ({"beta": 4}, {"beta": 4.0})
    assert plan.digest(runs.Config(options=one)) == plan.digest(runs.Config(options=other))
    assert plan.digest(runs.Config()) == "aa7e889414f1"  # other names would orphan what is finished


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", r"a\.toml: Invalid value \(at end of document\)"),
        ("stepz = 3" + METHODS, r"a\.toml: No key 'stepz' here\. Choose from: batch_size, "),
        ("seed = 3" + METHODS, r"No key 'seed' at the top: give it as seeds = \[\.\.\.\]"),
        ("model = 'vae'" + METHODS, r"No key 'model' at the top: give it as a \[\[methods\]\]"),
        ("steps = 3", r"a\.toml: A study needs at least one \[\[methods\]\] table"),
        ("methods = []", r"at least one \[\[methods\]\] table"),
        ("methods = 3", r"at least one \[\[methods\]\] table"),
        ("[[methods]]\nbeta = 3", r"Method 1: A method needs its `model`"),
        (METHODS + "[[methods]]\nmodel = 'vea'", r"Method 3: No model 'vea' here\. Choose from: "),
        (METHODS + "gama = 3", r"Method 2: No key or option of VAE 'gama' here\. Choose from: .*w"),
        (METHODS + "seed = 3", r"Method 2: No key or option of VAE 'seed' here"),
        (METHODS + "likelihood = []", r"Method 2: The grid of `likelihood` needs at least one va"),
        ("steps = []" + METHODS, r"Method 1: The grid of `steps` needs at least one value"),
        ("steps = 0" + METHODS, r"`steps` is a whole number of at least 1\. Got 0"),
        ("steps = '3'" + METHODS, r"`steps` is a whole number of at least 1\. Got '3'"),
        ("width = 'x'" + METHODS, r"a\.toml: Method 1: `width` is a number above 0\. Got 'x'"),
        ("metrics = ['migg']" + METHODS, r"No metric 'migg' here\. Choose from: active_units, "),
        ("metrics = []" + METHODS, r"`metrics` is a name or a list of at least one\. Got \[\]"),
        ("metrics = 3" + METHODS, r"`metrics` is a name or a list of at least one\. Got 3"),
        ("seeds = []" + METHODS, r"`seeds` is a list of at least one, or their number"),
        ("seeds = 0" + METHODS, r"`seeds` is a whole number of at least 1\. Got 0"),
        ("seeds = [1, 1]" + METHODS, r"`seeds` must all differ\. Got \[1, 1\]"),
        ("seeds = ['x']" + METHODS, r"`seeds` is a whole number of at least 0\. Got 'x'"),
        ("subset = 3" + METHODS, r"`subset` is a table\. Got 3"),
        (METHODS + "[[methods]]\nmodel = 'vae'", r"Method 3: 'vae' is there already, as 'vae'"),
    ],
)
def test_files_that_are_wrong(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parsed(text)
    assert str(error.value).startswith("a.toml: ")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read the study '.*no\.toml': No such file"):
        studies.Plan.read(tmp_path / "no.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"Cannot read the study '.*a\.toml': "):
        studies.Plan.read(tmp_path / "a.toml")


def test_columns_never_collide():
    options = {name for cls in models.MODELS.values() for name in options_of(cls)}
    assert not {*options, *plan.OWN} - {"model"} & {*table.FIRST, *table.LAST}


# -- what a study leaves --------------------------------------------------------------------------


def test_every_run_is_there_once(whole):
    place, study, _ = whole
    assert_each_run_is_there_once(place, study)
    held = {path.name for path in place.iterdir()}
    assert held == {"locks", "results.csv", "results.parquet", "runs", "study.json", "study.toml"}
    assert (place / "study.toml").read_text().strip() == TINY.strip()
    stored = json.loads((place / "study.json").read_text())
    assert (stored["format"], stored["backend"]) == (1, BACKEND)
    assert studies.read(place).runs == study.runs


def test_results_are_one_tidy_table(whole):
    place, study, found = whole
    assert list(found.columns) == [*table.FIRST, "beta", *table.LAST]
    for run in study.runs:
        rows = found[found["run"] == run.name]
        stored = json.loads((place / "runs" / run.name / "scores.json").read_text())
        assert dict(zip(rows["score"], rows["value"], strict=True)) == {
            name: entry["value"] for name, entry in stored.items()
        }
        assert set(rows["label"]) == {run.label}
        assert set(rows["seed"]) == {run.config.seed}
        assert set(rows["beta"].dropna()) == set(run.config.options.values())
        assert list(rows[rows["kind"] == "metric"]["score"]) == ["mig"]
    assert set(found["step"]) == {3}
    assert set(found["backend"]) == {BACKEND}
    assert (found["seconds"] > 0).all()
    pandas.testing.assert_frame_equal(pandas.read_parquet(place / "results.parquet"), found)
    read = pandas.read_csv(place / "results.csv")
    pandas.testing.assert_frame_equal(read, found, check_exact=True)


def test_settings_of_many_types_fit_in_the_table(tmp_path):
    text = "[[methods]]\nmodel = 'ada_gvae'\nchanged = [1, 'random']\nlatent_dim = [4, 6]"
    study = parsed(text)
    for run in study.runs:
        place = tmp_path / "runs" / run.name
        place.mkdir(parents=True)
        (place / "scores.json").write_text('{"mig": {"value": NaN}}')
        made_with = {"backend": "torch", "keras_disent": "1"}
        done = {"step": 3, "seconds": 1, "made_with": made_with}
        (place / "done.json").write_text(json.dumps(done))
    (tmp_path / "locks").mkdir()
    found = table.write(tmp_path, study.runs)
    assert list(found["changed"]) == ["1", "1", "random", "random"]
    assert list(found["latent_dim"]) == [4, 6, 4, 6]
    assert found["value"].isna().all()
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "results.parquet"), found)


def test_a_finished_run_is_never_repeated(whole, copied, monkeypatch):
    monkeypatch.setattr(runs, "train", None)
    monkeypatch.setattr(runs, "evaluate", None)
    before = files(copied)
    again = studies.run(whole[1], copied, jobs=1)
    assert files(copied) == before
    pandas.testing.assert_frame_equal(again, whole[2])


def test_halves_make_a_whole(whole, tmp_path):
    _, study, found = whole
    first = studies.run(study, tmp_path / "study", jobs=1, half=(1, 2))
    assert set(first["run"]) == {run.name for run in study.runs[::2]}
    both = studies.run(study, tmp_path / "study", jobs=1, half=(2, 2))
    pandas.testing.assert_frame_equal(scores(both), scores(found))
    assert_each_run_is_there_once(tmp_path / "study", study)
    with pytest.raises(ValueError, match=r"`half` is \(1, 2\) or \(2, 2\).* Got \(3, 2\)"):
        studies.run(study, tmp_path / "study", half=(3, 2))


# -- what goes wrong ------------------------------------------------------------------------------

POLE = '"InverseTimeDecay(1.0, decay_steps=2, decay_rate=-1.0)"'  # 1 / (1 - step / 2)


def test_a_failing_run_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    methods = f"[[methods]]\nmodel = 'beta_vae'\nbeta = [4, {POLE}]\n[[methods]]\nmodel = 'vae'\n"
    study = parsed(TOP + SUBSET + methods)
    found = studies.run(study, tmp_path / "study", jobs=1)
    good, bad, other = study.runs
    assert set(found["run"]) == {good.name, other.name}
    ((name, message),) = studies.failures(tmp_path / "study", study.runs).items()
    assert (name, message.split(":")[0]) == (bad.name, "FloatingPointError")
    path = tmp_path / "study" / "runs" / bad.name / "failed.json"
    assert "Traceback (most recent call last)" in json.loads(path.read_text())["traceback"]
    assert "runs.train" in json.loads(path.read_text())["traceback"]

    (tmp_path / "a.toml").write_text(study.text)
    assert call("study", "status", tmp_path / "study") == 0
    shown = capsys.readouterr().out
    assert "2 done, 1 failed" in shown
    assert f"{bad.name} failed: FloatingPointError: " in shown

    trained, train = [], runs.train
    record = lambda config, *a, **k: (trained.append(config), train(config, *a, **k))  # noqa: E731
    monkeypatch.setattr(runs, "train", record)
    studies.run(study, tmp_path / "study", jobs=1)
    assert not trained
    studies.run(study, tmp_path / "study", jobs=1, retry=True)
    assert trained == [bad.config]
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("config.json", errno.ENOSPC),
        ("history.csv", errno.EACCES),
        ("model.keras", errno.ENOSPC),
        ("scores.json", errno.ENOSPC),
    ],
)
def test_a_full_disk_stops_the_study_and_costs_nothing(name, reason, whole, tmp_path):
    _, study, found = whole
    place, replace, seen = tmp_path / "study", os.replace, []

    def full(source, target):
        if Path(target).name == name:
            seen.append(target)
            if len({Path(path).parent for path in seen}) == 3:
                raise OSError(reason, os.strerror(reason))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match=rf"Cannot write '.*{name}': {os.strerror(reason)}\. W"):
            studies.run(study, place, jobs=1)
    assert not list(place.rglob("failed.json"))
    assert len(list(place.rglob("done.json"))) == 2
    done = {path: path.read_bytes() for path in place.rglob("done.json")}
    again = studies.run(study, place, jobs=1)
    assert {path: path.read_bytes() for path in done} == done
    pandas.testing.assert_frame_equal(scores(again), scores(found))
    assert_each_run_is_there_once(place, study)


@pytest.mark.parametrize("name", ["done.json", "scores.json"])
@pytest.mark.parametrize("content", ["", '{"mig": 3', "[]", '{"x": {}}'])
def test_a_broken_result_is_named_and_done_again(name, content, whole, copied):
    _, study, found = whole
    path = copied / "runs" / study.runs[1].name / name
    path.write_text(content)
    before = files(copied)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{name}' is not the result of a run: .* Remove th"):
            studies.run(study, copied, jobs=1)
        assert files(copied) == before
    path.unlink()
    pandas.testing.assert_frame_equal(scores(studies.run(study, copied, jobs=1)), scores(found))


def test_another_study_is_refused(whole, copied):
    before = files(copied)
    with pytest.raises(
        ValueError, match=r"study' holds another study: 3 of its 6 .* seed 1'\. A s"
    ):
        studies.run(parsed(TINY.replace("seeds = 2", "seeds = [0, 2, 3]")), copied)
    stored = json.loads((copied / "study.json").read_text())
    for key, value, message in [
        ("format", 2, r"study\.json' is of format 2; this version of keras-disent reads 1"),
        ("backend", "numpy", f"holds a study on numpy; this is one on {BACKEND}"),
    ]:
        (copied / "study.json").write_text(json.dumps({**stored, key: value}))
        with pytest.raises(ValueError, match=message):
            studies.run(whole[1], copied)
    for content in ("", "[]", "{}", '{"format": 1}'):
        (copied / "study.json").write_text(content)
        with pytest.raises(ValueError, match=r"study\.json' does not describe a study: "):
            studies.run(whole[1], copied)
    (copied / "study.json").write_bytes(before["study.json"])
    assert files(copied) == before
    (copied / "study.toml").write_text(TINY.replace("seeds = 2", "seeds = 3"))
    with pytest.raises(ValueError, match=r"study\.toml' was changed"):
        studies.read(copied)


def test_a_study_grows(whole, copied, monkeypatch):
    trained, train = [], runs.train
    record = lambda config, *a, **k: (trained.append(config), train(config, *a, **k))  # noqa: E731
    monkeypatch.setattr(runs, "train", record)
    before = files(copied / "runs")
    larger = TINY.replace("seeds = 2", "seeds = 3").replace("[1, 4]", "[1, 2, 4]")
    more = parsed(larger)
    found = studies.run(more, copied, jobs=1)
    assert sorted(c.seed for c in trained) == [0, 1, 2, 2, 2, 2]
    assert files(copied / "runs").items() >= before.items()
    assert_each_run_is_there_once(copied, more)
    assert studies.read(copied).runs == more.runs
    kept = found[found["run"].isin(set(whole[2]["run"]))].reset_index(drop=True)
    pandas.testing.assert_frame_equal(kept, whole[2])

    for wrong in (whole[1], parsed(larger.replace("[1, 2, 4]", "[1, 2, 8]"))):
        with pytest.raises(ValueError, match=r"holds another study: \d of its 12 runs are not in"):
            studies.run(wrong, copied, jobs=1)
    assert studies.read(copied).runs == more.runs

    path = copied / "study.toml"  # it may be edited where it is
    path.write_text(larger.replace("seeds = 3", "seeds = 2"))
    with pytest.raises(ValueError, match=r"another study: 4 of its 12 runs are not in this one"):
        studies.run(studies.Plan.read(path), copied, jobs=1)
    path.write_text(larger.replace("[1, 2, 4]", "[1, 2, 4, 'strong']"))
    with pytest.raises(ValueError, match="beta_vae, beta strong: "):
        studies.run(studies.Plan.read(path), copied, jobs=1)
    path.write_text(larger + "[[methods]]\nmodel = 'dip_vae'\n")
    trained.clear()
    studies.run(studies.Plan.read(path), copied, jobs=1)
    assert [c.model for c in trained] == ["dip_vae"] * 3


def test_a_study_killed_while_it_grows_goes_on(whole, copied):
    more = parsed(TINY.replace("seeds = 2", "seeds = 3"))
    folder.write(copied / "study.json", folder._described(more))  # and then it was killed
    with pytest.raises(ValueError, match=r"study\.toml' was changed"):
        studies.read(copied)
    assert set(studies.run(more, copied, jobs=1)["seed"]) == {0, 1, 2}
    assert studies.read(copied).runs == more.runs


def test_the_order_and_form_of_the_file_do_not_matter(whole, copied):
    text = "# the same\nseeds = [1, 0]" + TOP.replace("steps = 3\n", "steps   = 3\n", 1)
    vae, beta = "[[methods]]\nmodel = 'vae'\n", "[[methods]]\nbeta = [4, 1.0]\nmodel = 'beta_vae'\n"
    before = files(copied / "runs")
    studies.run(parsed(text + SUBSET + vae + beta), copied, jobs=1)
    assert files(copied / "runs") == before


def test_places_that_cannot_be_used(tmp_path, refused):  # noqa: F811
    (tmp_path / "a.toml").write_text(TINY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    command = ["study", "run", tmp_path / "a.toml", "--out"]
    assert "A study needs a new or empty folder" in refused(*command, tmp_path / "mine")
    assert "Cannot write into" in refused(*command, tmp_path / "a.toml" / "x")
    assert "There is none in" in refused("study", "status", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_a_model_does_not_take_is_said_before_a_folder_is_made(tmp_path):
    study = parsed(TOP + SUBSET + "[[methods]]\nmodel = 'beta_vae'\nbeta = 'strong'\n")
    with pytest.raises(ValueError, match=r"beta_vae, beta strong: "):
        studies.run(study, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_bad_values_are_found_wherever_they_stand_in_a_grid(tmp_path):
    study = parsed(TOP + SUBSET + "[[methods]]\nmodel = 'beta_vae'\nbeta = [1, 4, 'strong']\n")
    with pytest.raises(ValueError, match=r"beta_vae, beta strong: "):
        studies.run(study, tmp_path / "study")
    methods = "[[methods]]\nmodel = 'vae'\nsubset = [{shape = ['heart']}, {shape = ['cube']}]\n"
    with pytest.raises(ValueError, match=r"vae, subset .*cube.*: "):
        studies.run(parsed(TOP + methods), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_the_table_holds_what_is_finished_however_it_ends(
    error,
    tmp_path,
    monkeypatch,
    capsys,
    refused,  # noqa: F811
):
    train, (first, second) = runs.train, parsed(TOP + SUBSET + VAES).runs

    def stop(config, *arguments, **named):
        if config == second.config:
            raise error
        return train(config, *arguments, **named)

    monkeypatch.setattr(runs, "train", stop)
    monkeypatch.setattr(work, "fail", lambda *a: (_ for _ in ()).throw(error))
    (tmp_path / "a.toml").write_text(TOP + SUBSET + VAES)
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study", "--jobs", "1"]
    if isinstance(error, KeyboardInterrupt):
        assert call(*command) == 130
        assert "results.parquet and .csv. Call it again to go on." in capsys.readouterr().out
    else:
        with pytest.raises(RuntimeError, match="broken"):
            studies.run(parsed(TOP + SUBSET + VAES), tmp_path / "study", jobs=1)
    found = pandas.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(found["run"]) == {first.name}
    assert call("study", "status", tmp_path / "study") == 0
    assert "study/results.parquet and .csv" in capsys.readouterr().out.replace("\n", "")


def test_paths_hold_in_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_DISENT_DATA", "files")
    (tmp_path / "pictures").mkdir()
    config = runs.Config(data="pictures", data_dir="here")
    moved = engine.portable(config)
    assert (moved.data, moved.data_dir) == (str(tmp_path / "pictures"), str(tmp_path / "here"))
    assert engine.portable(runs.Config()) == runs.Config()
    assert engine.portable(runs.Config(), "ray").data_dir == str(tmp_path / "files")


def test_a_study_on_a_relative_folder_is_read_anywhere(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / "pictures" / f"{i}.png")
    text = TOP.replace('"mig"', '"unsupervised", "active_units"')
    study = text + "data = 'pictures'\nseeds = 3\n[[methods]]\nmodel = 'vae'\n"
    monkeypatch.chdir(tmp_path)
    assert len(studies.run(parsed(study), "study", jobs=1)["run"].unique()) == 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert call("study", "status", "../study") == 0
    made = studies.report("../study", ".", n_resamples=100)
    assert json.loads(made.json.read_text())["traversals"][0]["which"] == "best"
    with pytest.raises(ValueError, match=r"No data set 'pictures' here"):
        studies.run(parsed(study), "new", jobs=1)
    assert not Path("new").exists()


def test_commands_that_are_wrong(tmp_path, refused):  # noqa: F811
    (tmp_path / "a.toml").write_text(TINY)
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study"]
    for text in ("1", "0/2", "3/2", "a/b"):
        assert f"--half is 1/2 or 2/2, or a part of more. Got '{text}'" in refused(
            *command, "--half", text
        )
    assert "No engine 'spark' here. Choose from: dask, local, ray." in refused(
        *command, "--engine", "spark"
    )
    assert "`jobs` is a whole number of at least 1. Got 0." in refused(*command, "--jobs", "0")
    assert not (tmp_path / "study").exists()


@on("torch")
def test_without_pandas_it_says_what_to_install(tmp_path):
    code = f"""
from keras_disent import studies
studies.run(studies.Plan.parse("[[methods]]\\nmodel = 'vae'"), {str(tmp_path / "study")!r})
"""
    status, _, last = python(code, hidden=("pandas", "pyarrow"))
    assert status == 1
    assert "keras_disent.studies needs pandas and PyArrow: pip install 'keras-disent[stu" in last
    assert not (tmp_path / "study").exists()


# -- locks ----------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one(tmp_path):
    taken, barrier = [], threading.Barrier(16)

    def take():
        lock = locks.Lock(tmp_path / "a.json")
        barrier.wait()
        if lock.take():
            taken.append(lock)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (holder,) = taken
    assert locks.alive(tmp_path / "a.json")
    holder.release()
    assert not (tmp_path / "a.json").exists()
    again = locks.Lock(tmp_path / "a.json")
    assert again.take()
    again.release()


@pytest.mark.parametrize(
    ("changed", "age", "alive"),
    [
        ({}, 1e6, True),  # of this machine: the process is what counts
        ({"pid": 2**22 + 1}, 0, False),
        ({"started": "0"}, 0, False),  # another process has the number by now
        ({"host": "elsewhere"}, 0, True),
        ({"host": "elsewhere"}, locks.PATIENCE - 20, True),
        ({"host": "elsewhere"}, locks.PATIENCE + 20, False),
    ],
)
def test_the_lock_of_a_dead_process_is_taken_over(changed, age, alive, tmp_path):
    holder = locks.Lock(tmp_path / "a.json")
    assert holder.take()
    stored = json.loads((tmp_path / "a.json").read_text())
    holder._held.close()  # no heartbeat from now on
    (tmp_path / "a.json").write_text(json.dumps({**stored, **changed}))
    past = time.time() - age
    os.utime(tmp_path / "a.json", (past, past))
    assert locks.alive(tmp_path / "a.json") == alive
    other = locks.Lock(tmp_path / "a.json")
    assert other.take() != alive
    other.release()


def test_a_holder_notices_that_it_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    lock = locks.Lock(tmp_path / "a.json")
    assert lock.take()
    lock.check()
    (tmp_path / "a.json").write_text('{"token": "of another"}')
    end = time.monotonic() + 20
    while not lock.lost and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match="was taken over"):
        lock.check()
    lock.release()
    assert (tmp_path / "a.json").exists()


def test_a_run_that_another_trains_is_waited_for(whole, tmp_path):
    place, study, found = whole
    new = shutil.copytree(place, tmp_path / "study")
    last = new / "runs" / study.runs[-1].name
    shutil.move(last, tmp_path / "elsewhere")
    lock = locks.Lock(new / "locks" / f"{last.name}.json")
    assert lock.take()

    def finish():
        shutil.move(tmp_path / "elsewhere", last)
        lock.release()

    timer = threading.Timer(1.5, finish)
    timer.start()
    told = []
    again = studies.run(study, new, jobs=1, changed=told.append)
    timer.join()
    assert told[0].states[last.name] == "running"
    pandas.testing.assert_frame_equal(again, found)


def test_a_run_that_kills_its_process_fails_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "POLL", 0)
    (run, other) = parsed(TOP + "seeds = 2\n[[methods]]\nmodel = 'vae'\n").runs
    lock = tmp_path / "locks" / f"{run.name}.json"
    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": locks.host(), "pid": 2**22 + 1, "started": "1"}))
    deaths = engine.collections.Counter()
    for _ in range(engine.DEATHS):
        assert not list(tmp_path.rglob("failed.json"))
        engine._bury([run, other], tmp_path, deaths)
    (path,) = tmp_path.rglob("failed.json")
    assert path.parent.name == run.name
    assert json.loads(path.read_text())["error"] == "The process of this run was killed 5 times."
