"""A small server for an exported model: one path for each endpoint, requests batched.

It runs the ONNX files by ONNX Runtime behind LitServe; neither Keras nor its backends are needed.
A request and its answer have the form of TensorFlow Serving's:

    POST /encode   {"inputs": {"images": [[[[0], ...]]]}}
    200            {"outputs": {"mean": [[...]], "log_variance": [[...]]}}
    400            {"error": "`images` must be (n, 32, 32, 1). Got shape (1, 32, 32)."}

An image may also be given as a PNG or another picture file: `{"b64": "..."}`. `GET /info` tells
the card, `GET /health` whether all workers are up.
"""

from __future__ import annotations

import errno
import math
import socket
from pathlib import Path
from typing import Any

from keras_disent._utils.checks import check_integer
from keras_disent.artifact import read_card

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # those that LitServe takes


def server(
    folder: str | Path,
    *,
    max_batch_size: int = 32,
    batch_timeout: float = 0.005,
    workers: int = 1,
    timeout: float = 30.0,
) -> Any:
    """Return a `litserve.LitServer` for an exported model; its `run(port=8000)` serves.

    Args:
        folder: of a model exported as "onnx".
        max_batch_size: most requests that are computed at once. Those for `traverse` come one by
            one, as their latents and values may differ.
        batch_timeout: seconds to wait for more of them.
        workers: processes for each endpoint.
        timeout: seconds after which a request that waits is given up.

    Raises:
        ValueError: if the folder holds no model exported as "onnx", or a number is out of range.
        ImportError: if LitServe or ONNX Runtime is missing; says what to install.
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
    latent_dim = codes["shape"][-1]
    batching = {"max_batch_size": max_batch_size, "batch_timeout": batch_timeout}
    endpoints = [
        BatchedAPI(folder, name, endpoint, latent_dim, **batching)
        if len(endpoint["inputs"]) == 1 and max_batch_size > 1
        else EndpointAPI(folder, name, endpoint, latent_dim)
        for name, endpoint in card["endpoints"].items()
    ]
    described = {key: value for key, value in card.items() if key != "config"}
    served = litserve.LitServer(
        endpoints,
        accelerator="cpu",
        workers_per_device=workers,
        timeout=timeout,
        model_metadata=described,
    )

    @served.app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        return JSONResponse({"error": reason}, status_code=400)

    @served.app.exception_handler(HTTPException)
    def fail(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    return served


def check_address(host: str, port: int) -> None:
    """Check that a server can listen: LitServe would start its workers first, and then hang.

    Args:
        host: one of `HOSTS`.
        port: 1024 to 65535.

    Raises:
        ValueError: if it is neither, or the port is taken.
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
