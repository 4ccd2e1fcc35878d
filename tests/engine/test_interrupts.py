"""Ctrl-C, and any other signal whose handler raises, leaves a model whole."""

import contextlib
import os
import signal
import threading

import keras
import numpy as np
import pytest
from support.checks import BACKEND, arrays, assert_same, images, small

from keras_disent.engine.backend.interrupts import uninterrupted

TIMES = 15


@pytest.fixture(autouse=True)
def handler():
    """Let Ctrl-C raise, also in a process of the background, where shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def ctrl_c(after):
    """Press Ctrl-C after some seconds, and again each second: JAX loses one in a collection."""
    caught = threading.Event()

    def press():
        wait = after
        while not caught.wait(wait):
            os.kill(os.getpid(), signal.SIGINT)
            wait = 1.0

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        caught.set()
        thread.join()


def test_ctrl_c_at_any_time_leaves_whole_steps():
    """On JAX the weights of before are gone once a step has begun, and those of after not there."""
    model, x = small("factor_vae"), images(64)
    model.compile("adam")
    model.fit(x, batch_size=8, verbose=0)
    for i in range(TIMES):
        with ctrl_c(0.05 + 0.013 * i):
            model.fit(x, batch_size=8, epochs=100_000, verbose=0)
        assert all(np.isfinite(array).all() for array in arrays(model.variables))
        taken = {int(o.iterations) for o in model.optimizer.by_player.values()}
        assert taken == {model.steps_taken()}
    before = model.steps_taken()
    model.fit(x, batch_size=8, verbose=0)
    assert model.steps_taken() == before + 8


@pytest.mark.skipif(BACKEND != "torch", reason="a compiled step is taken whole anyway")
def test_a_step_under_way_is_taken_to_its_end():
    class Interrupted(keras.optimizers.Adam):
        at = -1

        def apply(self, grads, trainable_variables=None):
            if int(self.iterations) == self.at:
                signal.raise_signal(signal.SIGINT)
            super().apply(grads, trainable_variables)

    states = []
    for at, epochs in ((-1, 2), (1, 5)):
        optimizers = {player: Interrupted() for player in ("loss", "discriminator_loss")}
        optimizers["loss"].at = at
        model = small("factor_vae")
        model.compile(optimizers)
        fit = {"batch_size": 16, "epochs": epochs, "verbose": 0}
        if at < 0:
            model.fit(images(16), **fit)
        else:
            with pytest.raises(KeyboardInterrupt):
                model.fit(images(16), **fit)
        states.append(arrays(model.variables))
    assert_same(*states)


def test_a_signal_waits_and_a_second_one_does_not():
    calls = []

    def note(number, frame):
        calls.append(number)

    signal.signal(signal.SIGINT, note)
    stop = signal.getsignal(signal.SIGTERM)
    with uninterrupted():
        assert signal.getsignal(signal.SIGTERM) is stop  # ends the process: nothing to wait for
        signal.raise_signal(signal.SIGINT)
        assert not calls
        signal.raise_signal(signal.SIGINT)
        assert calls == [signal.SIGINT]
    assert calls == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is note
    with uninterrupted(lambda: True):
        signal.raise_signal(signal.SIGINT)
        assert len(calls) == 3
    assert len(calls) == 3


def test_one_signal_does_not_hurry_another():
    calls = []
    timer, before = signal.SIGALRM, signal.getsignal(signal.SIGALRM)
    signal.signal(timer, lambda number, frame: calls.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(timer)
            assert not calls
    except KeyboardInterrupt:
        calls.append(signal.SIGINT)
    finally:
        signal.signal(timer, before)
    assert calls == [timer, signal.SIGINT]  # it raises, and the other is called all the same


@pytest.mark.skipif(BACKEND == "tensorflow", reason="reads batches in a thread")
def test_a_handler_that_a_batch_sets_stays():
    def late(number, frame):
        pass

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            signal.signal(signal.SIGINT, late)
            return images(8)

    model = small("vae")
    model.compile("adam")
    model.fit(Batches(), verbose=0)
    assert signal.getsignal(signal.SIGINT) is late


def test_ctrl_c_in_evaluate_gives_the_seeds_of_training_back(monkeypatch):
    model = small("vae")
    model.compile("adam")
    model.fit(images(8), batch_size=8, verbose=0)
    before, assign = arrays(model._seeds()), keras.Variable.assign

    def interrupted(self, value):
        result = assign(self, value)
        if self.name == "seed_generator_state":
            monkeypatch.undo()
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(keras.Variable, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.evaluate(images(8), batch_size=8, verbose=0)
    assert_same(arrays(model._seeds()), before)


@pytest.mark.skipif(BACKEND == "torch", reason="takes one step at a time")
def test_an_error_of_the_data_between_steps_of_an_execution_leaves_whole_steps():
    def batches():
        for _ in range(3):
            yield images(8)
        raise OSError("disk")

    model = small("vae")
    model.compile("adam", steps_per_execution=2)
    with pytest.raises(Exception, match="disk"):
        model.fit(batches(), steps_per_epoch=10, verbose=0)
    assert model.steps_taken() == int(model.optimizer.iterations) == 3


def test_other_threads_have_no_signals():
    raised = []

    def run():
        try:
            with uninterrupted():
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not raised
