"""The Open Inference Protocol: requests checked, and the client of Triton against the server."""

import json
import re

import numpy as np
import pytest
import tritonclient.http as triton
from support.checks import BACKEND, LATENTS, SHAPE, images
from support.exports import answers, questions, trained
from support.served import ROOT, Client, served
from tritonclient.utils import InferenceServerException

from keras_disent import export
from keras_disent.serving import open_inference
from keras_disent.serving.requests import MAX_IMAGES

here = pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow")

CODES = {"name": "codes", "shape": [None, 3], "dtype": "float32"}
DECODED = {"name": "decoded", "shape": [None, 8, 8, 1], "dtype": "float32"}
IMAGES = {"name": "images", "shape": [None, 2, 2, 1], "dtype": "uint8"}
LATENT = {"name": "latents", "shape": [None], "dtype": "int32"}
DECODE = {"inputs": [CODES], "outputs": [DECODED]}
ENCODE = {"inputs": [IMAGES], "outputs": []}
TURN = {"inputs": [CODES, LATENT], "outputs": []}

ROW = {"name": "codes", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 1, 2]}
RAW = np.array([[0.5, 1, 2]], "<f4").tobytes()
BINARY = {"name": "codes", "datatype": "FP32", "shape": [1, 3]}
BINARY["parameters"] = {"binary_data_size": 12}


def parsed(content, raw=b"", endpoint=DECODE, header=None, **options):
    """Parse a request with binary tensors after its JSON."""
    head = json.dumps(content).encode() if isinstance(content, dict) else content
    header = str(len(head)) if raw and header is None else header
    return open_inference.parse(endpoint, head + raw, header, **options)


@pytest.mark.parametrize(
    ("content", "raw"),
    [
        ({"inputs": [ROW]}, b""),
        ({"inputs": [{**ROW, "data": [[0.5, 1, 2]]}]}, b""),
        ({"inputs": [BINARY]}, RAW),
        ({"inputs": [BINARY], "id": "a", "parameters": None}, RAW),
    ],
)
def test_tensors_are_read_from_json_and_from_bytes(content, raw):
    request = parsed(content, raw)
    assert request.arrays["codes"].dtype == "float32"
    np.testing.assert_array_equal(request.arrays["codes"], [[0.5, 1, 2]])
    assert request.id == content.get("id")
    assert request.outputs == {"decoded": False}


def test_binary_tensors_follow_in_the_order_of_the_json():
    latents = {"name": "latents", "datatype": "INT32", "shape": [2]}
    latents["parameters"] = {"binary_data_size": 8}
    raw = np.array([2, 0], "<i4").tobytes() + RAW
    arrays = parsed({"inputs": [latents, BINARY]}, raw, TURN, latent_dim=3).arrays
    assert list(arrays) == ["codes", "latents"]
    np.testing.assert_array_equal(arrays["latents"], [2, 0])
    np.testing.assert_array_equal(arrays["codes"], [[0.5, 1, 2]])


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "decoded"}]}, False),
        ({"outputs": [{"name": "decoded", "parameters": {"binary_data": True}}]}, True),
        ({"outputs": [{"name": "decoded"}], "parameters": {"binary_data_output": True}}, True),
    ],
)
def test_outputs_are_binary_where_asked_for(content, binary):
    request = parsed({"inputs": [ROW], "id": "7", **content})
    array = np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
    body, length = open_inference.serialize("decode", request, {"decoded": array})
    head = json.loads(body[:length])
    assert head["id"] == "7"
    assert (head["model_name"], head["model_version"]) == ("decode", "1")
    (output,) = head["outputs"]
    assert (output["shape"], output["datatype"]) == ([1, 8, 8, 1], "FP32")
    if binary:
        assert output["parameters"] == {"binary_data_size": 256}
        assert body[length:] == array.tobytes()
    else:
        assert length is None
        assert output["data"] == array.ravel().tolist()


