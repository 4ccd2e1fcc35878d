"""OpenAPI document of a server, with examples that work, and a page that shows it."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import Any

import numpy as np
from PIL import Image

from keras_disent._utils.html import colors
from keras_disent._utils.version import __version__
from keras_disent.serving import open_inference
from keras_disent.serving.settings import Settings

_NUMBERS = {"uint8": "integer", "int32": "integer", "float32": "number"}
_PROTOCOL = "Open Inference Protocol"


def document(card: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of a server.

    Args:
        card: Card of the exported model.
        settings: Settings of the server.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> decoded = {"name": "decoded", "shape": [None, 8, 8, 1], "dtype": "float32"}
    >>> card = {"model": "VAE", "endpoints": {"decode": {"inputs": [codes], "outputs": [decoded]}}}
    >>> request = document(card, Settings())["paths"]["/decode"]["post"]["requestBody"]
    >>> request["content"]["application/json"]["example"]
    {'inputs': {'codes': [[0.0, 0.0]]}}
    """
    paths: dict[str, Any] = {}
    for name, endpoint in card["endpoints"].items():
        paths[f"/{name}"] = {"post": _ask(endpoint)}
    for name, endpoint in card["endpoints"].items():
        paths[f"/v2/models/{name}"] = {
            "get": _operation(_PROTOCOL, f"Inputs and outputs of {name}", {"200": "Metadata"})
        }
        paths[f"/v2/models/{name}/infer"] = {"post": _infer(name, endpoint)}
    for path, tag, summary, responses in (
        ("/v2", _PROTOCOL, "Name, version and extensions", {"200": "Metadata"}),
        ("/v2/health/live", _PROTOCOL, "Whether the server runs", {"200": "It runs"}),
        ("/v2/health/ready", _PROTOCOL, "Whether it can compute", {"200": "Yes", "503": "No"}),
        (
            "/",
            "Server",
            "Page of knobs of the model, for a browser",
            {"200": "The page", "404": "None"},
        ),
        ("/health", "Server", "Workers that can compute", {"200": "At least one", "503": "None"}),
        ("/info", "Server", "Card of the model", {"200": "The card"}),
        ("/metrics", "Server", "Metrics in the format of Prometheus", {"200": "Metrics"}),
    ):
        paths[path] = {"get": _operation(tag, summary, responses)}
    result: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"{card.get('model', 'Model')} of keras_disent", "version": __version__},
        "paths": paths,
    }
    if settings.api_key:
        result["components"] = {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
        }
        result["security"] = [{"bearer": []}, {"header": []}]
    return result


def page(document: dict[str, Any], address: str) -> str:
    """Return a page in HTML that shows an OpenAPI document, with a command for each path.

    Args:
        document: The document.
        address: Address of the server, for the commands.
    """
    title = html.escape(document["info"]["title"])
    sections, tag = [], None
    for path, operations in document["paths"].items():
        ((method, operation),) = operations.items()
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            sections.append(f"<h2>{html.escape(tag)}</h2>")
        command = html.escape(_command(method, address + path, operation, document))
        responses = "".join(
            f"<li><code>{status}</code> {html.escape(response['description'])}</li>"
            for status, response in operation["responses"].items()
        )
        sections.append(
            f"<section><h3><code>{method.upper()} {html.escape(path)}</code></h3>"
            f"<p>{html.escape(operation['summary'])}.</p><pre>{command}</pre>"
            f"<ul>{responses}</ul></section>"
        )
    body = (
        f'<h1>{title}</h1><p>The same as a document: <a href="openapi.json">openapi.json</a></p>'
        f"{''.join(sections)}"
    )
    return _html(title, body)


def sentence(text: str) -> str:
    """Return a page in HTML with one sentence, and where to go from there."""
    link = '<a href="docs">What this server answers</a>'
    return _html("No page", f"<p>{html.escape(text)}</p><p>{link}</p>")


def _html(title: str, body: str) -> str:
    style = (
        "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
        "background:var(--paper);color:var(--ink)}a{color:var(--accent)}"
        "pre{background:var(--box);padding:.5rem;overflow:auto;max-height:12rem}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{colors()}{style}</style></head><body>{body}</body></html>"
    )


