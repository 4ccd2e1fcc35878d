"""Which process trains which run: lock files with host, process and a heartbeat."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_disent._utils.files import locked
from keras_disent.beats import every

PATIENCE = 60.0
"""Seconds without a heartbeat after which a holder on another machine counts as dead."""
BEAT = 1.0


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[Path]:
    """Let one process at a time into the block, of all that share a folder.

    Gives the path of a file that was touched just now, by the clock of the file system.
    """
    path = folder / ".guard"
    with locked(path):
        os.utime(path)
        yield path


class Lock:
    """A lock file that is there as long as its holder lives.

    Args:
        path: of the file, in a folder that all processes share.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.token = uuid.uuid4().hex
        self.lost = False
        self._held = contextlib.ExitStack()

    def take(self, beat: Callable[[], object] = lambda: None) -> bool:
        """Take the lock; return False if another process that lives has it.

        Args:
            beat: called every second from another thread while the lock is held.
        """
        with guarded(self.path.parent) as now:
            if self.path.exists() and alive(self.path, now):
                return False
            holder = {"host": host(), "pid": os.getpid(), "started": _started(os.getpid())}
            whole = self.path.with_name(f".{self.path.name}.{self.token}")
            try:
                whole.write_text(json.dumps({**holder, "token": self.token}))
                os.replace(whole, self.path)
            finally:
                whole.unlink(missing_ok=True)
        self._held.enter_context(every(BEAT, lambda: self._beat(beat)))
        return True

    def check(self) -> None:
        """Raise RuntimeError if another process has taken the lock over."""
        if self.lost:
            raise RuntimeError(f"{str(self.path)!r} was taken over: this process was too slow.")

    def release(self) -> None:
        """Give the lock back."""
        self._held.close()
        with contextlib.suppress(OSError), guarded(self.path.parent):
            if _read(self.path).get("token") == self.token:
                self.path.unlink(missing_ok=True)

    def _beat(self, beat: Callable[[], object]) -> None:
        with contextlib.suppress(OSError):  # a full disk is told by the run itself
            self.lost = self.lost or _read(self.path).get("token") != self.token
            if not self.lost:
                os.utime(self.path)
                beat()


def alive(path: Path, now: Path | None = None) -> bool:
    """Return whether the holder of a lock lives.

    Args:
        path: of the lock.
        now: a file touched just now; default, the clock of this machine is used.
    """
    holder = _read(path)
    if holder.get("host") == host() and isinstance(holder.get("pid"), int):
        return _started(holder["pid"]) == holder.get("started") != ""
    try:
        beat = path.stat().st_mtime
        if now is None:
            return time.time() - beat < PATIENCE
        return now.stat().st_mtime - beat < PATIENCE
    except FileNotFoundError:
        return False


def host() -> str:
    """Return what tells machines, and containers with processes of their own, apart."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def _started(pid: int) -> str:
    """Return when a process was started; "" if there is none, or it is only not buried yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if stat[0] in "ZX" else stat[19]
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    except (OSError, IndexError):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "unknown"


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
