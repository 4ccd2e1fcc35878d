"""Searches: what they try, what they keep, and that a kill costs no more than the trial it hits."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import checks
import keras
import keras_tuner
import numpy as np
import pytest
from checks import BACKEND, arrays, assert_same, on, state
from PIL import Image
from test_cli import call, refused  # noqa: F401
from test_imports import python

import keras_disent
from keras_disent import metrics, models, runs, schedules, tuning
from keras_disent._utils.files import locked
from keras_disent.callbacks import DisentanglementMetrics
from keras_disent.configuration import options_of
from keras_disent.models.hyperparameters import Range, Values
from keras_disent.tuning import objectives, oracles, spaces

TINY = dataclasses.replace(checks.TINY, model="beta_vae", steps=3, epoch_steps=2)
BETA = {"beta": (1, 16)}


def change(**fields):
    return dataclasses.replace(TINY, **fields)


def search(trials=2, **fields):
    given = {"objective": "mig", "space": BETA, **fields}
    return tuning.Search(given.pop("config", TINY), trials=trials, **given)


@pytest.fixture
def instant(monkeypatch):
    """Let a trial take no time: its score follows from its hyperparameters and the seed."""
    started = []

    def trained(self, config, folder, data):
        folder.mkdir(parents=True, exist_ok=True)
        started.append(folder.parent.name)
        score = 1 / (1 + abs(np.log(config.options["beta"] / 4))) + config.seed / 100
        return {"mig": float(score), "reconstruction": config.options["beta"], "loss": 1.0}

    def finish(self, folder, tuner, aim):
        rows = tuner.tell()
        return tuning.Results(rows, tuning.results.best(rows, aim))

    objective = objectives.Objective("mig", "mig", "metric", higher=True)
    monkeypatch.setattr(tuning.search, "goal", lambda *given: objective)
    monkeypatch.setattr(runs.Config, "load_data", lambda config: None)
    monkeypatch.setattr(tuning.search._Tuner, "_trained", trained)
    monkeypatch.setattr(tuning.Search, "_finish", finish)
    return started


# -- spaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_declares_what_is_tuned(name):
    space = spaces.space_of(runs.Config(model=name))
    assert {"learning_rate", "width"} < set(space)
    assert {"latent_dim", "concept_dim"} & set(space)
    own = set(space) - set(models.VAE.tunable)
    assert bool(own) == (name not in ("vae", "autoencoder"))
    options = options_of(models.MODELS[name])
    assert own <= set(options)


@on("torch")
@pytest.mark.parametrize("name", models.MODELS)
def test_both_ends_of_every_space_build(name):
    config = change(model=name, data="pendulum" if name == "causal_vae" else "sprites")
    if name == "causal_vae":
        config = dataclasses.replace(config, subset=None, image_size=None)
    space = spaces.space_of(config)
    data = config.load_data()
    for values in spaces.ends(space):
        chosen = spaces.configured(config, space, {**values, "width": 0.02})
        model = chosen.build(data)
        for option, value in values.items():
            if option in options_of(type(model)) and not space[option].grows:
                assert getattr(model, option) == value
        if "latent_dim" in values:
            assert model.latent_dim == values["latent_dim"]
        first = model.optimizer if not hasattr(model.optimizer, "by_player") else None
        if first is not None:
            assert float(first.learning_rate) == pytest.approx(values["learning_rate"])


def test_ranges_given_are_the_only_ones_tuned():
    space = spaces.space_of(TINY, {"beta": (2, 8), "learning_rate": None, "network": ["mlp"]})
    assert space == {
        "beta": Range(2, 8),
        "learning_rate": models.BetaVAE.tunable["learning_rate"],
        "network": Values(("mlp",)),
    }
    assert spaces.space_of(TINY, {"beta": (0, 8)})["beta"] == Range(0, 8, "linear")
    assert spaces.space_of(TINY, {"latent_dim": (2, 5)})["latent_dim"].scale == "whole"
    assert spaces.space_of(TINY, {"beta": [1, 4]})["beta"] == Values((1, 4))


def test_a_trial_is_a_run_with_other_values():
    space = spaces.space_of(TINY, {"beta": (1, 16), "width": (0.01, 0.02), "latent_dim": (2, 5)})
    values = {"beta": 3.0, "width": 0.015, "latent_dim": 4}
    expected = change(seed=3, latent_dim=4, width=0.015, options={"beta": 3.0})
    assert spaces.configured(TINY, space, values, execution=2) == expected


def test_a_capacity_grows_over_the_run():
    config = change(model="annealed_vae", steps=100)
    space = spaces.space_of(config, {"capacity": None})
    model = spaces.configured(config, space, {"capacity": 20.0}).build(config.load_data())
    assert isinstance(model.capacity, schedules.Linear)
    assert (model.capacity.end, model.capacity.steps) == (20.0, 100)


def test_a_method_of_ones_own_is_tuned_alike(monkeypatch):
    class Mine(models.BetaVAE):
        tunable = {"strength": Range(0.1, 10.0), **models.VAE.tunable}

        def __init__(self, image_shape=(64, 64, 1), latent_dim=10, strength=1.0, **kwargs):
            super().__init__(image_shape, latent_dim, **kwargs)
            self.strength = strength

    monkeypatch.setitem(models.MODELS, "mine", Mine)
    hypermodel = tuning.HyperModel(change(model="mine"), "mig", {"strength": (1, 2)})
    hp = keras_tuner.HyperParameters()
    hp.values["strength"] = 1.23456
    assert hypermodel.build(hp).strength == 1.235


WRONG = {
    "name": ({"gamma": (1, 2)}, r"BetaVAE has no hyperparameter 'gamma'. Choose from: beta, learn"),
    "inverted": ({"beta": (4, 1)}, r"Range of 'beta': A range goes from .* higher one. Got 4 to 1"),
    "empty": ({"beta": (4, 4)}, r"from a number up to a higher one. Got 4 to 4"),
    "no values": ({"beta": []}, r"A list of values holds at least one"),
    "values twice": ({"beta": [1, 1]}, r"each once. Got \(1, 1\)"),
    "not finite": ({"beta": (1, float("inf"))}, r"A range is \(low, high\), or a list of values."),
    "text": ({"beta": "much"}, r"A range is \(low, high\), or a list of values. Got 'much'"),
    "below 0 on a log scale": ({"learning_rate": (-1, 1)}, r"starts above 0. Got -1"),
    "not whole": ({"latent_dim": (2.5, 4)}, r"whole numbers ends at whole numbers"),
    "no range": ({"likelihood": None}, r"BetaVAE declares no range of 'likelihood': give one"),
    "nothing": ({}, r"A search tunes at least one hyperparameter"),
}


@pytest.mark.parametrize(("space", "message"), WRONG.values(), ids=WRONG)
def test_wrong_ranges_are_told(space, message):
    with pytest.raises(ValueError, match=message):
        tuning.Search(TINY, "mig", space)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": 0}, r"`trials` is a whole number of at least 1. Got 0"),
        ({"executions": 0}, r"`executions` is a whole number of at least 1. Got 0"),
        ({"tuner": "annealing"}, r"No tuner 'annealing' here. Choose from: bayesian, grid, hyper"),
        ({"objective": "migg"}, r"No objective 'migg' here. Terms of BetaVAE: loss, .*mig, "),
        ({"objective": "val_"}, r"No objective 'val_' here"),
        ({"objective": "-mig"}, r"A sign is for terms of BetaVAE .* 'mig' has its own direction"),
        ({"objective": "udr"}, r"'udr' compares the seeds of a trial, at least 2. Got 1"),
        ({"objective": "mig@much"}, r"A bound is a number of nats, such as mig@50"),
        ({"space": {"latent_dim": [1, 4]}}, r"'mig' compare latents"),
        ({"space": {"network": ["mlp", "cnn", "conv"]}}, r"No network 'cnn' here"),
        ({"space": {"beta": [1, -1, 4], "width": (0.01, 0.02)}}, r"`beta` is a number of at least"),
        ({"space": {"beta": (-1, 4)}}, r"Range of 'beta': A range on a log scale starts above 0"),
        ({"space": {"beta": [-1, 4]}}, r"`beta` is a number of at least 0"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(**fields).run(tmp_path / "search")
    assert list(tmp_path.iterdir()) == []


# -- objectives -----------------------------------------------------------------------------------


class Terms:
    terms = ("loss", "reconstruction", "kl")
    posterior_parameters = None


def named(text, data=None, seeds=2):
    return objectives.Objective.named(text, Terms(), data or TINY.load_data(), seeds, 3)


@pytest.mark.parametrize(
    ("text", "key", "higher", "score"),
    [
        ("mig", "val_mig", True, 0.5),
        ("val_mig", "val_mig", True, 0.5),
        ("loss", "val_loss", False, 90.0),
        ("val_kl", "val_kl", False, 7.0),
        ("-reconstruction", "-reconstruction", True, -60.0),
        ("+kl", "+kl", True, 7.0),
        ("unsupervised", "val_unsupervised", False, 1.5),
        ("total_correlation", "total_correlation", False, 1.5),
        ("total_correlation@58", "total_correlation@58", False, 21.5),
        ("mig@58", "mig@58", True, 0.5 - 20),
        ("mig@60", "mig@60", True, 0.5),
    ],
)
def test_objectives_by_name(text, key, higher, score):
    objective = named(text)
    assert (objective.key, objective.higher) == (key, higher)
    found = {"loss": 90.0, "reconstruction": 60.0, "kl": 7.0, "mig": 0.5, "unsupervised": 1.5}
    assert objective.scores([found]) == [score]
    with pytest.raises(FloatingPointError, match="not a finite number"):
        objective.scores([dict.fromkeys(found, np.inf)])


def test_agreement_of_seeds_is_an_objective():
    agreement = metrics.UDR(np.array([0.25, 0.75]), np.zeros((2, 2)), {})
    found = [{"reconstruction": 50.0}, {"reconstruction": 61.0}]
    assert named("udr").scores(found, agreement) == [0.25, 0.75]
    assert named("udr@60").scores(found, agreement) == [0.25, 0.75 - 10]


def test_a_score_without_labels_is_refused_where_it_needs_some():
    data = keras_disent.datasets.Images(np.zeros((4, 32, 32, 1), "uint8"))
    with pytest.raises(ValueError, match="label"):
        named("mig", data)
    assert named("total_correlation@40", data).name == "unsupervised"


# -- what the oracles draw ------------------------------------------------------------------------


def tried(found):
    return [row.values["beta"] for row in found.rows]


@pytest.mark.parametrize("tuner", oracles.ORACLES)
def test_a_search_is_repeatable_for_a_seed(tuner, tmp_path, instant):
    trials = 5 if tuner == "bayesian" else 9

    def found(name, seed=1):
        made = search(trials, tuner=tuner, config=change(seed=seed))
        return made.run(tmp_path / name)

    first, same, other = found("a"), found("b"), found("c", seed=0)
    assert len(set(tried(first))) == trials
    assert [row.number for row in first.rows] == list(range(trials))
    assert tried(first) == tried(same)
    assert [row.score for row in first.rows] == [row.score for row in same.rows]
    assert all(1 <= beta <= 16 for beta in tried(first))
    assert first.best.score == max(row.score for row in first.rows)
    if tuner == "grid":
        assert tried(first)[0] == 1
        assert np.allclose(tried(first), 2 ** (np.arange(9) / 2), rtol=1e-3)
    else:
        assert tried(first) != tried(other)


@pytest.mark.parametrize(
    ("tuner", "trials", "at"),
    [("random", 3, 0), ("random", 9, 7), ("grid", 9, 7), ("hyperband", 9, 7), ("bayesian", 5, 3)],
)
def test_a_search_broken_off_goes_on_as_if_it_had_not_been(tuner, trials, at, tmp_path, instant):
    def run(folder):
        return search(trials, tuner=tuner).run(folder)

    whole = run(tmp_path / "whole")
    broken, before, replace = tmp_path / "broken", [], os.replace

    def copy_then_replace(source, target):
        before.append(shutil.copytree(broken, tmp_path / f"before_{len(before)}"))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", copy_then_replace)
        run(broken)
    # Killed before any one of its files was renamed, from the first of a trial to the next one's.
    per_trial = len(before) // trials
    assert per_trial >= 5
    for folder in before[at * per_trial + 1 :][: per_trial + 1]:
        ended = {
            path.parent.name
            for path in folder.glob("trials/*/trial.json")
            if json.loads(path.read_text())["status"] == "COMPLETED"
        }
        instant.clear()
        again = run(folder)
        assert tried(again) == tried(whole)
        assert [row.scores for row in again.rows] == [row.scores for row in whole.rows]
        assert not ended & set(instant)  # none is run twice to its end
        assert len(instant) == trials - len(ended)


def test_a_trial_that_was_never_started_is_not_counted(tmp_path, instant):
    folder = tmp_path / "search"
    search(2).run(folder)
    extra = folder / "trials" / "trial_2"
    shutil.copytree(folder / "trials" / "trial_1", extra)
    state = json.loads((extra / "trial.json").read_text())
    (extra / "trial.json").write_text(json.dumps({**state, "trial_id": "2", "status": "RUNNING"}))
    assert len(search(2).run(folder).rows) == 2
    assert len(set(tried(search(4).run(folder)))) == 4


def test_workers_keep_their_trials_when_the_chief_is_started_again(tmp_path):
    def oracle():
        judge = keras_tuner.Objective("val_mig", "max")
        made = oracles.oracle("random", judge, {"beta": Range(1, 9)}, trials=3, epochs=1, seed=0)
        made._set_project_dir(str(tmp_path), "trials")
        made.verbose = 0
        return made

    def end(chief, trial):
        chief.update_trial(trial.trial_id, {"val_mig": 0.5})
        trial.status = "COMPLETED"
        chief.end_trial(trial)

    first = oracle()
    of_a, of_b = first.create_trial("a"), first.create_trial("b")
    chief = oracle()
    chief.reload()
    assert chief.tuner_ids == {"a", "b"}
    end(chief, of_a)
    assert chief.create_trial("a").trial_id == "2"
    assert chief.create_trial("c").status == "IDLE"  # b may yet be lost
    chief.lose("b")
    again = chief.create_trial("c")
    assert again.hyperparameters.values == of_b.hyperparameters.values
    end(chief, of_b)
    assert not chief.all_ended()
    end(chief, chief.ongoing_trials["a"])
    assert chief.all_ended()
    assert chief.create_trial("a").status == "STOPPED"


def test_values_may_be_whole_numbers_among_others(tmp_path, instant):
    made = search(5, space={"beta": [1, 2.5, 4], "network": ["mlp", "conv"]}, tuner="grid")
    found = made.run(tmp_path)
    assert [tuple(row.values.values()) for row in found.rows] == [
        *((1, "mlp"), (1, "conv"), (2.5, "mlp"), (2.5, "conv"), (4, "mlp"))
    ]


def test_a_search_may_have_more_trials_later(tmp_path, instant):
    first = search(9).run(tmp_path / "search")
    more = search(12).run(tmp_path / "search")
    assert tried(more)[:9] == tried(first)
    assert [row.number for row in more.rows] == list(range(12))
    assert len(instant) == 12
    with pytest.raises(ValueError, match="trials is 12 there, 9 here"):
        search(9).run(tmp_path / "search")


def test_all_seeds_of_a_trial_are_kept(tmp_path, instant):
    found = search(2, executions=3).run(tmp_path)
    for row in found.rows:
        assert len(row.scores) == 3
        assert np.allclose(np.diff(row.scores), 0.01)
        assert row.score == pytest.approx(np.mean(row.scores))
    with (tmp_path / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score_2"]) for line in lines] == [row.scores[2] for row in found.rows]


def test_a_trial_that_fails_is_one_trial(tmp_path, monkeypatch, instant):
    real = tuning.search._Tuner._trained

    def sometimes(self, config, folder, data):
        if folder.parent.name == "trial_1":
            raise FloatingPointError("loss not finite at step 5.")
        return real(self, config, folder, data)

    monkeypatch.setattr(tuning.search._Tuner, "_trained", sometimes)
    found = search(3).run(tmp_path)
    assert [row.status for row in found.rows] == ["done", "failed", "done"]
    assert found.rows[1].message == "FloatingPointError: loss not finite at step 5."
    assert found.rows[1].score is None


# -- real trials ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "run"
    return folder, search(2, executions=2 if BACKEND == "torch" else 1).run(folder)


def test_a_search_leaves_table_picture_and_the_best_run(done):
    folder, found = done
    assert {path.name for path in folder.iterdir()} == {
        *("search.json", ".lock", "trials", "trials.csv", "tradeoff.png", "best")
    }
    assert tuning.Search.read(folder) == search(2, executions=len(found.best.scores))
    with (folder / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    for row, line in zip(found.rows, lines, strict=True):
        assert float(line["beta"]) == row.values["beta"]
        assert float(line["val_mig"]) == row.score
        assert float(line["reconstruction"]) == row.reconstruction
        assert row.status == line["status"] == "done"
        assert row.seconds > 0
    with Image.open(folder / "tradeoff.png") as picture:
        assert picture.size[0] > 800
    config = runs.Config.read(folder / "best")
    assert config.options == {"beta": found.best.values["beta"]}
    assert config.metrics == ("mig",)
    scores = json.loads((folder / "best" / "scores.json").read_text())
    assert scores["mig"]["value"] == max(found.best.scores)
    assert runs.load_model(folder / "best").beta == found.best.values["beta"]
    assert runs.traverse(folder / "best").exists()


@on("torch")
def test_a_trial_is_the_same_as_a_run(done, tmp_path):
    _, found = done
    row = found.rows[0]
    config = change(options={"beta": row.values["beta"]})
    runs.prepare(config, tmp_path / "run")
    runs.train(config, tmp_path / "run")
    mine = row.folder / "seed_1"
    assert runs.Config.read(mine) == config
    assert_same(state(runs.load_model(mine)), state(runs.load_model(tmp_path / "run")))
    assert runs.evaluate(tmp_path / "run")["mig"]["value"] == row.scores[0]


@on("torch")
def test_longer_trials_of_hyperband_go_on_from_shorter_ones(tmp_path):
    config = change(steps=7)  # four epochs: brackets of one and of four epochs
    found = search(7, tuner="hyperband", config=config).run(tmp_path / "search")
    long = [row for row in found.rows if row.values["epochs"] == 4]
    assert long
    row = long[0]
    longer = runs.Config.read(row.folder / "seed_1")
    assert longer.steps == 7
    runs.prepare(longer, tmp_path / "run")
    runs.train(longer, tmp_path / "run")
    assert_same(
        state(runs.load_model(row.folder / "seed_1")), state(runs.load_model(tmp_path / "run"))
    )


@on("torch")
def test_agreement_of_seeds_and_models_without_a_likelihood(tmp_path):
    found = search(2, executions=2, objective="udr").run(tmp_path / "udr")
    assert all(0 <= score <= 1 for row in found.rows for score in row.scores)
    gan = change(model="info_gan", latent_dim=3, options={"noise_dim": 2}, metrics=("mig",))
    space = {"mutual_information_weight": None}
    found = search(2, objective="+mutual_information", config=gan, space=space)
    rows = found.run(tmp_path / "gan").rows
    assert all(row.reconstruction > 0 for row in rows)


# -- tuners of KerasTuner itself ------------------------------------------------------------------


def test_a_tuner_of_kerastuner_takes_the_hypermodel(tmp_path):
    hypermodel = tuning.HyperModel(TINY, "mig", {"beta": [1.0, 4.0]})
    tuner = keras_tuner.GridSearch(
        hypermodel,
        hypermodel.objective,
        directory=tmp_path,
    )
    tuner.search(verbose=0)
    first, second = tuner.oracle.get_best_trials(2)
    assert {first.hyperparameters["beta"], second.hyperparameters["beta"]} == {1.0, 4.0}
    assert first.score >= second.score
    metrics_of = first.metrics.metrics
    assert {"loss", "kl", "val_loss", "val_reconstruction", "val_mig"} <= set(metrics_of)
    model = tuner.get_best_models(1)[0]
    assert model.beta == first.hyperparameters["beta"]
    assert model.steps_taken() == 3


@on("torch")
@pytest.mark.parametrize("tuner", ["RandomSearch", "BayesianOptimization", "Hyperband"])
def test_other_tuners_of_kerastuner_too(tuner, tmp_path):
    hypermodel = tuning.HyperModel(TINY, "-reconstruction", BETA)
    limit = {"max_epochs": 2} if tuner == "Hyperband" else {"max_trials": 2}
    made = getattr(keras_tuner, tuner)(
        hypermodel, hypermodel.objective, directory=tmp_path, seed=1, **limit
    )
    made.search(verbose=0)
    best = made.oracle.get_best_trials(1)[0]
    assert best.score == -best.metrics.get_best_value("val_reconstruction")


@on("torch")
def test_executions_of_kerastuner_have_other_seeds(tmp_path):
    hypermodel = tuning.HyperModel(TINY, "loss", {"beta": [2.0]})
    seeds, fit = [], tuning.HyperModel.fit

    def noted(self, hp, model, **kwargs):
        seeds.append(model.seed)
        return fit(self, hp, model, **kwargs)

    hypermodel.fit = noted.__get__(hypermodel)
    keras_tuner.GridSearch(
        hypermodel, hypermodel.objective, executions_per_trial=3, directory=tmp_path
    ).search(verbose=0)
    assert seeds == [1, 2, 3]


class Watcher(keras.callbacks.Callback):
    """Note the logs of each epoch, and stay in `Watcher.all` from the first one on."""

    all: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.logs, self.seed = [], None

    def on_train_begin(self, logs=None):
        Watcher.all.append(self)
        self.seed = self.model.seed

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(logs)


@pytest.fixture
def watched():
    Watcher.all.clear()
    return Watcher.all


def searched(folder, config=TINY, objective="loss", seeds=1, executions=1, data=None, **given):
    """Search one trial with KerasTuner's random search; return the tuner."""
    hypermodel = tuning.HyperModel(config, objective, {"beta": [2.0]}, seeds=seeds, data=data)
    tuner = keras_tuner.RandomSearch(
        hypermodel,
        hypermodel.objective,
        max_trials=1,
        seed=1,
        executions_per_trial=executions,
        directory=folder,
    )
    tuner.search(**{"verbose": 0, **given})
    return tuner


