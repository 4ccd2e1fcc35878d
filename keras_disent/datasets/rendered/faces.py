"""Faces: portraits of 360 people who turn their heads, open their mouths and blush."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from keras_disent.datasets.card import Card
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.rendered import portrait
from keras_disent.datasets.source import check_indices

_VALUES = {
    "head_turn": np.linspace(-35.0, 35.0, 15),
    "mouth_opening": np.linspace(0.0, 1.0, 8),
    "blush": np.linspace(0.0, 1.0, 8),
    "eye_opening": np.linspace(0.0, 1.0, 3),
    "hair_length": np.array(["ears", "chin", "shoulders"]),
    "skin_tone": np.linspace(0.0, 1.0, 5),
    "hair_color": np.array(["black", "brown", "copper", "blond"]),
    "background_hue": np.arange(30.0, 360.0, 60.0),
}
_SIZES = tuple(len(values) for values in _VALUES.values())
_PEOPLE = math.prod(_SIZES[4:])  # 360
_KINDS = (*["ordinal"] * 6, "categorical", "circular")
_IMAGE_SIZES = (64, 32, 48, 96, 128)
_CHUNK = 16  # images mixed at once, so that their weights fit into the processor's cache

# Weights are whole numbers and add up to 128; colors are halves of whole numbers. So float32 sums
# are exact, and do not depend on the order of summation in BLAS.
_FULL = 128


class Faces(GroundTruth):
    """Drawn portraits: a head turns, a mouth opens, cheeks blush.

    1,036,800 images in color. The factors are head_turn (15 steps), mouth_opening (8), blush (8),
    eye_opening (3), hair_length (3), skin_tone (5), hair_color (4) and background_hue (6). The
    first four are what a face does, the last four who it is. A positive turn is to the viewer's
    right. The light comes from the upper left and does not turn.

    The first image that a process reads takes a second or two, and a table in memory that all
    instances of the same size share: 2.6 MB at 32 pixels, 10.5 MB at 64, 42 MB at 128.

    Args:
        image_size: Height and width in pixels: 64, 32, 48, 96 or 128.
        person: One of the 360 people, from 0 to 359, to show only this one: the last four factors
            are constant, and 2,880 images remain. By default all people.

    Raises:
        ValueError: `image_size` is not supported, or there is no such person.

    >>> data = Faces()
    >>> len(data), data.images([0, 1_036_799]).shape
    (1036800, (2, 64, 64, 3))
    >>> one = Faces(32, person=261)
    >>> len(one), one.factor_sizes, one.factor_values["hair_color"].tolist()
    (2880, (15, 8, 8, 3, 1, 1, 1, 1), ['blond'])
    """

    name = "faces"
    card = Card(
        title="Faces: drawn portraits",
        notes=("One person shows turn, mouth, blush and eyes: --data-option person=261.",),
    )
    factor_names = tuple(_VALUES)

    def __init__(self, image_size: int = 64, person: int | None = None):
        if image_size not in _IMAGE_SIZES:
            raise ValueError(f"`image_size` needs to be one of {_IMAGE_SIZES}. Got {image_size!r}.")
        is_number = isinstance(person, int | np.integer) and not isinstance(person, bool)
        if person is not None and not (is_number and 0 <= person < _PEOPLE):
            raise ValueError(
                f"`person` needs to be an integer from 0 to {_PEOPLE - 1}, or None for all. "
                f"Got {person!r}."
            )
        self.image_size = image_size
        self.image_shape = (image_size, image_size, 3)
        self.person = person
        self.factor_sizes = _SIZES if person is None else (*_SIZES[:4], 1, 1, 1, 1)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Head turns in degrees, hues in degrees of OKLCH, names, and fractions from 0 to 1.

        A skin tone of 0 is the lightest. The hair ends above the ears, at the chin or at the
        shoulders.
        """
        values = {name: steps.copy() for name, steps in _VALUES.items()}
        if self.person is not None:
            steps = np.unravel_index([self.person], _SIZES[4:])
            values |= {
                name: values[name][step]
                for name, step in zip(self.factor_names[4:], steps, strict=True)
            }
        return values

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        return _KINDS if self.person is None else (*_KINDS[:4], *["constant"] * 4)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at some indices.

        The first call for an image size in a process draws 360 portraits, which takes a second or
        two.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, image_size, image_size, 3)`, red, green and blue.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        checked = check_indices(indices, len(self))
        if self.person is not None:
            checked = _PEOPLE * checked + self.person
        images = np.empty((len(checked), *self.image_shape), np.uint8)
        for first in range(0, len(checked), _CHUNK):
            part = slice(first, first + _CHUNK)
            _mix(np.unravel_index(checked[part], _SIZES), images[part])
        return images


def _mix(steps: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    """Mix images of steps, `(n,)` per factor, into uint8 `(n, size, size, 3)`."""
    turn, mouth, blush, eyes, length, skin, hair, ground = steps
    upper, lower = _tables(out.shape[1])
    weights = np.concatenate(
        [upper[turn, length, eyes], lower[turn, length, mouth]], axis=1, dtype=np.float32
    )
    out[...] = (weights @ _colors()[blush, skin, hair, ground]).reshape(out.shape)


@cache
def _tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the weights of all paints in every pixel.

    The upper rows of a picture do not depend on the mouth, nor the others on the eyes, so that 360
    drawings show all of them.

    Returns:
        upper: uint8 `(turns, lengths, eyes, pixels, columns)`.
        lower: uint8 `(turns, lengths, mouths, pixels, columns)`.
    """
    turns, mouths, _, eyes, lengths = _SIZES[:5]
    split = portrait.upper_rows(size)
    columns = portrait.COLUMNS
    upper = np.empty((turns, lengths, eyes, split * size, columns), np.uint8)
    lower = np.empty((turns, lengths, mouths, (size - split) * size, columns), np.uint8)
    mouth = np.arange(mouths)
    eye = mouth % eyes
    for turn, angle in enumerate(_VALUES["head_turn"]):
        for length in range(lengths):
            coverage = portrait.shares(
                np.full(mouths, angle),
                _VALUES["mouth_opening"],
                _VALUES["eye_opening"][eye],
                np.full(mouths, length / (lengths - 1)),
                size,
            )
            # Rounding the running sums, not the shares, keeps the sum of a pixel's weights.
            sums = np.rint(_FULL * np.cumsum(coverage[..., 3:], axis=-1))
            coverage[..., 3:] = np.diff(sums, axis=-1, prepend=0)
            weights = np.rint(coverage).reshape(mouths, -1, columns)
            upper[turn, length, eye] = weights[:, : split * size]
            lower[turn, length, mouth] = weights[:, split * size :]
    return upper, lower


@cache
def _colors() -> np.ndarray:
    """Return what a weight of each paint adds to a pixel: see `portrait.colors`.

    The weights of a pixel sum to `_FULL` without its fixed colors, which are rounded already. So
    adding a half to the other colors rounds instead of truncating. No color is above 253, so that
    no sum reaches 256.
    """
    table = portrait.colors(_SIZES[2])
    table[..., 3:, :] = (table[..., 3:, :] + 0.5) / _FULL
    return table
