"""Open Inference Protocol, version 2: requests and responses, as JSON or with binary tensors.

Each endpoint is a model of the protocol. A body is JSON; with the binary extension, the header
`Inference-Header-Content-Length` gives the length of the JSON, and the raw tensors follow it in the
order in which the JSON names them: little-endian, row-major.

Source: https://github.com/open-inference/open-inference-protocol, and the binary tensor data
extension of Triton Inference Server.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from keras_disent.serving.requests import Arrays, check_arrays, check_shape

HEADER = "Inference-Header-Content-Length"
VERSION = "1"  # of every model
EXTENSIONS = ["binary_tensor_data"]

DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """Hold the checked arrays of a request, and how its response is written.

    Attributes:
        arrays: Array of each input.
        id: Identifier that the response repeats.
        outputs: Whether each wanted output is binary.
    """

    arrays: Arrays
    id: str | None
    outputs: dict[str, bool]


def model_metadata(name: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an endpoint as the protocol describes a model.

    Args:
        name: Name of the endpoint.
        endpoint: Description of the endpoint in the card.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> model_metadata("decode", {"inputs": [codes], "outputs": []})["inputs"]
    [{'name': 'codes', 'datatype': 'FP32', 'shape': [-1, 2]}]
    """
    sides = {
        side: [
            {
                "name": array["name"],
                "datatype": DATATYPES[array["dtype"]],
                "shape": [-1 if size is None else size for size in array["shape"]],
            }
            for array in endpoint[side]
        ]
        for side in ("inputs", "outputs")
    }
    return {"name": name, "versions": [VERSION], "platform": "onnxruntime_onnx", **sides}


def parse(
    endpoint: dict[str, Any], body: bytes, header: str | None = None, latent_dim: int = 0
) -> InferRequest:
    """Parse and check a request.

    Args:
        endpoint: Description of the endpoint in the card.
        body: Body of the request.
        header: Value of the header `Inference-Header-Content-Length`, if there is one.
        latent_dim: Number of latents of the model, for an input `latents`; 0 if unknown.

    Raises:
        ValueError: States the rule, then what came.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> tensor = {"name": "codes", "datatype": "FP32", "shape": [1, 2], "data": [0, 1]}
    >>> request = parse({"inputs": [codes], "outputs": []}, orjson.dumps({"inputs": [tensor]}))
    >>> request.arrays["codes"]
    array([[0., 1.]], dtype=float32)
    """
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdigit() and int(header) <= len(body)):
            raise ValueError(f"{HEADER} is 0 to {len(body)}, the bytes of the body. Got {header}.")
        length = int(header)
    try:
        content = orjson.loads(body[:length])
    except orjson.JSONDecodeError as error:
        raise ValueError(f"The body must be JSON: {error}.") from None
    if not isinstance(content, dict):
        raise ValueError("The body must be a JSON object with inputs.")
    id = content.get("id")
    if id is not None and not isinstance(id, str):
        raise ValueError(f"`id` must be a string. Got {id!r:.80}.")
    parameters = _parameters("The request", content, {"binary_data_output"})
    binary = _flag("binary_data_output", parameters)
    tensors = _by_name("inputs", content.get("inputs"), endpoint["inputs"])
    missing = [array["name"] for array in endpoint["inputs"] if array["name"] not in tensors]
    if missing:
        raise ValueError(f"`inputs` needs {', '.join(missing)}.")
    arrays, raw = {}, memoryview(body)[length:]
    descriptions = {array["name"]: array for array in endpoint["inputs"]}
    for name, tensor in tensors.items():
        arrays[name], raw = _tensor(descriptions[name], tensor, raw)
    if raw:
        raise ValueError(f"The body holds {len(raw)} bytes more than its tensors.")
    return InferRequest(
        check_arrays(endpoint, arrays, latent_dim), id, _outputs(endpoint, content, binary)
    )


