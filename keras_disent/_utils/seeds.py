"""Random numbers for calls without a seed."""

from __future__ import annotations

import random

import numpy as np


def generator(seed: int | None) -> np.random.Generator:
    """Return the generator of a seed; None draws one, which `keras.utils.set_random_seed` fixes.

    >>> random.seed(0)
    >>> first = generator(None).random()
    >>> random.seed(0)
    >>> first == generator(None).random()
    True
    """
    return np.random.default_rng(random.getrandbits(63) if seed is None else seed)
