"""HTTP server of an exported model: two protocols, batches, and workers that are mended.

It runs the ONNX files by ONNX Runtime; neither Keras nor its backends are needed. Requests have
the format of TensorFlow Serving, or that of the Open Inference Protocol (version 2), which has a
binary form. A body may also be a picture file, or a `.npy` file:

    POST /encode   {"inputs": {"images": [[[[0], ...]]]}}
    200            {"outputs": {"mean": [[...]], "log_variance": [[...]]}}
    400            {"error": "`images` must be (n, 32, 32, 1). Got shape (1, 32, 32)."}

    POST /v2/models/encode/infer

`GET /docs` describes all paths, with examples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_disent._utils.artifact import read_card
from keras_disent.serving.settings import Settings

__all__ = ["Settings", "app", "read_card", "run"]

LEVELS = ("debug", "info", "warning", "error")


def __dir__() -> list[str]:
    return sorted(__all__)


def app(folder: str | Path, **settings: Any) -> Any:
    """Create an ASGI application of an exported model, for a server of your own.

    Its workers start and end with its lifespan.

    Args:
        folder: Folder of a model exported as "onnx".
        **settings: See `Settings`.

    Raises:
        ValueError: If the folder holds no model exported as "onnx", or a setting is out of range.
        ImportError: If a package is missing; says what to install.
    """
    return _service(folder, Settings(**settings)).app()


def run(
    folder: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    log_level: str = "info",
    on_start: Callable[[str], object] | None = None,
    **settings: Any,
) -> None:
    """Serve an exported model until SIGINT (Ctrl-C) or SIGTERM.

    Log lines are JSON, on the standard error.

    Args:
        folder: Folder of a model exported as "onnx".
        host: Name or address of this machine; "0.0.0.0" to be reached from elsewhere.
        port: Port, or 0 for any that is free.
        log_level: Lowest level of log lines: "debug", "info", with a line for each request,
            "warning" or "error".
        on_start: Function that is called with the address before the workers load the model.
        **settings: See `Settings`.

    Raises:
        ValueError: If the folder holds no model exported as "onnx", a setting is out of range, or
            the port is in use.
        ImportError: If a package is missing; says what to install.
    """
    if log_level not in LEVELS:
        raise ValueError(f"`log_level` is {', '.join(LEVELS)}. Got {log_level!r}.")
    service = _service(folder, Settings(**settings))
    from keras_disent.serving import server

    with server.listen(host, port) as listener, server.logs(log_level):
        if on_start is not None:
            name = f"[{host}]" if ":" in host else host
            on_start(f"http://{name}:{listener.getsockname()[1]}")
        server.serve(service, listener)


def _service(folder: str | Path, settings: Settings) -> Any:
    """Check a folder and the packages, and return what answers requests."""
    card = read_card(folder)
    if card["format"] != "onnx":
        raise ValueError(f"The server needs a model exported as 'onnx'. Got {card['format']!r}.")
    try:
        import httptools  # noqa: F401
        import onnxruntime  # noqa: F401
        import orjson  # noqa: F401
        import uvicorn  # noqa: F401

        from keras_disent.serving.app import Service
    except ImportError as error:
        raise ImportError(
            f"The server needs further packages: pip install 'keras-disent[serve]'. {error}"
        ) from None
    return Service(folder, card, settings)
