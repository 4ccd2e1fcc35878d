"""Checks of requests before they are computed, so that an invalid one cannot fail a batch."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_disent._utils.latent_names import latent_indices

MAX_PIXELS = 50_000_000  # of one picture
MAX_IMAGES = 4096  # rows of one request, or rows x latents x values
MAX_BYTES = 2**27  # of them as float32, images that come in or go out

Arrays = dict[str, np.ndarray]


def check_request(
    endpoint: dict[str, Any],
    body: Any,
    latent_names: Sequence[str] = (),
    pictures: dict[str, Any] | None = None,
) -> Arrays:
    """Check the body of a request in the format of TensorFlow Serving, and return its arrays.

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
    arrays, limit = {}, max_rows(endpoint)
    for array in endpoint["inputs"]:
        value = inputs[array["name"]]
        if isinstance(value, list) and len(value) > limit:  # before a picture is decoded
            raise ValueError(f"`{array['name']}` takes 1 to {limit} rows. Got {len(value)}.")
        if array["name"] == "images" and isinstance(value, list):
            value = [
                _picture(image, array["shape"][1:], pictures) if isinstance(image, dict) else image
                for image in value
            ]
        try:
            arrays[array["name"]] = np.asarray(value)
        except ValueError:
            raise ValueError(f"`{array['name']}` must be nested lists of equal lengths.") from None
    return check_arrays(endpoint, arrays, len(latent_names))


def check_arrays(endpoint: dict[str, Any], arrays: Arrays, latent_dim: int = 0) -> Arrays:
    """Check the arrays of a request, and return them in the endpoint's dtypes.

    Args:
        endpoint: Description of the endpoint in the card.
        arrays: Array of each input.
        latent_dim: Number of latents of the model, for an input `latents`; 0 if unknown.

    Raises:
        ValueError: A shape, a dtype or a value is invalid, or more than `max_rows` images are
            asked for.

    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> check_arrays({"inputs": [codes]}, {"codes": np.array([[1, 2]])})
    {'codes': array([[1., 2.]], dtype=float32)}
    """
    limit = max_rows(endpoint)
    arrays = {
        array["name"]: _checked(array, arrays[array["name"]], limit) for array in endpoint["inputs"]
    }
    latents = arrays.get("latents")
    if latent_dim and latents is not None and not ((latents >= 0) & (latents < latent_dim)).all():
        raise ValueError(f"`latents` are 0 to {latent_dim - 1}. Got {latents.tolist()}.")
    lengths = [len(array) for array in arrays.values()]
    if math.prod(lengths) > limit:
        raise ValueError(
            f"{' x '.join(arrays)} may ask for at most {limit} images. "
            f"Got {' x '.join(map(str, lengths))}."
        )
    return arrays


def max_rows(endpoint: dict[str, Any]) -> int:
    """Return how many rows a request may have: fewer if the images are large."""
    arrays = [*endpoint["inputs"], *endpoint.get("outputs", ())]
    sizes = [math.prod(size or 1 for size in array["shape"]) for array in arrays]
    return max(1, min(MAX_IMAGES, MAX_BYTES // (4 * max(sizes))))


def check_shape(
    name: str, shape: Sequence[int | None], got: Sequence[int], limit: int = MAX_IMAGES
) -> None:
    """Check the shape of an array before its content is touched.

    Args:
        name: Name of the array.
        shape: Sizes of the axes, None for any number of rows.
        got: The actual sizes.
        limit: Maximum number of rows, that of `max_rows`.

    Raises:
        ValueError: They differ, or there are no rows, or too many.

    >>> check_shape("images", [None, 8, 8, 1], (3, 8, 9, 1))
    Traceback (most recent call last):
    ...
    ValueError: `images` must be (n, 8, 8, 1). Got shape (3, 8, 9, 1).
    """
    if len(shape) != len(got) or any(
        size is not None and size != actual for size, actual in zip(shape, got, strict=True)
    ):
        free = ", ".join("n" if size is None else str(size) for size in shape)
        comma = "," if len(shape) == 1 else ""
        raise ValueError(f"`{name}` must be ({free}{comma}). Got shape {tuple(got)}.")
    if not 0 < got[0] <= limit:
        raise ValueError(f"`{name}` takes 1 to {limit} rows. Got {got[0]}.")


def read_picture(
    content: bytes, shape: Sequence[int], pictures: dict[str, Any] | None = None
) -> np.ndarray:
    """Decode a picture file as training decoded its pictures.

    Args:
        content: Content of the file.
        shape: Shape of an image of the model, (height, width, channels).
        pictures: How picture files became the images that the model was trained on.

    Raises:
        ValueError: It is no picture, or has more than `MAX_PIXELS` pixels.
    """
    from keras_disent.datasets.pictures import read_image

    like = SimpleNamespace(image_shape=tuple(shape), pictures=pictures)
    try:
        return read_image(content, like=like, max_pixels=MAX_PIXELS)
    except ValueError as error:
        text, option, _ = str(error).partition(": pass pixel_range")
        if not option:
            raise
        raise ValueError(f"{text}. Send it with 8 bits, from 0 to 255.") from error


def read_npy(content: bytes, array: dict[str, Any]) -> np.ndarray:
    """Read a `.npy` file without a copy; its header is checked before its content is touched.

    Args:
        content: Content of the file.
        array: Description of the input in the card.

    Raises:
        ValueError: It is no `.npy` file of numbers, or its shape is wrong.

    >>> file = io.BytesIO()
    >>> np.save(file, np.eye(2))
    >>> codes = {"name": "codes", "shape": [None, 2], "dtype": "float32"}
    >>> read_npy(file.getvalue(), codes)
    array([[1., 0.],
           [0., 1.]])
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran_order, dtype = readers[version](file)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ValueError("The body is not a .npy file of version 1 or 2.") from None
    check_shape(array["name"], array["shape"], shape)
    if dtype.kind not in "iuf":
        raise ValueError(f"`{array['name']}` must be numbers. Got {dtype}.")
    data, size = content[file.tell() :], math.prod(shape) * dtype.itemsize
    if len(data) != size:
        raise ValueError(f"The .npy file needs {size} bytes of content. Got {len(data)}.")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")


def _checked(description: dict[str, Any], array: np.ndarray, limit: int) -> np.ndarray:
    name, dtype = description["name"], description["dtype"]
    check_shape(name, description["shape"], array.shape, limit)
    integer = not dtype.startswith("float")
    if array.dtype.kind not in ("iu" if integer else "iuf"):
        kind = "integers" if integer else "numbers"
        raise ValueError(f"`{name}` must be {kind}. Got {array.dtype}.")
    if array.dtype == dtype and integer:
        return array
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
    """Decode a picture that a JSON request holds in base64."""
    try:
        content = base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise ValueError('A picture is {"b64": "..."}, an image file in base64.') from None
    return read_picture(content, shape, pictures)
