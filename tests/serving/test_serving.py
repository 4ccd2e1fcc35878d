"""The server of exported models: right answers for many at once, and clear refusals."""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.checks import BACKEND, LATENTS, SHAPE, images
from support.exports import ENDPOINTS, answers, questions, trained

from keras_disent import cli, export, serving
from keras_disent.datasets import read_image
from keras_disent.serving.requests import MAX_IMAGES, check_request

ROOT = Path(__file__).parents[2]
here = pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow")

IMAGES = {"name": "images", "shape": [None, 8, 8, 1], "dtype": "uint8"}
CODES = {"name": "codes", "shape": [None, 3], "dtype": "float32"}
LATENT = {"name": "latents", "shape": [None], "dtype": "int32"}
VALUES = {"name": "values", "shape": [None], "dtype": "float32"}
ENCODE, DECODE = {"inputs": [IMAGES]}, {"inputs": [CODES]}
TRAVERSE = {"inputs": [IMAGES, LATENT, VALUES]}


def picture(pixels, format="PNG"):
    """Return pixels (h, w) or (h, w, c) as a request has them: a picture file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return {"b64": base64.b64encode(file.getvalue()).decode()}


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
        serving.server(tmp_path)
    with pytest.raises(ValueError, match=r"has a card.json. There is none in"):
        serving.server(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"exported as 'onnx'. Got 'litert'."):
        serving.server(artifact(tmp_path, format="litert"))
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ValueError, match=r"card.json' is not a card: Expecting"):
        serving.server(tmp_path)


@pytest.mark.parametrize("package", ["litserve", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'keras-disent\[serve\]'. .*{package}"):
        serving.server(artifact(tmp_path))


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--port", 80, "`port` is from 1024 to 65535. Got 80."),
        ("--port", 65536, "`port` is from 1024 to 65535. Got 65536."),
        ("--host", "example", "`host` is 127.0.0.1 or 0.0.0.0 or ::. Got 'example'."),
        ("--batch", 0, "`max_batch_size` must be an integer of at least 1. Got 0."),
        ("--wait", -1, "`batch_timeout` is a number of seconds, 0 or more. Got -0.001."),
        ("--wait", "nan", "`batch_timeout` is a number of seconds, 0 or more. Got nan."),
        ("--wait", 30_000, "`timeout` must be above `batch_timeout`. Got 30.0."),
        ("--workers", 0, "`workers` must be an integer of at least 1. Got 0."),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, monkeypatch, capsys, option, value, rule):
    given = {"--port": free_port(), option: value}
    arguments = [str(part) for pair in given.items() for part in pair]
    monkeypatch.setattr(sys, "argv", ["keras-disent", "serve", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"Error: {rule}\n"


def test_a_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"Port {port} of 127\.0\.0\.1 is taken\."):
            serving.check_address("127.0.0.1", port)
    serving.check_address("127.0.0.1", port)


# -- a server that runs ---------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """Asks a server on this machine, over one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, path, content=None):
        """Return status and answer. `content`: of a POST; bytes are sent as they are."""
        if content is not None and not isinstance(content, bytes):
            content = json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        self.connection.request("GET" if content is None else "POST", path, content, headers)
        answer = self.connection.getresponse()
        said = answer.read()
        return answer.status, json.loads(said) if said.startswith(b"{") else said

    def outputs(self, endpoint, arrays):
        """Return what an endpoint answers, as arrays."""
        inputs = {name: array.tolist() for name, array in arrays.items()}
        status, said = self.ask(f"/{endpoint}", {"inputs": inputs})
        assert status == 200, said
        return {name: np.array(array, "float32") for name, array in said["outputs"].items()}


@contextlib.contextmanager
def served(folder, *options):
    """Serve a folder; give the process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "keras_disent.cli", "serve", folder, "--port", str(port)]
    process = subprocess.Popen(
        [*command, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        # A shell's background job ignores interrupts, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if Client(port).ask("/health")[0] == 200:
                    break
            assert process.poll() is None, process.stderr.read()[-2000:]
            assert time.monotonic() < until, "the server did not start in a minute"
            time.sleep(0.1)
        yield process, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def model():
    return trained("factor_vae")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return export.model(model, tmp_path_factory.mktemp("exported") / "vae", "onnx")


@pytest.fixture(scope="module")
def port(folder):
    with served(folder) as (_, port):
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
def test_a_picture_is_encoded_as_its_pixels(port):
    x = images(2)
    status, said = Client(port).ask(
        "/encode", {"inputs": {"images": [picture(image[..., 0]) for image in x]}}
    )
    assert status == 200
    right = Client(port).outputs("encode", {"images": x})["mean"]
    np.testing.assert_allclose(said["outputs"]["mean"], right, atol=1e-5)


@here
def test_the_card_is_told(folder, port):
    status, said = Client(port).ask("/info")
    card = export.read_card(folder)
    del card["config"]
    assert (status, said["model"]) == (200, card)


@here
def test_many_at_once_are_each_answered_rightly(folder, port):
    import onnxruntime

    rng = np.random.default_rng(0)
    sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ENDPOINTS}
    broken = [("decode", content) for content in (b"{", b'"text"', b"[" * 5000, b"\xff")]
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
                assert 400 <= status < 500, (status, said, content[:200])
                assert len(said["error"]) > 10
            else:
                found = client.outputs(endpoint, given)
                names = [output.name for output in sessions[endpoint].get_outputs()]
                right = zip(names, sessions[endpoint].run(None, given), strict=True)
                for name, array in right:
                    np.testing.assert_allclose(found[name], array, atol=1e-5)
        return len(own)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, [jobs[start::8] for start in range(8)])) == 200
    assert Client(port).ask("/health") == (200, b"ok")


@here
def test_other_paths_are_refused_with_a_reason(port):
    client = Client(port)
    assert client.ask("/predict", {"inputs": {}}) == (404, {"error": "Not Found"})
    assert client.ask("/encode") == (405, {"error": "Method Not Allowed"})


@here
@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_signal_ends_it_without_a_trace(folder, name):
    with served(folder, "--batch", "1") as (process, port):
        codes = np.zeros((2, LATENTS), "float32")
        assert Client(port).outputs("decode", {"codes": codes})["decoded"].shape == (2, *SHAPE)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= len(ENDPOINTS)
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=120) == 0
        assert psutil.wait_procs(workers, timeout=30)[1] == []
        serving.check_address("127.0.0.1", port)
