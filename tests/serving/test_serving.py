"""Requests in the format of TensorFlow Serving: right answers for many at once, clear refusals."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from support.checks import BACKEND, LATENTS, SHAPE, images
from support.exports import ENDPOINTS, answers, questions, trained
from support.served import (
    Client,
    free_port,
    log_of,
    npy_file,
    picture,
    picture_file,
    served,
    workers_of,
)

from keras_disent import cli, export, serving
from keras_disent.datasets import read_image
from keras_disent.knobs import engine
from keras_disent.serving.requests import MAX_IMAGES, check_request, read_npy

here = pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow")

IMAGES = {"name": "images", "shape": [None, 8, 8, 1], "dtype": "uint8"}
CODES = {"name": "codes", "shape": [None, 3], "dtype": "float32"}
LATENT = {"name": "latents", "shape": [None], "dtype": "int32"}
VALUES = {"name": "values", "shape": [None], "dtype": "float32"}
ENCODE, DECODE = {"inputs": [IMAGES]}, {"inputs": [CODES]}
TRAVERSE = {"inputs": [IMAGES, LATENT, VALUES]}


# -- requests that are right ----------------------------------------------------------------------


def test_arrays_come_out_in_the_endpoints_dtype():
    x = images(2)
    found = check_request(
        TRAVERSE, {"inputs": {"values": [1, 2.5], "images": x.tolist(), "latents": [0]}}
    )
    assert list(found) == ["images", "latents", "values"]
    assert [array.dtype for array in found.values()] == ["uint8", "int32", "float32"]
    np.testing.assert_array_equal(found["images"], x)
    np.testing.assert_array_equal(found["values"], [1, 2.5])


def test_pictures_may_stand_beside_lists():
    x = images(3)
    given = [picture(x[0, ..., 0]), x[1].tolist(), picture(x[2, ..., 0], "BMP")]
    np.testing.assert_array_equal(check_request(ENCODE, {"inputs": {"images": given}})["images"], x)


def test_pictures_take_the_channels_of_the_model():
    color = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype="uint8")
    endpoint = {"inputs": [{**IMAGES, "shape": [None, 8, 8, 3]}]}
    gray = images(1)[0, ..., 0]
    found = check_request(endpoint, {"inputs": {"images": [picture(color), picture(gray)]}})[
        "images"
    ]
    np.testing.assert_array_equal(found[0], color)
    np.testing.assert_array_equal(found[1], np.repeat(gray[..., None], 3, axis=-1))
    (found,) = check_request(ENCODE, {"inputs": {"images": [picture(color)]}})["images"]
    np.testing.assert_array_equal(found[..., 0], Image.fromarray(color).convert("L"))


def test_pictures_are_cropped_and_resized_as_in_training():
    wide = np.zeros((20, 30), "uint8")
    wide[6:14, 11:19] = 200
    sent = {"inputs": {"images": [picture(wide)]}}
    (found,) = check_request(ENCODE, sent, pictures={"crop": 8})["images"]
    assert (found == 200).all()
    (found,) = check_request(ENCODE, sent)["images"]
    np.testing.assert_array_equal(
        found, read_image(Image.fromarray(wide), image_size=8, channels=1)
    )
    clear = np.zeros((8, 8, 4), "uint8")
    for color, gray in (("white", 255), ("black", 0)):
        sent = {"inputs": {"images": [picture(clear)]}}
        (found,) = check_request(ENCODE, sent, pictures={"background": color})["images"]
        assert (found == gray).all()


# -- requests that are wrong ----------------------------------------------------------------------

ROW = [0.0] * 3
X = images(1).tolist()
HEAD = b"IHDR" + struct.pack(">IIBBBBB", 65_536, 65_536, 8, 0, 0, 0, 0)
HEAD += struct.pack(">I", zlib.crc32(HEAD))
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\r" + HEAD + b"\0\0\0\0IDAT" + bytes(4)
CUT = base64.b64encode(base64.b64decode(picture(images(1)[0, ..., 0])["b64"])[:60]).decode()
NOT_A_PICTURE = 'A picture is {"b64": "..."}, an image file in base64.'
WRONG = {
    "not_a_dict": (DECODE, [1], 'A request is {"inputs": {...}} with codes. Got NoneType.'),
    "nothing": (DECODE, None, "Got NoneType."),
    "empty": (DECODE, {}, "Got NoneType."),
    "rows_of_another_form": (DECODE, {"instances": [ROW]}, "Got NoneType."),
    "bare": (DECODE, {"inputs": [ROW]}, "Got list."),
    "missing": (TRAVERSE, {"inputs": {"images": X}}, "images, latents, values. Got ['images']."),
    "unknown": (DECODE, {"inputs": {"codes": [ROW], "x": 1}}, "Got ['codes', 'x']."),
    "one_row": (DECODE, ROW, "`codes` must be (n, 3). Got shape (3,)."),
    "scalar": (DECODE, 1.0, "Got shape ()."),
    "narrow": (DECODE, [[0.0] * 2], "`codes` must be (n, 3). Got shape (1, 2)."),
    "size": (ENCODE, images(1, (8, 9, 1)).tolist(), "(n, 8, 8, 1). Got shape (1, 8, 9, 1)."),
    "no_channel": (ENCODE, images(1)[..., 0].tolist(), "Got shape (1, 8, 8)."),
    "flat": ({"inputs": [LATENT]}, [[0]], "`latents` must be (n,). Got shape (1, 1)."),
    "ragged": (DECODE, [ROW, [0.0]], "`codes` must be nested lists of equal lengths."),
    "deep": (DECODE, eval("[" * 80 + "]" * 80), "`codes` must be"),
    "no_rows": (ENCODE, np.zeros((0, 8, 8, 1)).tolist(), "Got shape (0,)."),
    "no_values": ({"inputs": [VALUES]}, [], f"`values` takes 1 to {MAX_IMAGES} rows. Got 0."),
    "rows": (
        DECODE,
        [ROW] * (MAX_IMAGES + 1),
        f"takes 1 to {MAX_IMAGES} rows. Got {MAX_IMAGES + 1}.",
    ),
    "text": (DECODE, [["a", "b", "c"]], "`codes` must be numbers. Got <U1."),
    "none": (DECODE, [[None, 0, 0]], "`codes` must be numbers. Got object."),
    "truth": (DECODE, [[True, False, True]], "`codes` must be numbers. Got bool."),
    "not_a_number": (DECODE, [[float("nan"), 0, 0]], "`codes` must be finite, as float32."),
    "infinite": (DECODE, [[-float("inf"), 0, 0]], "`codes` must be finite, as float32."),
    "too_large": (DECODE, [[1e39, 0, 0]], "`codes` must be finite, as float32."),
    "broken_numbers": (ENCODE, (images(1) / 255).tolist(), "must be integers. Got float64."),
    "too_bright": (ENCODE, np.full((1, 8, 8, 1), 256).tolist(), "from 0 to 255. Got 256 to 256."),
    "negative": (ENCODE, np.full((1, 8, 8, 1), -1).tolist(), "from 0 to 255. Got -1 to -1."),
    "huge": ({"inputs": [LATENT]}, [2**70], "`latents` must be integers. Got object."),
    "picture_base64": (ENCODE, [{"b64": "!!!"}], NOT_A_PICTURE),
    "picture_bytes": (
        ENCODE,
        [{"b64": base64.b64encode(b"text").decode()}],
        "Cannot read this as a picture: its content is none of PNG, JPEG, BMP, WEBP, GIF, TIFF.",
    ),
    "picture_key": (ENCODE, [{"png": ""}], NOT_A_PICTURE),
    "picture_type": (ENCODE, [{"b64": 3}], NOT_A_PICTURE),
    "picture_cut": (ENCODE, [{"b64": CUT}], "Cannot read this as a picture: "),
    "picture_bomb": (
        ENCODE,
        [{"b64": base64.b64encode(BOMB).decode()}],
        "Cannot read this as a picture: it claims more than",
    ),
    "picture_of_integers": (
        ENCODE,
        [picture(np.array([[-5, 70_000]], "int32"), "TIFF")],
        "its integers of 32 bits go from -5 to 70000. Send it with 8 bits, from 0 to 255.",
    ),
    "dark_picture": (
        ENCODE,
        [picture(np.array([[0, 100]], "uint16"))],
        "no value above 100 of 65,535, which is nearly black. Send it with 8 bits, from 0 to 255.",
    ),
    "picture_and_size": (ENCODE, [picture(images(1)[0, ..., 0]), [[0]]], "of equal lengths."),
}
WHOLE = ("not_a_dict", "nothing", "empty", "rows_of_another_form", "bare", "missing", "unknown")


def body(name):
    """Return a wrong request: most of them are a wrong value of the first input."""
    endpoint, given, _ = WRONG[name]
    return given if name in WHOLE else {"inputs": {endpoint["inputs"][0]["name"]: given}}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_told_the_rule(name):
    endpoint, _, rule = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(rule)):
        check_request(endpoint, body(name))


@pytest.mark.parametrize("latents", [[3], [0, -1], ["length"], [[0]]])
def test_only_latents_of_the_model_are_turned(latents):
    body = {"inputs": {"images": X, "latents": latents, "values": [0]}}
    rule = f"Unknown latent {latents[-1]!r}. Choose from: hue, size, z2, or a number from 0 to 2."
    with pytest.raises(ValueError, match=re.escape(rule)):
        check_request(TRAVERSE, body, latent_names=("hue", "size", "z2"))


def test_latents_are_turned_by_name():
    body = {"inputs": {"images": X, "latents": ["size", 2], "values": [0]}}
    arrays = check_request(TRAVERSE, body, latent_names=("hue", "size", "z2"))
    assert arrays["latents"].tolist() == [1, 2]
    assert arrays["latents"].dtype == np.int32


def test_a_traversal_is_bounded_as_a_whole():
    asked = {"images": X * 2, "latents": [0] * 64, "values": [0.0] * 32}
    assert len(check_request(TRAVERSE, {"inputs": asked})) == 3
    asked["values"].append(0.0)
    rule = "images x latents x values may ask for at most 4096 images. Got 2 x 64 x 33."
    with pytest.raises(ValueError, match=rule):
        check_request(TRAVERSE, {"inputs": asked})


def test_large_images_are_bounded_by_bytes():
    large = {"inputs": [{"name": "images", "shape": [None, 512, 512, 3], "dtype": "uint8"}]}
    sent = {"images": [picture(images(1)[0, ..., 0])] * 43}
    with pytest.raises(ValueError, match=r"`images` takes 1 to 42 rows. Got 43"):
        check_request(large, {"inputs": sent})
    decode = {"inputs": [CODES], "outputs": large["inputs"]}
    assert len(check_request(decode, {"inputs": {"codes": [ROW] * 42}})["codes"]) == 42
    with pytest.raises(ValueError, match=r"`codes` takes 1 to 42 rows. Got 43"):
        check_request(decode, {"inputs": {"codes": [ROW] * 43}})


# -- what is refused before anything starts -------------------------------------------------------


def artifact(folder, **card):
    (folder / "card.json").write_text(json.dumps({"format": "onnx", "endpoints": {}, **card}))
    return folder


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has a card.json. There is none in"):
        serving.app(tmp_path)
    with pytest.raises(ValueError, match=r"has a card.json. There is none in"):
        serving.app(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"exported as 'onnx'. Got 'litert'."):
        serving.app(artifact(tmp_path, format="litert"))
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ValueError, match=r"card.json' is not a card: Expecting"):
        serving.app(tmp_path)


PACKAGES = ("httptools", "onnxruntime", "orjson", "prometheus_client", "starlette", "uvicorn")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    for name in ("app", "server", "openapi", "open_inference", "messages", "pool"):
        monkeypatch.delitem(sys.modules, f"keras_disent.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'keras-disent\[serve\]'. .*{package}"):
        serving.app(artifact(tmp_path))


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--port", 65536, "`port` is from 0 to 65535. Got 65536."),
        ("--port", -1, "`port` is from 0 to 65535. Got -1."),
        ("--host", "192.0.2.1", "`host` is a name or address of this machine. Got '192.0.2.1'."),
        ("--batch", 0, "`max_batch_size` must be an integer of at least 1. Got 0."),
        ("--timeout", "nan", "`timeout` is a number of seconds above 0. Got nan."),
        ("--timeout", 0, "`timeout` is a number of seconds above 0. Got 0.0."),
        ("--workers", 0, "`workers` must be an integer of at least 1. Got 0."),
        ("--workers", "two", "Invalid value for '--workers': "),
        ("--threads", 0, "`threads` must be an integer of at least 1. Got 0."),
        ("--threads", 100_000, "the number of processors. Got 100000."),
        ("--max-body", 0, "`max_body` must be an integer of at least 1. Got 0."),
        ("--api-key", "two words", "`api_key` is one or more ASCII characters without spaces."),
        ("--cors", "example.org", "`cors` takes origins such as https://example.org, or *."),
        ("--log-level", "loud", "`log_level` is debug, info, warning, error. Got 'loud'."),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, monkeypatch, capsys, option, value, rule):
    given = {"--port": free_port(), option: value}
    arguments = [str(part) for pair in given.items() for part in pair]
    folder = str(artifact(tmp_path))
    monkeypatch.setattr(sys, "argv", ["keras-disent", "serve", folder, *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert rule in line


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"Port {port} of 127\.0\.0\.1 is taken\."):
            serving.run(artifact(tmp_path), port=port)


def test_a_model_that_cannot_be_loaded_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "decode.onnx").write_bytes(b"no model")
    endpoints = {"decode": {"inputs": [CODES], "outputs": []}}
    folder = str(artifact(tmp_path, endpoints=endpoints, model="VAE"))
    command = ["keras-disent", "serve", folder, "--port", "0", "--workers", "2"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: The workers cannot start: ")
    assert "decode.onnx" in line


# -- files as bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">i4").reshape(2, 3),
    ],
)
def test_npy_files_of_any_layout_are_read(array):
    np.testing.assert_array_equal(read_npy(npy_file(array), CODES), array)


def header(text):
    """Return a .npy file with this header and no content."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (npy_file(np.zeros((2, 4))), "`codes` must be (n, 3). Got shape (2, 4)."),
        (npy_file(np.zeros((2, 3)))[:-1], "The .npy file needs 48 bytes of content. Got 47."),
        (npy_file(np.zeros((2, 3))) + b"0", "The .npy file needs 48 bytes of content. Got 49."),
        (npy_file(np.zeros((2, 3), complex)), "`codes` must be numbers. Got complex128."),
        (b"\x93NUMPY\x01\x00", "The body is not a .npy file of version 1 or 2."),
        (b"\x93NUMPY\x09\x00", "The body is not a .npy file of version 1 or 2."),
        (header("()" * 400), "The body is not a .npy file of version 1 or 2."),
        (
            header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 3)}"),
            "`codes` must be numbers. Got object.",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**15, 3)}"),
            "The body is not a .npy file of version 1 or 2.",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (4000, 3)}"),
            "The .npy file needs 96000 bytes of content. Got 0.",
        ),
    ],
)
def test_npy_files_that_are_wrong_are_refused(content, rule):
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_npy(content, CODES)


