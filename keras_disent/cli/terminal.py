"""What Rich shows: lines, tables, and a search while it runs. Imported when there is something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(markup=False, emoji=False, highlight=False)  # names print as they are
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)


def show(
    rows: Sequence[Any], title: str | None = None, right: bool | str = True, boxed: bool = True
) -> None:
    """Print a table: the first row is its heading, the first column its names.

    The other columns stand to the right, as numbers do; with `right` the column of that heading
    alone, or none.
    """
    box: Any = {} if boxed else {"box": None, "pad_edge": False}
    table = Table(title=title, title_justify="left", **box)
    for i, heading in enumerate(rows[0]):
        is_right = bool(i) and right in (True, heading)
        table.add_column(heading, justify="right" if is_right else "left", no_wrap=not (i or boxed))
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def trials_table(trials: list[Any], score: str) -> Table:
    """Return one row for each trial; the columns are those that `trials.csv` has."""
    shown = Table(title="Trials", title_justify="left")
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    for heading in ("trial", *names, score, "reconstruction", "time"):
        shown.add_column(heading, justify="right")
    shown.add_column("", max_width=60)
    for trial in trials:
        cells = [str(trial.number), *(as_text(trial.values.get(name)) for name in names)]
        time = "" if trial.seconds is None else f"{trial.seconds:.0f} s"
        cells += [as_text(trial.score), as_text(trial.reconstruction), time]
        shown.add_row(*cells, trial.error or (trial.status if trial.status != "done" else ""))
    return shown


class LiveSearch:
    """The table of a search with a bar below it that says how much time remains, as a context.

    Args:
        study: Study of the search.
        search: The `Search`.
    """

    def __init__(self, study: Any, search: Any):
        self.study, self.search = study, search
        self.live = Live(console=errors, refresh_per_second=4, transient=True)
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

    def __enter__(self) -> LiveSearch:
        self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.live.stop()

    def update(self, status: Any) -> None:
        trials = self.study.trials()
        ended = sum(trial.status != "running" for trial in trials)
        done = status.share * len(trials)
        description = f"{ended} of {self.search.trials} trials"
        self.progress.update(self.bar, description=description, completed=done)
        self.live.update(Group(trials_table(trials, self.search.objective), self.progress))


def as_text(value: Any) -> str:
    """Return a cell: numbers with four digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
