"""Show the progress of work: a bar on a terminal or in a notebook, lines in a log file.

All progress of the package is shown by `progress_bar`, on the standard error stream, or in a
notebook where Keras's own bars are.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from keras_disent._utils.periodic import call_every

FIRST, EVERY, AT_MOST = 2.0, 10.0, 60.0
"""Seconds until the first line and between two lines, which grow apart in long work."""
SOON = 0.5
"""Seconds until a bar of a notebook is shown, and between two looks at it."""
WIDTH = 20
"""Characters of a bar in a notebook."""

Verbose = str | int | bool
Advance = Callable[..., None]

default: Verbose = "auto"
"""What "auto" stands for; the command line's `--quiet` sets it to 0."""

_one_at_a_time = threading.Lock()


@contextmanager
def progress_bar(
    description: str,
    unit: str = "",
    *,
    verbose: Verbose = "auto",
    stream: TextIO | None = None,
) -> Iterator[Advance]:
    """Show progress while the block runs: what it does, how far it is, and the time left.

    Work inside of other work that is shown is not shown. Work of less than two seconds leaves
    nothing in a log file.

    Args:
        description: What is done, such as "Training".
        unit: What is counted, such as "steps". Default: the share is shown in percent.
        verbose: As in Keras: 0 is silent, 1 a bar, 2 lines: one after two seconds, then one every
            ten, in long work one a minute. "auto" is a bar on a terminal and in a notebook, and
            lines elsewhere.
        stream: Where to write. Default: the standard error stream; in a notebook, the output.

    Yields:
        A function `advance(done, total=None, note="")` that tells how far the work is, with a note
        that is shown as it is. The time left is estimated from the first call with a total on:
        what comes before, such as compiling, does not count.

    Raises:
        ValueError: For another `verbose`.

    >>> with progress_bar("Counting") as advance:
    ...     for i in range(3):
    ...         advance(i + 1, 3)
    """
    check_verbose(verbose)
    verbose = default if verbose == "auto" else verbose
    in_notebook = stream is None and _in_notebook()
    stream = stream or (sys.stdout if in_notebook else sys.stderr)
    is_terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    if verbose == "auto":
        verbose = 1 if in_notebook or is_terminal else 2
    if not verbose or stream is None or not _one_at_a_time.acquire(blocking=False):
        yield lambda done, total=None, note="": None
        return
    try:
        work = _Work(description, unit)
        bar = _output if in_notebook else _bar if is_terminal else _rewritten_line
        with (_lines if verbose == 2 else bar)(work, stream):
            yield work.advance
            work.ended = True
    finally:
        _one_at_a_time.release()


def check_verbose(verbose: Verbose) -> None:
    """Raise a ValueError if `verbose` is not as in Keras.

    >>> check_verbose(3)
    Traceback (most recent call last):
    ValueError: `verbose` is "auto", 0 (silent), 1 (a bar) or 2 (lines). Got 3.
    """
    if not (isinstance(verbose, str | int) and verbose in ("auto", 0, 1, 2)):
        raise ValueError(
            f'`verbose` is "auto", 0 (silent), 1 (a bar) or 2 (lines). Got {verbose!r}.'
        )