# -- a server that runs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return trained("factor_vae")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    run = {"data": "/home/ada/secret/pictures", "data_dir": "C:\\data\\sets", "steps": 4}
    path = tmp_path_factory.mktemp("exported") / "vae"
    return export.model(model, path, "onnx", run=run)


@pytest.fixture(scope="module")
def port(folder):
    with served(folder, "--max-body", "1") as (_, port):
        yield port


@here
def test_every_endpoint_gives_the_models_numbers(model, port):
    asked = questions(model)
    expected = answers(model, asked)
    client = Client(port)
    for endpoint in ENDPOINTS:
        for size in (1, 7):
            start = f"{endpoint}/{size}/"
            given, right = (
                {key.removeprefix(start): a for key, a in arrays.items() if key.startswith(start)}
                for arrays in (asked, expected)
            )
            found = client.outputs(endpoint, given)
            assert set(found) == set(right)
            for name, array in right.items():
                np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=start + name)


@here
def test_images_may_be_sent_in_every_form(port):
    x, client = images(2), Client(port)
    right = client.outputs("encode", {"images": x})["mean"]
    status, said = client.ask("/encode", {"inputs": {"images": [picture(i[..., 0]) for i in x]}})
    assert status == 200
    np.testing.assert_allclose(said["outputs"]["mean"], right, atol=1e-5)
    for media_type in ("application/x-npy", "application/octet-stream"):
        status, said = client.ask("/encode", npy_file(x), content_type=media_type)
        np.testing.assert_allclose(said["outputs"]["mean"], right, atol=1e-5)
    for format in ("PNG", "BMP"):
        for media_type in (f"image/{format.lower()}", "application/x-www-form-urlencoded"):
            content = picture_file(x[0, ..., 0], format)
            status, said = client.ask("/encode", content, content_type=media_type)
            np.testing.assert_allclose(said["outputs"]["mean"], right[:1], atol=1e-5)
    content = picture_file(x[0, ..., 0], "JPEG")
    same = read_image(content, channels=1, image_size=8)[None]
    status, said = client.ask("/encode", content, content_type="image/jpeg")
    right = client.outputs("encode", {"images": same})["mean"]
    np.testing.assert_allclose(said["outputs"]["mean"], right, atol=1e-5)


