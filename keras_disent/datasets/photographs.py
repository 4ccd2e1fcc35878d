"""Crops of two photographs that are included in scikit-learn."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.checks import check_integer
from keras_disent.datasets.card import Card
from keras_disent.datasets.source import ImageSource, check_indices


class Photographs(ImageSource):
    """All square crops of scikit-learn's two sample photographs, a temple and a flower.

    The images have no labels. They are meant for trying a model on photographs in color without
    a download.

    Args:
        image_size: Height and width in pixels, at most 427.

    Raises:
        ValueError: `image_size` is out of range.

    >>> data = Photographs(64)
    >>> len(data), data.image_shape
    (420056, (64, 64, 3))
    """

    name = "photographs"
    card = Card(
        title="Crops of two photographs",
        license="CC BY 2.0",
        citation="photographs by danielbuechele (temple) and vultilion (flower)",
        notes=("The photographs are included in scikit-learn, which is installed.",),
    )

    def __init__(self, image_size: int = 64):
        size = check_integer("image_size", image_size, at_least=1)
        shortest = min(_photographs().shape[1:3])
        if size > shortest:
            raise ValueError(f"`image_size` is at most {shortest}. Got {size}.")
        self.image_size = size
        self.image_shape = (size, size, 3)

        _, height, width, _ = _photographs().shape
        self._corners = (2, height - size + 1, width - size + 1)

    def __len__(self) -> int:
        return math.prod(self._corners)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the crops at some indices.

        Indices count photographs, then rows, then columns of the upper left corner; the last one
        changes fastest.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        crops, size = np.empty((len(checked), *self.image_shape), np.uint8), self.image_size
        corners = zip(*np.unravel_index(checked, self._corners), strict=True)
        for crop, (photograph, row, column) in zip(crops, corners, strict=True):
            crop[:] = _photographs()[photograph, row : row + size, column : column + size]
        return crops


@cache
def _photographs() -> np.ndarray:
    """Load both photographs, uint8 `(2, 427, 640, 3)`."""
    from sklearn.datasets import load_sample_images

    return np.stack(load_sample_images().images)
