"""Every callback of Keras does here what it does elsewhere, with one player and with two.

One test for each row of the table in `docs/callbacks.md`; a model is compiled once for all of them.
"""

import copy
import csv
import functools
import http.server
import importlib.util
import inspect
import json
import re
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from support.checks import BACKEND, SLOW_TO_COMPILE, arrays, assert_same, images, small

from keras_disent.engine.optimizers import PlayerOptimizers

PAGE = Path(__file__).parents[2] / "docs" / "callbacks.md"
MODELS = ("vae", "factor_vae")
BASES = {"Callback", "CallbackList"}
RATES = {"loss": 0.02, "discriminator_loss": 0.005}
STEPS = 2  # of an epoch


def compiled(name, **options):
    model = small(name)
    model.compile({p: keras.optimizers.Adam(RATES[p], **options) for p in model.players})
    return model


@functools.cache
def _fresh(name):
    model = compiled(name)
    return model, _state(model)


def _state(model):
    return [array.copy() for array in arrays([*model.variables, *model.optimizer.variables])]


def fresh(name):
    """Return a model as it was before any training; its compiled step is used again."""
    model, state = _fresh(name)
    for variable, value in zip([*model.variables, *model.optimizer.variables], state, strict=True):
        variable.assign(value)
    model._initial_epoch = 0  # BackupAndRestore leaves it behind
    return model


# A step is compiled for each of the two; on PyTorch nothing is.
BOTH = [pytest.param("vae", marks=() if BACKEND == "torch" else pytest.mark.slow), "factor_vae"]


@pytest.fixture(params=BOTH)
def model(request):
    return fresh(request.param)


def fit(model, *callbacks, epochs=3, **options):
    given = {"batch_size": 8, "verbose": 0, "validation_data": (images(8),), **options}
    return model.fit(images(8 * STEPS), epochs=epochs, callbacks=list(callbacks), **given).history


def rates(model):
    if not isinstance(model.optimizer, PlayerOptimizers):
        return [float(model.optimizer.learning_rate)]
    return [float(o.learning_rate) for o in model.optimizer.by_player.values()]


def first_rates(model):
    return [RATES[player] for player in model.players]


