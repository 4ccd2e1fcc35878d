"""The command line's `serve`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from keras_disent.cli.start import say


def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of a model exported as onnx.")],
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reached from elsewhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 8000,
    batch: Annotated[int, typer.Option(help="Most requests that are computed at once.")] = 32,
    wait: Annotated[float, typer.Option(help="Milliseconds to wait for more of them.")] = 5.0,
    workers: Annotated[int, typer.Option(help="Processes for each endpoint.")] = 1,
) -> None:
    """Serve an exported model over HTTP: a path for each endpoint, JSON in and out."""
    from keras_disent import serving

    serving.check_address(host, port)
    server = serving.server(
        folder, max_batch_size=batch, batch_timeout=wait / 1000, workers=workers
    )
    paths = ", ".join(f"/{name}" for name in serving.read_card(folder)["endpoints"])
    say(f"Serving {folder} at http://{host}:{port} with {paths}; Ctrl-C stops it.")
    # LitServe ends its workers on an interrupt; who stops a service sends the other signal.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server.run(host=host, port=port, generate_client_file=False, log_level="warning")
