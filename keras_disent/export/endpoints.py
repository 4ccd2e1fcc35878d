"""What an exported model offers: named functions of named arrays, the same in every format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

IMAGES = ("float32", "uint8")


@dataclasses.dataclass(frozen=True)
class Array:
    """One input or output: `shape` has None where any length will do."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function of tensors to a dict of tensors, and what goes in and comes out."""

    name: str
    function: Callable[..., dict[str, Any]]
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def converted(endpoints: Sequence[Endpoint], convert: Callable[[Endpoint], Any]) -> dict[str, Any]:
    """Return what `convert` makes of each endpoint, by name; two that do the same are made once."""
    made: dict[Any, Any] = {}
    for endpoint in endpoints:
        if endpoint.function not in made:
            made[endpoint.function] = convert(endpoint)
    return {endpoint.name: made[endpoint.function] for endpoint in endpoints}


def endpoints(model: Any, images: str = "float32") -> tuple[Endpoint, ...]:
    """Return the endpoints of a model; the first is the default.

    - `serve` and `reconstruct`: images -> reconstructed
    - `encode`: images -> mean (n, D), and log_variance (n, D) if the model has a posterior
    - `decode`: codes (n, D) -> decoded
    - `traverse`: images, latents (l,), values (v,) -> traversed (n, l, v, h, w, c), as
      `ImageModel.traverse`

    Args:
        model: an image model.
        images: dtype of the images that come out: "float32" in [0, 1] or "uint8" in 0..255.

    >>> from keras_disent import VAE
    >>> [endpoint.name for endpoint in endpoints(VAE((32, 32, 1), 4, "mlp", "mlp"))]
    ['serve', 'encode', 'decode', 'reconstruct', 'traverse']
    """
    latents, shape = model.latent_dim, model.image_shape

    def seen(pictures):
        if images == "float32":
            return pictures
        return ops.cast(ops.round(ops.clip(255.0 * pictures, 0.0, 255.0)), "uint8")

    def reconstruct(images):
        codes = model.encode_tensors(images)[0]
        return {"reconstructed": seen(model.decode_tensors(codes))}

    def encode(images):
        return dict(zip(model.encoding, model.encode_tensors(images), strict=True))

    def decode(codes):
        return {"decoded": seen(model.decode_tensors(codes))}

    def traverse(images, latents, values):
        codes = model.encode_tensors(images)[0]
        dims = codes.shape[-1]
        turned = ops.cast(ops.equal(latents[:, None], ops.arange(dims, dtype="int32")), "float32")
        turned = turned[None, :, None]  # (1, l, 1, D)
        grid = codes[:, None, None] * (1 - turned) + values[None, None, :, None] * turned
        sizes = [ops.shape(array)[0] for array in (images, latents, values)]
        decoded = seen(model.decode_tensors(ops.reshape(grid, (-1, dims))))
        return {"traversed": ops.reshape(decoded, (*sizes, *shape))}

    taken = Array("images", (None, *shape), "uint8")
    codes = Array("codes", (None, latents), "float32")
    which, values = Array("latents", (None,), "int32"), Array("values", (None,), "float32")
    told = tuple(Array(name, (None, latents), "float32") for name in model.encoding)
    reconstructed, decoded = (
        Array(name, (None, *shape), images) for name in ("reconstructed", "decoded")
    )
    traversed = Array("traversed", (None, None, None, *shape), images)
    return (
        Endpoint("serve", reconstruct, (taken,), (reconstructed,)),
        Endpoint("encode", encode, (taken,), told),
        Endpoint("decode", decode, (codes,), (decoded,)),
        Endpoint("reconstruct", reconstruct, (taken,), (reconstructed,)),
        Endpoint("traverse", traverse, (taken, which, values), (traversed,)),
    )
