"""Settings that are chosen by the images."""

import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from keras_disent import recommend
from keras_disent.datasets import Images, Sprites
from keras_disent.experiments import Run
from keras_disent.experiments.recommendation import statistics
from keras_disent.experiments.timing import seconds_per_step

RNG = np.random.default_rng(0)
NOISE = RNG.integers(20, 230, size=(30, 32, 32, 3), dtype=np.uint8)
FLAT = np.repeat(np.repeat(NOISE[:, :4, :4], 8, axis=1), 8, axis=2)


@pytest.fixture
def folder(tmp_path):
    """A folder of 20 drawings of several sizes."""
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(FLAT[:20]):
        picture = Image.fromarray(image).resize((40 + i, 50), Image.Resampling.NEAREST)
        picture.save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("images", "kind", "channels"),
    [
        (NOISE, "photographs", 3),
        (FLAT, "drawings", 3),
        (NOISE[..., :1], "photographs", 1),
        (np.repeat(FLAT[..., :1], 3, axis=-1), "drawings", 1),
        (np.where(FLAT > 120, 255, 0).astype("uint8"), "shapes", 3),
        (np.where(FLAT[..., :1] > 120, 255, 0).astype("uint8"), "shapes", 1),
    ],
)
def test_kinds_of_images(images, kind, channels):
    seen = statistics(Images(images))
    assert (seen.kind, seen.channels, seen.images) == (kind, channels, 30)


def test_statistics_are_those_of_the_pixels():
    images = np.zeros((2, 2, 4, 1), np.uint8)
    images[:, :, 2:] = 200  # one of the three columns of neighbors differs, none of the row
    seen = statistics(Images(images))
    assert seen.extreme == 0.5
    assert seen.flat == pytest.approx((2 * 2 * 2 + 2 * 4) / (2 * 2 * 3 + 2 * 4))
    assert seen.colors == 2


@pytest.mark.parametrize("size", [32, 64])
def test_a_folder_gets_a_whole_configuration(folder, size, capsys):
    choice = recommend(folder, image_size=size)
    config = choice.config
    assert config.model == "beta_tcvae"
    assert config.likelihood == f"gaussian(scale={0.05 * size / 32:g})"
    assert config.network == "silu_mlp"
    rate = keras.saving.deserialize_keras_object(dict(config.learning_rate))
    assert float(rate(200)) == pytest.approx(2e-3 * 32 / size)
    assert float(rate(0)) < 1e-4
    assert float(rate(config.steps)) < 1e-4
    assert config.data == str(folder)
    for word in (config.model, "beta 60", config.likelihood, "3,000 steps", "20 color images"):
        assert word in str(choice)


def test_the_size_of_a_folder_is_stored(folder):
    config = recommend(folder).config
    assert config.image_size == 32
    assert config.load_data().image_shape == (32, 32, 3)


def test_gray_pictures_get_one_channel(tmp_path):
    for i, image in enumerate(FLAT[:9, ..., 0]):
        Image.fromarray(image).convert("RGB").save(tmp_path / f"{i}.png")
    choice = recommend(tmp_path, image_size=32)
    assert choice.config.channels == 1
    assert choice.data.image_shape == (32, 32, 1)
    assert "1 channel" in str(choice)
    assert recommend(tmp_path, image_size=32, channels=3).config.channels == 3


@pytest.mark.parametrize(
    "given",
    [
        {"learning_rate": 1e-4},
        {"steps": 77},
        {"network": "conv", "width": 0.25},
        {"likelihood": "bernoulli"},
        {"options": {"beta": 3.0}},
        {"latent_dim": 4, "seed": 5, "player_batch": 16},
        {"model": "factor_vae", "options": {"gamma": 2.0}},
    ],
)
def test_what_is_given_is_kept(given):
    choice = recommend(Images(FLAT), **given)
    for name, value in given.items():
        kept = getattr(choice.config, name)
        if name == "options":
            kept = {option: kept[option] for option in value}
        assert kept == value
        assert name == "options" or name not in choice.chosen
    assert "beta" not in choice.chosen["options"] or "options" not in given


def test_weights_fit_the_likelihood_that_is_given():
    assert recommend(Images(FLAT), likelihood="bernoulli").config.options == {"beta": 4.0}
    assert recommend(Images(FLAT), likelihood="continuous_bernoulli").config.options == {}


def test_the_discriminator_of_a_factor_vae_is_small():
    choice = recommend(Images(FLAT), model="factor_vae")
    assert choice.build().discriminator.layers[1].units == 256


def test_other_methods_keep_their_settings():
    choice = recommend(Images(FLAT), model="dip_vae", steps=5)
    assert choice.config.likelihood == "bernoulli"
    assert choice.chosen == {}
    assert str(choice).startswith("Nothing was chosen: dip_vae keeps its own settings")


def test_the_run_of_a_choice_stores_it_and_trains(folder, tmp_path):
    choice = recommend(folder, image_size=16, steps=4, width=0.05, metrics=("unsupervised",))
    run = Run.create(choice.config, tmp_path / "run", data=choice.data)
    assert run.data is choice.data
    run.train()
    stored = Run.open(tmp_path / "run").config
    assert stored == dataclasses.replace(choice.config.absolute(), data=str(folder))
    assert "in use (at least 0.1 nats" in str(run.diagnose())


@pytest.mark.parametrize(("steps", "epochs"), [(1500, 3), (1200, 1), (77, 1)])
def test_arguments_of_fit_make_all_steps(steps, epochs):
    choice = recommend(Images(FLAT), steps=steps, width=0.02)
    arguments = choice.fit_arguments(choice.build())
    assert arguments["epochs"] == epochs
    assert arguments["x"].steps * epochs == steps
    assert arguments["x"].batch_size == 64


def test_timing_leaves_no_trace():
    def trained(timed):
        choice = recommend(Sprites(32), steps=4, network="mlp", width=0.02)
        model = choice.build()
        batches = choice.config.batches(model, choice.data)
        if timed:
            assert seconds_per_step(model, batches, steps=3) > 0
        model.fit(batches, steps_per_epoch=3, verbose=0)
        return model

    images = Sprites(32).images(np.arange(5))
    first, second = trained(True), trained(False)
    assert first.steps_taken() == second.steps_taken() == 3
    np.testing.assert_array_equal(first.encode(images), second.encode(images))