def assert_close(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Script(keras.callbacks.Callback):
    """Log a number of a list as `score`, and keep the weights after each epoch."""

    def __init__(self, *scores):
        super().__init__()
        self.scores, self.weights = scores, []

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.scores[epoch]
        self.weights.append([array.copy() for array in self.model.get_weights()])


class Stop(keras.callbacks.Callback):
    """Break training off at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("power")


# -- the table ------------------------------------------------------------------------------------


def test_the_table_lists_every_callback():
    public = {
        name
        for name, value in vars(keras.callbacks).items()
        if inspect.isclass(value) and issubclass(value, keras.callbacks.Callback)
    }
    rows = re.findall(r"^\| `(\w+)", PAGE.read_text(), re.MULTILINE)
    assert set(rows) == public - BASES
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {name.lower() for name in rows} <= {re.sub(r"_.*", "", name) for name in tests}


# -- callbacks that write -------------------------------------------------------------------------


def test_csvlogger(model, tmp_path):
    history = fit(model, keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"epoch", *history}
    for name in ("loss", "val_loss", *model.terms):
        assert [float(row[name]) for row in rows] == pytest.approx(history[name])


def test_history(model):
    history = keras.callbacks.History()
    shown = fit(model, history, epochs=2)
    assert shown == history.history
    assert {*model.terms, *(f"val_{term}" for term in model.terms)} <= set(shown)
    assert history.epoch == [0, 1]


def test_lambdacallback(model):
    events = []
    noted = {
        name: functools.partial(lambda name, *given, **logs: events.append(name), name)
        for name in ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end")
    }
    fit(model, keras.callbacks.LambdaCallback(**noted), epochs=1)
    steps = ["on_train_batch_end"] * STEPS
    assert events == ["on_train_begin", "on_epoch_begin", *steps, "on_epoch_end"]


def test_functions_see_and_set_what_the_model_holds_between_steps(model):
    """A function reaches a model by its name, not as Keras's `Callback.model`."""
    kernel, seen = model.decoder.trainable_variables[0], []

    def end(batch, logs):
        seen.append((model.steps_taken(), rates(model)[0], *arrays([kernel])))
        if batch == 0:
            model.optimizer.learning_rate.assign(0.0)

    def begin(batch, logs):
        if len(seen) == 2:
            kernel.assign(np.ones(kernel.shape))

    noted = keras.callbacks.LambdaCallback(on_train_batch_begin=begin, on_train_batch_end=end)
    fit(model, noted, epochs=2)
    steps, first, weights = zip(*seen, strict=True)
    assert steps == (1, 2, 3, 4)
    assert first == (pytest.approx(first_rates(model)[0]), 0, 0, 0)
    assert_same([weights[1]], [weights[0]])  # the rate of 0 counts from the next step
    assert_same([weights[3], *arrays([kernel])], [np.ones_like(weights[0])] * 2)
    assert rates(model) == [0.0] * len(model.players)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_what_is_set_after_the_last_batch_stays(model, method):
    event = {"fit": "train", "evaluate": "test", "predict": "predict"}[method]
    kernel = model.decoder.trainable_variables[0]
    call = {f"on_{event}_batch_end": lambda batch, logs: kernel.assign(kernel.value * 0 + batch)}
    noted = keras.callbacks.LambdaCallback(**call)
    getattr(model, method)(images(8 * STEPS), batch_size=8, verbose=0, callbacks=[noted])
    assert_same(arrays([kernel]), [np.full(kernel.shape, STEPS - 1, "float32")])


def test_evaluating_in_the_middle_of_an_epoch_changes_nothing_else(model):
    def look(batch, logs):
        model.evaluate(images(8), batch_size=8, verbose=0)
        model.test_on_batch(images(8))
        model.predict(images(8), batch_size=8, verbose=0)

    before = _state(model)
    plain = fit(model, epochs=2)
    after = _state(model)
    for variable, value in zip([*model.variables, *model.optimizer.variables], before, strict=True):
        variable.assign(value)
    assert fit(model, keras.callbacks.LambdaCallback(on_train_batch_end=look), epochs=2) == plain
    assert_same(_state(model), after)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
@pytest.mark.parametrize("event", ["on_train_batch_begin", "on_train_batch_end"])
def test_a_call_that_a_callback_ends_leaves_training_alone(model, event, call):
    class Late(Exception):
        pass

    def too_late(batch, logs=None):
        raise Late

    def look(batch, logs=None):
        inner = {"evaluate": "on_test_batch_end", "predict": "on_predict_batch_end"}[call]
        stop = keras.callbacks.LambdaCallback(**{inner: too_late})
        with pytest.raises(Late):
            getattr(model, call)(images(16), batch_size=8, verbose=0, callbacks=[stop])

    plain = fit(model, epochs=1)
    after = _state(model)
    model = fresh("vae" if len(model.players) == 1 else "factor_vae")
    assert fit(model, keras.callbacks.LambdaCallback(**{event: look}), epochs=1) == plain
    assert_same(_state(model), after)


@pytest.mark.parametrize("event", ["on_train_begin", "on_train_batch_end", "on_epoch_end"])
def test_compile_in_the_middle_of_fit_is_refused(event):
    model = compiled("vae")
    again = keras.callbacks.LambdaCallback(**{event: lambda *given, **logs: model.compile("adam")})
    with pytest.raises(ValueError, match="`compile` was called in the middle of `fit`"):
        fit(model, again, epochs=1)
    last = keras.callbacks.LambdaCallback(on_train_end=lambda logs: model.compile("sgd"))
    fit(model, last, epochs=1)
    assert model.optimizer.name.lower() == "sgd"


def test_progbarlogger(model, capsys):
    history = fit(model, keras.callbacks.ProgbarLogger(), epochs=1, verbose=2)
    shown = capsys.readouterr().out
    for name, (value,) in history.items():
        assert f"{name}: {value:.4f}" in shown or f"{name}: {value:.4e}" in shown


def test_remotemonitor(model):
    pytest.importorskip("requests")
    received = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        history = fit(model, keras.callbacks.RemoteMonitor(root, send_as_json=True), epochs=2)
        server.shutdown()
    assert [sent["epoch"] for sent in received] == [0, 1]
    assert [sent["loss"] for sent in received] == history["loss"]


def test_tensorboard(model, tmp_path):
    pytest.importorskip("tensorflow")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=1)
    history = fit(model, board, epochs=2)
    train = EventAccumulator(str(tmp_path / "train")).Reload()
    held_out = EventAccumulator(str(tmp_path / "validation")).Reload()

    def logged(events, name):
        return [float(make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]

    for term in model.terms:
        assert logged(train, f"epoch_{term}") == pytest.approx(history[term])
        assert logged(held_out, f"epoch_{term}") == pytest.approx(history[f"val_{term}"])
    assert logged(train, "epoch_learning_rate") == pytest.approx([RATES["loss"]] * 2)
    assert len(logged(train, "batch_loss")) == 2 * STEPS
    iterations = held_out.Tensors("evaluation_loss_vs_iterations")
    assert [event.step for event in iterations] == [STEPS, 2 * STEPS]
    assert any(tag.endswith("/histogram") for tag in train.Tags()["tensors"])


# -- callbacks that save --------------------------------------------------------------------------


@pytest.mark.parametrize("best", [False, True], ids=["every", "best"])
@pytest.mark.parametrize("weights", [False, True], ids=["model", "weights"])
def test_modelcheckpoint(model, weights, best, tmp_path):
    ending = "weights.h5" if weights else "keras"
    script = Script(0.1, 0.5, 0.3)
    saver = keras.callbacks.ModelCheckpoint(
        tmp_path / f"{{epoch}}.{ending}",
        monitor="score",
        mode="max",
        save_best_only=best,
        save_weights_only=weights,
    )
    fit(model, script, saver)
    epochs = (1, 2) if best else (1, 2, 3)
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"{epoch}.{ending}" for epoch in epochs]
    final = _state(model)
    for epoch in epochs:
        path = tmp_path / f"{epoch}.{ending}"
        if weights:
            model.load_weights(path)
            loaded = model
        else:
            loaded = keras.saving.load_model(path)
        assert_same(loaded.get_weights(), script.weights[epoch - 1])
        assert loaded.steps_taken() == int(loaded.optimizer.iterations) == epoch * STEPS
        if epoch == 3:
            assert_same(_state(loaded), final)


