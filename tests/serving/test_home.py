"""The page of knobs at the server's first address."""

import base64
import shutil

import numpy as np
import pytest
from support.browser import KnobsPage, drawn, started
from support.checks import BACKEND, images, small
from support.exports import trained
from support.served import Client, served

from keras_disent import export
from keras_disent.knobs import engine
from keras_disent.knobs import served as pages

ROUNDING = 1.5  # of 255
SHAPE = (16, 16, 3)

pytestmark = [
    pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow"),
    pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}"),
]


@pytest.fixture(scope="module")
def model():
    model = trained("qlae")
    model.latent_names = ["width", "z1", "z2"]
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    pytest.importorskip("tf2onnx")
    run = {"data": "/home/ada/secret/pictures", "data_dir": "C:\\data\\sets", "steps": 4}
    path = tmp_path_factory.mktemp("exported") / "qlae"
    scores = {"mig": {"value": 0.25}}
    return export.model(model, path, "onnx", run=run, scores=scores, images="uint8")


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


def test_a_browser_shows_the_served_model(model, folder, browser):
    with served(folder) as (_, port):
        address = f"http://127.0.0.1:{port}/"
        page = KnobsPage(browser, address, context=browser.new_context())
        for name in ("Shuffle", "Random code", "Example 2"):
            page.click(name)
            assert np.abs(page.pixels() - drawn(model, page.code())).max() <= ROUNDING
        levels = model.latent_values()
        for code, values in zip(page.code(), levels, strict=True):
            assert np.abs(values - code).min() < 1e-3
        assert page.page.get_by_role("slider", name="width", exact=True).count() == 1
        assert not page.page.locator(".trail figure").first.is_visible()  # there is no image
        assert "mig 0.25" in page.page.inner_text("footer table")
        assert page.errors == []
        assert {url for url in page.requests if not url.startswith("blob:")} == {address}
        content = page.page.content()
        assert page.page.title() == "QLAE on pictures"
        assert not [word for word in ("ada", "secret", "data_dir") if f"/{word}" in content]
        space = {}
        exec(page.page.text_content("#code"), space)
        assert np.abs(space["image"] - page.pixels()[..., : model.image_shape[2]]).max() <= 1


def test_paths_of_the_run_are_not_in_the_networks(folder):
    text = pages.page(folder, {**export.read_card(folder), "run": None})
    encoded = text.partition('id="decode-0">')[2].partition("<")[0]
    import gzip

    network = gzip.decompress(base64.b64decode(encoded))
    assert b"secret" in (folder / "decode.onnx").read_bytes()
    assert b"secret" not in network


def test_with_a_key_the_page_asks_for_it(folder, browser):
    with served(folder, KERAS_DISENT_API_KEY="k-1") as (_, port):
        client = Client(port)
        for headers in ({}, {"authorization": "Basic " + base64.b64encode(b"a:k-2").decode()}):
            status, said = client.ask("/", **headers)
            assert status == 401
            assert "in a browser, as the password" in said["error"]
            assert client.headers["www-authenticate"].startswith("Basic realm=")
        basic = "Basic " + base64.b64encode(b":k-1").decode()
        assert client.ask("/info", authorization=basic)[0] == 401
        assert client.ask("/", authorization="Basic k-1")[0] == 401
        assert client.ask("/", authorization="Bearer k-1")[0] == 200
        context = browser.new_context(http_credentials={"username": "any", "password": "k-1"})
        page = KnobsPage(browser, f"http://127.0.0.1:{port}/", context=context)
        assert '"X-API-Key": "KEY"' in page.page.text_content("#code")


def test_a_model_without_a_page_is_served_and_says_why(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "LARGEST", 1 << 10)
    with pytest.raises(ValueError, match=r"holds at most 0 MiB of networks. Got 0 MiB\."):
        pages.page(folder)
    bad = shutil.copytree(folder, tmp_path / "bad")
    card = (bad / "card.json").read_text()
    (bad / "card.json").write_text(card.replace('"latent_dim": 3', '"latent_dim": 4'))
    with served(bad) as (_, port):
        client = Client(port)
        for _ in range(2):
            status, said = client.ask("/")
            assert status == 404
            assert b"This model has no page of knobs: " in said
        assert client.ask("/decode", {"inputs": {"codes": [[0.0] * 3]}})[0] == 200


def test_the_page_folds_away_what_the_model_does_not_use(browser, tmp_path):
    pytest.importorskip("tf2onnx")
    model, x = small("vae", SHAPE, 3), images(32, SHAPE)
    kernel = model.posterior_head.mean_head.kernel
    kernel.assign(kernel * np.float32([30, 0, 10]))
    model.measure_latents(x)
    assert model.latents_in_use(x).tolist() == [True, False, True]
    folder = export.model(model, tmp_path / "vae", "onnx")
    path = tmp_path / "page.html"
    path.write_text(pages.page(folder))
    page = KnobsPage(browser, path)
    assert page.page.locator("#latents .latent").count() == 2
    assert page.page.locator("#silent .latent").count() == 1
    assert f"{model.latent_importance(x).max():.2f} nats" in page.page.inner_text("#latents")


def test_classes_are_buttons(browser, tmp_path):
    pytest.importorskip("tf2onnx")
    model = small("info_gan", SHAPE, 3, categorical=(3,))
    folder = export.model(model, tmp_path / "gan", "onnx")
    path = tmp_path / "page.html"
    path.write_text(pages.page(folder))
    page = KnobsPage(browser, path)
    assert page.page.locator(".classes label").count() == 3
    assert np.abs(page.pixels() - drawn(model, page.code())).max() <= ROUNDING
    assert "127.0.0.1:8000/decode" in page.page.text_content("#code")
