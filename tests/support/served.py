"""A server of an exported model on this machine, and a client that asks it."""

import base64
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parents[2]


def picture_file(pixels, format="PNG"):
    """Return pixels (h, w) or (h, w, c) as the content of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, format)
    return file.getvalue()


def picture(pixels, format="PNG"):
    """Return pixels as a JSON request has them: a picture file in base64."""
    return {"b64": base64.b64encode(picture_file(pixels, format)).decode()}


def npy_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """Asks a server on this machine, over one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = {}

    def ask(self, path, content=None, **headers):
        """Return status and answer. `content`: of a POST; bytes are sent as they are.

        Headers are named as arguments, `content_type` for Content-Type; those of the answer are in
        `self.headers` afterward.
        """
        if content is not None and not isinstance(content, bytes):
            content = json.dumps(content).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"content-type": "application/json", **headers}
        self.connection.request("GET" if content is None else "POST", path, content, headers)
        answer = self.connection.getresponse()
        said, self.headers = answer.read(), answer.headers
        is_json = self.headers.get("content-type") == "application/json"
        return answer.status, json.loads(said) if is_json else said

    def outputs(self, endpoint, arrays):
        """Return what an endpoint answers, as arrays."""
        inputs = {name: array.tolist() for name, array in arrays.items()}
        status, said = self.ask(f"/{endpoint}", {"inputs": inputs})
        assert status == 200, said
        return {name: np.array(array, "float32") for name, array in said["outputs"].items()}


@contextlib.contextmanager
def asking(clients, ask):
    """Let clients ask while the block runs; give the counter of what they saw.

    `ask(number, seen, ended)` is called in a thread for each client. It asks until the event
    `ended` is set, and counts in `seen`.
    """
    seen, ended = Counter(), threading.Event()
    threads = [
        threading.Thread(target=ask, args=(number, seen, ended)) for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def served(folder, *options, **environment):
    """Serve a folder; give the process and its port.

    `process.log` is a file of what it writes to the standard error.
    """
    port = free_port()
    command = [sys.executable, "-m", "keras_disent.cli", "serve", folder, "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:  # a pipe would fill up
        process = subprocess.Popen(
            [*command, "--workers", "2", *options],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                **environment,
            },
            start_new_session=True,
            # A shell's background job ignores interrupts, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        process.log = log
        try:
            wait_until_healthy(port, process)
            yield process, port
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)


def log_of(process):
    """Return what a server has written to the standard error."""
    process.log.seek(0)
    return process.log.read()


def wait_until_healthy(port, process, seconds=60):
    """Wait until all workers are ready."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, said = Client(port).ask("/health")
            if status == 200 and said["status"] == "ok":
                return
        assert process.poll() is None, log_of(process)[-2000:]
        assert time.monotonic() < until, f"the server was not healthy in {seconds} seconds"
        time.sleep(0.05)


def workers_of(process, number=None, seconds=10):
    """Return the processes of a server's workers; with `number`, as soon as there are as many."""
    until = time.monotonic() + seconds
    while True:
        found = psutil.Process(process.pid).children(recursive=True)
        if number in (None, len(found)):
            return found
        assert time.monotonic() < until, f"{len(found)} workers, not {number}: {found}"
        time.sleep(0.05)
