"""Encode images of a data set by index, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import check_codes

CHUNK = 4096  # maximum number of images per call of the encoder
CHUNK_BYTES = 2**26  # maximum bytes of them as uint8, 64 MiB, unless one image is larger
GRID_LIMIT = 1_000_000  # maximum number of cached codes: 40 MB for ten float32 latents

Codes = NDArray[Any]
Indices = NDArray[np.int64]


class GroundTruth(Protocol):
    """Interface of a labeled data set that metrics use."""

    @property
    def factor_names(self) -> Sequence[str]: ...
    @property
    def factor_sizes(self) -> Sequence[int]: ...
    def __len__(self) -> int: ...
    def factors(self, indices: Indices, /) -> NDArray[np.int64]: ...
    def images(self, indices: Indices, /) -> NDArray[np.uint8]: ...
    def indices(self, factors: NDArray[np.int64], /) -> Indices: ...
    def sample_factors(self, n: int, rng: np.random.Generator, /) -> NDArray[np.int64]: ...


class HasEncode(Protocol):
    """An object with a method `encode` from images to codes, such as a model."""

    def encode(self, images: NDArray[np.uint8], /) -> ArrayLike: ...


Encoder = Callable[[NDArray[np.uint8]], ArrayLike] | HasEncode


def codes_by_index(encoder: Encoder, data: GroundTruth, planned: int) -> Callable[[Indices], Codes]:
    """Return a function from indices of `data` to codes `(len(indices), latents)`.

    If the grid is no larger than `planned`, every image is encoded once, and later calls look its
    code up. So the encoder must be deterministic, and encode each image independently. Images are
    drawn and encoded in chunks of at most 4,096 and at most 64 MiB as uint8, which is 256 MiB as
    float32. Data that show more than one image of an index (`data.stochastic`) are drawn anew
    each time.

    Args:
        encoder: Function from images to codes, or object with such a method `encode`.
        data: Ground-truth data set.
        planned: Total number of images that will be encoded.

    Raises:
        ValueError: If the encoder does not return one row of finite codes per image.
    """
    encode = encoder.encode if hasattr(encoder, "encode") else encoder
    random = np.random.default_rng(0)

    def codes_of(indices: Indices) -> Codes:
        return np.concatenate(
            [_check_rows(encode(images), images) for images in _chunks(data, indices, random)]
        )

    if getattr(data, "stochastic", False) or len(data) > min(planned, GRID_LIMIT):
        return codes_of
    grid = codes_of(np.arange(len(data)))
    return lambda indices: grid.take(indices, axis=0)  # faster than grid[indices]


def posteriors(encoder: Any, data: GroundTruth, indices: Indices) -> tuple[Codes, Codes]:
    """Return mean and log-variance of q(z|x) of images by index: two arrays `(n, latents)`.

    Raises:
        ValueError: If the encoder has no method `posterior_parameters`, or it does not return
            two rows of finite numbers per image.
    """
    check_posterior(encoder)
    pairs = [
        [_check_rows(part, images) for part in encoder.posterior_parameters(images)]
        for images in _chunks(data, indices, np.random.default_rng(0))
    ]
    means, log_variances = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return means, log_variances


def check_posterior(encoder: Any) -> None:
    """Raise ValueError if `encoder` has no method `posterior_parameters`."""
    if not hasattr(encoder, "posterior_parameters"):
        raise ValueError(
            "Scores of posteriors, and sampled codes, need an encoder with a method "
            f"`posterior_parameters`, such as a VAE. Got {type(encoder).__name__}."
        )


def _chunks(
    data: Any, indices: Indices, random: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Yield images in chunks of at most `CHUNK` images and `CHUNK_BYTES` bytes."""
    shape = data.image_shape if hasattr(data, "image_shape") else data.images(indices[:1]).shape
    size = max(1, min(CHUNK, CHUNK_BYTES // max(1, math.prod(shape))))
    for start in range(0, len(indices), size):
        chunk = indices[start : start + size]
        if getattr(data, "stochastic", False):
            yield data.observations(chunk, random)
        else:
            yield data.images(chunk)


def _check_rows(codes: ArrayLike, images: NDArray[np.uint8]) -> Codes:
    array = check_codes(codes, "What `encoder` returns")
    if len(array) != len(images):
        raise ValueError(
            f"`encoder` must return one row of codes per image. Got {len(array)} rows for "
            f"{len(images)} images."
        )
    return array
