"""What `fit` reads: batches that depend on a seed and on the step at which an epoch begins.

Keras reads a `PyDataset` anew in each epoch. At that moment the model's step is looked at, so
training that was restored by a callback, or that goes on after an interruption, sees the batches
that it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_disent.engine.batches import Batches


class Feed(keras.utils.PyDataset):
    """One epoch of batches after another, for the `fit` of one model.

    Args:
        source: has `batch(start, position)`, the batch at a position of the epoch that begins at
            training step `start`, and `epoch_steps`, the number of them.
        position: returns the step at which the epoch begins, and how many of its batches have been
            learned from already; called at the beginning of each epoch.
        ahead: int, batches that a thread draws while the model learns.
    """

    def __init__(self, source: Any, position: Callable[[], tuple[int, int]], ahead: int = 0):
        super().__init__()
        self.source, self._position, self._ahead = source, position, ahead
        self._start = self._done = 0
        self._thread = ThreadPoolExecutor(1) if ahead else None
        self._drawn: dict[int, Future] = {}

    def on_epoch_begin(self) -> None:
        self._start, self._done = self._position()
        self._drawn = {}
        self.source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()

    @property
    def num_batches(self) -> int:
        return self.source.epoch_steps - self._done

    def __getitem__(self, index: int) -> Any:
        index += self._done
        if self._thread is None:
            return self.source.batch(self._start, index)
        last = min(index + self._ahead, self.source.epoch_steps - 1)
        for i in range(index, last + 1):
            if i not in self._drawn:
                self._drawn[i] = self._thread.submit(self.source.batch, self._start, i)
        return self._drawn.pop(index).result()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)


class Source:
    """Where batches come from.

    Attributes:
        epoch_steps: int, batches of an epoch.
    """

    epoch_steps: int

    def batch(self, start: int, position: int) -> tuple:
        """Return the batch at a position of the epoch that begins at training step `start`."""
        raise NotImplementedError

    def on_epoch_begin(self) -> None:
        """Do what is to be done before the batches of an epoch are asked for."""

    def on_epoch_end(self) -> None:
        """Do what is to be done after the batches of an epoch."""


class BatchesSource(Source):
    """The batches of a data set: those of absolute steps.

    Args:
        batches: `keras_disent.engine.batches.Batches`.
        epoch_steps: int, batches of an epoch.
    """

    def __init__(self, batches: Batches, epoch_steps: int):
        self.batches, self.epoch_steps = batches, epoch_steps

    def batch(self, start: int, position: int) -> tuple:
        batch = self.batches.at(start + position)
        return batch if isinstance(batch, tuple) else (batch,)


class ArraySource(Source):
    """The rows of arrays, all of them once in each epoch.

    Args:
        arrays: NumPy arrays (n, ...): images, and where there are any labels and weights; the
            last ones may be None.
        batch_size: int.
        seed: int, of the order.
        shuffle: True, False, or "batch" for whole batches in another order.
        epoch_steps: int, batches of an epoch; None stops after all rows, a larger number begins
            anew with them.
    """

    def __init__(self, arrays, batch_size: int, seed: int, shuffle: Any, epoch_steps: int | None):
        while arrays[-1] is None:
            arrays = arrays[:-1]
        self.arrays, self.batch_size = tuple(arrays), batch_size
        self.seed, self.shuffle = seed, shuffle
        self.passes = -(-len(arrays[0]) // batch_size)  # batches until all rows were seen
        self.epoch_steps = epoch_steps or self.passes
        self._known: tuple[Any, np.ndarray] = ((), np.zeros(0, int))

    def batch(self, start: int, position: int) -> tuple:
        number, position = divmod(position, self.passes)
        order, size = self._order(start, number), self.batch_size
        rows = order[position * size : (position + 1) * size]
        images = self.arrays[0][rows]  # they stand for labels too: not all streams can hold None
        return tuple(images if array is None else array[rows] for array in self.arrays)

    def _order(self, start: int, number: int) -> np.ndarray:
        if self._known[0] != (start, number):
            n, rng = len(self.arrays[0]), np.random.default_rng([self.seed, start, number])
            order = np.arange(n)
            if self.shuffle == "batch":
                whole = n - n % self.batch_size  # a batch that is not full stays the last
                groups = order[:whole].reshape(-1, self.batch_size)
                order[:whole] = rng.permutation(groups).ravel()
            elif self.shuffle:
                order = rng.permutation(n)
            self._known = ((start, number), order)
        return self._known[1]


class PyDatasetSource(Source):
    """The batches of a `PyDataset` of a known length, shuffled in an order of our own.

    Args:
        items: `keras.utils.PyDataset`.
        seed: int, of the order.
    """

    def __init__(self, items: Any, seed: int):
        self.items, self.seed = items, seed

    def on_epoch_begin(self) -> None:
        self.items.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.items.on_epoch_end()

    @property
    def epoch_steps(self) -> int:  # type: ignore[override]
        return self.items.num_batches

    def batch(self, start: int, position: int) -> tuple:
        order = np.random.default_rng([self.seed, start]).permutation(self.epoch_steps)
        batch = self.items[int(order[position])]
        return batch if isinstance(batch, tuple) else (batch,)
