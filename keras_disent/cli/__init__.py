"""The command line: it parses, chooses the backend, and calls the package.

Nothing here imports Keras before the backend is chosen.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated, Any

import typer

from keras_disent._utils import progress
from keras_disent._utils.version import __version__
from keras_disent.cli import (
    data,
    demo,
    export,
    knobs,
    latents,
    presets,
    runs,
    serve,
    start,
    study,
    tune,
)

app = start.Commands(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    runs.train,
    runs.evaluate,
    runs.traverse,
    runs.cite,
    latents.latents,
    latents.edit,
    latents.interpolate,
    latents.nearest,
    latents.extremes,
    latents.poster,
    tune.tune,
    export.export,
    knobs.knobs,
    presets.presets,
    serve.serve,
    demo.demo,
)
_UsageError: Any = typer.BadParameter.__base__  # of the click that this typer has


def _print_version(value: bool) -> None:
    if value:
        print(f"keras-disent {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Train, measure and look at disentangled representations."""


for command in COMMANDS:
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")


def main() -> None:
    """Run the command line: errors as one line; exit code 2 for what was given, 1 for the rest."""
    start.level.verbose = False
    warnings.formatwarning = _format_warning
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # outside of training
        code = 130
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            _fail(error.format_message())
        code = 2
    except (ValueError, TypeError, ImportError, OSError) as error:
        _fail(str(error) or type(error).__name__)
        code = 2
    except Exception as error:
        own = isinstance(error, RuntimeError | FloatingPointError) and str(error)
        _fail(str(error) if own else f"{type(error).__name__}: {error}")
        code = 1
    progress.default = "auto"  # Python that calls this goes on
    warnings.formatwarning = _usual_format
    sys.exit(code if isinstance(code, int) else 0)


_usual_format = warnings.formatwarning


def _format_warning(message: Any, category: type[Warning], *place: Any, **line: Any) -> str:
    """Return a warning for the user as one line; with --verbose, as usual."""
    if start.level.verbose or not issubclass(category, UserWarning):
        return _usual_format(message, category, *place, **line)
    return f"Warning: {' '.join(str(message).split())}\n"


def _fail(message: str) -> None:
    """Print an error as one line; with --verbose, after where it comes from."""
    if start.level.verbose and sys.exc_info()[0] is not None:
        traceback.print_exc()
    line = " ".join(message.split())
    start.warn(f"Error: {line}", "red")
