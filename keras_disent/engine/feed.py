"""Batch sources of `fit`: each batch depends on a seed and the step at which its epoch begins.

Keras reads a `PyDataset` anew in each epoch. At that moment the model's step is read. So training
that a callback restored, or that resumes after an interruption, sees the same batches as a training
without a break.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.checks import is_array
from keras_disent.engine import backend
from keras_disent.engine.batches import Batches


def source_of(
    model: Any,
    x: Any,
    y: Any,
    weights: Any,
    batch_size: int | None,
    shuffle: bool,
    class_weight: dict[int, float] | None,
    epoch_steps: int | None,
) -> Any:
    """Return the source of the batches of `fit`, or None for a stream that Keras reads."""
    if isinstance(x, Batches):
        return StepSource(x, epoch_steps or len(x))
    if is_array(x):
        if not model.labeled and class_weight is None:
            y = None
        rows = [a if a is None else to_numpy(a) for a in (x, y, weights)]
        return ArraySource(rows, batch_size or 32, model.seed, shuffle, epoch_steps)
    shuffled = isinstance(x, keras.utils.PyDataset) and shuffle and not epoch_steps
    if shuffled and x.num_batches and x.workers <= 1 and not x.use_multiprocessing:
        return PyDatasetSource(x, model.seed)
    return None


def evaluation_feed(model: Any, data: tuple[Any, ...], batch_size: int | None) -> tuple[Any, ...]:
    """Return arrays and their batch size in the form that evaluation reads fastest."""
    x, y, weights = data
    if not backend.PREFETCHES or not is_array(x):
        return *data, batch_size
    rows = [a if a is None else to_numpy(a) for a in (x, y if model.labeled else None, weights)]
    source = ArraySource(rows, batch_size or 32, model.seed, shuffle=False, epoch_steps=None)
    return backend.without_autotuning(EpochFeed(source, lambda: (0, 0))), None, None, None


def split(arrays: tuple[Any, ...], fraction: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Split off the last `fraction` of all rows, as Keras does."""
    rows = len(arrays[0])
    at = math.floor(rows * (1.0 - fraction))
    if not 0 < at < rows:
        raise ValueError(
            f"`validation_split` must divide {rows} images into two sets that are not empty. "
            f"Got {fraction!r}."
        )
    first, last = (
        tuple(None if a is None else a[cut] for a in arrays) for cut in (slice(at), slice(at, None))
    )
    return first, last


class EpochFeed(keras.utils.PyDataset):
    """Serve the batches of one epoch after another to the `fit` of one model.

    Args:
        source: A `BatchSource`.
        position: Function that returns the step at which the epoch begins, and the number of its
            batches that were trained on already. It is called at the beginning of each epoch.
        prefetch: Number of batches (int) that a background thread draws in advance.
    """

    def __init__(self, source: Any, position: Callable[[], tuple[int, int]], prefetch: int = 0):
        super().__init__()
        self.source, self._position, self._prefetch = source, position, prefetch
        self._start = self._skip = 0
        self._thread = ThreadPoolExecutor(1) if prefetch else None
        self._futures: dict[int, Future[Any]] = {}

    def on_epoch_begin(self) -> None:
        self._start, self._skip = self._position()
        self._futures = {}
        self.source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()

    @property
    def num_batches(self) -> int:
        return self.source.epoch_steps - self._skip

    def __getitem__(self, index: int) -> Any:
        index += self._skip
        if self._thread is None:
            return self.source.batch(self._start, index)
        last = min(index + self._prefetch, self.source.epoch_steps - 1)
        for i in range(index, last + 1):
            if i not in self._futures:
                self._futures[i] = self._thread.submit(self.source.batch, self._start, i)
        return self._futures.pop(index).result()

    def close(self) -> None:
        """Shut the background thread down."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)


class BatchSource:
    """Provide the batches of an epoch by position.

    Attributes:
        epoch_steps: Number of batches of an epoch (int).
    """

    epoch_steps: int

    def batch(self, start: int, position: int) -> tuple[Any, ...]:
        """Return the batch at a position of the epoch that begins at training step `start`."""
        raise NotImplementedError

    def on_epoch_begin(self) -> None:
        """Prepare for the batches of an epoch."""

    def on_epoch_end(self) -> None:
        """Clean up after the batches of an epoch."""


class StepSource(BatchSource):
    """Provide the batches of a data set by absolute step.

    Args:
        batches: A `keras_disent.engine.batches.Batches`.
        epoch_steps: Number of batches of an epoch (int).
    """

    def __init__(self, batches: Batches, epoch_steps: int):
        self.batches, self.epoch_steps = batches, epoch_steps

    def batch(self, start: int, position: int) -> tuple[Any, ...]:
        batch = self.batches.at(start + position)
        return batch if isinstance(batch, tuple) else (batch,)


class ArraySource(BatchSource):
    """Provide the rows of arrays, each once per pass.

    Args:
        arrays: NumPy arrays (n, ...): images, and optionally labels and weights. The last ones may
            be None.
        batch_size: Number of rows per batch (int).
        seed: Random seed of the order (int).
        shuffle: True, False, or "batch" to shuffle whole batches.
        epoch_steps: Number of batches of an epoch (int). None stops after all rows; a larger number
            starts another pass over them.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray | None],
        batch_size: int,
        seed: int,
        shuffle: Any,
        epoch_steps: int | None,
    ):
        while arrays[-1] is None:
            arrays = arrays[:-1]
        if arrays[0] is None:
            raise TypeError("The first of `arrays` holds the images. Got None.")
        self.arrays, self.images, self.batch_size = tuple(arrays), arrays[0], batch_size
        self.seed, self.shuffle = seed, shuffle
        self.pass_steps = -(-len(self.images) // batch_size)  # batches of one pass over all rows
        self.epoch_steps = epoch_steps or self.pass_steps
        self._cached_order: tuple[Any, np.ndarray] = ((), np.zeros(0, int))

    def batch(self, start: int, position: int) -> tuple[Any, ...]:
        number, position = divmod(position, self.pass_steps)
        order, size = self._order(start, number), self.batch_size
        rows = order[position * size : (position + 1) * size]
        images = self.images[rows]  # also stand in for missing labels: not all streams hold None
        return tuple(images if array is None else array[rows] for array in self.arrays)

    def _order(self, start: int, number: int) -> np.ndarray:
        if self._cached_order[0] != (start, number):
            n, rng = len(self.images), np.random.default_rng([self.seed, start, number])
            order = np.arange(n)
            if self.shuffle == "batch":
                full = n - n % self.batch_size  # a smaller last batch stays the last
                groups = order[:full].reshape(-1, self.batch_size)
                order[:full] = rng.permutation(groups).ravel()
            elif self.shuffle:
                order = rng.permutation(n)
            self._cached_order = ((start, number), order)
        return self._cached_order[1]


class PyDatasetSource(BatchSource):
    """Provide the batches of a finite `PyDataset` in a seeded random order.

    Args:
        dataset: A `keras.utils.PyDataset`.
        seed: Random seed of the order (int).
    """

    def __init__(self, dataset: Any, seed: int):
        self.dataset, self.seed = dataset, seed

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()

    @property
    def epoch_steps(self) -> int:  # type: ignore[override]
        return self.dataset.num_batches

    def batch(self, start: int, position: int) -> tuple[Any, ...]:
        order = np.random.default_rng([self.seed, start]).permutation(self.epoch_steps)
        batch = self.dataset[int(order[position])]
        return batch if isinstance(batch, tuple) else (batch,)
