"""Run the example scripts."""

import os
import subprocess
import sys
from pathlib import Path

from support.checks import BACKEND

ROOT = Path(__file__).parents[2]


def run(folder, *command):
    """Run Python with `command` in `folder`, on this backend; return what it printed."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def example(name, folder, *arguments):
    return run(folder, ROOT / "examples" / name, "--steps", 3, "--out", "out", *arguments)