@pytest.mark.parametrize("weights", [False, True], ids=["model", "weights"])
def test_modelcheckpoint_by_steps(model, weights, tmp_path):
    ending = "weights.h5" if weights else "keras"
    path = tmp_path / f"{{epoch}}-{{batch}}.{ending}"
    fit(
        model,
        keras.callbacks.ModelCheckpoint(path, save_freq=3, save_weights_only=weights),
        epochs=3,
    )
    steps = {f"2-1.{ending}": 3, f"3-2.{ending}": 6}
    assert {file.name for file in tmp_path.iterdir()} == set(steps)
    for name, step in steps.items():
        if weights:
            model.load_weights(tmp_path / name)
            loaded = model
        else:
            loaded = keras.saving.load_model(tmp_path / name)
        assert loaded.steps_taken() == int(loaded.optimizer.iterations) == step


def test_backupandrestore(model, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    script = Script(0.0, 0.0, 0.0)
    with pytest.raises(RuntimeError, match="power"):
        fit(model, script, backup, Stop(2))
    fresh("vae" if len(model.players) == 1 else "factor_vae")  # the process ends here
    seen = []
    first = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append((epoch, model.steps_taken()))
    )
    history = fit(model, backup, first)
    assert seen == [(2, 2 * STEPS)]
    assert len(history["loss"]) == 1
    assert not (tmp_path / "backup").exists()


@pytest.mark.skipif(not importlib.util.find_spec("orbax"), reason="orbax is not installed")
@pytest.mark.parametrize("name", MODELS)
def test_orbaxcheckpoint(name, tmp_path):
    script = Script(0.1, 0.5, 0.3)
    keras.utils.clear_session(free_memory=False)
    model = compiled(name)
    saver = keras.callbacks.OrbaxCheckpoint(
        tmp_path / "orbax", monitor="score", mode="max", save_best_only=True
    )
    fit(model, script, saver)
    keras.utils.clear_session(free_memory=False)  # it finds variables by the names of layers
    other = compiled(name)
    other.load_weights(tmp_path / "orbax")
    keras.utils.clear_session(free_memory=False)
    for loaded in (other, keras.saving.load_model(tmp_path / "orbax")):
        assert_same(loaded.get_weights(), script.weights[1])
        assert loaded.steps_taken() == int(loaded.optimizer.iterations) == 2 * STEPS


# -- callbacks that steer -------------------------------------------------------------------------


