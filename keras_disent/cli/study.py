"""The command line's `study`: many runs from one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keras_disent.cli.start import Backend, backend_name, console, quiet, say, show, start
from keras_disent.threads import variables

app = typer.Typer(help="Do many runs, as one small file says, and collect their scores.")


@app.callback()
def study() -> None:
    """Do many runs, as one small file says, and collect their scores."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="TOML: models, grids, data, seeds, metrics.")],
    out: Annotated[Path, typer.Option(help="Study folder, new or of this study: it goes on.")],
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time. Default: one for each processor.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or the running cluster of ray or dask.")
    ] = "local",
    half: Annotated[
        str, typer.Option(help="Only a part of the runs: 1/2 is the first half of them.")
    ] = "1/1",
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    threads: Annotated[int, typer.Option(help="Of each process.")] = 1,
    backend: Backend = None,
) -> None:
    """Do the runs of a study that are not done yet; write results.parquet and results.csv."""
    chosen = _part(half)
    os.environ.update(variables(threads))  # with one job, the runs are trained in this process
    start(backend)
    with quiet():
        from keras_disent import studies
    plan = studies.Plan.read(file)
    say(f"{len(plan.runs)} runs of {file} -> {out} ({backend_name()})")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Starting", total=1.0, left="")

        def changed(status: Any) -> None:
            left = "" if status.left is None else f"{_time(status.left)} left"
            progress.update(bar, description=counts(status), completed=status.share, left=left)

        try:
            table = studies.run(
                plan,
                out,
                jobs=jobs,
                engine=engine,
                threads=threads,
                half=chosen,
                retry=retry,
                changed=changed,
            )
        except KeyboardInterrupt:
            progress.stop()
            say(
                f"Stopped; what is finished is in {_table(out) or out}. Call it again to go on.",
                style="yellow",
            )
            raise typer.Exit(130) from None
    _show(studies, plan, out)
    say(f"{len(table)} scores of {table['run'].nunique()} runs: {_table(out)}")


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="Study folder.")], backend: Backend = None
) -> None:
    """Tell how far the runs of a study are, and what went wrong."""
    start(backend)
    with quiet():
        from keras_disent import studies
    _show(studies, studies.read(folder), folder)
    if table := _table(folder):
        say(f"Scores, as of the last end of `study run`: {table}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Study folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report. Default: FOLDER.")] = None,
    score: Annotated[
        str | None, typer.Option(help="Metric that stands for all. Default: mig, if it is there.")
    ] = None,
    images: Annotated[int, typer.Option(help="How many are encoded to compare seeds.")] = 1000,
    backend: Backend = None,
) -> None:
    """Write report.html, one page with all figures, and report.json, the same numbers."""
    start(backend)
    with quiet():
        from keras_disent import studies
    made = studies.report(folder, out, score=score, images=images)
    for sentence in made.findings:
        say(f"- {sentence}")
    say(f"Look at {made.html}; the numbers are in {made.json}")


def counts(status: Any) -> str:
    """Return how many runs are in which state, in words."""
    states = ("done", "failed", "running", "waiting")
    found = {state: status.count(state) for state in states}
    return ", ".join(f"{n} {state}" for state, n in found.items() if n or state == "done")


def _show(studies: Any, plan: Any, folder: Path) -> None:
    found = studies.Watch(folder, plan.runs).status()
    of_label: dict[str, list[str]] = {}
    for run in plan.runs:
        of_label.setdefault(run.label, []).append(found.states[run.name])
    states = ("done", "failed", "running", "waiting")
    rows = [(label, *(str(s.count(n) or "") for n in states)) for label, s in of_label.items()]
    show([("runs", *states), *rows], str(folder))
    say(counts(found))
    for name, message in studies.failures(folder, plan.runs).items():
        say(f"{name} failed: {message.splitlines()[0]}", style="red")


def _table(folder: Path) -> str:
    path = folder / "results.parquet"
    return f"{path} and .csv" if path.exists() else ""


def _part(text: str) -> tuple[int, int]:
    number, slash, parts = text.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ValueError(f"--half is 1/2 or 2/2, or a part of more. Got {text!r}.")
    return int(number), int(parts)


def _time(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
