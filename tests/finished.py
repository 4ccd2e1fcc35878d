"""Folders of studies whose runs are done, with made-up scores and without models."""

import json

import numpy as np

from keras_disent import studies
from keras_disent.configuration import CONFIG
from keras_disent.runs import SCORES
from keras_disent.studies import folder as place
from keras_disent.studies.work import DONE, LOCKS, RUNS

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


def scores(run, rng):
    """Return scores that depend on method, strength and seed in about equal parts."""
    method = {"vae": 0.0}.get(run.config.model, 0.1 + len(run.config.model) / 100)
    numbers = [v for v in run.settings.values() if isinstance(v, (int, float))]
    strength = float(numbers[0]) if numbers else 1.0
    quality = method + 0.05 * np.log2(strength) + rng.normal(scale=0.08)
    found = {name: 0.2 + quality + rng.normal(scale=0.03) for name in METRICS}
    found["unsupervised"] = 1 - quality
    cost = 40 + 4 * np.log2(strength) + rng.normal()
    return {**found, "loss": 2 * cost, "reconstruction": cost, "kl": 20 - 2 * np.log2(strength)}


def finished(folder, text, seed=0, of_run=scores):
    """Make the folder of a study whose runs are done; return its plan.

    Args:
        folder: new.
        text: of the study's file.
        seed: of the scores.
        of_run: returns the scores of a run.
    """
    plan, rng = studies.Plan.parse(text), np.random.default_rng(seed)
    place.claim(plan, folder)
    made_with = {"keras_disent": "0.1.0", "backend": "jax"}
    for run in plan.runs:
        home = folder / RUNS / run.name
        home.mkdir()
        done = {"step": run.config.steps, "seconds": 60.0, "made_with": made_with}
        held = {name: {"value": value, "settings": {}} for name, value in of_run(run, rng).items()}
        (home / CONFIG).write_text(run.config.to_json())
        (home / SCORES).write_text(json.dumps(held))
        (home / DONE).write_text(json.dumps(done))
    assert (folder / LOCKS).is_dir()
    return plan
