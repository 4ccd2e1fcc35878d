"""Export to SavedModel, LiteRT, ONNX and OpenVINO, by TensorFlow or converters of its graphs."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.types import Tensor
from keras_disent.export.endpoints import Endpoint, convert_all

OPSET = 18
MIN_SHARED_BYTES = 1024  # larger arrays of weights are stored once for all ONNX files


def saved_model(
    endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict[str, Any]
) -> None:
    """Write a SavedModel with a signature for each endpoint; the first is `serving_default` too."""
    _saved_model(endpoints, folder, model)


def litert(endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write one `model.tflite` with a signature for each endpoint."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as graphs:
        _saved_model(endpoints, Path(graphs), model, frozen=True)
        with _quiet():
            content = tf.lite.TFLiteConverter.from_saved_model(graphs).convert()
    (folder / "model.tflite").write_bytes(content)


def onnx(endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write `NAME.onnx` for each endpoint, with the weights of all in `weights.bin`."""
    import onnx

    protos = _graphs(endpoints)
    with (folder / "weights.bin").open("wb") as file:
        places: dict[str, tuple[int, int]] = {}
        for proto in protos.values():
            for tensor in proto.graph.initializer:
                if len(tensor.raw_data) > MIN_SHARED_BYTES:
                    _store(tensor, file, places)
            onnx.helper.set_model_props(proto, {"card": json.dumps(card)})
    for name, proto in protos.items():
        onnx.save(proto, folder / f"{name}.onnx")
        onnx.checker.check_model(folder / f"{name}.onnx")


def openvino(endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write `NAME.xml` and `NAME.bin` for each endpoint."""
    import onnx
    import openvino as ov

    protos = _graphs(endpoints)
    with tempfile.TemporaryDirectory() as graphs:
        for endpoint in endpoints:
            graph = Path(graphs) / f"{endpoint.name}.onnx"
            onnx.save(protos[endpoint.name], graph)
            ov_model = ov.Core().read_model(graph)  # `convert_model` would send telemetry
            # Only the endpoint's names: converters add further ones.
            for array in endpoint.inputs:
                ov_model.input(array.name).get_tensor().set_names({array.name})
            for array in endpoint.outputs:
                result = ov_model.output(array.name).get_node()
                result.input(0).get_source_output().get_tensor().set_names({array.name})
            ov_model.set_rt_info(json.dumps(card), "card")
            ov.save_model(ov_model, folder / f"{endpoint.name}.xml", compress_to_fp16=False)


def _saved_model(
    endpoints: Sequence[Endpoint], folder: Path, model: Any, frozen: bool = False
) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.model = None if frozen else model
    signatures = convert_all(endpoints, lambda e: _trace(e, _freeze(e, model) if frozen else None))
    signatures["serving_default"] = signatures[endpoints[0].name]
    with _quiet():
        tf.saved_model.save(module, str(folder), signatures)


def _trace(endpoint: Endpoint, function: Callable[..., Any] | None = None) -> Any:
    """Trace the endpoint, or another function of its arrays, to a TensorFlow graph."""
    import tensorflow as tf

    specs = [tf.TensorSpec(a.shape, a.dtype, a.name) for a in endpoint.inputs]
    traced = tf.function(function or endpoint.function, input_signature=specs)
    return traced.get_concrete_function()


def _freeze(endpoint: Endpoint, model: Any) -> Callable[..., Any]:
    """Return the endpoint's function with the weights as constants of its graph."""
    import tensorflow as tf

    constants = [(v, tf.constant(v.numpy())) for v in model.variables]
    scope = keras.StatelessScope(constants)

    def function(*arrays: Tensor) -> Any:
        with scope:
            return endpoint.function(*arrays)

    # TensorFlow names a signature's inputs after the arguments.
    function.__signature__ = inspect.signature(endpoint.function)  # type: ignore[attr-defined]
    return function


def _graphs(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return each endpoint as a separate ONNX model."""
    protos = convert_all(endpoints, _onnx)
    return {name: copy.deepcopy(proto) for name, proto in protos.items()}


def _onnx(endpoint: Endpoint) -> Any:
    """Return an endpoint as an ONNX model, its outputs in the endpoint's order."""
    import tensorflow as tf

    with _quiet():
        import tf2onnx

        specs = [tf.TensorSpec(a.shape, a.dtype, a.name) for a in endpoint.inputs]
        function = tf.function(endpoint.function, input_signature=specs)
        proto, _ = tf2onnx.convert.from_function(function, specs, opset=OPSET)
    outputs = {output.name: output for output in proto.graph.output}
    ordered = [outputs[array.name] for array in endpoint.outputs]
    del proto.graph.output[:]
    proto.graph.output.extend(ordered)
    return proto


def _store(tensor: Any, file: Any, places: dict[str, tuple[int, int]]) -> None:
    """Move an array to the file, unless it is there, and store its location in the tensor."""
    from onnx import external_data_helper

    content = tensor.raw_data
    digest = hashlib.sha256(content).hexdigest()
    if digest not in places:
        file.write(b"\0" * (-file.tell() % 4096))  # aligned for memory mapping
        places[digest] = file.tell(), len(content)
        file.write(content)
    offset, length = places[digest]
    external_data_helper.set_external_data(tensor, Path(file.name).name, offset, length)
    tensor.ClearField("raw_data")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and log messages of the converters."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
