"""Something that is done again and again while something else goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call a function every so often, from another thread, for as long as the block runs.

    The first time is after so many seconds. A call that has begun is waited for.

    >>> from time import sleep
    >>> heard = []
    >>> with every(0.01, lambda: heard.append("alive")):
    ...     sleep(0.2)
    >>> len(heard) > 1
    True
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
