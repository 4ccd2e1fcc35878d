"""Process that computes: it decodes requests, runs them in batches, and writes the responses.

`python -m keras_disent.serving.worker FOLDER THREADS` reads batches from its standard input and
writes responses to its standard output. It ends when its input ends, so that it never outlives the
process that started it, however that ended.
"""

from __future__ import annotations

import importlib
import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson

from keras_disent._utils.artifact import read_card
from keras_disent._utils.latent_names import default_names
from keras_disent.serving import open_inference
from keras_disent.serving.messages import Request, Response, pack, read_batch
from keras_disent.serving.requests import (
    Arrays,
    check_arrays,
    check_request,
    max_rows,
    read_npy,
    read_picture,
)

JSON, NPY = "application/json", "application/x-npy"


class Task(NamedTuple):
    """A valid request of a batch: its number there, its arrays, and what writes its response."""

    number: int
    arrays: Arrays
    respond: Callable[[Arrays], Response]


class Model:
    """Answer requests to the endpoints of a model exported as "onnx".

    Args:
        folder: Folder of the model.
        threads: Number of threads that ONNX Runtime uses for one batch.
    """

    def __init__(self, folder: str | Path, threads: int = 1):
        import onnxruntime

        card = read_card(folder)
        self.endpoints: dict[str, dict[str, Any]] = card["endpoints"]
        self.pictures = card.get("pictures")
        (codes,) = self.endpoints["decode"]["inputs"]
        self.latent_names = card.get("latent_names") or default_names(codes["shape"][-1])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.sessions = {
            name: onnxruntime.InferenceSession(
                str(Path(folder) / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for name in self.endpoints
        }

    def answer(self, name: str, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield the number of each request and its response, as soon as it is known.

        Requests for an endpoint with one input are computed together.

        Args:
            name: Name of the endpoint.
            requests: Requests to this endpoint.
        """
        tasks: list[Task] = []
        for number, request in enumerate(requests):
            try:
                tasks.append(Task(number, *self._parse(name, request)))
            except ValueError as error:
                yield number, Response.of_error(400, str(error))
        for group in self._groups(name, tasks):
            try:
                results = self._run(name, [task.arrays for task in group])
                responses = [
                    task.respond(outputs) for task, outputs in zip(group, results, strict=True)
                ]
            except Exception as error:  # of ONNX Runtime, or too little memory
                text = " ".join(str(error).split())[:200]
                failure = Response.of_error(500, f"{type(error).__name__}: {text}")
                responses = [failure] * len(group)
            yield from ((t.number, response) for t, response in zip(group, responses, strict=True))

    def _parse(self, name: str, request: Request) -> tuple[Arrays, Callable[[Arrays], Response]]:
        endpoint = self.endpoints[name]
        if request.protocol == "v2":
            parsed = open_inference.parse(
                endpoint, request.body, request.options.get("header"), len(self.latent_names)
            )

            def respond(outputs: Arrays) -> Response:
                body, length = open_inference.serialize(name, parsed, outputs)
                if length is None:
                    return Response(200, JSON, body)
                header = {open_inference.HEADER: str(length)}
                return Response(200, "application/octet-stream", body, header)

            return parsed.arrays, respond
        return self._arrays(endpoint, request), _responder(endpoint, request.options)

    def _arrays(self, endpoint: dict[str, Any], request: Request) -> Arrays:
        """Return the arrays of a body that is JSON, a picture file or a `.npy` file."""
        body, kind = request.body, _kind(request.options.get("content_type", ""), request.body)
        if kind == "json":
            try:
                content = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"The body must be JSON: {error}.") from None
            return check_request(endpoint, content, self.latent_names, self.pictures)
        names = [array["name"] for array in endpoint["inputs"]]
        if len(names) != 1 or (kind == "picture" and names != ["images"]):
            raise ValueError(f"A {kind} holds no {', '.join(names)}: send JSON.")
        (array,) = endpoint["inputs"]
        if kind == "npy file":
            return check_arrays(endpoint, {array["name"]: read_npy(body, array)})
        return {"images": read_picture(body, array["shape"][1:], self.pictures)[None]}

    def _groups(self, name: str, tasks: list[Task]) -> Iterator[list[Task]]:
        """Split tasks into those that are computed together: `max_rows` rows at most."""
        single = len(self.endpoints[name]["inputs"]) == 1
        limit = max_rows(self.endpoints[name])
        group: list[Task] = []
        rows = 0
        for task in tasks:
            size = len(next(iter(task.arrays.values())))
            if group and (not single or rows + size > limit):
                yield group
                group, rows = [], 0
            group.append(task)
            rows += size
        if group:
            yield group

    def _run(self, name: str, inputs: list[Arrays]) -> list[Arrays]:
        """Compute the outputs of several requests at once."""
        names = [array["name"] for array in self.endpoints[name]["outputs"]]
        if len(inputs) == 1:
            return [dict(zip(names, self.sessions[name].run(names, inputs[0]), strict=True))]
        (key,) = inputs[0]
        rows = np.concatenate([arrays[key] for arrays in inputs])
        ends = np.cumsum([len(arrays[key]) for arrays in inputs])[:-1]
        parts = [np.split(output, ends) for output in self.sessions[name].run(names, {key: rows})]
        return [dict(zip(names, outputs, strict=True)) for outputs in zip(*parts, strict=True)]


def _kind(content_type: str, body: bytes) -> str:
    """Return what a body is: by its content type, or by its first bytes if that says nothing."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == JSON:
        return "json"
    if media_type == NPY or body.startswith(b"\x93NUMPY"):
        return "npy file"
    if media_type.startswith("image/"):
        return "picture"
    return "json" if body.lstrip()[:1] in (b"", b"{", b"[") else "picture"


def _responder(endpoint: dict[str, Any], options: dict[str, Any]) -> Callable[[Arrays], Response]:
    """Return what writes a response: JSON with all outputs, or one output as a `.npy` file."""
    names = [array["name"] for array in endpoint["outputs"]]
    output, npy = options.get("output"), NPY in options.get("accept", "")
    if output is not None and not npy:
        raise ValueError(f"`output` needs the header Accept: {NPY}; JSON has all outputs.")
    if output is not None and output not in names:
        raise ValueError(f"`output` is {' or '.join(names)}. Got {output!r:.80}.")

    def respond(outputs: Arrays) -> Response:
        if npy:
            return Response(200, NPY, _npy(outputs[output or names[0]]))
        body = orjson.dumps({"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(200, JSON, body)

    return respond


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def main(folder: str, threads: int) -> None:
    """Serve batches from the standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    batches: queue.SimpleQueue[tuple[str, list[Request]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, batches), daemon=True).start()
    try:
        model = Model(folder, threads)
    except Exception as error:
        answers.write(pack(0, Response.of_error(500, " ".join(str(error).split()))))
        answers.flush()
        return
    answers.write(pack(0, Response(200, JSON, b"")))
    answers.flush()
    # What decodes pictures takes as long to import as all the rest; other requests need not wait.
    pictures = "keras_disent.datasets.pictures"
    threading.Thread(target=importlib.import_module, args=(pictures,), daemon=True).start()
    while True:
        name, requests = batches.get()
        for number, response in model.answer(name, requests):
            answers.write(pack(number, response))
            answers.flush()


def _receive(file: BinaryIO, batches: queue.SimpleQueue[tuple[str, list[Request]]]) -> None:
    """Read batches, and end the process at once when there can be no more."""
    while (batch := read_batch(file)) is not None:
        batches.put(batch)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