@on("torch")
def test_early_stopping_ends_a_trial(tmp_path, watched):
    stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9)
    tuner = searched(tmp_path, change(steps=9), callbacks=[stop, Watcher()])
    assert [len(watcher.logs) for watcher in watched] == [2]
    assert tuner.get_best_models(1)[0].steps_taken() == 4


@on("torch")
def test_each_execution_and_seed_has_fresh_callbacks(tmp_path, watched):
    stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9)
    given = Watcher()
    searched(tmp_path, change(steps=7), seeds=2, executions=2, callbacks=[stop, given])
    assert [watcher.seed for watcher in watched] == [1, 2, 3, 4]
    assert len({id(watcher) for watcher in [given, *watched]}) == 5
    assert [len(watcher.logs) for watcher in watched] == [2, 2, 2, 2]
    assert given.logs == []


@on("torch")
def test_callbacks_of_a_trial_share_the_data_of_the_scores(tmp_path, watched):
    data = TINY.load_data()
    scores = DisentanglementMetrics(data, {"mig": {"bins": 5}}, every=2, n_samples=100)
    searched(tmp_path, change(steps=8), data=data, executions=2, callbacks=[scores, Watcher()])
    for watcher in watched:
        assert ["val_mig" in logs for logs in watcher.logs] == [True, True, False, True]
    assert scores.latest is None  # the copies have measured


