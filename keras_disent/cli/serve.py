"""The command line's `serve`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from keras_disent.cli.start import say, start


def serve(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a model exported as onnx; or preset:NAME.")
    ],
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reached from elsewhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8000,
    batch: Annotated[int, typer.Option(help="Most requests that are computed at once.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Processes that compute. Default: by the processors.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each. Default: its share of the processors.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 30.0,
    max_body: Annotated[int, typer.Option(help="Largest body of a request, in MiB.")] = 64,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="KERAS_DISENT_API_KEY",
            help="Key that requests need. Better in the environment, as others see options.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose web pages may ask, or *; may come several times."),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="debug, info (a line for each request), warning or error.")
    ] = "info",
) -> None:
    """Serve an exported model over HTTP, in the formats of TensorFlow Serving and of Triton."""
    from keras_disent import serving

    with _exported(folder) as exported, contextlib.suppress(KeyboardInterrupt):  # while it starts
        paths = ", ".join(f"/{name}" for name in serving.read_card(exported)["endpoints"])
        serving.run(
            exported,
            host,
            port,
            log_level=log_level,
            on_start=lambda url: say(
                f"Serving {folder} at {url}, in a browser as a page of knobs, with {paths}; "
                "Ctrl-C stops it."
            ),
            max_batch_size=batch,
            workers=workers,
            threads=threads,
            timeout=timeout,
            max_body=max_body << 20,
            api_key=api_key,
            cors=cors or (),
        )
    say("Stopped.")


@contextlib.contextmanager
def _exported(folder: Path) -> Iterator[Path]:
    """Give the folder of an exported model: that of a preset is written, and deleted at the end."""
    from keras_disent.presets.folder import is_preset

    if not is_preset(folder):
        yield folder
        return
    start(None)
    from keras_disent.cli.terminal import console
    from keras_disent.experiments import Run

    with tempfile.TemporaryDirectory() as temporary:
        with console.status("Writing onnx"):
            exported = Run.open(folder).export(Path(temporary) / "onnx", "onnx")
        yield exported