def _command(method: str, url: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    """Return a command that asks a path for its example."""
    parts = [f"curl {url}"]
    if "security" in document:
        parts.append("-H 'Authorization: Bearer KEY'")
    if method == "post":
        example = operation["requestBody"]["content"]["application/json"]["example"]
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d '{json.dumps(example)}'")
    return " \\\n  ".join(parts)


def _operation(tag: str, summary: str, responses: dict[str, str]) -> dict[str, Any]:
    described = {status: {"description": text} for status, text in responses.items()}
    return {"tags": [tag], "summary": summary, "responses": described}


def _post(
    tag: str, summary: str, content: dict[str, Any], response: dict[str, Any]
) -> dict[str, Any]:
    errors = {
        "400": "A wrong request",
        "413": "A body that is too large",
        "503": "Too many requests, or no worker is ready",
        "504": "No response in time",
    }
    operation = _operation(tag, summary, {"200": "Outputs"} | errors)
    operation["responses"]["200"]["content"] = response
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _ask(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the operation of a path in the format of TensorFlow Serving."""
    inputs, outputs = (_object(endpoint[side]) for side in ("inputs", "outputs"))
    example = {array["name"]: _example(array) for array in endpoint["inputs"]}
    content: dict[str, Any] = {
        "application/json": {
            "schema": _fields(inputs=inputs),
            "example": {"inputs": example},
        }
    }
    names = [array["name"] for array in endpoint["inputs"]]
    if len(names) == 1:
        content["application/x-npy"] = {"schema": {"type": "string", "format": "binary"}}
    if names == ["images"]:
        content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    response = {
        "application/json": {"schema": _fields(outputs=outputs)},
        "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
    }
    gives = " and ".join(array["name"] for array in endpoint["outputs"])
    operation = _post("TensorFlow Serving", f"{', '.join(names)} to {gives}", content, response)
    operation["parameters"] = [
        {
            "name": "output",
            "in": "query",
            "description": "Output of a response that is a .npy file; by default the first.",
            "schema": {"enum": [array["name"] for array in endpoint["outputs"]]},
        }
    ]
    return operation


def _infer(name: str, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the operation of a path of the Open Inference Protocol."""
    tensors = []
    for array in endpoint["inputs"]:
        shape = [1 if size is None else size for size in array["shape"]]
        data = np.zeros(shape, array["dtype"]).ravel().tolist()
        datatype = open_inference.DATATYPES[array["dtype"]]
        tensors.append({"name": array["name"], "datatype": datatype, "shape": shape, "data": data})
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"enum": sorted(open_inference.DATATYPES.values())},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    list_ = {"type": "array", "items": tensor}
    content = {
        "application/json": {"schema": _fields(inputs=list_), "example": {"inputs": tensors}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    response = {
        "application/json": {"schema": _fields(outputs=list_)},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    operation = _post(_PROTOCOL, f"Outputs of {name}", content, response)
    operation["parameters"] = [
        {
            "name": open_inference.HEADER,
            "in": "header",
            "description": "Bytes of the JSON, if the tensors follow it in binary form.",
            "schema": {"type": "integer"},
        }
    ]
    return operation


def _fields(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _object(arrays: list[dict[str, Any]]) -> dict[str, Any]:
    return _fields(**{array["name"]: _schema(array) for array in arrays})


def _schema(array: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an array as nested lists; pictures may stand for images."""
    schema: dict[str, Any] = {"type": _NUMBERS[array["dtype"]]}
    sizes = list(reversed(array["shape"]))
    for number, size in enumerate(sizes):
        if array["name"] == "images" and number == len(sizes) - 1:
            schema = {"anyOf": [schema, _fields(b64={"type": "string"})]}
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _example(array: dict[str, Any]) -> list[Any]:
    """Return one row of zeros; an image as a picture, as its numbers would fill the page."""
    shape = [1 if size is None else size for size in array["shape"]]
    zeros = np.zeros(shape, array["dtype"])
    if array["name"] != "images" or shape[3] not in (1, 3):
        return zeros.tolist()
    file = io.BytesIO()
    Image.fromarray(zeros[0, ..., 0] if shape[3] == 1 else zeros[0]).save(file, "PNG")
    return [{"b64": base64.b64encode(file.getvalue()).decode()}]