@here
def test_an_output_may_be_an_npy_file(port):
    x, client = images(2), Client(port)
    right = client.outputs("encode", {"images": x})
    for query, name in (("", "mean"), ("?output=log_variance", "log_variance")):
        status, said = client.ask(
            f"/encode{query}",
            npy_file(x),
            content_type="application/x-npy",
            accept="application/x-npy",
        )
        assert (status, client.headers["content-type"]) == (200, "application/x-npy")
        np.testing.assert_allclose(np.load(io.BytesIO(said)), right[name], atol=1e-5)
    for query, rule in (
        ("?output=codes", "`output` is mean or log_variance. Got 'codes'."),
        ("?batch=3", "Unknown parameter 'batch'. There is: output."),
    ):
        npy = "application/x-npy"
        status, said = client.ask(f"/encode{query}", npy_file(x), content_type=npy, accept=npy)
        assert (status, said) == (400, {"error": rule})
    status, said = client.ask("/encode?output=mean", npy_file(x), content_type="")
    assert status == 400
    assert "needs the header Accept: application/x-npy" in said["error"]


@here
def test_a_file_holds_one_input(port):
    x, client = images(1), Client(port)
    for content, kind in ((npy_file(x), "npy file"), (picture_file(x[0, ..., 0]), "picture")):
        status, said = client.ask("/traverse", content, content_type="")
        rule = f"A {kind} holds no images, latents, values: send JSON."
        assert (status, said) == (400, {"error": rule})
    status, said = client.ask("/decode", picture_file(x[0, ..., 0]), content_type="image/png")
    assert (status, said) == (400, {"error": "A picture holds no codes: send JSON."})
    status, said = client.ask("/encode", b"text", content_type="")
    assert status == 400
    assert "Cannot read this as a picture" in said["error"]