@on("torch")
def test_what_search_is_given_takes_effect(tmp_path, watched):
    held_out = TINY.load_data().images(np.arange(16))
    tuner = searched(
        tmp_path,
        epochs=3,
        validation_data=(held_out,),
        validation_batch_size=4,
        validation_freq=3,
        callbacks=[Watcher()],
    )
    (watcher,) = watched
    assert ["val_loss" in logs for logs in watcher.logs] == [False, False, True]
    assert tuner.get_best_models(1)[0].steps_taken() == 3 * TINY.epoch_steps  # not `steps`


@on("torch")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 4}, r"'batch_size' here: it is `batch_size` of the configuration"),
        ({"x": 1}, r"'x' here: .*HyperModel\(\.\.\., data="),
        ({"validation_split": 0.1}, r"'validation_split' here: .* It takes callbacks, epochs"),
        ({"epochs": 0}, r"`epochs` .* at least 1\. Got 0"),
        ({"initial_epoch": 2}, r"`initial_epoch` .* leave it out\. Got 2"),
    ],
)
def test_what_search_cannot_do_ends_it_with_one_line(given, message, tmp_path, watched):
    with pytest.raises(keras_tuner.errors.FatalError, match=message) as error:
        searched(tmp_path, callbacks=[Watcher()], **given)
    assert "\n" not in str(error.value)
    assert not watched


