"""The example's clients of TensorFlow Serving, against a stand-in that follows its documentation.

It answers from the signatures of the exported model, as
https://www.tensorflow.org/tfx/serving/api_rest says for REST, and as the protocol buffers of
`tensorflow-serving-api` say for gRPC. TensorFlow Serving itself is not run.
"""

import http.server
import json
import re
import subprocess
import sys
import threading
from concurrent import futures

import numpy as np
import pytest
from matplotlib.image import imread
from support.checks import BACKEND
from support.examples import ROOT, example

from keras_disent import datasets, load_model
from keras_disent.serving import read_card

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "tensorflow", reason="writes and reads SavedModels"),
]


class Models:
    """Folders as TensorFlow Serving reads them: MODELS/NAME/VERSION, the highest version."""

    def __init__(self, folder):
        import tensorflow as tf

        self.loaded = {}
        for model in folder.iterdir():
            version = max(int(path.name) for path in model.iterdir() if path.name.isdecimal())
            self.loaded[model.name] = tf.saved_model.load(str(model / str(version)))

    def predict(self, model, signature, convert, inputs):
        """Return arrays by name; `convert(value, spec)` makes a tensor of an input."""
        if model not in self.loaded:
            raise LookupError(f"Servable not found for request: Latest({model})")
        signatures = self.loaded[model].signatures
        if signature not in signatures:
            raise ValueError(f'Serving signature name: "{signature}" not found')
        wanted = signatures[signature].structured_input_signature[1]
        if set(inputs) != set(wanted):
            raise ValueError(f"inputs are {sorted(inputs)}, but expected {sorted(wanted)}")
        tensors = {name: convert(value, wanted[name]) for name, value in inputs.items()}
        return {name: t.numpy() for name, t in signatures[signature](**tensors).items()}


class Handler(http.server.BaseHTTPRequestHandler):
    """POST /v1/models/NAME:predict, in the columnar format."""

    models: Models

    def do_POST(self):
        import tensorflow as tf

        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = re.fullmatch(r"/v1/models/([^/:]+):predict", self.path)
        signature = body.get("signature_name", "serving_default")
        try:
            outputs = self.models.predict(
                path[1],
                signature,
                lambda value, spec: tf.constant(value, spec.dtype),
                body["inputs"],
            )
        except (LookupError, ValueError) as error:
            return self.answer(404 if isinstance(error, LookupError) else 400, error=str(error))
        lists = {name: array.tolist() for name, array in outputs.items()}
        self.answer(200, outputs=lists if len(lists) > 1 else next(iter(lists.values())))

    def answer(self, status, **said):
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    said = example("serve_with_tensorflow.py", folder)
    models = (folder / "out" / "models" / "disent").resolve()
    assert f"-v {models}:/models/disent:ro tensorflow/serving" in said
    assert (models / "1" / "saved_model.pb").is_file()
    return folder


@pytest.fixture(scope="module")
def models(written):
    return Models(written / "out" / "models")


@pytest.fixture
def rest(models):
    handler = type("Bound", (Handler,), {"models": models})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def grpc(models):
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("tensorflow_serving.apis")
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    def tensor(proto, spec):
        if proto.dtype != spec.dtype.as_datatype_enum:
            raise ValueError(f"input must be {spec.dtype.name}")
        return tf.constant(tf.make_ndarray(proto))

    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            spec = request.model_spec
            signature = spec.signature_name or "serving_default"
            try:
                outputs = models.predict(spec.name, signature, tensor, request.inputs)
            except LookupError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse()
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(10)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_answers_are_the_models(way, written, request):
    said = example("serve_with_tensorflow.py", written, f"--{way}", request.getfixturevalue(way))
    model = load_model(written / "out" / "run")
    data = datasets.Sprites(image_size=32)
    x = data.images(np.linspace(0, len(data) - 1, 5).astype(int))
    found = dict(np.load(written / "out" / "answers.npz"))
    mean, log_variance = model.posterior_parameters(x)
    traversed = model.traverse(x[:1], np.arange(6), np.linspace(-2, 2, 7))
    right = {"mean": mean, "log_variance": log_variance, "traversed": traversed}
    assert set(found) == set(right)
    for name, array in right.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)
    assert "mean (5, 6)" in said
    assert imread(written / "out" / "traversed.png").shape == (6 * 32, 7 * 32)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_an_error_of_the_server_is_shown(way, written, request):
    address = request.getfixturevalue(way)
    other = written / "out" / "models" / "other"
    (other / "1").mkdir(parents=True, exist_ok=True)
    card = read_card(written / "out" / "models" / "disent" / "1")
    (other / "1" / "card.json").write_text(json.dumps(card))  # here, but not on the server
    command = ["--out", "out", "--name", "other", f"--{way}", address]
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "serve_with_tensorflow.py", *command],
        cwd=written,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    code = "404" if way == "rest" else "NOT_FOUND"
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"encode: {code} ")
    assert "Servable not found for request: Latest(other)" in last
