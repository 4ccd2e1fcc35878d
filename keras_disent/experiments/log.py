"""The log of a search: an append-only file of events. Nothing here imports Keras."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_disent.experiments.planned import PlannedRun

FILE = "events.jsonl"
FAILURES = 3
"""Trials in a row that may fail before a search gives up."""


@dataclasses.dataclass(frozen=True)
class Started:
    """A trial has started.

    Attributes:
        trial: Its number, from 0.
        values: Hyperparameters as KerasTuner has them.
        settings: Hyperparameters as they are trained.
        runs: Its runs, one for each seed.
    """

    trial: int
    values: Mapping[str, Any]
    settings: Mapping[str, Any]
    runs: tuple[PlannedRun, ...]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A trial has ended.

    Attributes:
        trial: Its number.
        score: Mean score of its runs; None if it failed.
        scores: Score of each run.
        reconstruction: Mean reconstruction of its runs, in nats; for models without a likelihood
            the squared error. None if it failed.
        seconds: Time of all its runs.
        error: Why it failed, or "".
    """

    trial: int
    score: float | None = None
    scores: tuple[float, ...] = ()
    reconstruction: float | None = None
    seconds: float = 0.0
    error: str = ""


Event = Started | Ended
_NAMES: dict[str, type] = {"started": Started, "ended": Ended}


def read(folder: Path) -> list[Event]:
    """Return the events of the search in a folder, in their order.

    A last line that a kill has cut short is left out.

    Raises:
        ValueError: If the log is damaged; names file and line.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    events: list[Event] = []
    started, ended = 0, set[int]()
    for number, line in enumerate(lines, 1):
        try:
            event = _event(json.loads(line))
            if isinstance(event, Started):
                if event.trial != started:
                    raise ValueError(f"trial {event.trial} starts after {started} others")
                started += 1
            else:
                if event.trial in ended or not 0 <= event.trial < started:
                    raise ValueError(f"trial {event.trial} ends, which is not under way")
                ended.add(event.trial)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{str(path)!r} is not the log of a search: line {number}: {error}."
            ) from None
        events.append(event)
    return events


def append(folder: Path, event: Event) -> None:
    """Append an event to the log of the search in a locked folder."""
    name = next(name for name, cls in _NAMES.items() if isinstance(event, cls))
    line = json.dumps({"event": name, **dataclasses.asdict(event)}, allow_nan=False)
    with (folder / FILE).open("a+b") as file:
        file.seek(0)
        end = file.read().rfind(b"\n") + 1
        file.truncate(end)  # a line that a kill has cut short
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def under_way(events: list[Event]) -> Iterator[Started]:
    """Yield the trials that have started and not ended."""
    ended = {event.trial for event in events if isinstance(event, Ended)}
    for event in events:
        if isinstance(event, Started) and event.trial not in ended:
            yield event


def given_up(events: list[Event]) -> bool:
    """Return whether so many trials in a row have failed that a search gives up."""
    ended = [event for event in events if isinstance(event, Ended)]
    return len(ended) >= FAILURES and all(event.error for event in ended[-FAILURES:])


def _event(stored: dict[str, Any]) -> Event:
    kind = _NAMES[stored.pop("event")]
    if kind is Started:
        runs = tuple(PlannedRun(**run) for run in stored.pop("runs"))
        started = Started(**stored, runs=runs)
        for run in runs:
            run.check()
        named = isinstance(started.values, dict) and isinstance(started.settings, dict)
        if not (named and isinstance(started.trial, int)):
            raise ValueError("a trial has a number, values and settings")
        return started
    ended = Ended(**{**stored, "scores": tuple(stored["scores"])})
    numbers = [ended.score, *ended.scores, ended.reconstruction, ended.seconds]
    if not isinstance(ended.error, str):
        raise ValueError(f"an error is a text, not {ended.error!r:.80}")
    if not all(n is None or (isinstance(n, float | int) and math.isfinite(n)) for n in numbers):
        raise ValueError(f"scores and seconds are numbers, not {numbers}")
    return ended
