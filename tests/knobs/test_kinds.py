"""Pages of models of every kind: what the browser draws is what Keras decodes."""

import numpy as np
import pytest
from PIL import Image
from support.browser import KnobsPage, drawn, started
from support.checks import BACKEND, MODELS, small

from keras_disent import VAE, CausalVAE, datasets, knobs
from keras_disent.datasets import read_image
from keras_disent.knobs import engine

ROUNDING = 1.5  # of 255
SHAPE, LATENTS = (16, 16, 3), 3
QUICK = ("causal_vae", "info_gan", "qlae", "tripod")
CONCEPTS = ("light", "height", "shadow")

pytestmark = [
    pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow"),
    pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}"),
]


class Halved(VAE):
    """A custom method, with a decoder that needs other operations."""

    def decode_tensors(self, codes, training=False):
        return super().decode_tensors(codes, training)[:, ::-1] * 0.5


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 256, size=(200, 4, 4, 3)).astype("uint8")
    return datasets.Images(corners.repeat(4, axis=1).repeat(4, axis=2))


def strong(model):
    """Return a model with large weights, so that codes and pictures differ as after training."""
    for layer in ("posterior_head", "code_head", "decoder", "generator", "mask_layer"):
        for variable in getattr(getattr(model, layer, None), "weights", ()):
            variable.assign(3 * variable)
    return model


def made(name, data):
    if name == "own":
        return strong(Halved(SHAPE, LATENTS, "mlp", "conv"))
    if name == "causal_vae":
        model = CausalVAE(SHAPE, CONCEPTS, 2, {"light": ["shadow"]}, "fixed_weights", seed=1)
        model.label_scale.update(np.arange(30, dtype="float32").reshape(10, 3))
        return strong(model)
    options = {"categorical": (3,)} if name == "info_gan" else {}
    return strong(small(name, SHAPE, LATENTS, **options))


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        "own",
        *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name not in QUICK),
    ],
)
def test_every_kind_of_model_is_drawn_as_keras_does(name, browser, data, tmp_path):
    pytest.importorskip("tf2onnx")
    model = made(name, data)
    page = KnobsPage(browser, knobs.write_page(model, data, tmp_path / "page.html"))
    seen = [page.pixels()]
    for _ in range(3):
        page.click("Shuffle")
        assert np.abs(page.pixels() - drawn(model, page.code())).max() <= ROUNDING
        seen.append(page.pixels())
    assert np.std(seen, axis=0).max() > 5
    Image.fromarray(data.images([7])[0]).save(tmp_path / "own.png")
    page.page.set_input_files("#file", str(tmp_path / "own.png"))
    page.page.wait_for_function("document.getElementById('told').textContent")
    expected = model.encode(read_image(tmp_path / "own.png", like=model)[None])[0]
    np.testing.assert_allclose(page.settle().code(), expected, atol=1e-3)
    assert page.errors == []
    if name in ("qlae", "tripod"):
        snaps(page, model)
    if name == "info_gan":
        has_buttons(page, model)
    if name == "causal_vae":
        intervenes(page, model, data)


def snaps(page, model):
    before = page.code()
    page.drag(0, 0.1, 0.73)
    (latent,) = np.flatnonzero(page.code() != before)
    values = model.latent_values()[latent]
    assert np.abs(values - page.code()[latent]).min() < 1e-3
    assert page.pixels(".strip > canvas").shape[1] == len(values) * (SHAPE[1] + 2)


def has_buttons(page, model):
    classes = model.latent_values()[-1]
    for i, value in enumerate(classes):
        page.page.locator(".classes label").nth(i).click()
        np.testing.assert_allclose(page.settle().code()[-1], value, atol=1e-3)
        tile = page.pixels(".classes canvas", i)
        assert np.abs(tile - page.pixels().astype(int)).max() <= 1


def intervenes(page, model, data):
    image = data.images(datasets.example_indices(data, 1024)[:1])
    page.click("Example 1")
    slider = page.page.get_by_role("slider", name="light", exact=True)
    for part in (0.9, 0.3):
        box = slider.bounding_box()
        slider.click(position={"x": part * box["width"], "y": box["height"] / 2})
        page.settle()
        assert page.page.get_by_role("checkbox", name="do(light)").is_checked()
        chosen = {"light": float(slider.input_value())}
        for i, act in enumerate((model.intervene, model.counterfactual)):
            expected = 255 * act(image, chosen)[0]
            assert np.abs(page.pixels("#outcomes canvas", i) - expected).max() <= ROUNDING
    (follows,) = page.page.locator(".concept.follows").all()
    assert "do(shadow)" in follows.inner_text()
    assert page.page.locator("#graph svg").get_attribute("aria-label") == (
        "Learned causal graph: light causes shadow"
    )


def test_two_models_move_together(browser, data, tmp_path):
    pytest.importorskip("tf2onnx")
    first = strong(VAE.with_networks(SHAPE, LATENTS, "mlp", 0.1, seed=1))
    path = knobs.write_page(first, data, tmp_path / "page.html", other=first, names=["one", "two"])
    page = KnobsPage(browser, path)
    assert page.page.locator(".view h2").all_inner_texts() == ["one", "two"]
    before = page.pixels()
    page.drag(0, 0.3, 0.9)
    assert np.abs(page.pixels().astype(int) - before).max() > 5
    assert np.abs(page.pixels().astype(int) - page.pixels(".view > canvas", 1)).max() <= 1
    page.click("Random code")
    assert np.abs(page.pixels().astype(int) - page.pixels(".view > canvas", 1)).max() <= 1
