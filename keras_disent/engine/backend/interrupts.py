"""Signals wait for the end of a training step: it is taken whole, or not at all."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

NAMES = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"),
    *("SIGALRM", "SIGVTALRM", "SIGPROF"),
)
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@contextlib.contextmanager
def uninterrupted(untouched: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let the Python handlers of signals wait, Ctrl-C among them, which raise in any line.

    The same signal a second time does not wait: whoever presses Ctrl-C twice means it.

    Args:
        untouched: Whether nothing has changed so far, so that a signal need not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    handlers: dict[int, Any] = {}
    waiting: dict[int, FrameType | None] = {}

    def wait(number: int, frame: FrameType | None) -> None:
        if number in waiting or untouched():
            handlers[number](number, frame)
        else:
            waiting[number] = frame

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, wait)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        with contextlib.ExitStack() as calls:  # each is called, whichever raises
            for number, frame in reversed(waiting.items()):
                calls.callback(handlers[number], number, frame)
