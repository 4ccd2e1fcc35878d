"""Keep quiet what native libraries write while they load."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def quiet_loading() -> Iterator[TextIO | None]:
    """Hold back what native libraries write to stderr; show it if the block fails.

    Yields:
        A stream that still goes to stderr; None if `sys.stderr` is not that of the process.
    """
    with tempfile.TemporaryFile("w+") as output, contextlib.ExitStack() as stack:
        stderr = os.dup(2)
        stream = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if sys.stderr.fileno() == 2:
                stream = stack.enter_context(open(os.dup(2), "w", encoding=sys.stderr.encoding))
        os.dup2(output.fileno(), 2)
        try:
            yield stream
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read().encode())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def needs_tensorflow() -> bool:
    """Whether Keras will import TensorFlow when it saves a model, as it does on every backend."""
    return "tensorflow" not in sys.modules and importlib.util.find_spec("tensorflow") is not None


def import_tensorflow() -> None:
    """Import TensorFlow where it is installed, before Keras does so to save a model.

    It writes to stderr while it loads, which no setting prevents. Where that cannot be held back
    (no stderr, a full disk), Keras imports it later.
    """
    if needs_tensorflow():
        with contextlib.suppress(OSError), quiet_loading(), contextlib.suppress(ImportError):
            importlib.import_module("tensorflow")
