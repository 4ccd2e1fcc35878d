"""Every example runs, as a script or as the notebook that is made from it, and so do the docs.

The notebooks run on PyTorch, one after another in one kernel.
"""

import json
import re

import numpy as np
import pytest
from matplotlib.image import imread
from support.checks import BACKEND, on
from support.examples import ROOT, example, notebook, run, said

from keras_disent import load_model

PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def assert_is_a_picture(path):
    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 200
    assert pixels.std() > 0.01


@pytest.fixture(scope="module")
def kernel():
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=900)
    with client.setup_kernel():
        yield client


def printed(request, name, folder, options=""):
    """Return what an example prints: the notebook on PyTorch, elsewhere the script."""
    if BACKEND == "torch":
        return said(notebook(request.getfixturevalue("kernel"), name, folder, options))
    return example(f"{name}.py", folder, *options.split())


def test_quickstart(tmp_path):
    text = example("quickstart.py", tmp_path)
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert "out/traversal_00000003.png" in text
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores) == {"mig", "factor_vae_score"}
    for name, score in scores.items():
        assert 0 <= score["value"] <= 1
        assert f"{score['value']:.4f}" in text
        assert score["settings"]["factors_used"] == ["scale", "position_x", "position_y"]
        assert name in text
    model = load_model(tmp_path / "out" / "model.keras")
    assert (model.latent_dim, model.beta, int(model.steps)) == (6, 4.0, 3)


@on("torch")
def test_own_images_makes_a_folder_if_there_is_none(kernel, tmp_path):
    text = said(notebook(kernel, "own_images", tmp_path))
    assert "300 images of (32, 32, 3)" in text
    assert "300 color images that look like drawings" in text
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert_is_a_picture(tmp_path / "out" / "traversal.png")
    assert load_model(tmp_path / "out" / "model.keras").image_shape == (32, 32, 3)


def test_own_images_takes_a_folder(request, tmp_path):
    from PIL import Image

    (tmp_path / "mine").mkdir()
    for i in range(5):
        Image.new("RGB", (40, 50), (50 * i, 0, 90)).save(tmp_path / "mine" / f"{i}.png")
    text = printed(request, "own_images", tmp_path, "--folder mine")
    assert "5 images of (32, 32, 3)" in text
    assert_is_a_picture(tmp_path / "out" / "traversal_00000003.png")
    assert not (tmp_path / "out" / "images").exists()


@on("torch")
def test_own_method(kernel, tmp_path):
    pytest.importorskip("keras_tuner")
    text = said(notebook(kernel, "own_method", tmp_path, "--format torch"))
    assert_is_a_picture(tmp_path / "out" / "traversal.png")
    assert len(re.findall(r"strength +\d+   MIG [01]\.\d{3}", text)) == 3
    assert "Exported: card.json, model.pt2" in text


@on("torch")
def test_weak_supervision(kernel, tmp_path):
    text = said(notebook(kernel, "weak_supervision", tmp_path, "--seeds 1 --betas 4 --samples 300"))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["Ada-GVAE, beta 1", "beta-VAE, beta 4"]
    for name, found in scores.items():
        assert [len(found[score]) for score in ("mig", "dci")] == [1, 1]
        assert f"{name:18s} mig {found['mig'][0]:.3f}" in text
    assert_is_a_picture(tmp_path / "out" / "AdaGVAE_1.png")


@on("torch")
def test_baselines(kernel, tmp_path):
    text = said(notebook(kernel, "baselines", tmp_path, "--seeds 1 --samples 300"))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["beta-VAE, beta 4", "autoencoder", "autoencoder + ICA", "QLAE"]
    for name, ((modularity, _, _),) in scores.items():
        assert 0 <= modularity <= 1
        assert re.search(rf"{re.escape(name)} +{modularity:.2f} ", text)
    assert_is_a_picture(tmp_path / "out" / "qlae.png")


@on("torch")
def test_own_networks(kernel, tmp_path):
    notebook(kernel, "own_networks", tmp_path)
    between = np.load(tmp_path / "out" / "between.npy")
    assert between.shape == (8, 32, 32, 1)
    assert between.dtype == np.float32
    assert between.min() >= 0
    assert between.max() <= 1
    assert between.std(axis=0).max() > 0  # the ends are not alike


@on("torch")
def test_info_gan(kernel, tmp_path):
    text = said(notebook(kernel, "info_gan", tmp_path, "--seeds 1 --models info_gan vae_profiles"))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores) == {"info_gan", "vae_profiles"}
    for (score,) in scores.values():
        assert all(0 <= score[name] <= 1 for name in ("factor_vae_score", "mig"))
        assert f"median {score['mig']:.3f}" in text
    assert_is_a_picture(tmp_path / "out" / "info_gan_1.png")
    assert load_model(tmp_path / "out" / "info_gan_1.keras").noise_dim == 0


@on("torch")
def test_tune_beta(kernel, tmp_path):
    pytest.importorskip("keras_tuner")
    text = said(notebook(kernel, "tune_beta", tmp_path, "--trials 2"))
    trials = re.findall(r"^trial +(\d)   beta +[\d.]+   mig [01]\.\d{4}", text, re.M)
    assert trials == ["0", "1", "0"]  # two of the search, and beta 1
    assert re.search(r"^best: beta [\d.]+   mig [01]\.\d{4}$", text, re.M)
    assert_is_a_picture(tmp_path / "out" / "search" / "tradeoff.png")
    models = sorted((tmp_path / "out").rglob("model.keras"))
    assert [load_model(path).steps_taken() for path in models] == [3, 3, 3]


def test_causal_pendulum(request, tmp_path):
    text = printed(request, "causal_pendulum", tmp_path)
    assert "structural Hamming distance to the true graph: 4" in text  # no edge after three steps
    for picture in ("graph", "interventions"):
        assert_is_a_picture(tmp_path / "out" / f"{picture}.png")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["intervene_light_angle"]["should"] > 0.5
    assert load_model(tmp_path / "out" / "model.keras").concept_names[0] == "pendulum_angle"


@on("torch")
def test_the_quick_start_is_a_notebook_too(kernel, tmp_path):
    outputs = notebook(kernel, "quickstart", tmp_path)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "mig" in said(outputs)


@on("torch")
def test_the_lesson_shows_pictures_and_tables(kernel, tmp_path):
    outputs = notebook(kernel, "lesson", tmp_path)
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") >= 4
    assert kinds.count("text/html") >= 4
    assert (tmp_path / "knobs.html").exists()


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
