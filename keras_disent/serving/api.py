"""One endpoint behind LitServe: requests in, batches through ONNX Runtime, answers out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Response
from pydantic import AfterValidator

from keras_disent.serving.requests import checked

Arrays = dict[str, np.ndarray]


class EndpointAPI(litserve.LitAPI):
    """An endpoint of an exported model.

    Args:
        folder: of the model.
        name: of the endpoint.
        endpoint: what the card says of it.
        latent_dim: number of latents of the model.
        Others: as `litserve.LitAPI`.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        endpoint: dict[str, Any],
        latent_dim: int,
        **options: Any,
    ):
        super().__init__(api_path=f"/{name}", **options)
        self.file = str(Path(folder) / f"{name}.onnx")
        self.outputs = [array["name"] for array in endpoint["outputs"]]
        self.decode_request = Checked(endpoint, latent_dim)

    def setup(self, device: str) -> None:
        """Load the graph, once in each worker."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the endpoints' workers share the machine
        self.session = onnxruntime.InferenceSession(self.file, options)

    def predict(self, x: Any) -> Any:
        """Compute the outputs of one request."""
        return dict(zip(self.outputs, self.session.run(self.outputs, x), strict=True))

    def encode_response(self, output: Arrays) -> Response:
        """Return what is sent: JSON, written here so that the process that listens need not."""
        lists = {name: array.tolist() for name, array in output.items()}
        content = json.dumps({"outputs": lists}, separators=(",", ":"))
        return Response(content, media_type="application/json")


class BatchedAPI(EndpointAPI):
    """An endpoint of one input, whose requests are computed together."""

    def batch(self, inputs: Sequence[Arrays]) -> tuple[Arrays, list[int]]:
        """Join the rows of several requests; remember where each one ends."""
        (name,) = inputs[0]
        arrays = [request[name] for request in inputs]
        return {name: np.concatenate(arrays)}, np.cumsum([len(a) for a in arrays]).tolist()

    def predict(self, x: tuple[Arrays, list[int]]) -> tuple[Arrays, list[int]]:
        """Compute the outputs of joined requests."""
        joined, ends = x
        return super().predict(joined), ends

    def unbatch(self, output: tuple[Arrays, list[int]]) -> list[Arrays]:
        """Give each request its own rows."""
        outputs, ends = output
        parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
        return [{name: parts[name][i] for name in parts} for i in range(len(ends))]


class Checked:
    """A `decode_request` whose annotation makes FastAPI check a request before it is queued."""

    def __init__(self, endpoint: dict[str, Any], latent_dim: int):
        self.checked = partial(checked, endpoint, latent_dim=latent_dim)

    @property
    def __signature__(self) -> inspect.Signature:
        valid = Annotated[dict, AfterValidator(self.checked)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter("request", kind, annotation=valid)])

    def __call__(self, request: Arrays) -> Arrays:
        return request
