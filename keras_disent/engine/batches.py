"""Reproducible random batches of a data set: a batch depends only on a seed and a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_disent._utils.checks import check_integer


class Batches(keras.utils.PyDataset):
    """Draw random batches of a data set, for `fit`, `evaluate` and `predict`.

    The batch of step `t` holds independent draws with replacement, as in the published studies,
    from `np.random.default_rng([seed, t])`: a function of the seed and the step alone. `fit` of
    this package's models reads them as a stream that starts at the model's own training step. So a
    model that is saved, loaded and trained further sees the batches of an uninterrupted training.
    Everywhere else, also as validation data, they are the batches 0 to `steps - 1`, the same in
    every pass.

    Args:
        draw: Function `(n, rng)` that returns a batch: an array of `n` rows, or a tuple of arrays.
            Data sets and samplers of pairs pass their own; see their `batches`.
        length: Number of images in an epoch, where `steps` is not given.
        batch_size: Number of rows per batch, at least 1.
        seed: Random seed of the draws, at least 0.
        steps: Number of batches per epoch.

    Raises:
        ValueError: If a number is below its minimum, or not an integer.

    >>> from keras_disent.datasets import Sprites
    >>> batches = Sprites().batches(16, steps=100)
    >>> batches.at(250).shape
    (16, 64, 64, 1)
    >>> bool((next(batches.stream(250)) == batches.at(250)).all())
    True
    """

    pictures: dict[str, Any] | None = None
    """How picture files became the images; a model that is trained on them keeps it."""

    def __init__(
        self,
        draw: Callable[[int, np.random.Generator], Any],
        length: int,
        batch_size: int = 64,
        *,
        seed: int = 0,
        steps: int | None = None,
    ):
        super().__init__()
        self.draw = draw
        self.batch_size = check_integer("batch_size", batch_size, at_least=1)
        self.seed = check_integer("seed", seed, at_least=0)
        self.steps = (
            math.ceil(length / batch_size)
            if steps is None
            else check_integer("steps", steps, at_least=1)
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Any:
        return self.at(index)

    def at(self, step: int) -> Any:
        """Return the batch of an absolute step."""
        return self.draw(self.batch_size, np.random.default_rng([self.seed, step]))

    def stream(self, start: int = 0, prefetch: int = 2) -> Iterator[Any]:
        """Yield the batches of step `start`, `start + 1`, ... without end.

        Args:
            start: First step.
            prefetch: Number of batches that a background thread draws in advance.
        """
        with ThreadPoolExecutor(1) as thread:
            futures = [thread.submit(self.at, start + i) for i in range(prefetch)]
            try:
                while True:
                    start += 1
                    futures.append(thread.submit(self.at, start + prefetch - 1))
                    yield futures.pop(0).result()
            finally:
                for future in futures:
                    future.cancel()
