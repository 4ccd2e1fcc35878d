"""Pieces of two photographs: real images that come with scikit-learn."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.checks import check_integer
from keras_disent.datasets.card import Card
from keras_disent.datasets.source import ImageSource, check_indices


class Photographs(ImageSource):
    """All square pieces of scikit-learn's two photographs, a temple and a flower.

    There are no labels: these are images to try a model of color photographs on, with nothing
    to download.

    Args:
        image_size: pixels of a side, at most 427.

    Raises:
        ValueError: another size.

    >>> data = Photographs(64)
    >>> len(data), data.image_shape
    (420056, (64, 64, 3))
    """

    name = "photographs"
    card = Card(
        title="Pieces of two photographs",
        license="CC BY 2.0",
        citation="photographs by danielbuechele (temple) and vultilion (flower)",
        about=("They come with scikit-learn, which is installed.",),
    )

    def __init__(self, image_size: int = 64):
        size = check_integer("image_size", image_size, at_least=1)
        shortest = min(_photographs().shape[1:3])
        if size > shortest:
            raise ValueError(f"`image_size` is at most {shortest}. Got {size}.")
        self.image_size = size
        self.image_shape = (size, size, 3)

        _, height, width, _ = _photographs().shape
        self._places = (2, height - size + 1, width - size + 1)

    def __len__(self) -> int:
        return math.prod(self._places)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Images at some indices: photograph, then row, then column of the upper left corner.

        Returns:
            uint8 `(n, image_size, image_size, 3)`.

        Raises:
            TypeError, ValueError, IndexError: see `check_indices`.
        """
        checked = check_indices(indices, len(self))
        found, size = np.empty((len(checked), *self.image_shape), np.uint8), self.image_size
        places = zip(*np.unravel_index(checked, self._places), strict=True)
        for piece, (photograph, row, column) in zip(found, places, strict=True):
            piece[:] = _photographs()[photograph, row : row + size, column : column + size]
        return found


@cache
def _photographs() -> np.ndarray:
    """uint8 `(2, 427, 640, 3)`."""
    from sklearn.datasets import load_sample_images

    return np.stack(load_sample_images().images)
