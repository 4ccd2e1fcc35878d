"""What every command does: choose the backend, start Keras quietly, show tables."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keras_disent._utils import backends

console = Console(markup=False, emoji=False, highlight=False)  # names print as they are
BACKENDS = ("tensorflow", "jax", "torch")

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run folder, preset:NAME, or the folder of a preset."),
]
Backend = Annotated[
    str | None, typer.Option(help="tensorflow, jax or torch. Default: KERAS_BACKEND, or Keras's.")
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="Module that registers custom methods; may come several times."),
]


def start(backend: str | None, imports: Iterable[str] | None = None) -> None:
    """Choose the backend, then import what needs Keras, and modules of custom methods."""
    if backend is not None:
        if backend not in BACKENDS:
            raise ValueError(f"Unknown backend {backend!r}. Choose from: {', '.join(BACKENDS)}.")
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads must not spin
    with console.status("Starting Keras"), quiet():
        import keras_disent.engine.backend  # noqa: F401  first: it says what to install
        from keras_disent.experiments import run  # noqa: F401
    if backends.note and backend is None:
        say(backends.note)
    if imports:
        from keras_disent.experiments.custom import import_modules

        import_modules(imports)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what native libraries write to stderr while they load; show it if they fail."""
    with tempfile.TemporaryFile("w+") as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read().encode())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def backend_name() -> str:
    import keras

    return keras.backend.backend()


def say(text: str, style: str | None = None) -> None:
    """Print one line as it is."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


def show(rows: Any, title: str, right: bool = True) -> None:
    """Print a table: the first row is its heading, the first column its names.

    The other columns stand to the right, as numbers do, unless `right` is False.
    """
    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if i and right else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