WRONG = {
    "not_json": (b"{", b"", "The body must be JSON: "),
    "not_an_object": (b"[1]", b"", "The body must be a JSON object with inputs."),
    "deep": (b"[" * 5000, b"", "The body must be JSON: "),
    "no_inputs": ({}, b"", "`inputs` must be a list of objects. Got NoneType."),
    "empty": ({"inputs": []}, b"", "`inputs` needs codes."),
    "texts": ({"inputs": ["codes"]}, b"", "`inputs` must be a list of objects. Got list."),
    "unknown": ({"inputs": [{**ROW, "name": "x"}]}, b"", "`inputs` are codes. Got 'x'."),
    "twice": ({"inputs": [ROW, ROW]}, b"", "`inputs` names codes 2 times; once is right."),
    "id": ({"inputs": [ROW], "id": 3}, b"", "`id` must be a string. Got 3."),
    "dtype": (
        {"inputs": [{**ROW, "datatype": "FP64"}]},
        b"",
        "`codes` must be FP32. Got 'FP64'.",
    ),
    "no_shape": (
        {"inputs": [{**ROW, "shape": None}]},
        b"",
        "The shape of `codes` must be a list of integers. Got None.",
    ),
    "shape": (
        {"inputs": [{**ROW, "shape": [3]}]},
        b"",
        "`codes` must be (n, 3). Got shape (3,).",
    ),
    "rows": (
        {"inputs": [{**BINARY, "shape": [10**9, 3]}]},
        RAW,
        f"`codes` takes 1 to {MAX_IMAGES} rows. Got 1000000000.",
    ),
    "negative": (
        {"inputs": [{**ROW, "shape": [-1, 3]}]},
        b"",
        f"`codes` takes 1 to {MAX_IMAGES} rows. Got -1.",
    ),
    "few": (
        {"inputs": [{**ROW, "data": [1, 2]}]},
        b"",
        "`data` of `codes` must have shape (1, 3), or be flat. Got shape (2,).",
    ),
    "other_shape": (
        {"inputs": [{**ROW, "data": [[1], [2], [3]]}]},
        b"",
        "`data` of `codes` must have shape (1, 3), or be flat. Got shape (3, 1).",
    ),
    "ragged": (
        {"inputs": [{**ROW, "data": [[1], 2]}]},
        b"",
        "`data` of `codes` must be a list of numbers.",
    ),
    "text": ({"inputs": [{**ROW, "data": list("abc")}]}, b"", "`codes` must be numbers. Got <U1."),
    "no_data": ({"inputs": [BINARY | {"parameters": {}}]}, b"", "Got shape ()."),
    "nan": (
        {"inputs": [BINARY]},
        np.full(3, np.nan, "<f4").tobytes(),
        "`codes` must be finite, as float32.",
    ),
    "size": (
        {"inputs": [BINARY | {"parameters": {"binary_data_size": 8}}]},
        RAW,
        "`binary_data_size` of `codes` must be 12, for its shape. Got 8.",
    ),
    "both": (
        {"inputs": [BINARY | {"data": [1, 2, 3]}]},
        RAW,
        "`codes` has either `data` or `binary_data_size`. Got both.",
    ),
    "short": ({"inputs": [BINARY]}, RAW[:-1], "`codes` needs 12 bytes after the JSON. Got 11."),
    "long": ({"inputs": [BINARY]}, RAW + b"0", "The body holds 1 bytes more than its tensors."),
    "parameter": (
        {"inputs": [ROW], "parameters": {"priority": 1}},
        b"",
        "The request has the unknown parameter 'priority'. Choose from: binary_data_output.",
    ),
    "shared_memory": (
        {"inputs": [{**ROW, "parameters": {"shared_memory_region": "a"}}]},
        b"",
        "`codes` has the unknown parameter 'shared_memory_region'.",
    ),
    "flag": (
        {"inputs": [ROW], "parameters": {"binary_data_output": 1}},
        b"",
        "`binary_data_output` must be true or false. Got 1.",
    ),
    "output": (
        {"inputs": [ROW], "outputs": [{"name": "mean"}]},
        b"",
        "`outputs` are decoded. Got 'mean'.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_told_the_rule(name):
    content, raw, rule = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(rule)) as told:
        parsed(content, raw)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("header", ["-1", "13 ", "99999", "x", "1e1", "٣"])
def test_a_wrong_length_of_the_json_is_told(header):
    with pytest.raises(ValueError, match=r"Inference-Header-Content-Length is 0 to \d+, the bytes"):
        parsed({"inputs": [ROW]}, header=header)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ([0, 1, 2, 256], "`images` must be from 0 to 255. Got 0 to 256."),
        ([0, 1, 2, 0.5], "`images` must be integers. Got float64."),
    ],
)
def test_integers_are_not_rounded(data, rule):
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 2, 2, 1], "data": data}
    with pytest.raises(ValueError, match=re.escape(rule)):
        parsed({"inputs": [tensor]}, endpoint=ENCODE)


# -- a server that runs, and the client of Triton --------------------------------------------------


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


