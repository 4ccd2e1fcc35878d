"""Model files: read by every backend, and training goes on from one to the last bit."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.checks import (
    BACKEND,
    BACKENDS,
    LATENTS,
    SHAPE,
    arrays,
    assert_same,
    compiled,
    elsewhere,
    images,
    quick_on_torch,
    small,
    state,
    trained,
)
from support.published import published

from keras_disent import load_model, schedules
from keras_disent.models import MODELS

TRAINED = ["vae", "factor_vae", "info_gan"]


def q_of(model, x):
    """Return mean and log-variance of q(z|x), if the model has such a thing."""
    return model.posterior_parameters(x) if hasattr(model, "posterior_parameters") else ()


def read_all(folder):
    """Load every model of a folder, write what it makes of images, and train some further."""
    for path in sorted(Path(folder).glob("*.keras")):
        model = keras.saving.load_model(path)
        x = images(9, model.image_shape)
        codes = model.encode(x)
        np.savez(path.with_suffix(".npz"), codes=codes, x=model.decode(codes), q=q_of(model, x))
        if path.stem in TRAINED:
            assert int(model.steps) == 2
            before = trained(model)
            model.fit(x, batch_size=9, verbose=0)
            assert (trained(model) != before).any()
            for player in model.players:
                assert int(model._optimizer_of(player).iterations) == 3


# Files of TensorFlow are read by the others in engine/test_backends_agree.py.
@pytest.mark.slow
@pytest.mark.parametrize("reader", [b for b in BACKENDS if b != BACKEND])
def test_files_are_read_by_every_backend(reader, tmp_path):
    names = MODELS if BACKEND == "torch" else TRAINED  # files of one backend are those of all
    models = {name: compiled(small(name)) for name in names}
    models["published"] = compiled(published())
    rng = np.random.default_rng(0)
    for name, model in models.items():
        for variable in model.trainable_variables:
            variable.assign(variable + rng.normal(scale=0.1, size=variable.shape))
        if name in TRAINED:
            model.fit(images(16), batch_size=8, verbose=0)
        model.save(tmp_path / f"{name}.keras")
    elsewhere(read_all, str(tmp_path), backend=reader)
    for name, model in models.items():
        there = np.load(tmp_path / f"{name}.npz")
        x = images(9, model.image_shape)
        codes = model.encode(x)
        np.testing.assert_allclose(there["codes"], codes, atol=1e-4)
        np.testing.assert_allclose(there["q"], q_of(model, x), atol=1e-4)
        np.testing.assert_allclose(there["x"], model.decode(codes), atol=1e-4)


# -- going on in a new process --------------------------------------------------------------------


def with_everything(name):
    """A model with all that has a state: dropout, moving averages, schedules, two optimizers."""
    encoder = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(16, activation="relu", kernel_initializer=_initial(1)),
            layers.BatchNormalization(),
            layers.Dropout(0.3, seed=7),
        ]
    )
    special = {
        "vae": {},
        "annealed_vae": {"gamma": 5.0, "capacity": schedules.Linear(0.0, 3.0, steps=6)},
        "factor_vae": {
            "gamma": schedules.Cyclical(0.0, 4.0, period=3),
            "discriminator": keras.Sequential(
                [
                    layers.Input((LATENTS,)),
                    layers.Dense(16, activation="relu", kernel_initializer=_initial(2)),
                    layers.Dropout(0.2, seed=9),
                    layers.Dense(2, kernel_initializer=_initial(3)),
                ]
            ),
        },
    }
    model = small(name, encoder=encoder, **special[name])
    decay = keras.optimizers.schedules.ExponentialDecay
    return compiled(model, lambda: keras.optimizers.Adam(decay(0.01, 3, 0.5)))


def _initial(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def train(names, folder):
    for name in names:
        model = with_everything(name)
        model.fit(images(16), batch_size=8, shuffle=False, epochs=2, verbose=0)
        model.save(Path(folder) / f"{name}.keras")


def go_on(names, folder):
    for name in names:
        model = keras.saving.load_model(Path(folder) / f"{name}.keras")
        model.fit(images(16), batch_size=8, shuffle=False, initial_epoch=2, epochs=4, verbose=0)
        np.savez(Path(folder) / f"{name}.npz", *state(model))


@quick_on_torch
@pytest.mark.skipif(
    "JIT_COMPILE" in os.environ, reason="other processes compile as TensorFlow itself chooses"
)
def test_training_resumes_exactly_in_a_new_process(tmp_path):
    names = ["vae", "annealed_vae", "factor_vae"]
    train(names, tmp_path)
    elsewhere(go_on, names, str(tmp_path))
    for name in names:
        model = with_everything(name)
        model.fit(images(16), batch_size=8, shuffle=False, epochs=4, verbose=0)
        there = np.load(tmp_path / f"{name}.npz")
        assert int(model.steps) == 8
        assert_same([there[key] for key in there.files], state(model))


# -- what `load_model` is told --------------------------------------------------------------------


class Summing(layers.Layer):
    """An own network of a class that is not registered."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dense = units, layers.Dense(units)

    def call(self, images):
        return self.dense(ops.mean(images, axis=(1, 2)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_own_classes_are_found_among_custom_objects(tmp_path):
    model, x = compiled(small("vae", encoder=Summing(5))), images(8)
    model.fit(x, batch_size=8, verbose=0)
    model.save(path := tmp_path / "model.keras")
    again = load_model(path, custom_objects={"Summing": Summing})
    assert_same(state(again), state(model))
    assert_same([again.encode(x)], [model.encode(x)])
    with keras.saving.custom_object_scope({"Summing": Summing}):
        assert type(load_model(path).encoder) is Summing
    rule = r"needs 'Summing', .* or pass custom_objects=\{'Summing': Summing\}\."
    with pytest.raises(ValueError, match=rule) as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_models_are_loaded_without_their_optimizers_if_asked_for(tmp_path):
    model = compiled(small("vae"))
    model.save(path := tmp_path / "model.keras")
    assert load_model(path).compiled
    again = load_model(path, compile=False)
    assert not again.compiled
    assert_same(arrays(again.variables), arrays(model.variables))


def test_code_in_a_file_is_run_only_if_asked_for(tmp_path):
    encoder = keras.Sequential(
        [keras.Input(SHAPE), layers.Lambda(lambda x: x / 2), layers.Flatten(), layers.Dense(4)]
    )
    model, x = small("vae", encoder=encoder), images(4)
    model.save(path := tmp_path / "model.keras")
    with pytest.raises(
        ValueError, match=r"Python code, in a Lambda layer.* safe_mode=False if you"
    ):
        load_model(path)
    assert_same([load_model(path, safe_mode=False).encode(x)], [model.encode(x)])


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="There is no file"):
        load_model(tmp_path / "model.keras")
    model = small("vae")
    keras.saving.save_model(model, tmp_path / "unzipped", zipped=False)
    assert_same(arrays(load_model(tmp_path / "unzipped").variables), arrays(model.variables))
