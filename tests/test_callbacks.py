"""Callbacks in a real `fit`: what the others see of the scores, and what is drawn and when."""

import copy
import csv
import io
import math
import pickle
import random
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from support.checks import BACKEND, arrays, assert_same, compiled, images, small

from keras_disent import callbacks, datasets, metrics, plots
from keras_disent.callbacks import DisentanglementMetrics, ProgressCallback, TraversalGrid


class Dots(datasets.GroundTruth):
    """One bright pixel: its row and its column are the factors."""

    name = "dots"
    factor_names = ("row", "column")
    factor_sizes = (8, 8)
    image_shape = (8, 8, 1)

    def images(self, indices):
        return 255 * np.eye(64, dtype="uint8")[np.asarray(indices)].reshape(-1, 8, 8, 1)


DATA = Dots()
SETTINGS = {
    "mig": {"bins": 5},
    "factor_vae_score": {
        "variance_samples": 64,
        "train_votes": 50,
        "eval_votes": 50,
        "batch_size": 8,
    },
}

AT_ONCE = [1] if BACKEND == "torch" else [1, 2, 3]  # steps: Keras takes one at a time on PyTorch


def fit(model, *given, epochs=1, steps=2, **options):
    """Train on `Dots`, 8 images a step; return the history by name."""
    batches = DATA.batches(8, seed=1, steps=steps)
    fit = {"epochs": epochs, "verbose": 0, "callbacks": list(given), **options}
    return model.fit(batches, **fit).history


@pytest.fixture
def scripted(monkeypatch):
    """Make MIG a list of numbers, one for each time that it is measured."""
    script = []

    def evaluate(model, data, chosen, **options):
        return metrics.Scores({"mig": script.pop(0)}, {"mig": {}})

    monkeypatch.setattr(callbacks.metrics_module, "evaluate", evaluate)
    return script


