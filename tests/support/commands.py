"""The command line and other processes, as tests call them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

import keras_disent
from keras_disent import cli

BACKEND = keras.backend.backend()
SMALL = [
    *("--subset", "shape=square", "--subset", "orientation=0", "--subset", "scale=0,5"),
    *("--image-size", "32", "--network", "mlp", "--width", "0.02", "--latent-dim", "3"),
    *("--player-batch", "8", "--epoch-steps", "4", "--steps", "6", "--seed", "3"),
]
QUICK = [*SMALL, "--model", "vae", "--metrics", "mig"]


# Makes packages look as if they were not installed.
HIDE = """
import sys

class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {hidden!r}:
            return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
"""


def python(code, hidden=(), **variables):
    """Run code in a new process; return its exit code, output, and the last line of its errors."""
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden) + code],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout, (done.stderr.splitlines() or [""])[-1]


def call(*arguments):
    """Run the command line in this process; return the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["keras-disent", *map(str, arguments)])
        for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "OMP_WAIT_POLICY"):
            patch.setenv(name, os.environ.get(name, ""))  # what it sets is undone
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return stop.value.code or 0


def environment(**variables):
    """Return the environment of a process that imports this package."""
    path = [str(Path(keras_disent.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = [*filter(None, path)]
    given = {"KERAS_BACKEND": BACKEND, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **given, **variables}


def process(*arguments, cwd=None, **variables):
    """Start the command line in a process of its own; its output is one text."""
    return subprocess.Popen(
        [sys.executable, "-m", "keras_disent.cli", *map(str, arguments)],
        env=environment(**variables),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(happened, *processes, seconds=240):
    """Wait until a function returns something, while processes live; return that."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        for one in processes:
            assert one.poll() is None, one.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def files(folder):
    """Return the content of all files of a folder but the locks, by relative path."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != ".lock"
    }
