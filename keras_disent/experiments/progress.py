"""Progress of a run: one small file in its folder, written while it trains."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_disent.experiments.scores import SCORES
from keras_disent.experiments.store import read_json, write_json

FILE = "progress.json"
OnSteps = Callable[[int, Mapping[str, float]], object]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        state: "done" or "failed" for a run of a study that has ended, else "".
        step: Training steps taken.
        seconds: Time spent on the run, by all processes that have worked on it.
        attempts: Processes that have begun the run since its last checkpoint.
        error: Why it failed, in one line.
        traceback: Where it failed.
        backend, version: Backend, and version of keras-disent, of a run that is done.
    """

    state: str = ""
    step: int = 0
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    traceback: str = ""
    backend: str = ""
    version: str = ""

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """Read the progress of the run in a folder; of one that has not begun, the first.

        Raises:
            ValueError: If the file is damaged; names it.
        """
        path = folder / FILE
        if not path.exists():
            return cls()
        stored = read_json(path, "the progress of a run")
        try:
            progress = cls(**stored)
            kinds: dict[str, Any] = {"step": int, "attempts": int, "seconds": (int, float)}
            for name, value in dataclasses.asdict(progress).items():
                if not isinstance(value, kinds.get(name, str)):
                    raise TypeError(f"`{name}` is {value!r:.80}")
        except TypeError as error:
            raise ValueError(f"{str(path)!r} is not the progress of a run: {error}.") from None
        if progress.state == "done" and not (folder / SCORES).exists():
            return dataclasses.replace(progress, state="")
        return progress

    def write(self, folder: Path, durable: bool = False) -> None:
        """Write the progress into the folder of a run."""
        write_json(folder / FILE, dataclasses.asdict(self), durable)


class ProgressWriter:
    """Write the progress of a run, once a second and at checkpoints.

    Args:
        folder: Folder of the run.
        step: Training steps taken so far.
        on_steps: Called with a number of steps done and the logs.
    """

    def __init__(self, folder: Path, step: int, on_steps: OnSteps):
        before = Progress.read(folder)
        self._folder, self._on_steps, self._step = folder, on_steps, step
        self._attempts, self._seconds = before.attempts + 1, before.seconds
        self._start = self._written = time.monotonic()
        self.write()

    def advance(self, steps: int, logs: Mapping[str, float]) -> None:
        self._step += steps
        if time.monotonic() - self._written > 1:
            self.write()
        self._on_steps(steps, logs)

    def saved(self, step: int) -> None:
        self._step, self._attempts = step, 0
        self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        seconds = self._seconds + self._written - self._start
        Progress(step=self._step, seconds=seconds, attempts=self._attempts).write(self._folder)