@on("torch")
def test_the_best_seed_of_a_trial_is_kept(tmp_path):
    config = change(learning_rate=0.05, seed=2)
    tuner = searched(tmp_path, config, seeds=3)
    scores, weights = [], []
    for seed in (2, 3, 4):
        single = tuning.HyperModel(dataclasses.replace(config, seed=seed), "loss", {"beta": [2.0]})
        hp = keras_tuner.HyperParameters()
        model = single.build(hp)
        scores.append(single.fit(hp, model)["val_loss"])
        weights.append(arrays(model.trainable_variables))
    assert np.argmin(scores) == 1  # neither the first nor the last
    best = tuner.get_best_models(1)[0]
    assert_same(arrays(best.trainable_variables), weights[1])
    assert tuner.oracle.get_best_trials(1)[0].score == pytest.approx(np.mean(scores))


# -- the command line -----------------------------------------------------------------------------

SMALL = [
    *("--subset", "shape=square", "--subset", "orientation=0", "--subset", "scale=0,5"),
    *("--image-size", "32", "--network", "mlp", "--width", "0.02", "--latent-dim", "3"),
    *("--batch-size", "8", "--epoch-steps", "2", "--steps", "3", "--seed", "1"),
    *("--learning-rate", "0.001", "--model", "beta_vae", "--metrics", "mig"),
]
TUNE = ["tune", *SMALL, "--range", "beta=1:16", "--trials", "2"]


