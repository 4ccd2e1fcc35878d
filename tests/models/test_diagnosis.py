"""What a model says of its latents after training."""

import numpy as np
import pytest
from keras import ops

from keras_disent import VAE, Autoencoder, plots

GRAYS = np.linspace(0, 255, 64).astype("uint8")
IMAGES = np.broadcast_to(GRAYS[:, None, None, None], (64, 16, 16, 1)).copy()


class Painter(VAE):
    """A VAE with codes that the test sets: latent 0 is the gray of the image."""

    mean, log_variance = np.zeros((64, 3)), np.zeros((64, 3))

    def posterior_parameters(self, images, batch_size=256):
        return self.mean.astype("float32"), self.log_variance.astype("float32")

    def encode(self, images, batch_size=256):
        return self.mean.astype("float32")

    def reconstruct(self, images, batch_size=256, dtype="float32"):
        gray = np.float32(self.gray)[: len(images), None, None, None]
        return np.broadcast_to(gray, images.shape)


@pytest.fixture
def painter():
    model = Painter((16, 16, 1), 3, "mlp", "mlp", seed=0)
    model.mean, model.log_variance = np.zeros((64, 3)), np.zeros((64, 3))
    model.mean[:, 0] = (GRAYS - GRAYS.mean()) / GRAYS.std()
    model.log_variance[:, 0] = -4.0
    model.gray = GRAYS / 255
    return model


def test_information_and_waste_add_up_to_the_kl(painter):
    rng = np.random.default_rng(0)
    painter.mean = rng.normal(1.5, 2.0, (64, 3))
    painter.log_variance = rng.normal(-1.0, 0.5, (64, 3))
    variance = painter.mean.var(axis=0) + np.exp(painter.log_variance).mean(axis=0)
    waste = (painter.mean.mean(axis=0) ** 2 + variance - 1 - np.log(variance)) / 2
    total = painter.latent_importance(IMAGES) + waste
    np.testing.assert_allclose(painter.latent_kl(IMAGES), total, rtol=1e-5)
    np.testing.assert_allclose(painter.diagnose(IMAGES).wasted, waste, rtol=1e-4)


def test_information_of_a_gaussian_channel(painter):
    """A code of variance s with noise of variance n carries log((s + n) / n) / 2 nats."""
    painter.mean[:, 0], painter.log_variance[:, 0] = 3 * painter.mean[:, 0], np.log(0.5)
    expected = 0.5 * np.log((9 + 0.5) / 0.5)
    np.testing.assert_allclose(painter.latent_importance(IMAGES), [expected, 0, 0], atol=1e-5)


def test_an_offset_costs_nats_and_is_not_in_use(painter):
    painter.mean[:, 1] = 4.0
    assert painter.latents_in_use(IMAGES).tolist() == [True, False, False]
    diagnosis = painter.diagnose(IMAGES)
    assert diagnosis.wasted[1] == pytest.approx(8.0)
    (warning,) = diagnosis.warnings
    assert "z1: 4.0 and 0.0, 8.0 nats" in warning


def test_a_good_model_has_no_warnings(painter):
    diagnosis = painter.diagnose(IMAGES)
    assert diagnosis.warnings == ()
    assert diagnosis.explained == pytest.approx(1.0)
    expected = "1 of 3 latents in use (at least 0.1 nats of information each): z0 2.01 nats."
    assert str(diagnosis) == expected


def test_reconstructions_that_are_all_the_same(painter):
    painter.gray = np.full(64, 0.5)
    painter.mean[:], painter.log_variance[:] = 0, 0
    diagnosis = painter.diagnose(IMAGES)
    assert diagnosis.summary.startswith("0 of 3 latents in use")
    (warning,) = diagnosis.warnings
    assert "the same gray for all images" in warning
    assert "Train for more steps" in warning
    painter.gray = 0.5 + 0.3 * (GRAYS / 255 - 0.5)  # faint, but not the same: 9 % of the variance
    assert painter.diagnose(IMAGES).warnings == ()


def test_the_picture_agrees_with_the_count(painter):
    painter.mean[:, 1] = 4.0
    (axes,) = plots.traversals(painter, IMAGES).axes
    labels = axes.get_yticklabels()
    gray = [label.get_text().split()[0] for label in labels[2:] if label.get_color() == "#777777"]
    used = painter.latents_in_use(IMAGES)
    assert sorted(gray) == [f"z{i}" for i in range(3) if not used[i]]
    assert "unused, below 0.1 nats" in axes.get_xlabel()


def test_models_without_a_kl_are_diagnosed():
    model = Autoencoder((16, 16, 1), 2, encoder="mlp", decoder="mlp", seed=0)
    diagnosis = model.diagnose(IMAGES)
    assert "at least 1 gray levels of change each" in diagnosis.summary
    assert ops.convert_to_numpy(diagnosis.wasted).tolist() == [0, 0]


def test_one_image_is_not_enough(painter):
    with pytest.raises(ValueError, match=r"at least 2 images\. Got 1\."):
        painter.diagnose(IMAGES[:1])
