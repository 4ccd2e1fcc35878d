"""The command line: it parses, chooses the backend, and calls the package.

Nothing here imports Keras before the backend is chosen.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from keras_disent.cli import data, export, runs, serve, study, tune

app = typer.Typer(
    help="Train, measure and look at disentangled representations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    runs.train,
    runs.evaluate,
    runs.traverse,
    tune.tune,
    export.export,
    serve.serve,
    runs.demo,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")


def main() -> None:
    """Run the command line: errors as one line, with exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        Console(stderr=True).print(
            f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
