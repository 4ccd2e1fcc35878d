"""Custom methods: by "module:Class" and by `--import`, in every command and every worker."""

import json
import sys

import keras
import pytest
from support.commands import QUICK, call
from support.studies import POLE, SUBSET, TOP

from keras_disent.experiments import Config, Plan, Run, RunsFailedError, Study
from keras_disent.experiments.custom import find_class, import_modules
from keras_disent.models import MODELS

pandas = pytest.importorskip("pandas")

MODULE = """
import keras
from keras_disent import MODELS, VAE
from keras_disent.models.hyperparameters import Range

@keras.saving.register_keras_serializable("custom")
class SparseVAE(VAE):
    tunable = {"strength": Range(0.1, 10.0), **VAE.tunable}

    def __init__(self, image_shape=(64, 64, 1), latent_dim=10, strength=1.0, **kwargs):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.strength = strength

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}

class Plain(VAE):
    pass

MODELS["NAME_sparse"] = SparseVAE
text = "no class"
"""
METHOD = "[[methods]]\nmodel = '{model}'\nstrength = [1, 2]\n"


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Return the name of a module of custom methods in the working directory."""
    name = f"methods_{abs(hash(request.node.name))}"
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text(MODULE.replace("NAME", name))
    yield name
    forget()


def forget():
    """Undo the import of such modules: this process knows nothing of them, like a new one."""
    for name in [name for name in sys.modules if name.startswith("methods_")]:
        MODELS.pop(f"{name}_sparse", None)
        keras.saving.get_custom_objects().pop("custom>SparseVAE", None)
        del sys.modules[name]


def succeed(*arguments):
    """Call a command that has to import the module itself."""
    forget()
    assert call(*arguments) == 0


@pytest.mark.parametrize("form", ["class", pytest.param("import", marks=pytest.mark.slow)])
def test_commands_take_a_custom_method(form, module):
    model = f"{module}:SparseVAE" if form == "class" else f"{module}_sparse"
    imports = () if form == "class" else ("--import", module)
    train = [*QUICK, "--model", model, "--set", "strength=2", "--out", "run", *imports]
    succeed("train", *train)
    succeed("evaluate", "run", *imports)
    succeed("traverse", "run", *imports)
    succeed("train", "--resume", *train)
    import_modules([module])
    assert Run.open("run").model.strength == 2


def test_a_class_need_not_be_registered(module):
    run = Run.create(Config(**{**small(), "model": f"{module}:Plain"}), "run")
    run.train()
    assert type(Run.open("run").model).__name__ == "Plain"


@pytest.mark.parametrize("form", [pytest.param("class", marks=pytest.mark.slow), "import"])
@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_studies_take_a_custom_method(form, jobs, module, tmp_path):
    model = f"{module}:SparseVAE" if form == "class" else f"{module}_sparse"
    imports = () if form == "class" else ("--import", module)
    (tmp_path / "a.toml").write_text(TOP + SUBSET + METHOD.format(model=model))
    succeed("study", "run", "a.toml", "--out", "study", "--jobs", jobs, *imports)
    table = pandas.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(table["model"]) == {model}
    assert set(table["strength"]) == {1, 2}
    succeed("study", "status", "study")
    succeed("study", "report", "study", "--no-page")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_takes_a_custom_method(jobs, module):
    tune = [*QUICK, "--model", f"{module}:SparseVAE", "--range", "strength=1,2", "--trials", "2"]
    succeed("tune", *tune, "--tuner", "grid", "--jobs", jobs, "--out", "study")
    assert [trial.values["strength"] for trial in Study.open("study").trials()] == [1, 2]


def test_python_takes_a_custom_method_with_two_workers_and_raises_what_failed(module, tmp_path):
    import_modules([module])
    fails = f"[[methods]]\nmodel = 'beta_vae'\nbeta = {POLE}\n"
    text = TOP + SUBSET + METHOD.format(model=f"{module}_sparse") + fails
    study = Study.create(Plan.parse(text), tmp_path / "study")
    with pytest.raises(RunsFailedError, match="1 of 3 runs failed"):
        study.run(n_jobs=2)
    table = study.table()
    assert len(table["run"].unique()) == 2
    assert set(table["strength"]) == {1, 2}


def test_a_class_of_the_main_script_is_told(module, tmp_path, monkeypatch):
    cls = find_class(f"{module}:SparseVAE")
    monkeypatch.setattr(cls, "__module__", "__main__")
    plan = Plan.parse(TOP + SUBSET + METHOD.format(model=f"{module}_sparse"))
    study = Study.create(plan, tmp_path / "study")
    with pytest.raises(ValueError, match=r"sparse' is defined in the main script, which worker pr"):
        study.run(n_jobs=2)
    assert set(study.run(n_jobs=1)["strength"]) == {1, 2}


def test_methods_that_are_not_there_are_told(module, tmp_path, refused):
    for model, message in {
        "no_such_module:VAE": "There is no module 'no_such_module' in the working directory",
        f"{module}:No": f"'{module}' has no class 'No'",
        f"{module}:text": f"'{module}' has no class 'text'",
        "json:JSONDecoder": "is no model: its class does not derive from ImageModel",
        "a b:C": "A module has a name such as my_methods, without .py. Got 'a b'",
    }.items():
        assert message in refused("train", *QUICK, "--model", model, "--out", "run")
    assert "There is no module 'nothing'" in refused(
        "train", *QUICK, "--import", "nothing", "--out", "run"
    )
    (tmp_path / "broken_method.py").write_text("1 / 0")
    assert "Cannot import 'broken_method': ZeroDivisionError: division by zero" in refused(
        "train", *QUICK, "--import", "broken_method", "--out", "run"
    )
    assert not (tmp_path / "run").exists()
    assert call("--help") == 0


def small():
    return {
        **json.loads(json.dumps({"image_size": 32, "network": "mlp", "width": 0.02})),
        **{"steps": 2, "epoch_steps": 2, "player_batch": 8, "latent_dim": 3, "metrics": ()},
    }
