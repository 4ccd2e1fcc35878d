"""HTTP server of an exported model: one path per endpoint, with batching of requests.

It runs the ONNX files by ONNX Runtime behind LitServe; neither Keras nor its backends are needed.
A request and its response have the format of TensorFlow Serving:

    POST /encode   {"inputs": {"images": [[[[0], ...]]]}}
    200            {"outputs": {"mean": [[...]], "log_variance": [[...]]}}
    400            {"error": "`images` must be (n, 32, 32, 1). Got shape (1, 32, 32)."}

An image may also be sent as a PNG or another image file: `{"b64": "..."}`. `GET /info` returns the
card, `GET /health` whether all workers are running.
"""

from __future__ import annotations

import errno
import math
import socket
from pathlib import Path
from typing import Any

from keras_disent._utils.checks import check_integer
from keras_disent._utils.latent_names import default_names
from keras_disent.artifact import read_card

__all__ = ["server"]


def __dir__() -> list[str]:
    return sorted(__all__)


HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # supported by LitServe


def server(
    folder: str | Path,
    *,
    max_batch_size: int = 32,
    batch_timeout: float = 0.005,
    workers: int = 1,
    timeout: float = 30.0,
) -> Any:
    """Create a `litserve.LitServer` of an exported model; start it with its `run(port=8000)`.

    Args:
        folder: Folder of a model exported as "onnx".
        max_batch_size: Maximum number of requests in a batch. Requests of `traverse` are not
            batched, as their latents and values may differ.
        batch_timeout: Seconds to wait for more requests.
        workers: Number of processes for each endpoint.
        timeout: Seconds after which a queued request is aborted.

    Raises:
        ValueError: If the folder holds no model exported as "onnx", or a number is out of range.
        ImportError: If LitServe or ONNX Runtime is missing; says what to install.
    """
    check_integer("max_batch_size", max_batch_size, 1)
    check_integer("workers", workers, 1)
    if not (math.isfinite(batch_timeout) and batch_timeout >= 0):
        raise ValueError(f"`batch_timeout` is a number of seconds, 0 or more. Got {batch_timeout}.")
    if not (math.isfinite(timeout) and timeout > batch_timeout):
        raise ValueError(f"`timeout` must be above `batch_timeout`. Got {timeout}.")
    card = read_card(folder)
    if card["format"] != "onnx":
        raise ValueError(f"The server needs a model exported as 'onnx'. Got {card['format']!r}.")
    try:
        import litserve
        import onnxruntime  # noqa: F401
        from fastapi import Request
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import JSONResponse
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise ImportError(
            "The server needs LitServe and ONNX Runtime: pip install 'keras-disent[serve]'. "
            f"{error}"
        ) from None
    from keras_disent.serving.api import BatchedAPI, EndpointAPI

    (codes,) = card["endpoints"]["decode"]["inputs"]
    latent_names = card.get("latent_names") or default_names(codes["shape"][-1])
    pictures = card.get("pictures")
    batching = {"max_batch_size": max_batch_size, "batch_timeout": batch_timeout}
    endpoints = [
        BatchedAPI(folder, name, endpoint, latent_names, pictures, **batching)
        if len(endpoint["inputs"]) == 1 and max_batch_size > 1
        else EndpointAPI(folder, name, endpoint, latent_names, pictures)
        for name, endpoint in card["endpoints"].items()
    ]
    metadata = {key: value for key, value in card.items() if key != "config"}
    lit_server = litserve.LitServer(
        endpoints,
        accelerator="cpu",
        workers_per_device=workers,
        timeout=timeout,
        model_metadata=metadata,
    )

    @lit_server.app.exception_handler(RequestValidationError)
    def reject(request: Request, error: RequestValidationError) -> JSONResponse:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        return JSONResponse({"error": reason}, status_code=400)

    @lit_server.app.exception_handler(HTTPException)
    def fail(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    return lit_server


def check_address(host: str, port: int) -> None:
    """Check that a server can listen. LitServe would start its workers first, and then hang.

    Args:
        host: Address, one of `HOSTS`.
        port: Port, 1024 to 65535.

    Raises:
        ValueError: If the host or the port is invalid, or the port is in use.
    """
    if host not in HOSTS:
        raise ValueError(f"`host` is {' or '.join(HOSTS)}. Got {host!r}.")
    if not 1024 <= port <= 65535:
        raise ValueError(f"`port` is from 1024 to 65535. Got {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"Port {port} of {host} is taken. Choose another `port`.") from None
        raise ValueError(f"Cannot listen on port {port} of {host}: {error.strerror}.") from None
