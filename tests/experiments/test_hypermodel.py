"""A hypermodel in KerasTuner's own tuners: seeds, callbacks, arguments of `search`."""

import dataclasses
from typing import ClassVar

import keras
import keras_tuner
import numpy as np
import pytest
from support import checks
from support.checks import arrays, assert_same, on

from keras_disent import models
from keras_disent.callbacks import DisentanglementMetrics
from keras_disent.experiments import HyperModel
from keras_disent.models.hyperparameters import Range

TINY = dataclasses.replace(checks.TINY, model="beta_vae", steps=3, epoch_steps=2)
BETA = {"beta": (1, 16)}


def change(**fields):
    return dataclasses.replace(TINY, **fields)


def test_a_custom_method_is_tuned_alike(monkeypatch):
    class Mine(models.BetaVAE):
        tunable = {"strength": Range(0.1, 10.0), **models.VAE.tunable}

        def __init__(self, image_shape=(64, 64, 1), latent_dim=10, strength=1.0, **kwargs):
            super().__init__(image_shape, latent_dim, **kwargs)
            self.strength = strength

    monkeypatch.setitem(models.MODELS, "mine", Mine)
    hypermodel = HyperModel(change(model="mine"), "mig", {"strength": (1, 2)})
    hp = keras_tuner.HyperParameters()
    hp.values["strength"] = 1.23456
    assert hypermodel.build(hp).strength == 1.235


def test_a_tuner_of_kerastuner_takes_the_hypermodel(tmp_path):
    hypermodel = HyperModel(TINY, "mig", {"beta": [1.0, 4.0]})
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
    hypermodel = HyperModel(TINY, "-reconstruction", BETA)
    limit = {"max_epochs": 2} if tuner == "Hyperband" else {"max_trials": 2}
    made = getattr(keras_tuner, tuner)(
        hypermodel, hypermodel.objective, directory=tmp_path, seed=1, **limit
    )
    made.search(verbose=0)
    best = made.oracle.get_best_trials(1)[0]
    assert best.score == -best.metrics.get_best_value("val_reconstruction")


@on("torch")
def test_executions_of_kerastuner_have_other_seeds(tmp_path):
    hypermodel = HyperModel(TINY, "loss", {"beta": [2.0]})
    seeds, fit = [], HyperModel.fit

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
    hypermodel = HyperModel(config, objective, {"beta": [2.0]}, seeds=seeds, data=data)
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
        single = HyperModel(dataclasses.replace(config, seed=seed), "loss", {"beta": [2.0]})
        hp = keras_tuner.HyperParameters()
        model = single.build(hp)
        scores.append(single.fit(hp, model)["val_loss"])
        weights.append(arrays(model.trainable_variables))
    assert np.argmin(scores) == 1  # neither the first nor the last
    best = tuner.get_best_models(1)[0]
    assert_same(arrays(best.trainable_variables), weights[1])
    assert tuner.oracle.get_best_trials(1)[0].score == pytest.approx(np.mean(scores))
