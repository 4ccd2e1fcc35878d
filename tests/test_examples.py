"""Every example runs on its own, and so does the code in the documentation."""

import json
import re

import numpy as np
import pytest
from matplotlib.image import imread
from support.checks import BACKEND, on
from support.examples import ROOT, example, run

from keras_disent import load_model

PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def assert_is_a_picture(path):
    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 200
    assert pixels.std() > 0.01


def test_quickstart(tmp_path):
    said = example("quickstart.py", tmp_path)
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert "out/traversal_00000003.png" in said
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores) == {"mig", "factor_vae_score"}
    for name, score in scores.items():
        assert 0 <= score["value"] <= 1
        assert f"{score['value']:.4f}" in said
        assert score["settings"]["factors_used"] == ["scale", "position_x", "position_y"]
        assert name in said
    model = load_model(tmp_path / "out" / "model.keras")
    assert (model.latent_dim, model.beta, int(model.steps)) == (6, 4.0, 3)


@pytest.mark.slow
@on("torch")
def test_own_images_makes_a_folder_if_there_is_none(tmp_path):
    said = example("own_images.py", tmp_path)
    assert "300 images of (32, 32, 3)" in said
    assert "300 color images that look like drawings" in said
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert_is_a_picture(tmp_path / "out" / "traversal.png")
    assert load_model(tmp_path / "out" / "model.keras").image_shape == (32, 32, 3)


@pytest.mark.slow
def test_own_images_takes_a_folder(tmp_path):
    from PIL import Image

    (tmp_path / "mine").mkdir()
    for i in range(5):
        Image.new("RGB", (40, 50), (50 * i, 0, 90)).save(tmp_path / "mine" / f"{i}.png")
    said = example("own_images.py", tmp_path, "--folder", "mine")
    assert "5 images of (32, 32, 3)" in said
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert not (tmp_path / "out" / "images").exists()


@on("torch")
def test_own_method(tmp_path):
    pytest.importorskip("keras_tuner")
    said = example("own_method.py", tmp_path, "--format", "torch")
    assert_is_a_picture(tmp_path / "out" / "traversal.png")
    assert len(re.findall(r"strength +\d+   MIG [01]\.\d{3}", said)) == 3
    assert "Exported: card.json, model.pt2" in said


@pytest.mark.slow
@on("torch")
def test_weak_supervision(tmp_path):
    said = example("weak_supervision.py", tmp_path, "--seeds", 1, "--betas", 4, "--samples", 300)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["Ada-GVAE, beta 1", "beta-VAE, beta 4"]
    for name, found in scores.items():
        assert [len(found[score]) for score in ("mig", "dci")] == [1, 1]
        assert f"{name:18s} mig {found['mig'][0]:.3f}" in said
    assert_is_a_picture(tmp_path / "out" / "AdaGVAE_1.png")


@pytest.mark.slow
@on("torch")
def test_baselines(tmp_path):
    said = example("baselines.py", tmp_path, "--seeds", 1, "--samples", 300)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["beta-VAE, beta 4", "autoencoder", "autoencoder + ICA", "QLAE"]
    for name, ((modularity, _, _),) in scores.items():
        assert 0 <= modularity <= 1
        assert re.search(rf"{re.escape(name)} +{modularity:.2f} ", said)
    assert_is_a_picture(tmp_path / "out" / "qlae.png")


@on("torch")
def test_own_networks(tmp_path):
    example("own_networks.py", tmp_path)
    between = np.load(tmp_path / "out" / "between.npy")
    assert between.shape == (8, 32, 32, 1)
    assert between.dtype == np.float32
    assert between.min() >= 0
    assert between.max() <= 1
    assert between.std(axis=0).max() > 0  # the ends are not alike


@pytest.mark.slow
@on("torch")
def test_info_gan(tmp_path):
    said = example("info_gan.py", tmp_path, "--seeds", 1, "--models", "info_gan", "vae_profiles")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores) == {"info_gan", "vae_profiles"}
    for (score,) in scores.values():
        assert all(0 <= score[name] <= 1 for name in ("factor_vae_score", "mig"))
        assert f"median {score['mig']:.3f}" in said
    assert_is_a_picture(tmp_path / "out" / "info_gan_1.png")
    assert load_model(tmp_path / "out" / "info_gan_1.keras").noise_dim == 0


@pytest.mark.slow
@on("torch")
def test_tune_beta(tmp_path):
    pytest.importorskip("keras_tuner")
    said = example("tune_beta.py", tmp_path, "--trials", 2)
    trials = re.findall(r"^trial +(\d)   beta +[\d.]+   mig [01]\.\d{4}", said, re.M)
    assert trials == ["0", "1", "0"]  # two of the search, and beta 1
    assert re.search(r"^best: beta [\d.]+   mig [01]\.\d{4}$", said, re.M)
    assert_is_a_picture(tmp_path / "out" / "search" / "tradeoff.png")
    assert load_model(tmp_path / "out" / "search" / "best").steps_taken() == 3


@pytest.mark.slow
def test_causal_pendulum(tmp_path):
    said = example("causal_pendulum.py", tmp_path)
    assert "structural Hamming distance to the true graph: 4" in said  # no edge after three steps
    for picture in ("graph", "interventions"):
        assert_is_a_picture(tmp_path / "out" / f"{picture}.png")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["intervene_light_angle"]["should"] > 0.5
    assert load_model(tmp_path / "out" / "model.keras").concept_names[0] == "pendulum_angle"


# -- the documentation ----------------------------------------------------------------------------


def python_of(page):
    """Return the Python of a page as one script, short: two epochs of two steps.

    A block that begins with `# KERAS_BACKEND=name` is for one backend.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    first = [re.match(r"# KERAS_BACKEND=(\w+)", block) for block in blocks]
    chosen = [b for b, only in zip(blocks, first, strict=True) if not only or only[1] == BACKEND]
    long = r"(?:[3-9]|\d[\d_]+)\b"
    text = re.sub(rf"\b(epochs|epoch_steps|steps|period)={long}", r"\1=2", "\n".join(chosen))
    return re.sub(r"\b(samples|train_votes|eval_votes)=\d[\d_]*", r"\1=200", text)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_documentation_runs(page, tmp_path):
    script = python_of(page)
    if "IPython" in script:
        pytest.importorskip("IPython")
    (tmp_path / "page.py").write_text(script)
    run(tmp_path, "page.py")
