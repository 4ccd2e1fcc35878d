"""Find who called this package, for warnings that point at the user's line."""

from __future__ import annotations

import sys


def outside() -> int:
    """Return the `stacklevel` of the first caller outside this package, for `warnings.warn`."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level
