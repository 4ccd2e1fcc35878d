"""Endpoints of an exported model: named functions of named arrays, the same in every format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor

IMAGES = ("float32", "uint8")


@dataclasses.dataclass(frozen=True)
class Array:
    """Describe one input or output; `shape` has None for any length."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Describe a function from tensors to a dict of tensors, with its inputs and outputs."""

    name: str
    function: Callable[..., dict[str, Any]]
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def convert_all(
    endpoints: Sequence[Endpoint], convert: Callable[[Endpoint], Any]
) -> dict[str, Any]:
    """Convert each endpoint, and return results by name; a shared function is converted once."""
    results: dict[Any, Any] = {}
    for endpoint in endpoints:
        if endpoint.function not in results:
            results[endpoint.function] = convert(endpoint)
    return {endpoint.name: results[endpoint.function] for endpoint in endpoints}


def endpoints(
    model: Any, images: str = "float32", names: Sequence[str] | None = None
) -> tuple[Endpoint, ...]:
    """Create the endpoints of a model; the first is the default.

    - `serve` and `reconstruct`: images -> reconstructed
    - `encode`: images -> mean (n, D), and log_variance (n, D) if the model has a posterior
    - `decode`: codes (n, D) -> decoded
    - `traverse`: images, latents (l,), values (v,) -> traversed (n, l, v, h, w, c), as
      `ImageModel.traverse`
    - `intervene`, of models with concepts, only if it is asked for: codes, values (n, K), fixed
      (n, K), noise (n, 1) -> decoded, concepts (n, K), as `ConceptVAE.intervene_tensors`

    Args:
        model: An `ImageModel`.
        images: Dtype of the returned images: "float32" in [0, 1] or "uint8" in 0..255.
        names: Names of the endpoints. Default: the first five.

    Raises:
        ValueError: For a name that this model has no endpoint of.

    >>> from keras_disent import VAE
    >>> [endpoint.name for endpoint in endpoints(VAE((32, 32, 1), 4, "mlp", "mlp"))]
    ['serve', 'encode', 'decode', 'reconstruct', 'traverse']
    """
    latents, shape = model.latent_dim, model.image_shape

    def to_dtype(pixels: Tensor) -> Tensor:
        if images == "float32":
            return pixels
        return ops.cast(ops.round(ops.clip(255.0 * pixels, 0.0, 255.0)), "uint8")

    def reconstruct(images: Tensor) -> dict[str, Tensor]:
        codes = model.encode_tensors(images)[0]
        return {"reconstructed": to_dtype(model.decode_tensors(codes))}

    def encode(images: Tensor) -> dict[str, Tensor]:
        return dict(zip(model.encoding, model.encode_tensors(images), strict=True))

    def decode(codes: Tensor) -> dict[str, Tensor]:
        return {"decoded": to_dtype(model.decode_tensors(codes))}

    def traverse(images: Tensor, latents: Tensor, values: Tensor) -> dict[str, Tensor]:
        codes = model.encode_tensors(images)[0]
        dims = codes.shape[-1]
        mask = ops.cast(ops.equal(latents[:, None], ops.arange(dims, dtype="int32")), "float32")
        mask = mask[None, :, None]  # (1, l, 1, D)
        grid = codes[:, None, None] * (1 - mask) + values[None, None, :, None] * mask
        sizes = [ops.shape(array)[0] for array in (images, latents, values)]
        decoded = to_dtype(model.decode_tensors(ops.reshape(grid, (-1, dims))))
        return {"traversed": ops.reshape(decoded, (*sizes, *shape))}

    def intervene(codes: Tensor, values: Tensor, fixed: Tensor, noise: Tensor) -> dict[str, Tensor]:
        concepts, estimates = model.intervene_tensors(codes, values, fixed, noise)
        return {"decoded": to_dtype(model.decode_concepts(concepts)), "concepts": estimates}

    inputs = Array("images", (None, *shape), "uint8")
    codes = Array("codes", (None, latents), "float32")
    indices, values = Array("latents", (None,), "int32"), Array("values", (None,), "float32")
    encoding = tuple(Array(name, (None, latents), "float32") for name in model.encoding)
    reconstructed, decoded = (
        Array(name, (None, *shape), images) for name in ("reconstructed", "decoded")
    )
    traversed = Array("traversed", (None, None, None, *shape), images)
    available: tuple[Endpoint, ...] = (
        Endpoint("serve", reconstruct, (inputs,), (reconstructed,)),
        Endpoint("encode", encode, (inputs,), encoding),
        Endpoint("decode", decode, (codes,), (decoded,)),
        Endpoint("reconstruct", reconstruct, (inputs,), (reconstructed,)),
        Endpoint("traverse", traverse, (inputs, indices, values), (traversed,)),
    )
    if names is None:
        return available
    if hasattr(model, "intervene_tensors"):
        count = len(model.concept_names)
        labels, fixed = (Array(name, (None, count), "float32") for name in ("values", "fixed"))
        estimates = Array("concepts", (None, count), "float32")
        intervene_inputs = (codes, labels, fixed, Array("noise", (None, 1), "float32"))
        available += (Endpoint("intervene", intervene, intervene_inputs, (decoded, estimates)),)
    by_name = {endpoint.name: endpoint for endpoint in available}
    return tuple(lookup(name, by_name, "endpoint") for name in names)
