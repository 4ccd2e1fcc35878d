"""The command line's `study`: many runs from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent.cli.start import (
    Backend,
    Commands,
    Imports,
    computing_with,
    say,
    show,
    start,
    tell,
    warn,
)

app = Commands(help="Do many runs, as one small file says, and collect their scores.")
Folder = Annotated[Path, typer.Argument(help="Study folder.")]


@app.callback()
def study() -> None:
    """Do many runs, as one small file says, and collect their scores."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="TOML: models, grids, data, seeds, metrics.")],
    out: Annotated[Path, typer.Option(help="Study folder, new or of this study, to resume it.")],
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time. Default: one for each processor.")
    ] = None,
    executor: Annotated[
        str, typer.Option(help="local, or the running cluster of ray or dask.")
    ] = "local",
    shard: Annotated[
        str,
        typer.Option(help="Only one shard of the runs, such as 1/2, or $SLURM_ARRAY_TASK_ID/$N."),
    ] = "1/1",
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do more than 100,000 runs.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of each process. Default: OMP_NUM_THREADS, or 1."),
    ] = None,
    imports: Imports = None,
    backend: Backend = None,
) -> None:
    """Do the runs of a study that are not done yet; write results.parquet and results.csv."""
    number = _shard(shard)
    start(backend, imports, threads if executor == "local" else None, default_threads=1)
    from keras_disent.experiments import Plan, Study

    plan = Plan.read(file, imports=tuple(imports or ()), large=yes)
    tell(f"{len(plan.runs):,} runs of {file} -> {out} ({computing_with()})")
    opened = Study.create(plan, out)
    options = {"n_jobs": jobs, "executor": executor, "threads": threads, "retry": retry}
    try:
        table = work(opened, shard=number, **options)
    finally:
        if opened.store.exists():
            _show(Study.open(out))
    say(f"{len(table)} scores of {table['run'].nunique()} runs: {_table(opened)}")


def work(study: Any, **options: Any) -> Any:
    """Do the runs of a study; return the table of results."""
    try:
        return study.run(**options)
    except KeyboardInterrupt:
        warn(
            f"Interrupted. Results so far are in {_table(study) or study.folder}. Run the same "
            "command to resume."
        )
        raise typer.Exit(130) from None


@app.command()
def status(folder: Folder) -> None:
    """Show how far the runs of a study are, and what went wrong."""
    from keras_disent.experiments.study import Study

    opened = Study.open(folder)
    _show(opened)
    if table := _table(opened):
        say(f"Scores, as of the last end of `study run`: {table}")


@app.command()
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. Default: FOLDER.")] = None,
    score: Annotated[
        str | None, typer.Option(help="Metric that stands for all. Default: mig, if it is there.")
    ] = None,
    images: Annotated[
        int, typer.Option(help="Number of images whose codes compare seeds, at most 1000.")
    ] = 1000,
    latex: Annotated[
        bool,
        typer.Option(
            "--latex", help="Also write report.tex, a table, and all figures as PDF and SVG."
        ),
    ] = False,
    page: Annotated[
        bool, typer.Option(help="Write knobs.html, the page of knobs of the best run.")
    ] = True,
) -> None:
    """Write report.html, one page with all figures, and report.json, the same numbers."""
    from keras_disent.experiments.report import report as write
    from keras_disent.experiments.study import Study

    written = write(Study.open(folder), out, score=score, images=images, page=page, paper=latex)
    for sentence in written.findings:
        say(f"- {sentence}")
    say(f"Look at {written.html}; the numbers are in {written.json}")
    if written.latex:
        say(f"For a paper: the table {written.latex}, figures in {written.figures}")


def _show(study: Any) -> None:
    from keras_disent.experiments.study_folder import STATES

    status, of_label = study.status(), dict[str, list[str]]()
    for run in study.runs:
        of_label.setdefault(run.label, []).append(status.states[run.name])
    rows = [(label, *(str(s.count(n) or "") for n in STATES)) for label, s in of_label.items()]
    show([("runs", *STATES), *rows], str(study.folder))
    say(str(status))
    for name, message in study.failures().items():
        say(f"{name} failed: {message.splitlines()[0]}", style="red")


def _table(study: Any) -> str:
    path = study.folder / "results.parquet"
    return f"{path} and .csv" if path.exists() else ""


def _shard(text: str) -> tuple[int, int]:
    number, slash, n = text.partition("/")
    if not (slash and number.isdecimal() and n.isdecimal() and 1 <= int(number) <= int(n)):
        raise ValueError(f"--shard is 1/2 or 2/2, or one of more shards. Got {text!r}.")
    return int(number), int(n)
