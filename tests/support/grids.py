"""Arrays of grids: all combinations of factors, and images that encode their index."""

import functools

import numpy as np


def grid_of(sizes):
    """Return all combinations of factors; the last factor changes fastest."""
    return np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes))


@functools.cache
def colors_of(count):
    """Make images (count, 2, 1, 3): the upper pixel is the index, the lower its complement."""
    digits = np.arange(count)[:, None] // [1, 256, 65536] % 256
    return np.stack([digits, 255 - digits], axis=1).reshape(count, 2, 1, 3).astype(np.uint8)


def changed(array, index, value):
    """Return a copy with another value."""
    copy = array.copy()
    copy[index] = value
    return copy
