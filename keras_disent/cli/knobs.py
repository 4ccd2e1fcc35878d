"""The command line's `knobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent.cli.opening import opens_a_run
from keras_disent.cli.start import say, working


@opens_a_run
def knobs(
    run: Any,
    other: Annotated[Path | None, typer.Argument(help="Second run, to compare.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file. Default: RUN/knobs.html.")] = None,
) -> None:
    """Write a page with a slider for each latent of a run's model, which runs in the browser."""
    from keras_disent.experiments import Run

    compared = None if other is None else Run.open(other)
    with working("Writing the page"):
        page = run.knobs(out, compared)
    say(f"Wrote {page}, {page.stat().st_size / 1e6:.1f} MB. Open it in a browser.")
