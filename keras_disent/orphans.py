"""Processes that end when the one that started them is gone, however it ended."""

from __future__ import annotations

import os
import threading
import time

POLL = 0.5  # seconds


def end_with(parent: int) -> None:
    """End this process, at once and without cleaning up, when its parent is gone.

    A thread looks twice a second. Nothing is imported for it: a worker is watched before it has
    loaded anything.

    Args:
        parent: number of the process that has started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(1)

    if os.getppid() != parent:  # it was killed while this one started
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()