@on("torch")
def test_tune_shows_a_table_and_goes_on(done, tmp_path, capsys):
    folder, found = done
    executions = ["--executions", len(found.best.scores)]
    out = shutil.copytree(folder, tmp_path / "search")
    assert call(*TUNE, *executions, "--out", out) == 0
    shown = capsys.readouterr().out
    for row in found.rows:
        assert f"{row.values['beta']:.4g}" in shown
        assert f"{row.score:.4g}" in shown
    best = found.best
    assert (
        f"Best: trial {best.number}, beta {best.values['beta']:.4g}: mig {best.score:.4g}" in shown
    )
    assert (out / "trials.csv").read_text() == (folder / "trials.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "vae", "--range", "width=0.1:1"],
            "model is 'beta_vae' there, 'vae' here. Cho",
        ),
        (["--seed", "2"], "seed is 1 there, 2 here"),
        (["--tuner", "grid"], "tuner is 'random' there, 'grid' here"),
        (["--trials", "0"], "`trials` is a whole number of at least 1. Got 0."),
        (
            ["--range", "beta=4:1"],
            "--range takes NAME, NAME=LOW:HIGH or NAME=A,B,C, each name once",
        ),
        (["--range", "gama=1:4"], "BetaVAE has no hyperparameter 'gama'. Choose from: beta, "),
        (["--objective", "migg"], "objective is 'mig' there, 'migg' here"),
    ],
)
def test_another_search_leaves_the_folder_alone(arguments, message, done, refused):  # noqa: F811
    folder, found = done

    def files():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = files()
    command = [*TUNE, "--executions", len(found.best.scores)]
    if "width=0.1:1" in arguments:
        command = ["tune", *SMALL, "--trials", "2", "--executions", len(found.best.scores)]
    assert message in refused(*command, *arguments, "--out", folder)
    assert files() == before


