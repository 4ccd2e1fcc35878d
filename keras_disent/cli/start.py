"""What every command does: choose the backend, start Keras, show results and what is done.

Results go to the standard output; progress, hints and warnings to the standard error stream.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from keras_disent._utils import backends, native, progress
from keras_disent._utils.progress import progress_bar
from keras_disent._utils.progress import tell as tell
from keras_disent.cli.signatures import signed

BACKENDS = ("tensorflow", "jax", "torch")

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run folder, preset:NAME, or the folder of a preset."),
]
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
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors alone.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print what libraries say, and where errors come from."),
]


@dataclasses.dataclass
class Level:
    """How much the command prints."""

    quiet: bool = False
    verbose: bool = False


level = Level()


class Commands(typer.Typer):
    """Commands that all take `--quiet` and `--verbose`."""

    def command(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Add a command, as that of a `Typer` does."""
        register = super().command(*args, **options)

        def add(function: Any) -> Any:
            register(takes_a_level(function))
            return function

        return add


def takes_a_level(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `--quiet` and `--verbose`."""

    @functools.wraps(command)
    def run(quiet: bool, verbose: bool, **arguments: Any) -> Any:
        if quiet and verbose:
            raise ValueError("--quiet and --verbose exclude each other. Got both.")
        level.quiet, level.verbose = quiet, verbose
        progress.default = 0 if quiet else "auto"
        return command(**arguments)

    added = {"quiet": Quiet, "verbose": Verbose}
    hints = get_type_hints(command, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = {name: inspect.Parameter(name, keyword, default=False) for name in added}
    return signed(run, {**inspect.signature(command).parameters, **flags}, {**hints, **added})


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if level.verbose else "3")
    with working("Starting Keras"):
        from keras_disent._utils.threads import choose

        note = choose(threads, default_threads)
        import keras_disent.engine.backend  # noqa: F401  first: it says what to install
        from keras_disent.experiments import run  # noqa: F401
    if backends.note and backend is None:
        tell(backends.note)
    if note:
        tell(note)
    if imports:
        from keras_disent.experiments.custom import import_modules

        import_modules(imports)


@contextmanager
def working(description: str) -> Iterator[None]:
    """Show that something is done, and keep what native libraries say of it."""
    quiet = contextlib.nullcontext() if level.verbose else native.quiet_loading()
    with quiet as stderr, progress_bar(description, stream=stderr):
        yield


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
    from keras_disent.cli.terminal import console

    console.print(text, style=style, soft_wrap=True)


def warn(text: str, style: str = "yellow") -> None:
    """Print one line of warning on the standard error stream."""
    from keras_disent.cli.terminal import errors

    errors.print(text, style=style, soft_wrap=True)


def show(rows: Any, title: str | None = None, **options: Any) -> None:
    """Print a table, as `terminal.show`."""
    from keras_disent.cli import terminal

    terminal.show(rows, title, **options)