def serialize(name: str, request: InferRequest, outputs: Arrays) -> tuple[bytes, int | None]:
    """Write a response: its body, and the length of its JSON if binary tensors follow.

    Args:
        name: Name of the endpoint.
        request: The request.
        outputs: All outputs of the endpoint.
    """
    tensors, raw = [], []
    for output, binary in request.outputs.items():
        array = np.ascontiguousarray(outputs[output])
        datatype = DATATYPES[array.dtype.name]
        tensor: dict[str, Any] = {"name": output, "datatype": datatype, "shape": array.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            raw.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        else:
            tensor["data"] = array.ravel()
        tensors.append(tensor)
    content: dict[str, Any] = {"model_name": name, "model_version": VERSION, "outputs": tensors}
    if request.id is not None:
        content["id"] = request.id
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([head, *raw]), len(head) if raw else None


def _tensor(
    description: dict[str, Any], tensor: dict[str, Any], raw: memoryview
) -> tuple[np.ndarray, memoryview]:
    """Return the array of an input, and the raw bytes after it."""
    name, datatype = description["name"], DATATYPES[description["dtype"]]
    if tensor.get("datatype") != datatype:
        raise ValueError(f"`{name}` must be {datatype}. Got {tensor.get('datatype')!r:.80}.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ValueError(f"The shape of `{name}` must be a list of integers. Got {shape!r:.80}.")
    check_shape(name, description["shape"], shape)
    count = math.prod(shape)
    size = _parameters(f"`{name}`", tensor, {"binary_data_size"}).get("binary_data_size")
    if size is None:
        try:
            array = np.asarray(tensor.get("data"))
        except ValueError:
            raise ValueError(f"`data` of `{name}` must be a list of numbers.") from None
        if array.shape not in ((count,), tuple(shape)):
            raise ValueError(
                f"`data` of `{name}` must have shape {tuple(shape)}, or be flat. "
                f"Got shape {array.shape}."
            )
        return array.reshape(shape), raw
    if "data" in tensor:
        raise ValueError(f"`{name}` has either `data` or `binary_data_size`. Got both.")
    dtype = np.dtype(description["dtype"]).newbyteorder("<")
    expected = count * dtype.itemsize
    if size != expected or type(size) is not int:
        raise ValueError(
            f"`binary_data_size` of `{name}` must be {expected}, for its shape. Got {size!r:.80}."
        )
    if len(raw) < size:
        raise ValueError(f"`{name}` needs {size} bytes after the JSON. Got {len(raw)}.")
    array = np.frombuffer(raw[:size], dtype).reshape(shape)
    return array.astype(description["dtype"], copy=False), raw[size:]


def _outputs(endpoint: dict[str, Any], content: dict[str, Any], binary: bool) -> dict[str, bool]:
    """Return whether each wanted output is binary; all of them if none is named."""
    if content.get("outputs") in (None, []):
        return {array["name"]: binary for array in endpoint["outputs"]}
    tensors = _by_name("outputs", content["outputs"], endpoint["outputs"])
    return {
        name: _flag("binary_data", _parameters(f"`{name}`", tensor, {"binary_data"}), binary)
        for name, tensor in tensors.items()
    }


def _by_name(side: str, tensors: Any, arrays: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the named tensors of a request, each once and of the endpoint."""
    if not isinstance(tensors, list) or not all(isinstance(tensor, dict) for tensor in tensors):
        raise ValueError(f"`{side}` must be a list of objects. Got {type(tensors).__name__}.")
    names, allowed = [tensor.get("name") for tensor in tensors], [array["name"] for array in arrays]
    for name in names:
        if name not in allowed:
            raise ValueError(f"`{side}` are {', '.join(allowed)}. Got {name!r:.80}.")
        if names.count(name) > 1:
            raise ValueError(f"`{side}` names {name} {names.count(name)} times; once is right.")
    return dict(zip(names, tensors, strict=True))


def _parameters(owner: str, content: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the parameters of a request or a tensor; one that has no effect here is refused."""
    parameters = content.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError(f"`parameters` must be an object. Got {type(parameters).__name__}.")
    unknown = sorted(set(parameters) - names)
    if unknown:
        raise ValueError(
            f"{owner} has the unknown parameter {unknown[0]!r:.80}. "
            f"Choose from: {', '.join(sorted(names))}."
        )
    return parameters


def _flag(name: str, parameters: dict[str, Any], default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false. Got {value!r:.80}.")
    return value
