"""Small studies, and folders of studies whose runs are done, with made-up scores."""

import dataclasses
import json

import keras
import numpy as np

from keras_disent import load_model
from keras_disent.experiments import Plan, Study
from keras_disent.experiments.progress import Progress

TOP = """
image_size = 32
steps = 3
epoch_steps = 2
player_batch = 8
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
TINY = TOP + "seeds = 2\n" + SUBSET + METHODS
METRICS = (
    "mig",
    "dci",
    "sap",
    "factor_vae_score",
    "beta_vae_score",
    "modularity",
    "irs",
    "unsupervised",
)
POLE = '"InverseTimeDecay(1.0, decay_steps=2, decay_rate=-1.0)"'  # 1 / (1 - step / 2)


def parsed(text, **options):
    return Plan.parse(text, "a.toml", **options)


def run(text, folder, **options):
    """Do a study in this process; return its results."""
    return Study.create(parsed(text), folder).run(n_jobs=1, **options)


def bits(table):
    """Return what has to be bit-exact."""
    return table.drop(columns="seconds")


def assert_each_run_is_there_once(folder, plan):
    """Assert that a folder holds all runs of a study, whole, and nothing else."""
    names = {one.name for one in plan.runs}
    assert {path.name for path in (folder / "runs").iterdir()} == names
    for name in names:
        held = {path.name for path in (folder / "runs" / name).iterdir()}
        assert held == {
            *(".lock", "codes.npz", "config.json", "history.csv", "model.keras"),
            *("progress.json", "scores.json", "traversal.png"),
        }
        assert load_model(folder / "runs" / name).steps_taken() == plan.runs[0].steps


def scores(run, rng):
    """Return scores that depend on method, strength and seed in about equal parts."""
    method = {"vae": 0.0}.get(run.model, 0.1 + len(run.model) / 100)
    numbers = [v for v in run.settings.values() if isinstance(v, (int, float))]
    strength = float(numbers[0]) if numbers else 1.0
    quality = method + 0.05 * np.log2(strength) + rng.normal(scale=0.08)
    values = {name: 0.2 + quality + rng.normal(scale=0.03) for name in METRICS}
    values["unsupervised"] = 1 - quality
    cost = 40 + 4 * np.log2(strength) + rng.normal()
    return {**values, "loss": 2 * cost, "reconstruction": cost, "kl": 20 - 2 * np.log2(strength)}


def finished(folder, text, seed=0, of_run=scores):
    """Make the folder of a study whose runs are done; return the study.

    Args:
        folder: New folder.
        text: Text of the study's file.
        seed: Seed of the scores.
        of_run: Returns the scores of a run.
    """
    plan, rng = Plan.parse(text), np.random.default_rng(seed)
    study = Study.create(_Unchecked(plan), folder)
    for run in plan.runs:
        place = study.place(run)
        place.mkdir(parents=True)
        held = {name: {"value": value, "settings": {}} for name, value in of_run(run, rng).items()}
        (place / "scores.json").write_text(json.dumps(held))
        progress = Progress(state="done", step=run.steps, seconds=60.0)
        dataclasses.replace(progress, backend="jax", version="0.1.0").write(place)
    keras.utils.clear_session(free_memory=False)
    return study


class _Unchecked:
    """A plan whose models are not built."""

    def __init__(self, plan):
        self._plan = plan

    def __getattr__(self, name):
        return getattr(self._plan, name)

    def check(self):
        pass