def tell(text: str) -> None:
    """Print one line about what is done on the standard error stream; nothing with `--quiet`."""
    if default:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(8.4), duration(130), duration(3720)
    ('8 s', '2 min 10 s', '1 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class _Work:
    """How far the work is; it may be told from other threads."""

    def __init__(self, description: str, unit: str):
        self.description, self.unit = description, unit
        self.start = time.monotonic()
        self.done, self.total, self.note = 0.0, 0.0, ""
        self.ended = False
        self._first: tuple[float, float] | None = None
        self._last = self.start

    def advance(self, done: float, total: float | None = None, note: str = "") -> None:
        self._last = time.monotonic()
        self.done, self.total, self.note = done, total or 0.0, note
        if self.total and self._first is None:
            self._first = (self._last, done)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.start

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def each(self) -> float:
        """Seconds that one unit takes; 0 as long as that is unknown."""
        if self._first is None or self.done <= self._first[1]:
            return 0.0
        return (self._last - self._first[0]) / (self.done - self._first[1])

    @property
    def remaining(self) -> float:
        """Estimated seconds left; 0 as long as that is unknown."""
        since = min(time.monotonic() - self._last, self.each)  # it may have stopped
        return max(self.each * (self.total - self.done) - since, 0.0)

    @property
    def count(self) -> str:
        """How far it is, such as "20 of 100 steps" or "20 %"."""
        if not self.total:
            return ""
        if self.unit:
            return f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"
        return f"{100 * self.fraction:.0f} %"

    @property
    def speed(self) -> str:
        """Units in a second, such as "130 steps/s"."""
        if not (self.unit and self.each):
            return ""
        speed = 1 / self.each
        return f"{speed:,.{0 if speed >= 10 else 2 if speed < 1 else 1}f} {self.unit}/s"

    def line(self) -> str:
        """Return one line that says how far the work is."""
        remaining = (
            f"about {duration(self.remaining)} left"
            if self.remaining
            else f"{duration(self.seconds)} so far"
        )
        return f"{self.description}: {_joined(self.count, self.note, self.speed, remaining)}"

    def last_line(self) -> str:
        """Return the line that says how long all of it took."""
        done = f"{self.done:,.0f} {self.unit}" if self.unit and self.total else ""
        took = f"took {duration(self.seconds)}"
        return f"{self.description}: {_joined(done, self.note if done else '', self.speed, took)}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


@contextmanager
def _lines(work: _Work, stream: TextIO) -> Iterator[None]:
    """Print a line from time to time, and one at the end of long work."""
    printed = 0.0

    def look() -> None:
        nonlocal printed
        wait = min(max(EVERY, work.seconds / 10), AT_MOST) if printed else FIRST
        if work.seconds - printed >= wait:
            printed = work.seconds
            _write(work.line() + "\n", stream)

    with call_every(look, 0.1):
        yield
    if printed and work.ended:
        _write(work.last_line() + "\n", stream)


@contextmanager
def _bar(work: _Work, stream: TextIO) -> Iterator[None]:
    """Draw a bar on a terminal, and leave a line at the end of long work."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(work.description, total=None, said="")

        def look() -> None:
            remaining = (
                f"{duration(work.remaining)} left" if work.remaining else duration(work.seconds)
            )
            said = _joined(work.count, work.note, work.speed, remaining)
            progress.update(task, completed=work.done, total=work.total or None, said=said)

        with call_every(look, 0.1):
            yield
    if work.seconds >= FIRST and work.ended:
        _write(work.last_line() + "\n", stream)


@contextmanager
def _rewritten_line(work: _Work, stream: TextIO) -> Iterator[None]:
    """Write one line again and again; the last one stays."""
    written = 0

    def write(end: str = "") -> None:
        nonlocal written
        first = "" if written else f"{work.description}\n"
        text, length = _as_keras(work)
        _write(f"{first}\r{text}{' ' * (written - length)}{end}", stream)
        written = length

    def look() -> None:
        if work.seconds >= SOON:
            write()

    with call_every(look, SOON):
        yield
    if written:
        write("\n")


@contextmanager
def _output(work: _Work, stream: TextIO) -> Iterator[None]:
    """Show a bar in the output of a cell, which holds its last state alone when it is saved."""
    from IPython.display import display

    handle: Any = None

    def show() -> None:
        nonlocal handle
        shown = {"text/plain": f"{work.description}\n{_as_keras(work)[0]}"}
        if handle is None:
            handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(shown, raw=True)

    def look() -> None:
        if work.seconds >= SOON:
            show()

    with call_every(look, SOON):
        yield
    if handle is not None:
        show()


def _as_keras(work: _Work) -> tuple[str, int]:
    """Return a line in the look of Keras's bars, and its number of characters."""
    filled = round(WIDTH * work.fraction)
    count = f"{work.done:,.0f}/{work.total:,.0f}" if work.unit and work.total else work.count
    time_ = work.remaining if work.remaining and not work.ended else work.seconds
    speed = f"{1000 * work.each:,.0f}ms/{work.unit.removesuffix('s')}" if work.speed else ""
    if work.each >= 1:
        speed = f"{work.each:,.1f}s/{work.unit.removesuffix('s')}" if speed else ""
    parts = [
        (count, "1"),
        ("━" * filled, "32") if work.total else ("", ""),
        ("━" * (WIDTH - filled), "37") if work.total else ("", ""),
        (duration(time_), "1"),
        (speed, ""),
        (f"- {work.note}" if work.note else "", ""),
    ]
    plain = colored = ""
    for text, color in parts:
        space = " " if plain and text and not (text[0] == plain[-1] == "━") else ""
        plain += space + text
        painted = f"\x1b[{color}m{text}\x1b[0m" if color and text else text
        colored += space + painted
    return (plain if os.environ.get("NO_COLOR") else colored), len(plain)


def _write(text: str, stream: TextIO) -> None:
    """Write text; a stream that is closed, or does not know the characters, ends no work."""
    with suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _in_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