class Order(keras.callbacks.Callback):
    """Note what the logs hold when its turn comes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(dict(logs))


# -- scores ---------------------------------------------------------------------------------------


def test_scores_are_in_the_logs_before_anyone_reads_them(tmp_path):
    order, csv_file = Order(), tmp_path / "log.csv"
    last = DisentanglementMetrics(DATA, SETTINGS, n_samples=100, seed=3)
    model = compiled(small("vae"))
    before = [order, keras.callbacks.CSVLogger(csv_file)]
    history = fit(model, *before, last, epochs=2, validation_data=images(8))
    assert {"loss", "val_loss", "val_mig", "val_factor_vae_score"} <= set(history)
    for name in ("val_mig", "val_factor_vae_score"):
        assert [type(value) for value in history[name]] == [float, float]
        assert all(0 <= value <= 1 for value in history[name])
        assert [logs[name] for logs in order.seen] == history[name]
        with csv_file.open() as file:
            assert [float(line[name]) for line in csv.DictReader(file)] == history[name]
    now = metrics.evaluate(model, DATA, SETTINGS, n_samples=100, seed=3)
    assert dict(last.latest) == dict(now)
    assert (history["val_mig"][-1], history["val_factor_vae_score"][-1]) == (
        now["mig"],
        now["factor_vae_score"],
    )
    assert last.latest.settings["mig"]["bins"] == 5
    assert last.latest.settings["mig"]["seed"] == 3
    assert last.latest.settings["factor_vae_score"]["train_votes"] == 50


def test_measuring_does_not_change_training():
    models = [compiled(small("factor_vae")) for _ in range(2)]
    fit(models[0], epochs=2)
    fit(models[1], DisentanglementMetrics(DATA, SETTINGS, n_samples=50), epochs=2)
    assert_same(arrays(models[0].variables), arrays(models[1].variables))


def test_measuring_does_not_change_how_arrays_are_shuffled():
    trained = []
    for given in ([], [DisentanglementMetrics(DATA, SETTINGS, n_samples=50)]):
        keras.utils.set_random_seed(7)
        model = compiled(small("vae"))
        model.fit(images(32), batch_size=8, epochs=3, shuffle=True, verbose=0, callbacks=given)
        trained.append(model)
    assert_same(arrays(trained[0].variables), arrays(trained[1].variables))


def generators():
    """Return the states of all global generators."""
    states = [random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
    if BACKEND == "torch":
        import torch

        states.append(torch.random.get_rng_state().tolist())
    if BACKEND == "tensorflow":
        import tensorflow as tf

        states.append(tf.random.get_global_generator().state.numpy().tolist())
        # What the next unseeded operation of TensorFlow would draw, and the one after it.
        states.append(copy.deepcopy(tf.compat.v1.random.get_seed(None)))
    return states


def test_scores_use_no_global_generator():
    model = compiled(small("vae"))
    keras.utils.set_random_seed(7)
    before = generators()
    keras.utils.set_random_seed(7)
    metrics.evaluate(model, DATA, {**SETTINGS, "sap": {}, "dci": {}}, n_samples=100)
    assert generators() == before


@pytest.mark.parametrize("place", [0, -1])
def test_the_best_score_is_kept_and_ends_training(place, tmp_path, scripted):
    scripted += [0.1, 0.5, 0.3, 0.2, 0.9]
    path, stopped, others = tmp_path / "best.keras", [], []
    others.append(
        keras.callbacks.ModelCheckpoint(path, monitor="val_mig", mode="max", save_best_only=True)
    )
    stopped.append(keras.callbacks.EarlyStopping(monitor="val_mig", mode="max", patience=2))
    given = [*others, *stopped]
    given.insert(len(given) if place else 0, DisentanglementMetrics(DATA, "mig"))
    history = fit(compiled(small("vae")), *given, epochs=5)
    assert history["val_mig"] == [0.1, 0.5, 0.3, 0.2]  # no better for two epochs
    assert int(keras.saving.load_model(path).steps) == 2 * 2


def test_epochs_between_have_no_score(scripted, tmp_path):
    scripted += [0.1, 0.2, 0.3, 0.4, 0.5]
    order, csv_file = Order(), tmp_path / "log.csv"
    rare = DisentanglementMetrics(DATA, "mig", every=3)
    model = compiled(small("vae"))
    given = [rare, order, keras.callbacks.CSVLogger(csv_file)]
    history = fit(model, *given, epochs=9)
    values = [logs.get("val_mig") for logs in order.seen]
    assert values == [0.1, None, 0.2, None, None, 0.3, None, None, 0.4]
    assert history["val_mig"] == [0.1, 0.2, 0.3, 0.4]
    with csv_file.open() as file:
        column = [line["val_mig"] for line in csv.DictReader(file)]
    assert column == ["0.1", "NA", "0.2", "NA", "NA", "0.3", "NA", "NA", "0.4"]
    fit(model, *given, epochs=10, initial_epoch=9)  # the first of another `fit` has one too
    assert order.seen[-1]["val_mig"] == 0.5


def test_a_score_is_measured_once_for_each_epoch(scripted):
    scripted += [0.1, 0.2]
    scores = DisentanglementMetrics(DATA, "mig")
    scores.set_model(compiled(small("vae")))
    for epoch, score in ((0, 0.1), (1, 0.2)):
        for call in (scores.measure, scores.on_epoch_end, scores.measure):
            logs = {"loss": 1.0}
            call(epoch, logs)
            assert logs == {"loss": 1.0, "val_mig": score}
    assert not scripted


def test_patience_counts_measurements(scripted):
    scripted += [0.5, 0.4, 0.3, 0.2]
    rare = DisentanglementMetrics(DATA, "mig", every=3)  # epochs 0, 2, 5, 8
    slower = keras.callbacks.ReduceLROnPlateau("val_mig", 0.5, patience=1, mode="max")
    stop = keras.callbacks.EarlyStopping("val_mig", mode="max", patience=2)
    history = fit(compiled(small("vae")), rare, slower, stop, epochs=9)
    assert len(history["loss"]) == 6
    rates = np.array(history["learning_rate"])
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.005, 0.005, 0.005], rtol=1e-6)


@pytest.mark.parametrize("every", [1, 2])
def test_the_best_of_rare_scores_is_kept(every, tmp_path, scripted):
    scripted += {1: [0.1, 0.2, 0.5, 0.3, 0.2, 0.1], 2: [0.1, 0.2, 0.5, 0.3]}[every]
    path = tmp_path / "best.keras"
    saver = keras.callbacks.ModelCheckpoint(
        path, monitor="val_mig", mode="max", save_best_only=True
    )
    given = [DisentanglementMetrics(DATA, "mig", every=every), saver]
    fit(compiled(small("vae")), *given, epochs=6)
    assert int(keras.saving.load_model(path).steps) == 2 * {1: 3, 2: 4}[every]
    assert saver.best == 0.5
    assert "on_epoch_end" not in vars(saver)


def test_a_checkpoint_of_another_name_is_left_to_keras(tmp_path, scripted):
    scripted += [0.1, 0.2]
    path = tmp_path / "best.keras"
    saver = keras.callbacks.ModelCheckpoint(path, "val_migg", mode="max", save_best_only=True)
    given = [DisentanglementMetrics(DATA, "mig", every=2), saver]
    with pytest.warns(UserWarning, match="val_migg"):
        fit(compiled(small("vae")), *given, epochs=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DisentanglementMetrics(DATA, "migg"), r"'migg'. Choose from: .*mig"),
        (lambda: DisentanglementMetrics(DATA, ()), r"at least one"),
        (lambda: DisentanglementMetrics(DATA, {"mig": {"bin": 5}}), r"'bin'.* Choose from: bins"),
        (lambda: DisentanglementMetrics(datasets.Images(images())), r"labeled .* Got Images"),
        (lambda: DisentanglementMetrics(DATA, every=0), r"`every` .* at least 1\. Got 0"),
        (lambda: TraversalGrid(images(), "x", every=0), r"`every` .* at least 1\. Got 0"),
        (lambda: TraversalGrid(images(), "x", unit="hour"), r"'epoch' or 'step'\. Got 'hour'"),
    ],
)
def test_mistakes_are_told_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- pictures -------------------------------------------------------------------------------------


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_pictures_by_epoch(tmp_path):
    folder = tmp_path / "not" / "there"
    grid = TraversalGrid(images(4), folder, every=2, values=(-1, 0, 1))
    model = compiled(small("vae"))
    fit(model, grid, epochs=5)
    assert names(folder) == ["traversal_00000004.png", "traversal_00000008.png"]
    with Image.open(folder / "traversal_00000008.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert all(300 < side < 2000 for side in picture.size)
    path = grid.draw()
    assert path == folder / "traversal_00000010.png"
    title = "Latent traversals, step 10"
    expected = plots.traversals(model, images(4), values=(-1, 0, 1), title=title)
    np.testing.assert_array_equal(Image.open(path).convert("RGB"), plots.as_array(expected))


@pytest.mark.parametrize("at_once", AT_ONCE)
def test_pictures_by_step(at_once, tmp_path):
    grid = TraversalGrid(images(4), tmp_path, every=3, unit="step", at_most=1)
    model = compiled(small("vae"), steps_per_execution=at_once)
    fit(model, grid, epochs=2, steps=6)  # 1 to 12
    fit(model, grid, steps=6)
    expected = {1: (3, 6, 9, 12, 15, 18), 2: (4, 6, 10, 12, 16, 18), 3: (3, 6, 9, 12, 15, 18)}
    assert names(tmp_path) == [f"traversal_{step:08d}.png" for step in expected[at_once]]


def test_a_single_image_is_enough(tmp_path):
    fit(compiled(small("vae")), TraversalGrid(images(1), tmp_path))
    assert names(tmp_path) == ["traversal_00000002.png"]


def test_drawing_does_not_change_training(tmp_path):
    models = [compiled(small("factor_vae")) for _ in range(2)]
    fit(models[0], steps=3)
    fit(models[1], TraversalGrid(images(4), tmp_path, unit="step"), steps=3)
    assert len(names(tmp_path)) == 3
    assert_same(arrays(models[0].variables), arrays(models[1].variables))


def test_tensorboard_gets_the_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_dir = tmp_path / "logs"
    grid = TraversalGrid(images(4), tmp_path / "files", log_dir=log_dir, at_most=1)
    fit(compiled(small("vae")), grid, epochs=2)
    events = EventAccumulator(str(log_dir), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["traversals"]
    logged = events.Images("traversals")
    assert [event.step for event in logged] == [2, 4]
    for event, name in zip(logged, names(tmp_path / "files"), strict=True):
        picture = Image.open(io.BytesIO(event.encoded_image_string))
        assert picture.size == (event.width, event.height)
        file = Image.open(tmp_path / "files" / name)
        np.testing.assert_array_equal(picture.convert("RGB"), file.convert("RGB"))


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    model = compiled(small("vae"))
    with pytest.raises(ImportError, match=r"pip install 'keras-disent\[tensorboard\]'"):
        fit(model, TraversalGrid(images(4), tmp_path, log_dir=tmp_path / "logs"))
    assert int(model.steps) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (images(4, shape=(4, 8, 1)), r"`images` must have shape \(n, 8, 8, 1\).* Got \(4, 4, 8, 1"),
        (images(4)[..., 0], r"add the channel axis"),
        (images(4).astype("float32"), r"as floats must lie in \[0, 1\]"),
        (images(4)[:0], r"at least one image"),
        ("pictures", r"must be an array of images .* Got str"),
    ],
)
def test_wrong_pictures_are_refused_before_training(wrong, message, tmp_path):
    model = compiled(small("vae"))
    with pytest.raises(ValueError, match=message):
        fit(model, TraversalGrid(wrong, tmp_path / "pictures"))
    assert int(model.steps) == 0
    assert not (tmp_path / "pictures").exists()


# -- copies ---------------------------------------------------------------------------------------


def test_callbacks_can_be_copied_and_used_again(tmp_path):
    given = [
        DisentanglementMetrics(DATA, {"mig": {"bins": 5}}, n_samples=50),
        TraversalGrid(images(4), tmp_path / "pictures", at_most=1, log_dir=tmp_path / "logs"),
        ProgressCallback(print),
    ]
    copies = [copy.deepcopy(given)]
    model = compiled(small("vae"))
    fit(model, *given)
    copies += [copy.deepcopy(given), pickle.loads(pickle.dumps(given))]
    for callback in given:
        callback.on_train_begin()  # what it opens is open now
    copies += [copy.deepcopy(given), pickle.loads(pickle.dumps(given)), [*map(copy.copy, given)]]
    for twins in [*copies, given]:
        assert "val_mig" in fit(model, *twins)
        assert [type(twin) for twin in twins] == [type(callback) for callback in given]
        assert all(twin.model is model for twin in twins)
        assert f"traversal_{model.steps_taken():08d}.png" in names(tmp_path / "pictures")


def test_copies_share_the_data_and_nothing_else():
    scores = DisentanglementMetrics(DATA, SETTINGS, n_samples=50)
    scores.set_model(compiled(small("vae")))
    scores.measure(0, {})
    twin = copy.deepcopy(scores)
    assert twin.data is scores.data
    assert twin.model is scores.model
    assert dict(twin.latest) == dict(scores.latest)
    twin.metrics["mig"]["bins"] = 2
    assert scores.metrics["mig"]["bins"] == 5
    grid = TraversalGrid(images(4), "somewhere")
    assert copy.deepcopy([grid])[0].images is grid.images


def test_progress_shares_what_it_reports_to():
    class Bar:
        steps = 0

        def advance(self, steps, logs):
            self.steps += steps

    bar = Bar()
    fit(compiled(small("vae")), copy.deepcopy(ProgressCallback(bar.advance)), steps=3)
    assert bar.steps == 3


def test_pictures_go_on_after_a_training_that_failed(tmp_path):
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("power")

    grid = TraversalGrid(images(4), tmp_path / "pictures", log_dir=tmp_path / "logs", at_most=1)
    model = compiled(small("vae"))
    with pytest.raises(RuntimeError, match="power"):
        fit(model, grid, Fail())
    fit(model, grid)
    assert names(tmp_path / "pictures") == [f"traversal_{model.steps_taken():08d}.png"]
    assert grid.draw() == grid.draw()  # no writer is open, and none is needed


# -- watching the steps ---------------------------------------------------------------------------


def test_training_stops_at_the_first_loss_that_is_not_a_number():
    pole = keras.optimizers.schedules.InverseTimeDecay(1.0, decay_steps=8, decay_rate=-1.0)
    model = compiled(small("beta_vae", beta=pole))  # 1 / (1 - step / 8)
    with pytest.raises(FloatingPointError, match=r"step 9\b.*`loss` is not finite") as error:
        fit(model, epochs=4, steps=3)
    assert not re.search(r"\bkl\b|reconstruction", str(error.value))  # these were finite
    assert model.steps_taken() == 8


@pytest.mark.parametrize("at_once", AT_ONCE)
def test_progress_counts_each_step_once(at_once):
    calls = []
    model = compiled(small("vae"), steps_per_execution=at_once)
    fit(
        model,
        ProgressCallback(lambda steps, logs: calls.append((steps, dict(logs)))),
        epochs=2,
        steps=6,
    )
    assert sum(steps for steps, _ in calls) == int(model.steps) == 12
    assert all(0 < steps <= at_once for steps, _ in calls)
    assert all(math.isfinite(logs["loss"]) for _, logs in calls)
