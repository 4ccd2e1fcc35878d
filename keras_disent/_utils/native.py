"""Keep native libraries quiet while they load, and from loading where nothing needs them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO


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


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keep Keras from importing TensorFlow on another backend, only to save a model.

    Keras asks of each object that it serializes whether it is one of TensorFlow's types. Where
    TensorFlow has not been imported none is, and importing it takes seconds and writes to stderr.
    """
    from keras.src.utils import module_utils

    module: Any = module_utils.tensorflow
    if "tensorflow" in sys.modules or getattr(module, "_available", ()) is not None:
        yield
        return
    module._available = False
    try:
        yield
    finally:
        module._available = None