def test_earlystopping(model):
    script = Script(0.1, 0.5, 0.3, 0.2, 0.9)
    stop = keras.callbacks.EarlyStopping("score", mode="max", patience=2, restore_best_weights=True)
    history = fit(model, script, stop, epochs=5)
    assert history["score"] == [0.1, 0.5, 0.3, 0.2]
    assert_same(model.get_weights(), script.weights[1])
    assert model.steps_taken() == 2 * STEPS


def test_terminateonnan(model):
    def break_weight(epoch, logs):
        if epoch == 1:
            kernel = model.decoder.trainable_variables[0]
            kernel.assign(np.full(kernel.shape, np.nan))

    broken = keras.callbacks.LambdaCallback(on_epoch_begin=break_weight)
    history = fit(model, broken, keras.callbacks.TerminateOnNaN())
    assert np.isnan(history["loss"]).tolist() == [False, True]
    assert model.steps_taken() == STEPS


def test_learningratescheduler(model):
    schedule = [0.0, 0.01, 0.04]  # begins with a rate of 0
    weights, seen = [], []

    def note(epoch, logs):
        weights.append(arrays(model.trainable_variables))
        seen.append(rates(model))

    before = arrays(model.trainable_variables)
    history = fit(
        model,
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: schedule[epoch]),
        keras.callbacks.LambdaCallback(on_epoch_end=note),
    )
    assert history["learning_rate"] == pytest.approx(schedule)
    balance = np.array(first_rates(model)) / RATES["loss"]
    np.testing.assert_allclose(seen, np.outer(schedule, balance), rtol=1e-6)
    assert_same(weights[0], before)
    assert not any((a == b).all() for a, b in zip(weights[1], before, strict=True))


def test_reducelronplateau(model):
    script = Script(0.5, 0.4, 0.3, 0.2)
    slower = keras.callbacks.ReduceLROnPlateau("score", factor=0.1, patience=1, mode="max")
    history = fit(model, script, slower, epochs=4)
    expected = [RATES["loss"] * factor for factor in (1, 1, 0.1, 0.01)]
    assert history["learning_rate"] == pytest.approx(expected)
    assert rates(model) == pytest.approx([rate * 1e-3 for rate in first_rates(model)])


@pytest.mark.parametrize(
    "averaging",
    ["vae", pytest.param("factor_vae", marks=SLOW_TO_COMPILE), "factor_vae, one of two"],
)
def test_swapemaweights(averaging):
    model = small(averaging.partition(",")[0])
    ema = {"use_ema": True, "ema_momentum": 0.5}
    with_average = ["loss"] if "one" in averaging else list(model.players)
    model.compile(
        {
            player: keras.optimizers.Adam(RATES[player], **ema if player in with_average else {})
            for player in model.players
        }
    )
    optimizers = getattr(model.optimizer, "by_player", {"loss": model.optimizer})
    events = []

    def note(event):
        weights = {player: arrays(model.player_variables(player)) for player in model.players}
        averages = {
            player: arrays(optimizers[player]._model_variables_moving_average)
            for player in with_average
        }
        events.append((event, weights, averages))

    class Watch(keras.callbacks.Callback):
        def __init__(self, on_test_begin, on_epoch_end=None):
            super().__init__()
            self.names = (on_test_begin, on_epoch_end)

        def on_test_begin(self, logs=None):
            note(self.names[0])

        def on_epoch_end(self, epoch, logs=None):
            if self.names[1]:
                note(self.names[1])

    swap = keras.callbacks.SwapEMAWeights()
    fit(model, Watch("before"), swap, Watch("during", "after"), epochs=2)
    assert [event for event, _, _ in events] == ["before", "during", "after"] * 2
    for i in (0, 3):
        (_, weights, averages), (_, swapped, put_away), (_, restored, _) = events[i : i + 3]
        for player in model.players:
            assert_close(restored[player], weights[player])
            if player in with_average:
                assert_close(swapped[player], averages[player])
                assert_close(put_away[player], weights[player])
                pairs = zip(swapped[player], weights[player], strict=True)
                assert not any((a == b).all() for a, b in pairs)
            else:
                assert_same(swapped[player], weights[player])
    for player in with_average:  # in the end the averages are the weights, as in Keras
        assert_same(arrays(model.player_variables(player)), events[-1][2][player])


# -- what callbacks read of the players' optimizers -----------------------------------------------