def test_places_that_cannot_be_used_are_told(tmp_path, refused):  # noqa: F811
    (tmp_path / "file").touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "search"):
        assert f"Cannot write into '{place}'" in refused(*TUNE, "--out", place)
    assert "needs a new or empty folder" in refused(*TUNE, "--out", other)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "notes.txt", "other"]


def test_one_process_at_a_time_is_at_a_search(tmp_path, refused):  # noqa: F811
    (tmp_path / "search").mkdir()
    with locked(tmp_path / "search" / ".lock"):
        said = refused(*TUNE, "--out", tmp_path / "search")
    assert f"Another process is at the search in '{tmp_path / 'search'}'. Several share" in said
    assert [path.name for path in (tmp_path / "search").iterdir()] == [".lock"]


# -- processes that are killed --------------------------------------------------------------------


def process(*arguments, **env):
    path = [str(Path(keras_disent.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "keras_disent.cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": os.pathsep.join(path), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, *processes, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        for one in processes:
            assert one.poll() is None, one.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def statuses(folder):
    """Return the trials of a search by number; their files are written whole."""
    paths = sorted(folder.glob("trials/trial_*/trial.json"))
    return [json.loads(path.read_text())["status"] for path in paths]


def table(folder):
    with (folder / "trials.csv").open() as file:
        return [{**line, "seconds": None} for line in csv.DictReader(file)]


LONGER = [*TUNE, "--trials", "3", "--steps", "40", "--epoch-steps", "20"]


@on("torch")
def test_a_search_that_was_killed_is_the_same_in_the_end(tmp_path):
    assert call(*LONGER, "--out", tmp_path / "whole") == 0
    folder = tmp_path / "killed"
    killed = process(*LONGER, "--out", folder)
    wait_for(lambda: statuses(folder)[1:] == ["RUNNING"], killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    files = {path: path.read_bytes() for path in folder.glob("trials/trial_0/**/*.*")}
    assert len(files) == 5
    assert call(*LONGER, "--out", folder) == 0
    assert {path: path.read_bytes() for path in files} == files  # not run again
    assert table(folder) == table(tmp_path / "whole")
    for name in ("seed_1/model.keras", "seed_1/history.csv"):
        assert (folder / "trials/trial_1" / name).exists()
    assert_same(*(state(runs.load_model(f / "best")) for f in (folder, tmp_path / "whole")))


@on("torch")
def test_ctrl_c_keeps_what_there_is(tmp_path):
    stopped = process(*TUNE, "--steps", "100000", "--out", tmp_path / "search")
    history = tmp_path / "search" / "trials" / "trial_0" / "seed_1" / "history.csv"
    wait_for(history.exists, stopped)
    stopped.send_signal(signal.SIGINT)
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "Call it again to go on." in said
    assert "Traceback" not in said
    assert statuses(tmp_path / "search") == ["RUNNING"]


@pytest.mark.slow
@on("torch")
def test_workers_share_a_search_and_one_may_die(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = tmp_path / "search"
    shared = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    names = ("chief", "first", "second")
    command = [*LONGER, "--trials", "4", "--patience", "5", "--out", folder]
    chief, first, second = (process(*command, **shared, KERASTUNER_TUNER_ID=n) for n in names)
    try:

        def ongoing():
            path = folder / "trials" / "oracle.json"
            return json.loads(path.read_text())["ongoing_trials"] if path.exists() else {}

        wait_for(lambda: set(ongoing()) == {"first", "second"}, chief, first, second)
        lost = ongoing()["first"]
        first.send_signal(signal.SIGKILL)
        first.communicate()
        said, _ = chief.communicate(timeout=200)
        assert chief.returncode == 0, said
        assert second.wait(timeout=60) == 0, second.communicate()[0]
    finally:
        for one in (chief, first, second):
            one.kill()
            one.wait()
    assert statuses(folder) == ["COMPLETED"] * 4
    assert (folder / "trials" / f"trial_{lost}" / "seed_1" / "scores.json").exists()
    assert call(*LONGER, "--trials", "4", "--out", tmp_path / "alone") == 0
    assert table(folder) == table(tmp_path / "alone")
    assert (folder / "best" / "model.keras").exists()
    assert "Best: trial" in said


# -- what has to be installed ---------------------------------------------------------------------


@on("torch")
def test_without_kerastuner_it_says_what_to_install():
    code = "from keras_disent import tuning"
    status, _, last = python(code, hidden=("keras_tuner",))
    assert status == 1
    assert "keras_disent.tuning needs KerasTuner: pip install 'keras-disent[tuner]'" in last


@pytest.mark.skipif(BACKEND == "tensorflow", reason="about the other backends")
def test_tuning_needs_no_tensorflow(tmp_path):
    code = f"""
from keras_disent import runs, tuning
config = runs.Config(**{dataclasses.asdict(TINY)!r})
found = tuning.Search(config, "mig", {{"beta": [2.0]}}, trials=1).run({str(tmp_path / "s")!r})
assert found.best.values == {{"beta": 2.0}}
assert "tensorflow" not in sys.modules
"""
    status, out, last = python(code, hidden=("tensorflow",))
    assert (status, out) == (0, ""), last
