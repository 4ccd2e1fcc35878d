"""The command line's `knobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_disent.cli.start import Backend, Imports, RunFolder, Threads, say, start, working


def knobs(
    run: RunFolder,
    other: Annotated[Path | None, typer.Argument(help="Second run, to compare.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file. Default: RUN/knobs.html.")] = None,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Write a page with a slider for each latent of a run's model, which runs in the browser."""
    start(backend, imports, threads)
    from keras_disent.experiments import Run

    opened, compared = Run.open(run), None if other is None else Run.open(other)
    with working("Writing the page"):
        page = opened.knobs(out, compared)
    say(f"Wrote {page}, {page.stat().st_size / 1e6:.1f} MB. Open it in a browser.")