def turns(lead=None, **given):
    optimizers = {player: keras.optimizers.SGD(rate) for player, rate in RATES.items()}
    return PlayerOptimizers({**optimizers, **given}, lead=lead)


def balance(optimizer):
    return [round(float(o.learning_rate), 6) for o in optimizer.by_player.values()]


def test_one_player_leads():
    optimizer = turns(lead="discriminator_loss")
    assert float(optimizer.learning_rate) == pytest.approx(0.005)
    optimizer.learning_rate = 0.01
    assert balance(optimizer) == [0.04, 0.01]
    again = PlayerOptimizers.from_config(optimizer.get_config())
    assert again.lead == "discriminator_loss"
    assert balance(again) == [0.04, 0.01]
    assert turns().lead == "loss"
    with pytest.raises(ValueError, match=r"`lead` is one of .*discriminator_loss\. Got 'x'"):
        turns(lead="x")


def test_assigning_to_the_rate_scales_the_others_too():
    optimizer = copy.deepcopy(turns())
    rate = optimizer.learning_rate
    rate.assign(0.04)
    assert balance(optimizer) == [0.04, 0.01]
    rate.assign_sub(0.02)
    assert balance(optimizer) == [0.02, 0.005]
    assert [float(x) for x in (rate, rate * 2, ops.sqrt(rate * rate), rate.numpy())] == (
        pytest.approx([0.02, 0.04, 0.02, 0.02])
    )
    assert rate.path == optimizer.by_player["loss"].learning_rate.path
    optimizer.by_player["loss"].learning_rate.assign(0.1)
    assert balance(optimizer) == [0.1, 0.005]


def test_a_rate_of_zero_keeps_the_balance(tmp_path):
    model = fresh("factor_vae")
    model.optimizer.learning_rate = 0.0
    assert balance(model.optimizer) == [0.0, 0.0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for optimizer in (model.optimizer, loaded.optimizer):
        optimizer.learning_rate = 0.04
        assert balance(optimizer) == [0.04, 0.01]
        optimizer.by_player["discriminator_loss"].learning_rate = 0.02
        optimizer.learning_rate = 0.02
        assert balance(optimizer) == [0.02, 0.01]


def test_a_rate_that_was_always_zero_has_no_ratio():
    optimizer = turns(loss=keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match=r"'loss' has always been 0.* Got 0\.1"):
        optimizer.learning_rate = 0.1
    assert balance(optimizer) == [0.0, 0.005]


def falling(step=None):
    return 0.1


@pytest.mark.parametrize("player", RATES)
@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (keras.optimizers.schedules.CosineDecay(0.1, 10), r"created with a `LearningRateSchedule`"),
        (falling, r"created with a function"),
    ],
)
def test_schedules_are_not_overwritten(rate, message, player):
    optimizer = turns(**{player: keras.optimizers.SGD(rate)})
    with pytest.raises(TypeError, match=f"{player}: .*{message}"):
        optimizer.learning_rate = 0.2
    (other,) = set(RATES) - {player}
    assert float(optimizer.by_player[other].learning_rate) == pytest.approx(RATES[other])


def test_a_schedule_is_for_one_player():
    with pytest.raises(
        TypeError, match=r"A schedule belongs to one player: set `by_player\['loss'\]"
    ):
        turns().learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 10)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("apply", ([],)),
        ("apply_gradients", ([],)),
        ("stateless_apply", ([], [], [])),
        ("build", ([],)),
        ("scale_loss", (1.0,)),
    ],
)
def test_what_one_optimizer_does_is_refused(method, given):
    with pytest.raises(TypeError, match=rf"call `by_player\[term\]\.{method}`, .* loss, discr"):
        getattr(turns(), method)(*given)


def test_averages_need_a_player_that_has_them():
    with pytest.raises(ValueError, match="`use_ema=True` is set on the optimizer"):
        fresh("factor_vae").evaluate(
            images(8), verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()]
        )


def test_weights_of_all_optimizers_are_set_together():
    optimizer = fresh("factor_vae").optimizer
    values = [np.full(v.shape, i) for i, v in enumerate(optimizer.variables)]
    optimizer.set_weights(values)
    assert_same(
        arrays(optimizer.variables),
        [a.astype(b.dtype) for a, b in zip(values, arrays(optimizer.variables), strict=True)],
    )
    with pytest.raises(ValueError, match=r"`weights` must match the \d+ variables .* Got 1"):
        optimizer.set_weights(values[:1])
