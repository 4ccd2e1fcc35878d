"""The command line's `demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent._utils.progress import duration, progress_bar
from keras_disent.cli.runs import evaluate_shown, train_shown
from keras_disent.cli.start import Backend, Threads, say, show, start, threads_of, warn, working

STEPS, SEED = 2_400, 2


def demo(
    out: Annotated[Path, typer.Option(help="Folder of what is written.")] = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Show a ready model, and train nothing.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(help=f"Training steps of each model. Default: {STEPS}.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Of weights, noise and data order. Default: {SEED}.")
    ] = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Learn one person's face without labels, and turn its knobs.

    Trains beta-TCVAE and a plain VAE for minutes; --quick takes a ready model.
    """
    if quick and (steps is not None or seed is not None):
        raise ValueError("--quick trains nothing: omit --steps and --seed.")
    started = time.monotonic()
    start(backend, None, threads, threads_of(out / "beta_tcvae"))
    from keras_disent.experiments import demo as demonstration
    from keras_disent.experiments import run as experiment

    if quick:
        runs = [experiment.Run.open(f"preset:{demonstration.READY}")]
        say(f"A ready model: {demonstration.READY}, trained by the command in its card.")
    else:
        runs = demonstration.runs(
            out, STEPS if steps is None else steps, SEED if seed is None else seed
        )
        _train_all(runs, demonstration)
    data, names = runs[0].data, [demonstration.method(run.config) for run in runs]
    models = {name: run.trained_model() for name, run in zip(names, runs, strict=True)}
    with progress_bar("Scoring and drawing"):
        rows = demonstration.table(models, data)
        picture = demonstration.picture(out / "demo.png", models, data, rows)
        moving = runs[0].traverse(out / "demo.gif")
    show(rows, "Does one latent alone know each factor? 1: yes, 0: no")
    say(f"Picture:        {picture}")
    say(f"Moving picture: {moving}")
    _write_knobs(out / "knobs.html", runs)
    say(f"Done in {duration(time.monotonic() - started)}.")


def _train_all(runs: list[Any], demonstration: Any) -> None:
    config, n_images = runs[0].config, len(runs[0].data)
    say(
        f"The data: {n_images:,} pictures of one person, drawn now, {config.image_size} x "
        f"{config.image_size} pixels. The head turns, the mouth opens,"
    )
    say("the cheeks blush, the eyes close. No model is told which of it a picture shows.")
    for number, run in enumerate(runs, 1):
        say(f"\nModel {number} of {len(runs)}: {demonstration.method(run.config)}", style="bold")
        train_shown(run, "Run the same command to resume.")
        evaluate_shown(run, table=False)
        say(f"Its latents: {', '.join(run.name_latents())}")


def _write_knobs(path: Path, runs: list[Any]) -> None:
    """Write the page of knobs, or say what is missing for it."""
    try:
        with working("Writing the page of knobs"):
            page = runs[0].knobs(path, *runs[1:2])
    except (ImportError, ValueError) as error:
        warn(f"No page of knobs: {error}")
    else:
        say(f"Page of knobs:  {page.absolute().as_uri()}  (open it in a browser)")