@here
def test_the_card_is_told_without_paths(folder, port):
    status, said = Client(port).ask("/info")
    card = export.read_card(folder)
    del card["config"]
    assert card["run"]["data"] == "/home/ada/secret/pictures"
    card["run"] = {"data": "pictures", "data_dir": "sets", "steps": 4}
    assert (status, said["model"]) == (200, card)
    assert "ada" not in json.dumps(said)


@here
def test_many_at_once_are_each_answered_rightly(folder, port):
    import onnxruntime

    rng = np.random.default_rng(0)
    sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ENDPOINTS}
    broken = [("decode", content) for content in (b"{", b'"text"', b"[" * 5000, b"\xff", b"")]
    for name, (endpoint, _, _) in WRONG.items():
        path = "traverse" if endpoint is TRAVERSE else "encode" if endpoint is ENCODE else "decode"
        broken.append((path, json.dumps(body(name)).encode()))
    jobs = []
    for i in range(200):
        if i % 4 == 3:
            jobs.append((*broken[i // 4 % len(broken)], None))
            continue
        size = int(rng.integers(1, 10))
        endpoint = ENDPOINTS[i % len(ENDPOINTS)]
        given = {"images": images(size, seed=i)}
        if endpoint == "decode":
            given = {"codes": rng.normal(size=(size, LATENTS)).astype("float32")}
        if endpoint == "traverse":
            given["latents"] = rng.integers(0, LATENTS, 1 + i % 2).astype("int32")
            given["values"] = rng.normal(size=1 + i % 3).astype("float32")
        jobs.append((endpoint, None, given))

    def work(own):
        client = Client(port)
        for endpoint, content, given in own:
            if given is None:
                status, said = client.ask(f"/{endpoint}", content)
                assert status in (400, 413), (status, said, content[:200])
                assert len(said["error"]) > 10
                assert "\n" not in said["error"]
            else:
                found = client.outputs(endpoint, given)
                names = [output.name for output in sessions[endpoint].get_outputs()]
                right = zip(names, sessions[endpoint].run(None, given), strict=True)
                for name, array in right:
                    np.testing.assert_allclose(found[name], array, atol=1e-5)
        return len(own)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, [jobs[start::8] for start in range(8)])) == 200
    assert Client(port).ask("/health") == (200, {"status": "ok", "ready": 2, "workers": 2})


@here
def test_other_paths_are_refused_with_a_reason(port):
    client = Client(port)
    paths = ", ".join(f"/{name}" for name in ENDPOINTS)
    rule = f"Unknown path '/predict'. There are {paths}; /docs lists all."
    assert client.ask("/predict", {"inputs": {}}) == (404, {"error": rule})
    assert client.ask("/encode") == (405, {"error": "/encode takes POST."})


@here
def test_a_body_over_the_limit_is_refused_and_the_next_one_is_answered(port):
    client = Client(port)
    rule = {"error": "A body has at most 1048576 bytes."}
    assert client.ask("/encode", b"0" * (2**20 + 1)) == (413, rule)
    codes = np.zeros((2, LATENTS), "float32")
    assert client.outputs("decode", {"codes": codes})["decoded"].shape == (2, *SHAPE)
    client.connection.request("POST", "/encode", iter([b"0" * 2**19] * 3), {}, encode_chunked=True)
    answer = client.connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (413, rule)
    status, said = Client(port).ask("/encode", b"0", content_encoding="gzip")
    rule = "Send the body without an encoding. Got gzip."
    assert (status, said) == (415, {"error": rule})


@here
def test_metrics_count_what_was_answered(port):
    client = Client(port)

    def read():
        status, said = client.ask("/metrics")
        assert (status, client.headers["content-type"].split(";")[0]) == (200, "text/plain")
        families = text_string_to_metric_families(said.decode())
        return {(s.name, tuple(s.labels.values())): s.value for f in families for s in f.samples}

    before = read()
    for _ in range(3):
        client.outputs("decode", {"codes": np.zeros((1, LATENTS))})
    client.ask("/decode", {"inputs": {}})
    after = read()
    counter = "keras_disent_requests_total"
    for status, count in (("200", 3), ("400", 1)):
        key = (counter, ("decode", "v1", status))
        assert after[key] - before.get(key, 0) == count
    key = ("keras_disent_request_seconds_count", ("decode", "v1"))
    assert after[key] - before.get(key, 0) == 4
    assert after["keras_disent_workers_ready", ()] == 2
    assert after["keras_disent_worker_restarts_total", ()] == 0
    assert after["keras_disent_batch_requests_sum", ()] >= 4


@here
def test_examples_of_the_openapi_document_work(port):
    client = Client(port)
    status, document = client.ask("/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    asked = 0
    for path, operations in document["paths"].items():
        ((method, operation),) = operations.items()
        if method == "get":
            found = 200 if path != "/" or engine.installed() else 404
            assert client.ask(path)[0] == found, path
            continue
        example = operation["requestBody"]["content"]["application/json"]["example"]
        status, said = client.ask(path, example)
        assert status == 200, (path, said)
        assert set(said["outputs"]) if path.startswith("/v2") is False else said["outputs"]
        asked += 1
    assert asked == 2 * len(ENDPOINTS)
    status, page = client.ask("/docs")
    assert status == 200
    assert all(path in page.decode() for path in document["paths"])
    assert "http" not in page.decode().replace(f"http://127.0.0.1:{port}", "")


@pytest.fixture
def plain(monkeypatch):
    """Run an application that always answers, with a short time for heads; give its port."""
    from keras_disent.serving import server

    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.5)
    listener = server.listen("127.0.0.1", 0)
    running = server.Server(server.configuration(PlainTextResponse("ok")))
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])))
    thread.start()
    yield listener.getsockname()[1]
    running.should_exit = True
    thread.join(timeout=30)


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: a"])
def test_a_slow_head_is_not_waited_for(plain, head):
    client = Client(plain)
    assert client.ask("/") == (200, b"ok")
    with socket.socket() as slow:
        slow.settimeout(20)
        slow.connect(("127.0.0.1", plain))
        slow.sendall(head)
        begin = time.monotonic()
        assert slow.recv(100) == b""
        assert 0.3 < time.monotonic() - begin < 10
    client.connection.sock.settimeout(20)
    assert client.ask("/") == (200, b"ok")  # a connection may be idle for longer


