"""Codes of one's own pictures, of images, and of the images of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_disent._utils import checks
from keras_disent._utils.arrays import to_numpy


def images_of(model: Any, pictures: Any) -> tuple[np.ndarray, bool]:
    """Return pictures as images (n, h, w, c), and whether it is a single one."""
    from keras_disent.datasets.pictures import read_image

    def image(picture: Any) -> np.ndarray:
        if checks.is_array(picture):
            picture = to_numpy(picture)
            if picture.shape == model.image_shape:
                checks.images(picture[None], model.image_shape, "picture", refuse_bits=False)
                return picture if picture.dtype == np.uint8 else picture.astype("float32")
        return read_image(picture, like=model)

    if checks.is_array(pictures) and len(pictures.shape) == 4:
        if tuple(pictures.shape[1:]) == model.image_shape:
            return to_numpy(pictures), False
        pictures = list(to_numpy(pictures))
    if not isinstance(pictures, (list, tuple)):
        return image(pictures)[None], True
    if not pictures:
        raise ValueError("`pictures` must hold at least one picture. Got none.")
    images = [image(picture) for picture in pictures]
    if len({picture.dtype for picture in images}) > 1:
        images = [p / np.float32(255) if p.dtype == np.uint8 else p for p in images]
    return np.stack(images), False


def codes_of(model: Any, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Return the codes of images (n, h, w, c); a model that cannot encode is told."""
    if not hasattr(model, "encode"):
        raise TypeError(
            f"{type(model).__name__} has no `encode`, so that it can decode codes and edit no "
            "picture."
        )
    return np.array(model.encode(images, batch_size))


def code_of(model: Any, value: Any) -> np.ndarray:
    """Return a code (D,), or the code of a picture."""
    numbers = isinstance(value, (list, tuple)) and all(np.isscalar(v) for v in value)
    if numbers and not any(isinstance(v, (str, bytes)) for v in value):
        value = np.asarray(value)
    if checks.is_array(value) and len(value.shape) == 1:
        code = to_numpy(value).astype("float32")
        if code.shape != (model.latent_dim,) or not np.isfinite(code).all():
            raise ValueError(
                f"A code is {model.latent_dim} finite numbers. Got {np.array2string(code)}."
            )
        return code
    images, single = images_of(model, value)
    if not single:
        raise ValueError(f"One picture or code is needed here. Got {len(images)} pictures.")
    return codes_of(model, images)[0]


def encoded(
    model: Any, images: Any, n_samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (m,) of images and their codes (m, D)."""
    n_samples = checks.check_integer("n_samples", n_samples, at_least=2)
    if not hasattr(images, "images"):
        codes = codes_of(model, images_of(model, images)[0])
        return np.arange(len(codes)), codes
    total = len(images)
    indices = np.arange(total)
    if total > n_samples:
        indices = np.sort(rng.choice(total, n_samples, replace=False))
    from keras_disent.metrics.encoding import codes_by_index  # imports all scores

    return indices, codes_by_index(model, images, len(indices))(indices)
