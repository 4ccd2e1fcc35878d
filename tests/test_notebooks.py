"""Notebooks: what objects show at the end of a cell, and that the stored ones are up to date."""

import re

import numpy as np
import pytest
from support.checks import BACKEND, images, on, small
from support.examples import NOTEBOOKS, ROOT
from support.studies import SUBSET, TOP

from keras_disent import datasets, experiments, metrics, plots
from keras_disent.experiments import Config, Plan, Run, Search, Status, Study
from keras_disent.plots import charts

DATA = datasets.Sprites(32).subgrid({"shape": [0], "orientation": [0]})
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = Config("vae", subset={"shape": [0]}, image_size=32, network="mlp", width=0.02, steps=2)
    run = Run.create(config, tmp_path_factory.mktemp("run") / "a")
    run.train(verbose=0)
    run.evaluate(["mig"], n_samples=100, verbose=0)
    run.traverse()
    return run


# -- what objects show ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.traversals(small("vae"), images(8)),
        lambda: plots.poster(small("vae"), images(8)),
        lambda: plots.contact_sheet(images(8)),
        lambda: datasets.contact_sheet(DATA),
        lambda: charts.matrix(np.eye(3), list("abc")),
    ],
)
def test_figures_show_themselves(figure):
    assert figure()._repr_png_().startswith(PNG)


def test_data_sets_of_groups_show_some_of_them():
    pairs = datasets.ChangedPairs(DATA)
    assert repr(pairs) == f"<ChangedPairs of {repr(DATA)[1:-1].partition(' ')[2]}>"
    shown = pairs._repr_html_()
    assert "ChangedPairs of" in shown
    assert 'alt="10 groups of 2 images"' in shown


def test_models_and_scores_show_tables():
    model = small("beta_vae")
    assert "<td>latents</td>" in model._repr_html_()
    factors = np.indices((4, 5)).reshape(2, -1).T
    scores = metrics.score(factors, factors, ["mig"], verbose=False)
    assert "<th>mig</th>" in scores._repr_html_()
    assert "1.0000" in repr(scores)


def test_a_run_shows_scores_and_traversals(trained):
    shown = trained._repr_html_()
    assert "<td>mig</td>" in shown
    assert 'alt="latent traversals"' in shown
    assert "2 of 2 steps" in repr(trained)


def test_configurations_say_what_differs_from_the_defaults():
    config = Config("beta_vae", steps=500, options={"beta": 2})
    assert repr(config) == "Config(model='beta_vae', steps=500, options={'beta': 2})"
    assert eval(repr(config), {"Config": Config}) == config
    assert repr(Config()) == "Config()"
    assert "<td>epoch_steps</td><td>1000</td>" in config._repr_html_()
    assert repr(Status({"a": "done", "b": "waiting"}, 0.5)) == "<Status 50 %: 1 done, 1 waiting>"


@on("torch")
def test_a_search_shows_its_trials_the_best_first(tmp_path):
    pytest.importorskip("keras_tuner")
    config = Config(
        "beta_vae", subset={"shape": [0]}, image_size=32, network="mlp", width=0.02, steps=2
    )
    search = Search(config, "-reconstruction", {"beta": [1.0, 4.0]}, tuner="grid", trials=2)
    assert "<td>beta</td><td>Values(" in search._repr_html_()
    study = Study.create(search, tmp_path / "study")
    assert "0 runs" in study._repr_html_()
    study.run(n_jobs=1, verbose=0)
    shown = study._repr_html_()
    found = re.findall(r"<tr><td>(\d)</td><td>([\d.]+)</td><td>(-[\d.]+)</td>", shown)
    assert len(found) == 2
    assert float(found[0][2]) >= float(found[1][2])
    assert 'alt="scores and reconstructions of the trials"' in shown


@on("torch")
def test_studies_report_from_python(tmp_path, capsys, monkeypatch):
    from keras_disent._utils import progress

    monkeypatch.setattr(progress, "FIRST", 0.0)
    text = TOP + "seeds = 1\n" + SUBSET + '[[methods]]\nmodel = "vae"\n'
    study = Study.create(Plan.parse(text), tmp_path / "study")
    study.run(n_jobs=1)
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("Study: ")
    assert "took" in said.splitlines()[-1]
    with pytest.raises(ValueError, match="`verbose` is"):
        study.run(verbose="much")


def test_training_reports_from_python(trained, capsys, monkeypatch):
    from keras_disent._utils import progress

    monkeypatch.setattr(progress, "FIRST", 0.0)
    trained.extend(trained.config.steps + 2)
    trained.train()
    out, said = capsys.readouterr()
    assert out == ""
    begin = "starting" if BACKEND == "torch" else "compiling"
    assert re.match(rf"Training: ({begin}, |\d of \d steps)", said)
    assert re.search(r"^Training: 4 steps, loss [\d.]+, .*took \d+ s$", said, re.M)
    monkeypatch.setattr(experiments.config, "EVALUATION_BATCHES", 64)
    trained.evaluate(["mig"], n_samples=100)
    assert "Evaluating the objective: " in capsys.readouterr().err
    with pytest.raises(ValueError, match="`verbose` is"):
        trained.train(verbose="much")


# -- examples as notebooks ------------------------------------------------------------------------


def test_the_notebooks_are_those_of_the_scripts_and_the_page():
    folder = ROOT / "examples" / "notebooks"
    stored = {path: path.read_text() for path in folder.glob("*.ipynb")}
    assert stored == NOTEBOOKS, "run `python docs/make_notebooks.py`"
    assert {path.stem for path in stored} - {"lesson"} == {
        path.stem for path in (ROOT / "examples").glob("*.py")
    }


def test_the_lesson_has_ten_cells():
    text = NOTEBOOKS[ROOT / "examples" / "notebooks" / "lesson.ipynb"]
    assert text.count('"cell_type": "code"') == 10
