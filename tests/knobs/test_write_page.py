"""What is measured for the page, and what is refused before anything is written."""

import numpy as np
import pytest

from keras_disent import QLAE, VAE, Autoencoder, InfoGAN, datasets, knobs
from keras_disent.knobs import content, engine
from keras_disent.models.image_model import ImageModel


@pytest.fixture(scope="module")
def data():
    return datasets.Sprites(32).only("position_x", "scale")


class Coded(VAE):
    """A VAE with known codes: the factors, and noise."""

    def posterior_parameters(self, images, batch_size=256):
        light = images[..., 0].astype("float64")
        columns = (light.sum(1) * np.arange(32)).sum(1) / light.sum((1, 2))
        noise = np.random.default_rng(0).normal(size=len(images))
        mean = np.stack([0.01 * noise, (columns - 15.5) / 5], axis=1)
        return mean, np.stack([0 * columns, 0 * columns - 5], axis=1)


def test_latents_are_sorted_named_and_have_the_ranges_of_the_codes(data):
    model = Coded((32, 32, 1), 2, "mlp", "mlp")
    images = data.images(datasets.example_indices(data, content.SAMPLE))
    first, second = content.describe(model, data, "name")["latents"]
    assert (first["index"], second["index"]) == (1, 0)
    assert (first["silent"], second["silent"]) == (False, True)
    expected = np.quantile(model.encode(images)[:, 1], [0.005, 0.995])
    np.testing.assert_allclose([first["low"], first["high"]], expected, atol=1e-3)
    assert (second["low"], second["high"]) == (-2, 2)
    assert first["hint"].startswith("position x 1.0") or first["hint"].startswith("position x .9")
    assert second["hint"] == ""


def test_names_of_the_model_are_on_the_page(data):
    model = VAE((32, 32, 1), 2, "mlp", "mlp")
    model.latent_names = ["place", "z1"]
    names = {a["index"]: a["name"] for a in content.describe(model, data, "name")["latents"]}
    assert names == {0: "place", 1: "z1"}


def test_values_of_discrete_latents_are_those_that_are_decoded():
    qlae = QLAE((16, 16, 1), 3, values=5, encoder="mlp", decoder="mlp")
    images = np.random.default_rng(0).integers(256, size=(50, 16, 16, 1)).astype("uint8")
    for values, column in zip(qlae.latent_values(), qlae.encode(images).T, strict=True):
        assert len(values) == 5
        assert np.abs(values[:, None] - column).min(axis=0).max() < 1e-5
    qlae.fit_ica(images)
    assert qlae.latent_values() == [None] * 3
    gan = InfoGAN((32, 32, 1), latent_dim=2, categorical=(4,))
    continuous, classes = gan.latent_values()
    assert continuous is None
    columns = gan.codes.columns(np.stack([np.zeros(4), classes], axis=1).astype("float32"))
    np.testing.assert_allclose(np.asarray(columns)[:, 1:], np.eye(4))
    assert Autoencoder((32, 32, 1), 2, "mlp", "mlp").latent_values() == [None, None]


def test_latents_of_two_models_are_matched_with_their_sign():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(300, 3))
    second = np.stack([rng.normal(size=300), -np.exp(first[:, 2]), first[:, 0] ** 3], axis=1)
    sides = [
        {"latents": [{"index": i, "name": f"z{i}", "silent": False} for i in range(3)]}
        for _ in range(2)
    ]
    content.match(*sides, codes=[first, second])
    matches = [latent.get("match") for latent in sides[0]["latents"]]
    assert matches == [
        {"index": 2, "name": "z2", "sign": 1},
        None,
        {"index": 1, "name": "z1", "sign": -1},
    ]


@pytest.mark.parametrize(
    ("make", "size", "error", "message"),
    [
        (lambda: VAE((32, 32, 1), 2), 64, ValueError, r"needs images \(32, 32, 1\).* Got \(64, 64"),
        (lambda: ImageModel((32, 32, 1), 2, 0), 32, ValueError, "defines `decode_tensors`"),
    ],
)
def test_what_cannot_be_shown_is_refused(tmp_path, make, size, error, message):
    with pytest.raises(error, match=message):
        knobs.write_page(make(), datasets.Sprites(size), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_without_its_engine_no_page_is_written(tmp_path, monkeypatch, data):
    monkeypatch.setattr(engine, "FOLDER", tmp_path / "nowhere")
    with pytest.raises(ImportError, match=r"is not installed: run `python -m keras_disent.knobs`"):
        knobs.write_page(VAE((32, 32, 1), 2), data, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_card_names_schedules_and_leaves_out_what_is_not_there(data):
    from keras_disent import BetaVAE, schedules

    model = BetaVAE((32, 32, 1), 2, beta=schedules.Linear(0, 4, steps=500))
    card = content.card(model, data, None, {"beta": {"value": 4.0}, "mig": {"value": 0.5}})
    assert card["Method"] == "BetaVAE, beta Linear(start=0.0, end=4.0, steps=500)"
    assert card["Scores"] == "mig 0.5"
    assert "Higgins et al. 2017" in card["Cite"]
