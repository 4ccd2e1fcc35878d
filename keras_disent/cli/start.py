"""What every command does: choose the backend, start Keras quietly, show tables."""

from __future__ import annotations

import contextlib
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

Backend = Annotated[
    str | None, typer.Option(help="tensorflow, jax or torch. Default: KERAS_BACKEND, or Keras's.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Threads that compute. Default: OMP_NUM_THREADS, or one for each processor that "
        "other processes leave free."
    ),
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="Module that registers custom methods; may come several times."),
]


def start(
    backend: str | None,
    imports: Iterable[str] | None = None,
    threads: int | None = None,
    default_threads: int | None = None,
) -> None:
    """Choose backend and threads, then import what needs Keras, and modules of custom methods."""
    if backend is not None:
        if backend not in BACKENDS:
            raise ValueError(f"Unknown backend {backend!r}. Choose from: {', '.join(BACKENDS)}.")
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with console.status("Starting Keras"), quiet():
        from keras_disent._utils.threads import choose

        note = choose(threads, default_threads)
        import keras_disent.engine.backend  # noqa: F401  first: it says what to install
        from keras_disent.experiments import run  # noqa: F401
    if backends.note and backend is None:
        say(backends.note)
    if note:
        say(note)
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


def threads_of(folder: Path) -> int | None:
    """Return the number of threads of the run in a folder, at most that of the processors.

    With another number the last bits of a training that is resumed may differ.
    """
    from keras_disent._utils.threads import processors
    from keras_disent.experiments.store import RUN, Store

    with contextlib.suppress(ValueError):  # told later
        threads = Store(RUN, folder).threads()
        return threads and min(threads, processors())
    return None


def computing_with() -> str:
    """Return backend and threads in words, such as "torch, 1 thread"."""
    from keras_disent.engine.backend import threads

    return f"{backend_name()}, {threads()} thread{'s' if threads() > 1 else ''}"


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
