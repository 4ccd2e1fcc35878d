"""Show the progress of work: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 10.0
"""Time between two lines where there is no terminal."""


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr while the block runs.

    On a terminal it is a bar. Elsewhere, as in a log file, it is a line every ten seconds, so that
    short work says nothing.

    Args:
        description: Text in front.

    Yields:
        A function `(done, total)` that updates the progress.

    >>> with progress_bar("Counting") as advance:
    ...     for i in range(3):
    ...         advance(i + 1, 3)
    """
    if not sys.stderr.isatty():
        yield _lines(description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(description: str) -> Callable[[int, int], None]:
    start = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS and done < total:
            last = now
            left = (now - start) / max(done, 1) * (total - done)
            text = f"{description}: {done:,} of {total:,}, about {left:,.0f} s left"
            print(text, file=sys.stderr, flush=True)

    return advance
