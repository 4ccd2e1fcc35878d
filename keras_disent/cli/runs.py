"""The command line's `train`, `evaluate` and `traverse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent._utils.progress import duration, progress_bar
from keras_disent.cli.latents import which
from keras_disent.cli.opening import opens_a_run
from keras_disent.cli.options import fields_of, flag, listed, takes_a_run, typed, value
from keras_disent.cli.start import (
    Backend,
    Imports,
    Threads,
    backend_name,
    computing_with,
    say,
    show,
    start,
    tell,
    threads_of,
    warn,
)

Reference = Annotated[
    bool,
    typer.Option(
        "--reference", help="Scores with the vote counts of the large studies: much slower."
    ),
]

LONG = 200
"""Least number of steps of which the time is estimated."""


@takes_a_run(chosen=True)
def train(
    context: typer.Context,
    run: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Run folder, new or (with --resume) of a run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
    choose: Annotated[
        bool, typer.Option(help="Choose settings that are not given by the images.")
    ] = True,
    reference: Reference = False,
    devices: Annotated[
        str, typer.Option(help="Number of devices for each batch, or all. Not on PyTorch.")
    ] = "1",
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Train a model and score it: configuration, checkpoint, history, scores and pictures.

    Settings that are not given are chosen by the images, and printed; with --no-choose they have
    the defaults of a configuration in Python.
    """
    number = _devices(devices)
    start(backend, imports, threads, threads_of(out) if resume else None)
    from keras_disent.experiments import Config, Run, recommend
    from keras_disent.experiments.store import RUN, Store

    if resume and not Store(RUN, out).interrupted():
        opened = _resumed(Run.open(out), run, typed(context), number)
    else:
        Store(RUN, out).check_new()
        if choose:
            fields = {name: run[name] for name in fields_of(typed(context)) if name in run}
            choice = recommend(**{"data": run["data"], **fields})
            tell(str(choice))
            opened = Run.create(choice.config, out, devices=number, data=choice.data)
        else:
            opened = Run.create(Config(**run), out, devices=number)
        if number == 1 and opened.config.steps >= LONG:
            _estimate(opened)
    train_shown(opened, "To resume it, add --resume.", number, run["track"])
    evaluate_shown(opened, reference=reference)
    how = "--suggest" if opened.data.factor_names else "--name z0=NAME"
    tell(f"Name its latents: keras-disent latents {opened.folder} {how}")


def _resumed(opened: Any, run: dict[str, Any], options: list[str], devices: int | str) -> Any:
    """Return a run, extended to the steps that were given, if the other options are its own."""
    from keras_disent.experiments import Config

    names = [name for name in fields_of(options) if name in run]
    stored = opened.config.as_dict()
    requested = Config(**{**vars(opened.config), **{name: run[name] for name in names}})
    requested_fields = requested.absolute().as_dict()
    for name in names:
        if name not in ("steps", "track") and requested_fields[name] != stored[name]:
            raise ValueError(
                "--resume continues a run with its own configuration; only --steps and --track "
                "may differ. "
                f"{flag(name)} is {stored[name]!r} there, {requested_fields[name]!r} here."
            )
    if "steps" in names:
        opened.extend(run["steps"], devices=devices)
    return opened


@opens_a_run
def evaluate(
    run: Any,
    metrics: Annotated[
        str | None,
        typer.Option(help="Names with commas; or standard, or all. Default: the run's."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Images for metrics of arrays.")] = 10_000,
    interval: Annotated[
        float | None, typer.Option(help="Confidence level of bootstrap intervals, such as 0.95.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    reference: Reference = False,
) -> None:
    """Score the model of a run; print a table and write scores.json."""
    names = None if metrics is None else listed(metrics)
    evaluate_shown(
        run,
        names,
        n_samples=samples,
        seed=seed,
        interval=interval,
        reference=reference,
    )


def cite(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    settings: Annotated[
        bool,
        typer.Option("--settings", help="The settings as a paragraph for a paper, in LaTeX."),
    ] = False,
    imports: Imports = None,
    backend: Backend = None,
) -> None:
    """Print what a paper with this run cites, as BibTeX."""
    if settings:
        start(backend, imports)
        from keras_disent.experiments import Run

        print(Run.open(run).describe())
        return
    from keras_disent.experiments import citations
    from keras_disent.experiments.scores import SCORES, read_scores
    from keras_disent.experiments.store import RUN, Store

    store = Store(RUN, run)
    config = store.definition()
    scores = read_scores(run) if (run / SCORES).exists() else config["metrics"]
    print(citations.bibtex(config, scores), end="")


@opens_a_run
def traverse(
    run: Any,
    image: Annotated[
        str,
        typer.Option(help="Image to change: number of an example, or name or path of a picture."),
    ] = "0",
    out: Annotated[
        Path | None,
        typer.Option(help="Picture, or .gif or .webp that moves. Default: RUN/traversal.png."),
    ] = None,
) -> None:
    """Draw what each latent of a run's model does."""
    say(f"Wrote {run.traverse(out, which(image))}")


def _estimate(run: Any) -> None:
    """Print how long the training will take, by a few steps."""
    from keras_disent.experiments.timing import seconds_per_step

    with progress_bar("Timing a few steps"):
        each = seconds_per_step(run.model, run.config.batches(run.model, run.data))
    steps = run.config.steps
    tell(f"{steps:,} steps of {1000 * each:,.0f} ms: about {duration(steps * each)}.")


def _devices(text: str) -> int | str:
    number = value(text)
    if number != "all" and (not isinstance(number, int) or number < 1):
        raise ValueError(f"--devices takes an integer of at least 1, or all. Got {text!r}.")
    return number


def train_shown(run: Any, again: str, devices: int | str = 1, track: str | None = None) -> None:
    where = computing_with() if devices == 1 else f"{backend_name()}, {devices} devices"
    tell(f"{run.config.model} on {run.config.data} -> {run.folder} ({where})")
    tell(run.fed())
    try:
        run.train(devices=devices, track=track)
    except KeyboardInterrupt:
        warn(f"Interrupted. The run in {run.folder} is saved. {again}")
        raise typer.Exit(130) from None


def evaluate_shown(run: Any, names: Any = None, table: bool = True, **options: Any) -> None:
    from keras_disent.engine import schedules

    result = run.evaluate(names, **options)
    picture = run.traverse()
    if table:
        intervals = any("interval" in entry for entry in result.values())
        weights = schedules.weights(run.trained_model())
        rows = [_row(name, entry, intervals, name in weights) for name, entry in result.items()]
        heading = ("term or score", "value", *(["interval"] * intervals), "unit", "better")
        show([heading, *rows], f"{run.folder}")
        for name, entry in result.items():
            if entry["value"] is None:
                warn(f"{name} has no value: {entry['error']}")
        diagnosis = run.diagnose()
        say(diagnosis.summary)
        for text in diagnosis.warnings:
            warn(text)
        say(f"Look at {picture}")


def _row(name: str, entry: dict[str, Any], intervals: bool, weight: bool) -> tuple[str, ...]:
    from keras_disent.experiments.scores import direction, unit

    value = "" if entry["value"] is None else f"{entry['value']:.4g}"
    low, high = entry.get("interval", (None, None))
    interval = "" if low is None else f"{low:.4g} to {high:.4g}"
    kind = "weight" if weight else unit(name) or "none"
    return name, value, *([interval] * intervals), kind, direction(name)
