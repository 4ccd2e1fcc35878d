"""Encode images of a data set by index, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_disent._utils.arrays import ArrayLike
from keras_disent.metrics.checks import check_codes

CHUNK = 2048  # maximum number of images per call of the encoder
CHUNK_BYTES = 2**25  # maximum bytes of them as uint8, 32 MiB, unless one image is larger
GRID_LIMIT = 1_000_000  # maximum number of cached codes: 40 MB for ten float32 latents
POOL = 15_000  # images that groups are drawn from: those that the metrics of arrays encode, too
TIMED = 256  # images in each of the first two chunks of many, so that the speed is known soon

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


class CodeCache:
    """Codes of the images of a data set by index, encoded once each.

    It is an encoder itself, so that several scores of one encoder can share it. Codes of data that
    show another image for each draw of an index (`data.stochastic`) are not kept.

    Args:
        encoder: Deterministic function from images to codes, each independent of the others, or
            object with such a method `encode`.
        data: Ground-truth data set.
        encoded: Called with the number of images after each call of the encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: GroundTruth,
        encoded: Callable[[int], object] = lambda number: None,
    ) -> None:
        self.encoder: Any = encoder
        self.data, self.encoded = data, encoded
        self.stochastic = getattr(data, "stochastic", False)
        self._encode = encoder.encode if hasattr(encoder, "encode") else encoder
        self._random = np.random.default_rng(0)
        self._indices = np.empty(0, np.int64)  # of the codes that are kept, ascending
        self._codes: Codes | None = None

    def __call__(self, images: NDArray[np.uint8]) -> Codes:
        return _check_rows(self._encode(images), images)

    def draw(self, indices: Indices) -> Codes:
        """Encode images, again if need be; return their codes `(len(indices), latents)`."""
        parts = []
        for images in _chunks(self.data, indices, self._random):
            parts.append(self(images))
            self.encoded(len(images))
        return np.concatenate(parts)

    def codes(self, indices: Indices) -> Codes:
        """Return codes of images `(len(indices), latents)`; encode those that are not kept."""
        if self.stochastic or not len(indices):
            return self.draw(indices)
        missing = np.setdiff1d(indices, self._indices)
        if len(self._indices) + len(missing) > GRID_LIMIT:
            return self.draw(indices)
        if len(missing):
            new = self.draw(missing)
            all_indices = np.concatenate([self._indices, missing])
            codes = new if self._codes is None else np.concatenate([self._codes, new])
            order = np.argsort(all_indices, kind="stable")
            self._indices, self._codes = all_indices[order], codes[order]
        assert self._codes is not None
        return self._codes.take(np.searchsorted(self._indices, indices), axis=0)


def cached(encoder: Encoder, data: GroundTruth) -> CodeCache:
    """Return an encoder that is a `CodeCache`, of this encoder unless it is one."""
    return encoder if isinstance(encoder, CodeCache) else CodeCache(encoder, data)


def codes_by_index(encoder: Encoder, data: GroundTruth, planned: int) -> Callable[[Indices], Codes]:
    """Return a function from indices of `data` to codes `(len(indices), latents)`.

    If the grid is no larger than `planned`, every image is encoded once, and later calls look its
    code up. So the encoder must be deterministic, and encode each image independently. Images are
    encoded in chunks of at most 2,048 and at most 32 MiB as uint8, which is 128 MiB as float32,
    while the next chunk is drawn. Data that show more than one image of an index
    (`data.stochastic`) are drawn anew each time.

    Args:
        encoder: Function from images to codes, object with such a method `encode`, or a
            `CodeCache`, whose codes are used as far as it has them.
        data: Ground-truth data set.
        planned: Total number of images that will be encoded.

    Raises:
        ValueError: If the encoder does not return one row of finite codes per image.
    """
    cache = cached(encoder, data)
    if cache.stochastic:
        return cache.draw
    if len(data) > min(planned, GRID_LIMIT):
        return cache.codes if isinstance(encoder, CodeCache) else cache.draw
    grid = cache.codes(np.arange(len(data)))
    return lambda indices: grid.take(indices, axis=0)  # faster than grid[indices]


def posteriors(cache: CodeCache, indices: Indices) -> tuple[Codes, Codes]:
    """Return mean and log-variance of q(z|x) of images by index: two arrays `(n, latents)`.

    Raises:
        ValueError: If the encoder has no method `posterior_parameters`, or it does not return
            two rows of finite numbers per image.
    """
    check_posterior(cache.encoder)
    pairs = []
    for images in _chunks(cache.data, indices, np.random.default_rng(0)):
        parts = cache.encoder.posterior_parameters(images)
        pairs.append([_check_rows(part, images) for part in parts])
        cache.encoded(len(images))
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
    """Yield images in chunks of at most `CHUNK` images and `CHUNK_BYTES` bytes.

    The next chunk is drawn in a thread while the caller works on this one.
    """
    shape = data.image_shape if hasattr(data, "image_shape") else data.images(indices[:1]).shape
    size = max(1, min(CHUNK, CHUNK_BYTES // max(1, math.prod(shape))))
    first = [TIMED, 2 * TIMED] if size > 2 * TIMED and len(indices) > size else []
    ends = [*first, *range((first[-1] if first else 0) + size, len(indices), size)]
    chunks = np.split(indices, ends)

    def draw(chunk: Indices) -> NDArray[np.uint8]:
        if getattr(data, "stochastic", False):
            return data.observations(chunk, random)
        return data.images(chunk)

    if len(chunks) < 2:
        yield from map(draw, chunks)
        return
    with ThreadPoolExecutor(1) as thread:
        images = thread.submit(draw, chunks[0])
        for chunk in chunks[1:]:
            chunk_images, images = images.result(), thread.submit(draw, chunk)
            yield chunk_images
        yield images.result()


def _check_rows(codes: ArrayLike, images: NDArray[np.uint8]) -> Codes:
    array = check_codes(codes, "What `encoder` returns")
    if len(array) != len(images):
        raise ValueError(
            f"`encoder` must return one row of codes per image. Got {len(array)} rows for "
            f"{len(images)} images."
        )
    return array
