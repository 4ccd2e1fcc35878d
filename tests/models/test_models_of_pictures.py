"""Models keep how picture files became their images."""

import numpy as np
import pytest
from PIL import Image
from support.checks import LATENTS, compiled, images, small

from keras_disent import load_model, networks
from keras_disent.datasets import open_folder, read_image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def test_a_model_reads_pictures_as_it_was_trained(folder, tmp_path):
    data = open_folder(folder, image_size=16, channels=1, crop=18, background="black")
    shape = data.image_shape
    model = small(
        "vae",
        shape=shape,
        encoder=networks.mlp_encoder(shape, width=0.02),
        decoder=networks.mlp_decoder(shape, LATENTS, width=0.02),
    )
    assert model.pictures is None
    assert "pictures" not in model.get_config()
    compiled(model).fit(data.batches(8, steps=1), verbose=0)
    assert model.pictures["crop"] == 18
    model.fit(data.images(range(8)), batch_size=8, verbose=0)  # says nothing about pictures
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.pictures == model.pictures == data.pictures
    np.testing.assert_array_equal(read_image(folder / "3.png", like=loaded), data.images([3])[0])


def test_models_of_arrays_have_no_pictures():
    model = compiled(small("beta_tcvae"))
    model.fit(images(8), batch_size=8, verbose=0)
    assert model.pictures is None
