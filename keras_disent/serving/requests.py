"""Checks of requests before they are queued, so that an invalid one cannot fail a batch."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_disent._utils.latent_names import latent_indices

MAX_PIXELS = 50_000_000  # of one picture
MAX_IMAGES = 4096  # rows of one request, or rows x latents x values
MAX_BYTES = 2**27  # of them as float32, images that come in or go out


def check_request(
    endpoint: dict[str, Any],
    body: Any,
    latent_names: Sequence[str] = (),
    pictures: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Check the body of a request, and return its arrays.

    Args:
        endpoint: Description of the endpoint in the card.
        body: Body of the request: `{"inputs": {name: nested lists}}`.
        latent_names: Names of the model's latents, for endpoints with an input `latents`, which
            takes names and indices.
        pictures: How picture files became the images that the model was trained on. Pictures in a
            request become images in the same way.

    Raises:
        ValueError: States the rule, then what came.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> check_request({"inputs": [codes]}, {"inputs": {"codes": [[0.5, 1]]}})["codes"].shape
    (1, 2)
    >>> check_request({"inputs": [codes]}, {"inputs": {"codes": [0.5, 1]}})
    Traceback (most recent call last):
    ...
    ValueError: `codes` must be (n, 2). Got shape (2,).
    """
    names = [array["name"] for array in endpoint["inputs"]]
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, dict) or set(inputs) != set(names):
        got = sorted(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
        raise ValueError(f'A request is {{"inputs": {{...}}}} with {", ".join(names)}. Got {got}.')
    if latent_names and isinstance(inputs.get("latents"), list):
        inputs = {**inputs, "latents": latent_indices(inputs["latents"], latent_names)}
    limit = _max_rows(endpoint)
    arrays = {
        array["name"]: _array(array, inputs[array["name"]], pictures, limit)
        for array in endpoint["inputs"]
    }
    lengths = [len(array) for array in arrays.values()]
    if math.prod(lengths) > limit:
        raise ValueError(
            f"{' x '.join(names)} may ask for at most {limit} images. "
            f"Got {' x '.join(map(str, lengths))}."
        )
    return arrays


def _max_rows(endpoint: dict[str, Any]) -> int:
    """Return how many rows a request may have: fewer if the images are large."""
    arrays = [*endpoint["inputs"], *endpoint.get("outputs", ())]
    sizes = [math.prod(size or 1 for size in array["shape"]) for array in arrays]
    return max(1, min(MAX_IMAGES, MAX_BYTES // (4 * max(sizes))))


def _array(
    description: dict[str, Any], value: Any, pictures: dict[str, Any] | None, limit: int
) -> np.ndarray:
    name, shape, dtype = description["name"], description["shape"], description["dtype"]
    if isinstance(value, list) and len(value) > limit:  # before a picture is decoded
        raise ValueError(f"`{name}` takes 1 to {limit} rows. Got {len(value)}.")
    if name == "images" and isinstance(value, list):
        value = [
            _picture(image, shape[1:], pictures) if isinstance(image, dict) else image
            for image in value
        ]
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must be nested lists of equal lengths.") from None
    if len(shape) != array.ndim or any(
        size is not None and size != got for size, got in zip(shape, array.shape, strict=True)
    ):
        free = ", ".join("n" if size is None else str(size) for size in shape)
        comma = "," if len(shape) == 1 else ""
        raise ValueError(f"`{name}` must be ({free}{comma}). Got shape {array.shape}.")
    if not len(array):
        raise ValueError(f"`{name}` takes 1 to {limit} rows. Got 0.")
    integer = not dtype.startswith("float")
    if array.dtype.kind not in ("iu" if integer else "iuf"):
        kind = "integers" if integer else "numbers"
        raise ValueError(f"`{name}` must be {kind}. Got {array.dtype}.")
    if integer:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"`{name}` must be from {limits.min} to {limits.max}. "
                f"Got {array.min()} to {array.max()}."
            )
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite, as {dtype}.")
    return array


def _picture(
    value: dict[str, Any], shape: list[int], pictures: dict[str, Any] | None
) -> np.ndarray:
    """Decode a picture of a request as training decoded its pictures."""
    from keras_disent.datasets.pictures import read_image

    try:
        content = base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise ValueError('A picture is {"b64": "..."}, an image file in base64.') from None
    like = SimpleNamespace(image_shape=tuple(shape), pictures=pictures)
    return read_image(content, like=like, max_pixels=MAX_PIXELS)