@pytest.fixture
def client(port):
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    yield client
    client.close()


def infer(client, endpoint, arrays, binary=True, outputs=None, **options):
    """Ask by the client of Triton; return the outputs as arrays."""
    inputs = []
    for name, array in arrays.items():
        datatype = open_inference.DATATYPES.get(array.dtype.name, "FP64")
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    wanted = outputs and [triton.InferRequestedOutput(n, binary_data=binary) for n in outputs]
    result = client.infer(endpoint, inputs, outputs=wanted, **options)
    response = result.get_response()
    return response, {o["name"]: result.as_numpy(o["name"]) for o in response["outputs"]}


@here
@pytest.mark.parametrize("binary", [True, False])
def test_triton_gets_the_models_numbers(model, client, binary):
    asked = questions(model)
    expected = answers(model, asked)
    for endpoint in ("serve", "encode", "decode", "reconstruct", "traverse"):
        for size in (1, 7):
            start = f"{endpoint}/{size}/"
            given, right = (
                {key.removeprefix(start): a for key, a in arrays.items() if key.startswith(start)}
                for arrays in (asked, expected)
            )
            outputs = None if binary else list(right)
            response, found = infer(client, endpoint, given, binary, outputs, request_id="a1")
            assert (response["model_name"], response["id"]) == (endpoint, "a1")
            assert set(found) == set(right)
            for name, array in right.items():
                assert (found[name].shape, found[name].dtype) == (array.shape, "float32")
                np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=start + name)


@here
def test_triton_gets_the_outputs_that_it_names(client):
    _, found = infer(client, "encode", {"images": images(2)}, outputs=["log_variance"])
    assert list(found) == ["log_variance"]
    _, found = infer(client, "encode", {"images": images(2)}, model_version="1")
    assert list(found) == ["mean", "log_variance"]


@here
def test_triton_reads_what_the_server_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("encode")
    assert not client.is_model_ready("mean")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("traverse")
    assert metadata["name"] == "traverse"
    assert metadata["inputs"] == [
        {"name": "images", "datatype": "UINT8", "shape": [-1, *SHAPE]},
        {"name": "latents", "datatype": "INT32", "shape": [-1]},
        {"name": "values", "datatype": "FP32", "shape": [-1]},
    ]
    (output,) = metadata["outputs"]
    assert output == {"name": "traversed", "datatype": "FP32", "shape": [-1, -1, -1, *SHAPE]}


@here
def test_triton_is_told_what_is_wrong_and_goes_on(client):
    x = images(2)
    for endpoint, arrays, options, rule in (
        ("encode", {"images": x[:, 1:]}, {}, "`images` must be (n, "),
        ("encode", {"images": x.astype("float32")}, {}, "`images` must be UINT8. Got 'FP32'."),
        ("encode", {"pixels": x}, {}, "`inputs` are images. Got 'pixels'."),
        ("encode", {"images": x}, {"priority": 1}, "unknown parameter 'priority'"),
        ("mean", {"images": x}, {}, "Unknown model 'mean'. Choose from: serve, encode"),
        ("encode", {"images": x}, {"model_version": "2"}, "There is version 1 of encode."),
        ("encode", {"images": x}, {"request_compression_algorithm": "gzip"}, "Got gzip."),
    ):
        with pytest.raises(InferenceServerException, match=re.escape(rule)) as told:
            infer(client, endpoint, arrays, **options)
        assert "\n" not in told.value.message()
        _, found = infer(client, "encode", {"images": x})
        assert found["mean"].shape == (2, LATENTS)


@here
def test_the_functions_of_the_documentation_get_the_same_numbers(port):
    page = (ROOT / "docs" / "serving.md").read_text()
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    address, x = f"127.0.0.1:{port}", images(3)
    right = Client(port).outputs("encode", {"images": x})
    for found in (names["ask"]("encode", x, address), names["infer"]("encode", address, images=x)):
        assert set(found) == set(right)
        for name, array in right.items():
            np.testing.assert_allclose(found[name], array, atol=1e-5)


@here
def test_a_refusal_has_status_400(port):
    client = Client(port)
    for content, raw, _ in WRONG.values():
        head = json.dumps(content).encode() if isinstance(content, dict) else content
        headers = {"inference_header_content_length": str(len(head))} if raw else {}
        status, said = client.ask("/v2/models/decode/infer", head + raw, **headers)
        assert (status, list(said)) == (400, ["error"]), (content, said)
