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
from keras_disent.cli.start import Backend, backend_name, console, quiet, say, start


@takes_a_run
def tune(
    run: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Search folder, new or of this search: it goes on.")],
    objective: Annotated[
        str,
        typer.Option(
            help="What is made better: a score (mig), a term (loss, -reconstruction), udr; "
            "with @NATS at a reconstruction of at most so much."
        ),
    ] = "mig",
    trials: Annotated[int, typer.Option(help="At most so many.")] = 20,
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
    patience: Annotated[
        float, typer.Option(help="Of a chief: seconds until a silent worker counts as lost.")
    ] = 60.0,
    backend: Backend = None,
) -> None:
    """Search for good hyperparameters; table, picture, and the best model as a run folder."""
    runs = start(backend)
    with console.status("Starting KerasTuner"), quiet():
        from keras_disent import tuning
    from keras_disent.tuning import results, sharing

    search = tuning.Search(
        runs.Config(**run),
        objective,
        ranges(range_),
        trials=trials,
        tuner=tuner,
        executions=executions,
    )
    part = sharing.role()
    say(f"{run['model']} on {run['data']} -> {out} ({backend_name()})")
    if part == "worker":
        say("A worker: its trials are shown by the chief.")
        search.run(out, patience=patience)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        shown = _Shown(search, live)
        try:
            found = search.run(out, shown.rows, shown.steps, patience=patience)
        except KeyboardInterrupt:
            live.stop()
            say(f"Stopped; the trials in {out} are saved. Call it again to go on.", style="yellow")
            raise typer.Exit(130) from None
    console.print(table(found.rows, search.objective))
    best = found.best
    if best is not None:
        chosen = ", ".join(f"{name} {_text(v)}" for name, v in best.values.items())
        say(f"Best: trial {best.number}, {chosen}: {search.objective} {_text(best.score)}")
    say(f"Look at {out / results.PICTURE}; its model is in {out / results.BEST}")


def ranges(texts: list[str] | None) -> dict[str, Any] | None:
    """Return what NAME, NAME=LOW:HIGH and NAME=A,B,C say.

    Raises:
        ValueError: if one is not of this form, or a name comes twice.
    """
    if not texts:
        return None
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, given = (part.strip() for part in text.partition("="))
        if not name or (equals and not given) or name in found:
            raise ValueError(
                f"--range takes NAME, NAME=LOW:HIGH or NAME=A,B,C, each name once. Got {text!r}."
            )
        if not equals:
            found[name] = None
        elif ":" in given:
            found[name] = tuple(value(part) for part in given.split(":"))
        else:
            found[name] = [value(part) for part in given.split(",")]
    return found


def table(rows: list[Any], score: str) -> Table:
    """Return one row for each trial; the columns are those that `trials.csv` has."""
    shown = Table(title="Trials", title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    for heading in ("trial", *names, score, "reconstruction", "time"):
        shown.add_column(heading, justify="right")
    shown.add_column("", max_width=60)
    for row in rows:
        cells = [str(row.number), *(_text(row.values.get(name)) for name in names)]
        time = "" if row.seconds is None else f"{row.seconds:.0f} s"
        cells += [_text(row.score), _text(row.reconstruction), time]
        shown.add_row(*cells, row.message or (row.status if row.status != "done" else ""))
    return shown


class _Shown:
    """The live table with a bar below it that says how much time is left."""

    def __init__(self, search: Any, live: Live):
        self.search, self.live = search, live
        self.each = search.config.steps * search.executions
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
        )
        self.bar = self.progress.add_task("Searching", total=search.trials * self.each)
        self.within = 0.0  # steps of the trial under way
        self.ended = 0

    def rows(self, rows: list[Any]) -> None:
        ended = sum(row.status in ("done", "failed") for row in rows)
        if ended != self.ended:
            self.ended, self.within = ended, 0.0
        description = f"{ended} of {self.search.trials} trials"
        done = min(self.within, self.each) + ended * self.each
        self.progress.update(self.bar, description=description, completed=done)
        self.live.update(Group(table(rows, self.search.objective), self.progress))

    def steps(self, n: int) -> None:
        self.within += n
        done = min(self.within, self.each) + self.ended * self.each
        self.progress.update(self.bar, completed=done)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
