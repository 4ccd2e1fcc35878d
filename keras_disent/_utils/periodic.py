"""Call a function periodically while other work goes on."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def call_every(function: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call a function periodically from a background thread, while the block runs.

    It is called in the context of the block: a notebook then knows the cell.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            function()

    run = contextvars.copy_context().run
    thread = threading.Thread(target=run, args=(repeat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