def test_a_long_head_is_refused(plain):
    with socket.socket() as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", plain))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        with contextlib.suppress(ConnectionError):  # or the end of the stream
            for _ in range(64):
                client.sendall(b"a" * 65536)
            assert client.recv(100) == b""
    assert Client(plain).ask("/") == (200, b"ok")


@here
def test_only_those_with_the_key_are_answered(folder):
    options = ("--cors", "https://example.org", "--log-level", "warning")
    with served(folder, *options, KERAS_DISENT_API_KEY="k-1") as (process, port):
        client, codes = Client(port), {"inputs": {"codes": [[0.0] * LATENTS]}}
        for headers in ({}, {"authorization": "Bearer k-2"}, {"x_api_key": "k"}):
            status, said = client.ask("/decode", codes, **headers)
            assert status == 401
            assert "Authorization: Bearer KEY" in said["error"]
        for path in ("/info", "/metrics", "/v2/models/encode"):
            assert client.ask(path)[0] == 401
            assert client.ask(path, authorization="Bearer k-1")[0] == 200
        for path in ("/health", "/v2/health/ready", "/docs"):
            assert client.ask(path)[0] == 200
        for headers in ({"authorization": "Bearer k-1"}, {"x_api_key": "k-1"}):
            status, _ = client.ask("/decode", codes, origin="https://example.org", **headers)
            assert status == 200
            assert client.headers["access-control-allow-origin"] == "https://example.org"
        client.ask("/health", origin="https://example.com")
        assert "access-control-allow-origin" not in client.headers
        client.connection.request(
            "OPTIONS",
            "/decode",
            headers={
                "Origin": "https://example.org",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert client.connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert out.splitlines()[-1] == "Stopped."
        assert log_of(process) == ""


@here
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_without_a_trace(folder, name):
    with served(folder, "--batch", "1") as (process, port):
        codes = np.zeros((2, LATENTS), "float32")
        assert Client(port).outputs("decode", {"codes": codes})["decoded"].shape == (2, *SHAPE)
        workers = workers_of(process, 2)
        process.send_signal(getattr(signal, name))
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.splitlines()[-1] == "Stopped."
        lines = [json.loads(line) for line in log_of(process).splitlines()]
        assert [line["event"] for line in lines].count("worker ready") == 2
        (asked,) = [line for line in lines if line.get("path") == "/decode"]
        assert (asked["event"], asked["method"], asked["status"]) == ("request", "POST", 200)
        assert all("trace" not in line for line in lines)
        assert psutil.wait_procs(workers, timeout=30)[1] == []
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", port).connect()
