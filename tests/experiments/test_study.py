"""Studies: every run once and whole, whatever is killed, broken or full on the way."""

import errno
import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image
from support.checks import BACKEND, on
from support.commands import call, files, python
from support.studies import (
    METHODS,
    POLE,
    SUBSET,
    TINY,
    TOP,
    assert_each_run_is_there_once,
    bits,
    finished,
    parsed,
    run,
)

import keras_disent
from keras_disent import models
from keras_disent.experiments import Config, Plan, Run, RunsFailedError, Study, perform, table
from keras_disent.experiments import plan as planning
from keras_disent.experiments.config import options_of
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.store import RUN, LockedError, Store

pandas = pytest.importorskip("pandas")

VAES = "[[methods]]\nmodel = 'vae'\nlatent_dim = [2, 3]\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a study that nothing has disturbed, its plan and its results."""
    place, told = tmp_path_factory.mktemp("whole") / "study", []
    found = run(TINY, place, on_status=told.append)
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
    assert [run.seed for run in found] == [3, 5] * 8
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
    config = Config.from_dict(found[2].config)
    assert (config.model, config.latent_dim, config.options) == ("beta_vae", 6, {"beta": 4.5})
    assert config.metrics == keras_disent.metrics.STANDARD
    (short,) = parsed("steps = 100\n[[methods]]\nmodel = 'vae'").runs
    assert short.config["epoch_steps"] == 100


