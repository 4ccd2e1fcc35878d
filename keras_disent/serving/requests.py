"""What a request may hold: checked before it is queued, so that no other request suffers."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np

MOST = 4096  # rows of one request, or rows x latents x values


def checked(
    endpoint: dict[str, Any], body: Any, latent_dim: int | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of a request.

    Args:
        endpoint: what the card says of the endpoint.
        body: what was sent: `{"inputs": {name: nested lists}}`.
        latent_dim: number of latents of the model, for endpoints that are told which to turn.

    Raises:
        ValueError: says which rule is broken, and what came.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> checked({"inputs": [codes]}, {"inputs": {"codes": [[0.5, 1]]}})["codes"].shape
    (1, 2)
    >>> checked({"inputs": [codes]}, {"inputs": {"codes": [0.5, 1]}})
    Traceback (most recent call last):
    ...
    ValueError: `codes` must be (n, 2). Got shape (2,).
    """
    names = [array["name"] for array in endpoint["inputs"]]
    given = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(given, dict) or set(given) != set(names):
        got = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise ValueError(f'A request is {{"inputs": {{...}}}} with {", ".join(names)}. Got {got}.')
    arrays = {array["name"]: _array(array, given[array["name"]]) for array in endpoint["inputs"]}
    turned = arrays.get("latents")
    if latent_dim and turned is not None and not ((turned >= 0) & (turned < latent_dim)).all():
        raise ValueError(f"`latents` are 0 to {latent_dim - 1}. Got {turned.tolist()}.")
    lengths = [len(array) for array in arrays.values()]
    if math.prod(lengths) > MOST:
        raise ValueError(
            f"{' x '.join(names)} may ask for at most {MOST} images. "
            f"Got {' x '.join(map(str, lengths))}."
        )
    return arrays


def _array(wanted: dict[str, Any], given: Any) -> np.ndarray:
    name, shape, dtype = wanted["name"], wanted["shape"], wanted["dtype"]
    if name == "images" and isinstance(given, list):
        given = [
            _picture(image, shape[1:]) if isinstance(image, dict) else image for image in given
        ]
    try:
        array = np.asarray(given)
    except ValueError:
        raise ValueError(f"`{name}` must be nested lists of equal lengths.") from None
    if len(shape) != array.ndim or any(
        size is not None and size != got for size, got in zip(shape, array.shape, strict=True)
    ):
        free = ", ".join("n" if size is None else str(size) for size in shape)
        comma = "," if len(shape) == 1 else ""
        raise ValueError(f"`{name}` must be ({free}{comma}). Got shape {array.shape}.")
    if not 0 < len(array) <= MOST:
        raise ValueError(f"`{name}` takes 1 to {MOST} rows. Got {len(array)}.")
    whole = not dtype.startswith("float")
    if array.dtype.kind not in ("iu" if whole else "iuf"):
        kind = "whole numbers" if whole else "numbers"
        raise ValueError(f"`{name}` must be {kind}. Got {array.dtype}.")
    if whole:
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


def _picture(given: dict[str, Any], shape: list[int]) -> list:
    from PIL import Image

    broken = 'A picture is {"b64": "..."}, a picture file in base64.'
    height, width, channels = shape
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(given["b64"], validate=True)))
    except Exception:  # Pillow's readers raise about anything
        raise ValueError(broken) from None
    if picture.size != (width, height):  # known before any pixel is unpacked
        got = " x ".join(map(str, picture.size))
        raise ValueError(f"A picture must be {width} wide and {height} high. Got {got}.")
    try:
        pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    except Exception:
        raise ValueError(broken) from None
    return pixels.reshape(shape).tolist()
