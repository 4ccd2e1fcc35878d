"""The page in a browser, opened from the disk without a network."""

import runpy

import numpy as np
import pytest
from PIL import Image
from support.browser import KnobsPage, drawn, started
from support.checks import BACKEND

from keras_disent import VAE, datasets, knobs
from keras_disent.datasets import read_image
from keras_disent.knobs import content, engine

ROUNDING = 1.5  # of 255

pytestmark = [
    pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow"),
    pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}"),
]


@pytest.fixture(scope="module")
def data():
    return datasets.Sprites(32).only("position_x", "position_y", "scale")


@pytest.fixture(scope="module")
def model():
    """A model with large weights and a sharp posterior, whose latents are all in use."""
    model = VAE.with_networks((32, 32, 1), 4, "mlp", width=0.2, seed=1)
    for variable in [*model.posterior_head.weights, *model.decoder.weights]:
        variable.assign(3 * variable)
    bias = model.posterior_head.log_variance_head.bias
    bias.assign(bias - 4.0)
    return model


@pytest.fixture(scope="module")
def path(model, data, tmp_path_factory):
    pytest.importorskip("tf2onnx")
    folder = tmp_path_factory.mktemp("knobs")
    model.save(folder / "model.keras")
    return knobs.write_page(model, data, folder / "page.html", sources=[folder / "model.keras"])


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


@pytest.fixture
def opened(browser, path):
    page = KnobsPage(browser, path)
    yield page
    assert page.errors == []
    page.context.close()


@pytest.fixture(scope="module")
def order(model, data):
    """Latents in the order of the page."""
    images = datasets.example_images(data, content.SAMPLE)
    return np.argsort(-model.latent_importance(images), kind="stable")


def test_a_drag_draws_what_keras_decodes(opened, model, order):
    before, code = opened.pixels(), opened.code()
    opened.drag(0, 0.5, 0.95)
    assert np.flatnonzero(opened.code() != code).tolist() == [order[0]]
    assert np.abs(opened.pixels() - before.astype(int)).max() > 50
    assert np.abs(opened.pixels() - drawn(model, opened.code())).max() <= ROUNDING


def test_nothing_is_asked_of_a_network(opened, path):
    opened.drag(0, 0.2, 0.8)
    assert [url for url in opened.requests if not url.startswith("blob:")] == [path.as_uri()]


def test_strips_show_the_sweep_of_each_latent(opened, model, data, order):
    strip = opened.pixels(".strip > canvas")
    latent = order[0]
    codes = model.encode(datasets.example_images(data, content.SAMPLE))
    low, high = np.quantile(codes[:, latent], [content.QUANTILE, 1 - content.QUANTILE])
    for i, value in enumerate(np.linspace(low, high, 9)):
        code = opened.code()
        code[latent] = value
        tile = strip[:, 34 * i + 1 : 34 * i + 33]
        assert np.abs(tile - drawn(model, code)).max() <= ROUNDING


def test_the_start_is_the_first_example_and_its_change_is_shown(opened, model, data):
    images = datasets.example_images(data)
    np.testing.assert_allclose(opened.code(), model.encode(images[:1])[0], atol=1e-4)
    original, start, change = (opened.pixels(".trail canvas", i) for i in range(3))
    assert np.array_equal(original[..., :1], images[0])
    assert np.array_equal(start, opened.pixels())
    assert (change == change[0, 0]).all()
    opened.drag(0, 0.5, 0.95)
    change = opened.pixels(".trail canvas", 2)
    moved = np.abs(opened.pixels().astype(int) - start).max(axis=2)
    assert np.array_equal(np.unravel_index(change.sum(2).argmax(), (32, 32)), _largest(moved))


def _largest(array):
    return np.unravel_index(array.argmax(), array.shape)