def test_runs_are_named_by_their_configuration():
    (first, second) = parsed(TOP + "seeds = 2\n" + "[[methods]]\nmodel = 'vae'\n").runs
    assert first.name.startswith("vae-")
    assert len(first.name) == 4 + 12
    assert first.name != second.name
    one, other = ({"beta": 4}, {"beta": 4.0})
    assert planning.digest(Config(options=one)) == planning.digest(Config(options=other))
    assert planning.digest(Config()) == "8c7018bf146c"  # other names would orphan what is finished


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", r"a\.toml: Invalid value \(at end of document\)"),
        ("stepz = 3" + METHODS, r"a\.toml: Unknown key 'stepz'\. Choose from: changed, "),
        ("seed = 3" + METHODS, r"No key 'seed' at the top: give it as seeds = \[\.\.\.\]"),
        ("model = 'vae'" + METHODS, r"No key 'model' at the top: give it as a \[\[methods\]\]"),
        ("steps = 3", r"a\.toml: A study needs at least one \[\[methods\]\] table"),
        ("methods = []", r"at least one \[\[methods\]\] table"),
        ("methods = 3", r"at least one \[\[methods\]\] table"),
        ("[[methods]]\nbeta = 3", r"Method 1: A method needs its `model`"),
        (METHODS + "[[methods]]\nmodel = 'vea'", r"Method 3: Unknown model 'vea'\. Choose from: "),
        (METHODS + "gama = 3", r"Method 2: Unknown key or option of VAE 'gama'\. Choose from: .*w"),
        (METHODS + "seed = 3", r"Method 2: Unknown key or option of VAE 'seed'"),
        (METHODS + "likelihood = []", r"Method 2: The grid of `likelihood` needs at least one va"),
        ("steps = []" + METHODS, r"Method 1: The grid of `steps` needs at least one value"),
        ("steps = 0" + METHODS, r"`steps` must be an integer of at least 1\. Got 0"),
        ("steps = '3'" + METHODS, r"`steps` must be an integer of at least 1\. Got '3'"),
        ("width = 'x'" + METHODS, r"a\.toml: Method 1: `width` is a number above 0\. Got 'x'"),
        ("metrics = ['migg']" + METHODS, r"Unknown metric 'migg'\. Choose from: active_units, "),
        ("metrics = []" + METHODS, r"`metrics` is a name or a list of at least one\. Got \[\]"),
        ("metrics = 3" + METHODS, r"`metrics` is a name or a list of at least one\. Got 3"),
        ("seeds = []" + METHODS, r"`seeds` is a list of at least one, or their number"),
        ("seeds = 0" + METHODS, r"`seeds` must be an integer of at least 1\. Got 0"),
        ("seeds = [1, 1]" + METHODS, r"`seeds` must all differ\. Got \[1, 1\]"),
        ("seeds = ['x']" + METHODS, r"`seeds` must be an integer of at least 0\. Got 'x'"),
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
        Plan.read(tmp_path / "no.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"Cannot read the study '.*a\.toml': "):
        Plan.read(tmp_path / "a.toml")


def test_columns_never_collide():
    options = {name for cls in models.MODELS.values() for name in options_of(cls)}
    assert not {*options, *planning.OWN} - {"model"} & {*table.FIRST, *table.LAST}


def test_a_large_grid_asks(tmp_path, refused):
    text = TOP + "seeds = 1000\n[[methods]]\nmodel = 'beta_vae'\nbeta = " + str(list(range(101)))
    with pytest.raises(ValueError, match=r"a\.toml: The study has 101,000 runs, more than 100,000"):
        parsed(text)
    with pytest.raises(ValueError, match=r"has 100,000,000,000 runs"):
        parsed(text.replace("seeds = 1000", "seeds = 1_000_000_000").replace(", 100]", "]"))
    (tmp_path / "a.toml").write_text(text)
    line = refused("study", "run", tmp_path / "a.toml", "--out", tmp_path / "study")
    assert "Pass --yes" in line
    assert not (tmp_path / "study").exists()


# -- what a study leaves --------------------------------------------------------------------------


def test_every_run_is_there_once(whole):
    place, plan, _ = whole
    assert_each_run_is_there_once(place, plan)
    held = {path.name for path in place.iterdir()}
    assert held == {".lock", "results.csv", "results.parquet", "runs", "study.json", "study.toml"}
    assert (place / "study.toml").read_text().strip() == TINY.strip()
    stored = json.loads((place / "study.json").read_text())
    assert (stored["made_with"]["format"], stored["made_with"]["backend"]) == (2, BACKEND)
    assert Study.open(place).runs == plan.runs


def test_a_study_says_what_it_is(whole):
    study = Study.open(whole[0])
    runs = len(study.runs)
    assert repr(study) == f"<Study {str(study.folder)!r}: {runs} runs, {runs} done>"
    page = study._repr_html_()
    assert page.count("<tr>") == runs + 1
    assert page.count("<td>done</td>") == runs
    score = json.loads((study.place(study.runs[-1]) / "scores.json").read_text())["mig"]["value"]
    assert f"<td>{score:.4g}</td>" in page


def test_results_are_one_tidy_table(whole):
    place, study, found = whole
    assert list(found.columns) == [*table.FIRST, "beta", *table.LAST]
    for one in study.runs:
        rows = found[found["run"] == one.name]
        stored = json.loads((place / "runs" / one.name / "scores.json").read_text())
        assert dict(zip(rows["score"], rows["value"], strict=True)) == {
            name: entry["value"] for name, entry in stored.items()
        }
        assert set(rows["label"]) == {one.label}
        assert set(rows["seed"]) == {one.seed}
        assert set(rows["beta"].dropna()) == set(one.config["options"].values())
        assert list(rows[rows["kind"] == "metric"]["score"]) == ["mig"]
    assert set(found["step"]) == {3}
    assert set(found["backend"]) == {BACKEND}
    assert (found["seconds"] > 0).all()
    pandas.testing.assert_frame_equal(pandas.read_parquet(place / "results.parquet"), found)
    read = pandas.read_csv(place / "results.csv")
    pandas.testing.assert_frame_equal(read, found, check_exact=True)


def test_settings_of_many_types_fit_in_the_table(tmp_path):
    text = "[[methods]]\nmodel = 'ada_gvae'\nchanged = [1, 'random']\nlatent_dim = [4, 6]"
    study = finished(tmp_path / "study", text, of_run=lambda run, rng: {"mig": None})
    found = table.write(study)
    assert list(found["changed"]) == ["1", "1", "random", "random"]
    assert list(found["latent_dim"]) == [4, 6, 4, 6]
    assert found["value"].isna().all()
    read = pandas.read_parquet(tmp_path / "study" / "results.parquet")
    pandas.testing.assert_frame_equal(read, found)


def test_texts_are_no_formulas_in_a_spreadsheet(tmp_path):
    text = "data_dir = ['=1+1', '@a']\n[[methods]]\nmodel = 'vae'"
    study = finished(tmp_path / "study", text, of_run=lambda run, rng: {"-mig": -0.5})
    table.write(study)
    written = (tmp_path / "study" / "results.csv").read_text()
    assert "'-mig" in written
    assert ",-0.5," in written
    assert not re.search(r"(^|,)[=@]", written, re.MULTILINE)


def test_a_finished_run_is_never_repeated(whole, copied, monkeypatch):
    monkeypatch.setattr(Run, "train", None)
    monkeypatch.setattr(Run, "evaluate", None)
    before = files(copied)
    again = run(TINY, copied)
    assert files(copied) == before
    pandas.testing.assert_frame_equal(again, whole[2])


def test_shards_make_a_whole(whole, tmp_path):
    _, plan, found = whole
    study = Study.create(plan, tmp_path / "study")
    first = study.run(n_jobs=1, shard=(1, 2))
    assert set(first["run"]) == {one.name for one in plan.runs[::2]}
    both = study.run(n_jobs=1, shard=(2, 2))
    pandas.testing.assert_frame_equal(bits(both), bits(found))
    assert_each_run_is_there_once(tmp_path / "study", plan)
    with pytest.raises(ValueError, match=r"A shard is \(1, 2\) or \(2, 2\).* Got \(3, 2\)"):
        study.run(shard=(3, 2))


LIGHT = """
import sys
from keras_disent import cli
sys.argv = ["keras-disent", "study", *{arguments!r}]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code
heavy = {{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("page", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_report_needs_no_keras(page, copied):
    """The page of the best run is written by another process, which has it."""
    code = LIGHT.format(arguments=["report", str(copied), *([] if page else ["--no-page"])])
    status, out, last = python(code, hidden=("keras", "torch", "jax"))
    assert status == 0, last
    assert "report.html" in out


def test_a_status_needs_no_keras(copied):
    status, out, last = python(LIGHT.format(arguments=["status", str(copied)]), hidden=("keras",))
    assert status == 0, last
    assert "6 done" in out


# -- what goes wrong ------------------------------------------------------------------------------


def test_a_failing_run_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    methods = f"[[methods]]\nmodel = 'beta_vae'\nbeta = [4, {POLE}]\n[[methods]]\nmodel = 'vae'\n"
    plan = parsed(TOP + SUBSET + methods)
    study = Study.create(plan, tmp_path / "study")
    with pytest.raises(RunsFailedError, match=r"1 of 3 runs failed.*'beta_vae, beta Inv.*seed 0'"):
        study.run(n_jobs=1)
    good, bad, other = plan.runs
    assert set(study.table()["run"]) == {good.name, other.name}
    ((name, message),) = study.failures().items()
    assert (name, message.split(":")[0]) == (bad.name, "FloatingPointError")
    progress = Progress.read(study.place(bad))
    assert "Traceback (most recent call last)" in progress.traceback

    (tmp_path / "a.toml").write_text(plan.text)
    assert call("study", "status", tmp_path / "study") == 0
    shown = capsys.readouterr().out
    assert "2 done, 1 failed" in shown
    assert f"{bad.name} failed: FloatingPointError: " in shown

    trained, train = [], Run.train
    record = lambda self, *a, **k: (trained.append(self.folder.name), train(self, *a, **k))  # noqa: E731
    monkeypatch.setattr(Run, "train", record)
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study", "--jobs", "1"]
    assert call(*command) == 1
    assert "1 of 3 runs failed" in capsys.readouterr().err
    assert not trained
    assert call(*command, "--retry") == 1
    assert trained == [bad.name]
    assert Progress.read(study.place(bad)).state == "failed"


def test_a_study_in_which_every_run_failed_exits_1(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(
        TOP + SUBSET + f"[[methods]]\nmodel = 'beta_vae'\nbeta = {POLE}\n"
    )
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study", "--jobs", "1"]
    assert call(*command) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: 1 of 1 runs failed")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("config.json", errno.ENOSPC, marks=pytest.mark.slow),
        pytest.param("history.csv", errno.EACCES, marks=pytest.mark.slow),
        ("model.keras", errno.ENOSPC),
        pytest.param("scores.json", errno.ENOSPC, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_stops_the_study_and_costs_nothing(name, reason, whole, tmp_path):
    _, plan, found = whole
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
            run(TINY, place)
    study = Study.open(place)
    assert not study.failures()
    assert study.status().count("done") == 2
    done = {path: path.read_bytes() for path in place.rglob("scores.json")}
    again = run(TINY, place)
    assert {path: path.read_bytes() for path in done} == done
    pandas.testing.assert_frame_equal(bits(again), bits(found))
    assert_each_run_is_there_once(place, plan)


@pytest.mark.parametrize("name", ["progress.json", "scores.json", "codes.npz"])
@pytest.mark.parametrize("content", ["", '{"mig": 3', "[]", '{"x": {"value": []}}'])
def test_a_damaged_result_is_named(name, content, whole, copied):
    path = copied / "runs" / whole[1].runs[1].name / name
    path.write_text(content)
    before = files(copied)
    with pytest.raises(ValueError, match=rf"{name}' is not the") as error:
        Study.open(copied).report(n_resamples=100) if name == "codes.npz" else run(TINY, copied)
    assert "\n" not in str(error.value)
    assert files(copied) == before


def test_a_removed_result_is_made_again(whole, copied):
    for one, name in zip(
        whole[1].runs, ("scores.json", "codes.npz", "traversal.png"), strict=False
    ):
        (copied / "runs" / one.name / name).unlink()
    pandas.testing.assert_frame_equal(bits(run(TINY, copied)), bits(whole[2]))


def test_another_study_is_refused(whole, copied):
    before = files(copied)
    with pytest.raises(
        ValueError, match=r"study' holds another study: 3 of its 6 .* seed 1'\. A s"
    ):
        Study.create(parsed(TINY.replace("seeds = 2", "seeds = [0, 2, 3]")), copied)
    stored = json.loads((copied / "study.json").read_text())
    made_with = stored["made_with"]
    for change, message in [
        ({"format": 3}, r"study\.json' is of format 3.* reads format 2"),
        ({"backend": "numpy"}, f"holds a study on numpy; this process is on {BACKEND}"),
    ]:
        other = {**stored, "made_with": {**made_with, **change}}
        (copied / "study.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match=message):
            Study.create(whole[1], copied)
    for content in ("", "[]", "{}", '{"made_with": {}}', "[" * 100_000):
        (copied / "study.json").write_text(content)
        with pytest.raises(ValueError, match=r"study\.json' (is not the definition|is of format)"):
            Study.create(whole[1], copied)
    runs = stored["runs"]
    for name in ("../a", ".a", "a/b", 3):
        other = {**stored, "runs": [{**runs[0], "name": name}]}
        (copied / "study.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match=r"study\.json' does not describe a study: a run has"):
            Study.open(copied)
    (copied / "study.json").write_bytes(before["study.json"])
    assert files(copied) == before


def test_a_study_grows(whole, copied, monkeypatch):
    trained, train = [], Run.train
    record = lambda self, *a, **k: (trained.append(self.config), train(self, *a, **k))  # noqa: E731
    monkeypatch.setattr(Run, "train", record)
    before = files(copied / "runs")
    larger = TINY.replace("seeds = 2", "seeds = 3").replace("[1, 4]", "[1, 2, 4]")
    found = run(larger, copied)
    assert sorted(c.seed for c in trained) == [0, 1, 2, 2, 2, 2]
    assert files(copied / "runs").items() >= before.items()
    assert_each_run_is_there_once(copied, parsed(larger))
    assert Study.open(copied).runs == parsed(larger).runs
    kept = found[found["run"].isin(set(whole[2]["run"]))].reset_index(drop=True)
    pandas.testing.assert_frame_equal(kept, whole[2])

    for wrong in (TINY, larger.replace("[1, 2, 4]", "[1, 2, 8]")):
        with pytest.raises(ValueError, match=r"holds another study: \d of its 12 runs are not in"):
            run(wrong, copied)
    path = copied / "study.toml"  # it may be edited where it is
    path.write_text(larger.replace("[1, 2, 4]", "[1, 2, 4, 'strong']"))
    with pytest.raises(ValueError, match="beta_vae, beta strong: "):
        Study.create(Plan.read(path), copied)
    path.write_text(larger + "[[methods]]\nmodel = 'dip_vae'\n")
    trained.clear()
    Study.create(Plan.read(path), copied).run(n_jobs=1)
    assert [c.model for c in trained] == ["dip_vae"] * 3


def test_the_order_and_form_of_the_file_do_not_matter(whole, copied):
    text = "# the same\nseeds = [1, 0]" + TOP.replace("steps = 3\n", "steps   = 3\n", 1)
    vae, beta = "[[methods]]\nmodel = 'vae'\n", "[[methods]]\nbeta = [4, 1.0]\nmodel = 'beta_vae'\n"
    before = files(copied / "runs")
    run(text + SUBSET + vae + beta, copied)
    assert files(copied / "runs") == before


def test_places_that_cannot_be_used(tmp_path, refused):
    (tmp_path / "a.toml").write_text(TINY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    command = ["study", "run", tmp_path / "a.toml", "--out"]
    assert "A study needs a new or empty folder" in refused(*command, tmp_path / "mine")
    assert "Cannot write into" in refused(*command, tmp_path / "a.toml" / "x")
    assert "There is none in" in refused("study", "status", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_study_does_not_lie_in_its_data(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "pictures" / "a.png")
    text = TOP + f"data = '{tmp_path / 'pictures'}'\n[[methods]]\nmodel = 'vae'\n"
    with pytest.raises(ValueError, match=r"study' lies in the folder '.*pictures'"):
        Study.create(parsed(text), tmp_path / "pictures" / "study")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["a.png"]


def test_what_a_model_does_not_take_is_said_before_a_folder_is_made(tmp_path):
    plan = parsed(TOP + SUBSET + "[[methods]]\nmodel = 'beta_vae'\nbeta = [1, 4, 'strong']\n")
    with pytest.raises(ValueError, match=r"beta_vae, beta strong: "):
        Study.create(plan, tmp_path / "study")
    methods = "[[methods]]\nmodel = 'vae'\nsubset = [{shape = ['heart']}, {shape = ['cube']}]\n"
    with pytest.raises(ValueError, match=r"vae, subset .*cube.*: "):
        Study.create(parsed(TOP + methods), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken")])
def test_the_table_holds_what_is_finished_however_it_ends(error, tmp_path, monkeypatch, capsys):
    train, (first, second) = Run.train, parsed(TOP + SUBSET + VAES).runs

    def stop(self, *arguments, **named):
        if self.folder.name == second.name:
            raise error
        return train(self, *arguments, **named)

    monkeypatch.setattr(Run, "train", stop)
    (tmp_path / "a.toml").write_text(TOP + SUBSET + VAES)
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study", "--jobs", "1"]
    if isinstance(error, KeyboardInterrupt):
        assert call(*command) == 130
        assert "Run the same command to resume." in capsys.readouterr().err.replace("\n", "")
    else:
        assert call(*command) == 2
        assert "What is finished is kept" in capsys.readouterr().err
    found = pandas.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(found["run"]) == {first.name}
    assert call("study", "status", tmp_path / "study") == 0
    assert "study/results.parquet and .csv" in capsys.readouterr().out.replace("\n", "")


def test_a_study_on_a_relative_folder_is_read_anywhere(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / "pictures" / f"{i}.png")
    text = TOP.replace('"mig"', '"unsupervised", "active_units"')
    text += "data = 'pictures'\nseeds = 3\n[[methods]]\nmodel = 'vae'\n"
    monkeypatch.chdir(tmp_path)
    assert len(run(text, "study")["run"].unique()) == 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert call("study", "status", "../study") == 0
    made = Study.open("../study").report(".", n_resamples=100, page=False)
    assert json.loads(made.json.read_text())["traversals"][0]["which"] == "best"
    with pytest.raises(ValueError, match=r"Unknown data set '.*pictures'"):
        run(text, "new")
    assert not Path("new").exists()


def test_commands_that_are_wrong(tmp_path, refused):
    (tmp_path / "a.toml").write_text(TINY)
    command = ["study", "run", tmp_path / "a.toml", "--out", tmp_path / "study"]
    for text in ("1", "0/2", "3/2", "a/b", "/"):
        assert f"--shard is 1/2 or 2/2, or one of more shards. Got '{text}'" in refused(
            *command, "--shard", text
        )


def test_names_print_as_they_are(tmp_path, capsys):
    text = "data_dir = ['[red]a', ':smile:', '$x$']\n[[methods]]\nmodel = 'vae'"
    finished(tmp_path / "study", text, of_run=lambda run, rng: {"mig": rng.random()})
    assert call("study", "status", tmp_path / "study") == 0
    shown = capsys.readouterr().out
    for name in ("vae, data_dir [red]a", "vae, data_dir :smile:", "vae, data_dir $x$"):
        assert name in shown


@on("torch")
def test_without_pandas_it_says_what_to_install(tmp_path, monkeypatch):
    study = Study.create(parsed("[[methods]]\nmodel = 'vae'\nnetwork = 'mlp'"), tmp_path / "study")
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not there
    cure = r"Studies need pandas and PyArrow: pip install 'keras-disent\[studies\]'"
    with pytest.raises(ImportError, match=cure):
        study.run()


# -- locks ----------------------------------------------------------------------------------------


def test_a_run_that_another_trains_is_waited_for(whole, tmp_path):
    place, plan, found = whole
    new = shutil.copytree(place, tmp_path / "study")
    last = new / "runs" / plan.runs[-1].name
    done = (last / "progress.json").read_text()
    (last / "progress.json").unlink()
    store = Store(RUN, last)
    held = store.lock()
    held.__enter__()

    def finish():
        (last / "progress.json").write_text(done)
        held.__exit__(None, None, None)

    timer = threading.Timer(1.5, finish)
    timer.start()
    told = []
    again = run(TINY, new, on_status=told.append)
    timer.join()
    assert told[0].states[last.name] == "running"
    pandas.testing.assert_frame_equal(again, found)


def test_two_cannot_change_a_study_at_once(whole, copied):
    larger = parsed(TINY.replace("seeds = 2", "seeds = 3"))
    study = Study.open(copied)
    with study.store.lock(), pytest.raises(LockedError, match="is locked by another process"):
        Study.create(larger, copied)
    assert len(Study.open(copied).runs) == 6


def test_a_run_that_kills_its_process_fails_in_the_end(tmp_path):
    study = Study.create(parsed(TOP + SUBSET + "[[methods]]\nmodel = 'vae'\n"), tmp_path / "study")
    (one,) = study.runs
    study.place(one).mkdir(parents=True)
    Progress(step=2, attempts=perform.ATTEMPTS).write(study.place(one))
    with pytest.raises(RunsFailedError, match="The process of this run was killed 5 times"):
        study.run(n_jobs=1)
    assert set(study.run(n_jobs=1, retry=True)["run"]) == {one.name}
