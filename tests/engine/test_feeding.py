"""Batches of a data set reach a model in an order that depends on the seed and the step alone."""

import keras
import numpy as np
import pytest
from support.checks import BACKEND, images, quick_on_torch, small

from keras_disent import VAE
from keras_disent.datasets import Images, labeled


class Recorder(keras.callbacks.Callback):
    """Remember the logged reconstruction of every step: with a model at rest, one per batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs["reconstruction"])


def at_rest():
    tiny = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    model = VAE((4, 4, 1), latent_dim=2, encoder=tiny, decoder="mlp")
    model.noise.enabled = False
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    return model


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_sees_the_steps_in_order(shuffle):
    data = Images(np.random.default_rng(0).integers(256, size=(50, 4, 4), dtype=np.uint8))
    batches = data.batches(3, seed=1, steps=3)
    model, recorder = at_rest(), Recorder()
    expected = [model.evaluate(batches.at(t), verbose=0)[1] for t in range(9)]
    model.fit(batches, epochs=2, shuffle=shuffle, verbose=0, callbacks=[recorder])
    model.fit(batches, verbose=0, callbacks=[recorder])  # goes on at step 6
    assert recorder.seen == pytest.approx(expected, rel=1e-5)
    assert len(set(expected)) == 9


def test_other_uses_see_the_same_batches_in_every_pass():
    data = Images(np.random.default_rng(0).integers(256, size=(50, 4, 4), dtype=np.uint8))
    model, batches = at_rest(), data.batches(3, seed=1, steps=4)
    stacked = np.concatenate([batches.at(t) for t in range(4)])
    expected = model.evaluate(stacked, batch_size=3, verbose=0)
    history = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    assert history["val_loss"] == pytest.approx([expected[0]] * 2, rel=1e-5)
    assert model.evaluate(batches, verbose=0) == pytest.approx(expected, rel=1e-5)
    predicted = model.predict(batches, verbose=0)
    assert predicted == pytest.approx(model.predict(stacked, verbose=0), abs=1e-5)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_drawing_ahead_changes_nothing(ahead):
    data = Images(np.random.default_rng(0).integers(256, size=(50, 4, 4), dtype=np.uint8))
    batches = data.batches(3, seed=1, steps=3)
    stream = batches.stream(5, ahead)
    for step in range(5, 12):
        assert (next(stream) == batches.at(step)).all()
    stream.close()


def test_what_goes_wrong_while_drawing_ahead_is_said():
    class Torn(Images):
        def images(self, indices):
            raise OSError("the disk is gone")

    model = at_rest()
    data = Torn(np.zeros((50, 4, 4)))
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(data.batches(3, steps=2), verbose=0)


def test_labels_come_along():
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(50, 4, 4), dtype=np.uint8)
    data = labeled(pixels, {"kind": np.arange(50) % 7})
    batches = data.batches(5, seed=2, steps=4, labels=True)
    images, labels = batches.at(3)
    assert labels.shape == (5, 1)
    plain = data.batches(5, seed=2, steps=4)
    assert (images == plain.at(3)).all()
    model = at_rest()
    expected = np.mean([model.evaluate(plain.at(t), verbose=0)[0] for t in range(4)])
    with pytest.warns(UserWarning, match="learns without labels"):
        logs = model.fit(batches, verbose=0).history
    assert logs["loss"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="reads generators ahead, in a thread")
@quick_on_torch
def test_generators_see_and_set_the_model_between_steps():
    model, seen = small("beta_vae"), []
    model.compile("sgd")

    def batches():
        for i in range(6):
            seen.append(model.steps_taken())
            model.beta = float(i)
            model.optimizer.learning_rate = 0.1 ** (i + 1)
            model.predict(images(8), verbose=0)
            model.evaluate(images(8), verbose=0)
            yield images(8)

    logs = model.fit(batches(), steps_per_epoch=4, verbose=0).history
    assert seen == [0, 0, 2, 3]  # Keras looks at two batches before the first step
    assert logs["beta"] == [pytest.approx(np.mean([1, 1, 2, 3]))]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1**4)
    assert model.steps_taken() == 4
