"""LitServe APIs of one endpoint, which run batches by ONNX Runtime."""

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

from keras_disent.serving.requests import check_request

Arrays = dict[str, np.ndarray]


class EndpointAPI(litserve.LitAPI):
    """Serve an endpoint of an exported model.

    Args:
        folder: Folder of the model.
        name: Name of the endpoint.
        endpoint: Description of the endpoint in the card.
        latent_names: Names of the latents of the model.
        pictures: How picture files became the images that the model was trained on.
        Others: As `litserve.LitAPI`.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        endpoint: dict[str, Any],
        latent_names: Sequence[str],
        pictures: dict[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(api_path=f"/{name}", **options)
        self.file = str(Path(folder) / f"{name}.onnx")
        self.outputs = [array["name"] for array in endpoint["outputs"]]
        self.decode_request = RequestDecoder(endpoint, latent_names, pictures)

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
        """Encode the response as JSON, here in the worker rather than in the listening process."""
        lists = {name: array.tolist() for name, array in output.items()}
        content = json.dumps({"outputs": lists}, separators=(",", ":"))
        return Response(content, media_type="application/json")


class BatchedAPI(EndpointAPI):
    """Serve an endpoint of one input with batching of requests."""

    def batch(self, inputs: Sequence[Arrays]) -> tuple[Arrays, list[int]]:
        """Concatenate the rows of several requests, and return the end of each."""
        (name,) = inputs[0]
        arrays = [request[name] for request in inputs]
        return {name: np.concatenate(arrays)}, np.cumsum([len(a) for a in arrays]).tolist()

    def predict(self, x: tuple[Arrays, list[int]]) -> tuple[Arrays, list[int]]:
        """Compute the outputs of a batch of requests."""
        rows, ends = x
        return super().predict(rows), ends

    def unbatch(self, output: tuple[Arrays, list[int]]) -> list[Arrays]:
        """Split the outputs into those of each request."""
        outputs, ends = output
        parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
        return [{name: parts[name][i] for name in parts} for i in range(len(ends))]


class RequestDecoder:
    """Decode requests, with an annotation by which FastAPI checks them before they are queued."""

    def __init__(
        self,
        endpoint: dict[str, Any],
        latent_names: Sequence[str],
        pictures: dict[str, Any] | None = None,
    ):
        self.check = partial(check_request, endpoint, latent_names=latent_names, pictures=pictures)

    @property
    def __signature__(self) -> inspect.Signature:
        annotation = Annotated[dict, AfterValidator(self.check)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter("request", kind, annotation=annotation)])

    def __call__(self, request: Arrays) -> Arrays:
        return request
