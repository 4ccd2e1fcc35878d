"""The command line's `train`, `evaluate`, `traverse` and `demo`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from keras_disent.cli.options import flag, listed, takes_a_run, typed, value
from keras_disent.cli.start import Backend, backend_name, console, say, show, start


@takes_a_run
def train(
    context: typer.Context,
    run: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Run folder, new or (with --resume) of a run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    devices: Annotated[
        str, typer.Option(help="How many share out each batch, or all. Not on PyTorch.")
    ] = "1",
    backend: Backend = None,
) -> None:
    """Train a model and score it: configuration, checkpoint, history, scores and pictures."""
    runs = start(backend)
    number = _devices(devices)
    if resume:
        config = runs.Config.read(out)
        given = sorted(set(typed(context)) - {"out", "resume", "backend", "steps", "devices"})
        if given:
            raise ValueError(
                "--resume goes on with the run's own configuration; only --steps may be given "
                f"anew. Got {', '.join(flag(name) for name in given)}."
            )
        if "steps" in typed(context):
            config = dataclasses.replace(config, steps=run["steps"])
    else:
        config = runs.Config(**run)
    names = []
    if not resume or number != 1:  # whatever is wrong with it is said before a file is written
        with runs.parallel.devices(number) as names:
            config.build(config.load_data())
    if not resume:
        runs.prepare(config, out)
    elif "steps" in typed(context):
        runs.write(out / runs.CONFIG, config.to_json())
    _train(runs, config, out, "Go on with --resume.", number, names)
    _evaluate(runs, out)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    metrics: Annotated[
        str | None,
        typer.Option(help="Names with commas; or standard, or all. Default: the run's."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Images for metrics of arrays.")] = 10_000,
    interval: Annotated[
        float | None, typer.Option(help="Confidence level of bootstrap intervals, such as 0.95.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = 0,
    backend: Backend = None,
) -> None:
    """Score the model of a run; print a table and write scores.json."""
    runs = start(backend)
    names = None if metrics is None else listed(metrics)
    _evaluate(runs, run, names, n_samples=samples, seed=seed, interval=interval)


def traverse(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    image: Annotated[int, typer.Option(help="Which example image to change.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Picture. Default: RUN/traversal.png.")] = None,
    backend: Backend = None,
) -> None:
    """Draw what each latent of a run's model does."""
    runs = start(backend)
    say(f"Wrote {runs.traverse(run, out, image)}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the two runs and the picture.")] = Path(
        "runs/demo"
    ),
    steps: Annotated[int, typer.Option(help="Training steps of each model.")] = 6_000,
    seed: Annotated[int, typer.Option(help="Of weights, noise and data order.")] = 0,
    backend: Backend = None,
) -> None:
    """Train beta-TCVAE and a plain VAE on squares of many sizes and places; compare them."""
    runs = start(backend)
    from keras_disent import demo as demonstration

    for folder, config in demonstration.configs(out, steps, seed).items():
        if not (folder / runs.CONFIG).exists():
            runs.prepare(config, folder)
        elif runs.Config.read(folder) != config:
            raise ValueError(f"{str(folder)!r} holds another run. Choose another --out.")
    for folder, config in demonstration.configs(out, steps, seed).items():
        _train(runs, config, folder, "Call it again to go on.")
        _evaluate(runs, folder, table=False)
    show(demonstration.table(out, steps, seed), "Scores")
    say(f"Look at {demonstration.picture(out, steps, seed)}")


def _devices(text: str) -> int | str:
    number = value(text)
    if number != "all" and (not isinstance(number, int) or number < 1):
        raise ValueError(f"--devices takes a whole number of at least 1, or all. Got {text!r}.")
    return number


def _train(
    runs: Any,
    config: Any,
    folder: Path,
    again: str,
    devices: int | str = 1,
    names: Sequence[str] = (),
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    where = ", ".join([backend_name(), *names])
    say(f"{config.model} on {config.data} -> {folder} ({where})")
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Training", total=config.steps, speed="", loss="")

        def advance(done: int, logs: Any) -> None:
            speed = progress.tasks[bar].speed or 0
            progress.update(
                bar,
                advance=done,
                speed=f"{speed:.{0 if speed >= 10 else 1}f} steps/s" if speed else "",
                loss=f"loss {logs['loss']:.1f}" if "loss" in logs else "",
            )

        try:
            runs.train(config, folder, advance, devices=devices)
        except KeyboardInterrupt:
            progress.stop()
            say(f"Stopped; the run in {folder} is saved. {again}", style="yellow")
            raise typer.Exit(130) from None


def _evaluate(
    runs: Any, folder: Path, names: Any = None, table: bool = True, **options: Any
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Scoring", total=None)

        def advance(name: str, done: int, total: int) -> None:
            description = f"Scoring: {done} of {total} done, last {name}"
            progress.update(bar, completed=done, total=total, description=description)

        result = runs.evaluate(folder, names, progress=advance, **options)
        picture = runs.traverse(folder)
    if table:
        rows = [_row(name, entry) for name, entry in result.items()]
        heading = ("term or score", "value", "interval")[: max(map(len, rows))]
        show([heading, *rows], f"{folder}")
        say(f"Look at {picture}")


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    value = f"{float(entry['value']):.4g}"
    if "interval" not in entry:
        return name, value
    low, high = entry["interval"]
    return name, value, f"{low:.4g} to {high:.4g}"