def test_undo_redo_reset_lock_and_shuffle(opened, order):
    start = opened.code()
    opened.drag(0, 0.5, 0.9)
    moved = opened.code()
    opened.page.keyboard.press("Control+z")
    assert np.array_equal(opened.settle().code(), start)
    assert np.array_equal(opened.click("Redo").code(), moved)
    first = order[0]
    opened.click(f"Lock z{first}")
    shuffled = opened.click("Shuffle").code()
    assert shuffled[first] == moved[first]
    assert (shuffled != moved).sum() == 3
    opened.click(f"Lock z{first}")
    assert np.array_equal(opened.click("Reset").code(), start)
    for _ in range(3):
        opened.click("Undo")
    assert np.array_equal(opened.code(), start)
    assert opened.page.get_by_role("button", name="Undo").is_disabled()


def test_examples_and_random_codes_are_starts(opened, model, data):
    images = datasets.example_images(data)
    code = opened.click("Example 5").code()
    np.testing.assert_allclose(code, model.encode(images[4:5])[0], atol=1e-4)
    assert np.array_equal(opened.pixels(".trail canvas", 0)[..., :1], images[4])
    random = opened.click("Random code").code()
    assert not np.allclose(random, code)
    assert not opened.page.locator(".trail figure").first.is_visible()
    opened.drag(0, 0.1, 0.9)
    assert np.array_equal(opened.click("Reset").code(), random)


@pytest.mark.parametrize("size", [(200, 120), (64, 64), (20, 31)])
def test_a_picture_of_ones_own_is_encoded_as_in_training(opened, model, tmp_path, size):
    rows, columns = np.indices(size[::-1])
    waves = 127 + 127 * np.sin(rows / 9) * np.cos(columns / 13)
    pixels = np.stack([waves, 255 - waves, columns % 256], axis=-1).astype("uint8")
    file = tmp_path / "own.png"
    Image.fromarray(pixels).save(file)
    opened.page.set_input_files("#file", str(file))
    opened.page.wait_for_function("document.getElementById('told').textContent")
    opened.settle()
    expected = read_image(file, like=model)
    assert np.abs(opened.pixels(".trail canvas")[..., :1] - expected.astype(int)).max() <= 2
    np.testing.assert_allclose(opened.code(), model.encode(expected[None])[0], atol=0.02)
    assert opened.told().startswith("Your picture, encoded in this page.")


def test_a_file_that_is_no_picture_changes_nothing(opened, tmp_path):
    code = opened.code()
    (tmp_path / "notes.txt").write_text("no picture")
    opened.page.set_input_files("#file", str(tmp_path / "notes.txt"))
    opened.page.wait_for_function("document.getElementById('told').textContent")
    assert opened.told() == (
        "notes.txt is not a picture that this browser can read: choose a PNG, JPEG or WebP file."
    )
    assert np.array_equal(opened.code(), code)


def test_the_keyboard_moves_a_slider(opened, order):
    first, start = order[0], opened.code()
    slider = opened.page.get_by_role("slider", name=f"z{first}", exact=True)
    slider.focus()
    low, high = (float(slider.get_attribute(name)) for name in ("min", "max"))
    opened.page.keyboard.press("ArrowRight")
    moved = opened.settle().code()
    np.testing.assert_allclose(moved[first] - start[first], (high - low) / 100, atol=1e-3)
    assert slider.get_attribute("aria-valuetext") == f"{moved[first]:.2f}".replace("-", "\u2212")
    opened.page.keyboard.press("End")
    np.testing.assert_allclose(opened.settle().code()[first], high, atol=1e-3)
    opened.page.keyboard.press("Delete")
    assert np.array_equal(opened.settle().code(), start)


def test_every_control_has_a_name(opened):
    unnamed = opened.page.evaluate(
        "[...document.querySelectorAll('button, input, canvas[role]')].filter(part =>"
        " !(part.ariaLabel || part.textContent.trim() || part.labels?.length)).length"
    )
    assert unnamed == 0


