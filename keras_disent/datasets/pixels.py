"""Image transforms: size, channels, random colors and backgrounds.

A transform is an object with three methods:

- `shape(image_shape)` returns the shape of a transformed image.
- `uniforms(image_shape)` returns the shape of the random numbers from 0 to 1 that an image needs,
  or None if the transform is deterministic.
- `__call__(images, uniforms)` transforms uint8 `(n, height, width, channels)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from keras_disent._utils.checks import check_integer, check_pixels
from keras_disent.datasets.pictures.shapes import resize

Shape = tuple[int, int, int]


class Resized:
    """Crop images to their center and resize it (antialiased: Hamming).

    Args:
        size: Side of a square image in pixels, or `(height, width)`.
    """

    def __init__(self, size: int | tuple[int, int]):
        height, width = size if isinstance(size, tuple | list) and len(size) == 2 else (size, size)
        check_integer("size", height, at_least=1)
        self.size = (int(height), check_integer("size", width, at_least=1))
        check_pixels("image_size", self.size)

    def shape(self, shape: Shape) -> Shape:
        return *self.size, shape[2]

    def uniforms(self, shape: Shape) -> None:
        return None

    def __call__(self, images: np.ndarray, uniforms: None = None) -> np.ndarray:
        if images.shape[1:3] == self.size:
            return images
        out = np.empty((len(images), *self.shape(images.shape[1:])), np.uint8)
        for target, image in zip(out, images, strict=True):
            # Pillow supports one or three channels; other images are resized channel by channel.
            is_rgb = image.shape[2] == 3
            planes = [image] if is_rgb else [image[..., c] for c in range(image.shape[2])]
            resized = [np.asarray(resize(Image.fromarray(p), self.size)) for p in planes]
            target[:] = resized[0] if is_rgb else np.stack(resized, axis=-1)
        return out


class Channels:
    """Convert images to gray (1 channel, Rec. 601 luma) or to color (3 channels)."""

    def __init__(self, channels: int):
        if channels not in (1, 3):
            raise ValueError(f"`channels` is 1 (gray) or 3 (color). Got {channels!r}.")
        self.channels = channels

    def shape(self, shape: Shape) -> Shape:
        if shape[2] not in (1, 3):
            raise ValueError(f"`Channels` needs images with 1 or 3 channels. Got {shape[2]}.")
        return shape[0], shape[1], self.channels

    def uniforms(self, shape: Shape) -> None:
        return None

    def __call__(self, images: np.ndarray, uniforms: None = None) -> np.ndarray:
        if images.shape[3] == self.channels:
            return images
        if self.channels == 3:
            return np.repeat(images, 3, axis=3)
        weighted = images.astype(np.uint32) * np.array([299, 587, 114], np.uint32)
        return ((weighted.sum(axis=3, keepdims=True) + 500) // 1000).astype(np.uint8)


class _MaskTransform:
    """Base class of transforms that use images of white objects on black as masks."""

    def shape(self, shape: Shape) -> Shape:
        if shape[2] != 1:
            raise ValueError(
                "Random colors and backgrounds need bright objects on black, with one channel. "
                f"Got {shape[2]} channels."
            )
        return shape[0], shape[1], 3


class RandomColor(_MaskTransform):
    """Paint each object in a random color, with channels from 0.5 to 1 (Color-dSprites)."""

    def uniforms(self, shape: Shape) -> tuple[int, ...]:
        return (1, 1, 3)

    def __call__(self, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return np.rint(images * (0.5 + 0.5 * uniforms)).astype(np.uint8)


class NoisyBackground(_MaskTransform):
    """Add uniform noise to every pixel and channel (Noisy-dSprites)."""

    def uniforms(self, shape: Shape) -> tuple[int, ...]:
        return self.shape(shape)

    def __call__(self, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return np.rint(np.minimum(images + 255 * uniforms, 255)).astype(np.uint8)


class PictureBackground(_MaskTransform):
    """Show objects on random crops of a picture, as in Scream-dSprites (Locatello et al. 2019).

    Each crop is mixed with a random color, and inverted where the object is.

    Args:
        picture: uint8 `(height, width, 3)`; by default a photograph included in scikit-learn.
            The original data set uses a painting of at most 350 x 274 pixels.

    Raises:
        ValueError: `picture` is not an RGB picture; or, when the transform is used, it is smaller
            than the images.
    """

    def __init__(self, picture: ArrayLike | None = None):
        if picture is None:
            picture = _photograph()
        self.picture = np.asarray(picture)
        if self.picture.ndim != 3 or self.picture.shape[2] != 3 or self.picture.dtype != np.uint8:
            raise ValueError(
                "`picture` needs uint8 (height, width, 3). "
                f"Got {self.picture.dtype} {self.picture.shape}."
            )

    def shape(self, shape: Shape) -> Shape:
        if min(np.subtract(self.picture.shape[:2], shape[:2])) < 0:
            raise ValueError(
                f"`picture` needs at least {shape[0]} x {shape[1]} pixels, as the images. "
                f"Got {self.picture.shape[0]} x {self.picture.shape[1]}."
            )
        return super().shape(shape)

    def uniforms(self, shape: Shape) -> tuple[int, ...]:
        return (5,)

    def __call__(self, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        size = np.array(images.shape[1:3])
        corners = np.array(self.picture.shape[:2]) - size + 1
        rows, columns = np.floor(uniforms[:, :2] * corners).astype(np.int64).T
        windows = np.lib.stride_tricks.sliding_window_view(self.picture, tuple(size), (0, 1))
        crops = windows[rows, columns].transpose(0, 2, 3, 1)
        mixed = (crops + 255 * uniforms[:, None, None, 2:]) / 2
        return np.rint(np.where(images > 127, 255 - mixed, mixed)).astype(np.uint8)


def _photograph() -> Any:
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image("china.jpg"))
    picture.thumbnail((350, 274))
    return np.asarray(picture)


def hash_uniforms(indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return pseudorandom numbers from 0 to 1 that are a fixed function of each index.

    Args:
        indices: `(n,)` int64.
        shape: Shape of the numbers for one index.

    Returns:
        float64 `(n, *shape)`: SplitMix64 (Steele, Lea and Flood 2014) of the index and the
        position in `shape`.

    >>> hash_uniforms(np.array([7, 8]), (2,)).round(3)
    array([[0.708, 0.518],
           [0.489, 0.765]])
    """
    count = int(np.prod(shape))
    position = np.arange(count, dtype=np.uint64)
    state = indices.astype(np.uint64)[:, None] * np.uint64(count) + position + np.uint64(1)
    state *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return ((state >> np.uint64(11)) * 2.0**-53).reshape(len(indices), *shape)
