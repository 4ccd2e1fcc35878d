"""The command line's `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from keras_disent.cli.options import takes_a_run, value
from keras_disent.cli.start import (
    Backend,
    Imports,
    computing_with,
    console,
    errors,
    level,
    say,
    start,
    tell,
    warn,
    working,
)


@takes_a_run
def tune(
    run: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Study folder, new or of this search, to resume it.")],
    objective: Annotated[
        str,
        typer.Option(
            help="What is made better: a score (mig), a term (loss, -reconstruction), udr; "
            "with @NATS at a reconstruction of at most that many nats."
        ),
    ] = "mig",
    trials: Annotated[int, typer.Option(help="Maximum number of trials.")] = 20,
    tuner: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid.")] = "random",
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            help="What is tuned: NAME, NAME=LOW:HIGH or NAME=A,B,C. Default: all that the model "
            "declares.",
        ),
    ] = None,
    executions: Annotated[int, typer.Option(help="Runs of a trial, each with its seed.")] = 1,
    jobs: Annotated[int, typer.Option(help="Trials at a time.")] = 1,
    executor: Annotated[
        str, typer.Option(help="local, or the running cluster of ray or dask.")
    ] = "local",
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of each process. Default: OMP_NUM_THREADS, or 1 with several "
            "jobs, else as many as processors are free."
        ),
    ] = None,
    imports: Imports = None,
    backend: Backend = None,
) -> None:
    """Search for good hyperparameters: a study with a table and a picture of its trials."""
    start(backend, imports, threads if executor == "local" else None, 1 if jobs > 1 else None)
    with working("Starting KerasTuner"):
        from keras_disent.experiments import Config, Search, Study

    search = Search(
        Config(**run),
        objective,
        ranges(range_),
        trials=trials,
        tuner=tuner,
        executions=executions,
        imports=tuple(imports or ()),
    )
    study = Study.create(search, out)
    tell(f"{run['model']} on {run['data']} -> {out} ({computing_with()})")
    how: dict[str, Any] = {"n_jobs": jobs, "executor": executor, "threads": threads}
    try:
        if errors.is_terminal and not level.quiet:
            with Live(console=errors, refresh_per_second=4, transient=True) as live:
                study.run(**how, on_status=_Shown(study, search, live).update, verbose=0)
        else:
            study.run(**how)
    except KeyboardInterrupt:
        warn(f"Interrupted. The trials in {out} are saved. Run the same command to resume.")
        raise typer.Exit(130) from None
    from keras_disent.experiments import trials as of_search

    all_trials, goal = study.trials(), search.goal
    console.print(table(all_trials, search.objective))
    best = of_search.best(all_trials, goal.higher)
    if best is not None:
        values = ", ".join(f"{name} {_text(v)}" for name, v in best.values.items())
        say(f"Best: trial {best.number}, {values}: {search.objective} {_text(best.score)}")
        ahead = max if goal.higher else min
        run_of = best.runs[best.scores.index(ahead(best.scores))]
        say(f"Look at {out / of_search.PICTURE}; its model is in {study.place(run_of)}")


def ranges(texts: list[str] | None) -> dict[str, Any] | None:
    """Return what NAME, NAME=LOW:HIGH and NAME=A,B,C say.

    Raises:
        ValueError: if one is not of this form, or a name comes twice.
    """
    if not texts:
        return None
    space: dict[str, Any] = {}
    for text in texts:
        name, equals, spec = (part.strip() for part in text.partition("="))
        if not name or (equals and not spec) or name in space:
            raise ValueError(
                f"--range takes NAME, NAME=LOW:HIGH or NAME=A,B,C, each name once. Got {text!r}."
            )
        if not equals:
            space[name] = None
        elif ":" in spec:
            space[name] = tuple(value(part) for part in spec.split(":"))
        else:
            space[name] = [value(part) for part in spec.split(",")]
    return space


def table(trials: list[Any], score: str) -> Table:
    """Return one row for each trial; the columns are those that `trials.csv` has."""
    shown = Table(title="Trials", title_justify="left")
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    for heading in ("trial", *names, score, "reconstruction", "time"):
        shown.add_column(heading, justify="right")
    shown.add_column("", max_width=60)
    for trial in trials:
        cells = [str(trial.number), *(_text(trial.values.get(name)) for name in names)]
        time = "" if trial.seconds is None else f"{trial.seconds:.0f} s"
        cells += [_text(trial.score), _text(trial.reconstruction), time]
        shown.add_row(*cells, trial.error or (trial.status if trial.status != "done" else ""))
    return shown


class _Shown:
    """The live table with a bar below it that says how much time remains."""

    def __init__(self, study: Any, search: Any, live: Live):
        self.study, self.search, self.live = study, search, live
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=errors,
        )
        self.bar = self.progress.add_task("Searching", total=search.trials)

    def update(self, status: Any) -> None:
        trials = self.study.trials()
        ended = sum(trial.status != "running" for trial in trials)
        done = status.share * len(trials)
        description = f"{ended} of {self.search.trials} trials"
        self.progress.update(self.bar, description=description, completed=done)
        self.live.update(Group(table(trials, self.search.objective), self.progress))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