def test_names_are_kept_and_saved_with_the_page(browser, path, model, order, tmp_path):
    opened = KnobsPage(browser, path)
    opened.page.locator("input.name").first.fill("left <to> right")
    opened.page.keyboard.press("Enter")
    again = KnobsPage(browser, path, context=opened.context)
    assert again.page.locator("input.name").first.input_value() == "left <to> right"
    copy = tmp_path / "copy.html"
    copy.write_bytes(again.saved(lambda: again.click("Page")).read_bytes())
    elsewhere = KnobsPage(browser, copy)
    assert elsewhere.page.get_by_role("slider", name="left <to> right").count() == 1
    assert elsewhere.page.locator(".view").count() == 1
    assert np.array_equal(elsewhere.pixels(), opened.pixels())
    names = dict(enumerate(model.latent_names)) | {int(order[0]): "left <to> right"}
    assert knobs.read_names(copy) == tuple(names.values())
    assert knobs.read_names(path) == model.latent_names


def test_a_link_and_python_give_the_same_picture(browser, path, model, tmp_path):
    opened = KnobsPage(browser, path)
    opened.drag(0, 0.3, 0.8)
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.click("Link")
    address = opened.page.evaluate("navigator.clipboard.readText()")
    linked = KnobsPage(browser, path, anchor=address.partition("html")[2])
    np.testing.assert_allclose(linked.code(), opened.code(), atol=1e-4)
    assert np.abs(linked.pixels() - opened.pixels().astype(int)).max() <= 1
    opened.click("Python")
    (tmp_path / "code.py").write_text(opened.page.evaluate("navigator.clipboard.readText()"))
    image = runpy.run_path(str(tmp_path / "code.py"))["image"]
    assert np.abs(opened.pixels()[..., :1] - 255 * image).max() <= ROUNDING


def test_a_link_for_another_model_is_told(browser, path):
    opened = KnobsPage(browser, path, anchor="#code=1,2")
    assert opened.told() == "The link does not fit: this model has 4 latents, each a number."


def test_pictures_and_sweeps_are_saved(opened, model, order):
    picture = np.asarray(Image.open(opened.saved(lambda: opened.click("Picture"))))
    assert picture.shape[:2] == (512, 512)
    assert np.array_equal(picture[8::16, 8::16, :3], opened.pixels())
    latent = order[0]
    name = f"Save as GIF a sweep of z{latent}"
    animation = Image.open(opened.saved(lambda: opened.click(name)))
    assert (animation.n_frames, animation.size) == (48, (256, 256))
    slider = opened.page.locator('#latents input[type="range"]').first
    for frame, end in ((0, "min"), (24, "max")):
        code = opened.code()
        code[latent] = float(slider.get_attribute(end))
        animation.seek(frame)
        pixels = np.asarray(animation.convert("RGB"))[4::8, 4::8]
        assert np.abs(pixels - drawn(model, code)).max() <= ROUNDING


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(browser, path, scheme):
    viewport = {"width": 360, "height": 640}
    opened = KnobsPage(browser, path, viewport=viewport, color_scheme=scheme, has_touch=True)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 600) == (scheme == "light")
    before = opened.code()
    opened.page.locator(".strip").first.tap(position={"x": 20, "y": 10})
    assert (opened.settle().code() != before).sum() == 1


def test_the_card_has_method_scores_and_citation(browser, model, data, tmp_path):
    scores = {"mig": {"value": 0.25, "interval": [0.2, 0.3]}, "kl": {"value": None}}
    page = tmp_path / "page.html"
    knobs.write_page(model, data, page, title="<Two> latents", scores=[scores])
    opened = KnobsPage(browser, page)
    card = opened.page.inner_text("footer table")
    for text in ("VAE", "mig 0.25 (0.2 to 0.3)", "Kingma & Welling 2014", "keras-disent"):
        assert text in card
    assert opened.page.inner_text("h1") == "<Two> latents"
    assert "Microsoft" in opened.page.text_content("footer")
