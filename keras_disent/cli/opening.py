"""Commands on a run that is there: they share its folder, backend, threads and imports."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from keras_disent.cli.signatures import signed
from keras_disent.cli.start import Backend, Imports, RunFolder, Threads, start


def open_run(
    run: RunFolder, imports: Imports = None, threads: Threads = None, backend: Backend = None
) -> Any:
    """Start the backend, and open a run."""
    start(backend, imports, threads)
    from keras_disent.experiments import Run

    return Run.open(run)


def opens_a_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a run is opened; it gets the run as `run`."""
    shared = inspect.signature(open_run).parameters

    @functools.wraps(command)
    def opening(**arguments: Any) -> Any:
        options = {name: arguments.pop(name) for name in shared}
        return command(run=open_run(**options), **arguments)

    hints = get_type_hints(command, include_extras=True)
    hints |= get_type_hints(open_run, include_extras=True)
    return signed(opening, {**inspect.signature(command).parameters, **shared}, hints)
