"""Score codes that come batch by batch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_disent._utils.arrays import ArrayLike, column_names, to_numpy
from keras_disent.metrics.catalog import Names, settings_of
from keras_disent.metrics.checks import check_two_axes
from keras_disent.metrics.score import OPTIONS, check_options, score
from keras_disent.metrics.scores import Scores


class StreamingScores:
    """Collect codes and factors batch by batch, and score all of them in the end.

    Disentanglement scores are no means over batches, so that all codes are kept: 40 bytes for a
    sample of ten float32 latents. They are copied, so that buffers may be reused.

    Args:
        metrics: As in `score`.
        options: Other arguments of `score`, such as `interval`. Nothing is printed, unless
            `verbose` is set.

    Raises:
        ValueError: For an unknown name or setting.
        TypeError: For an unknown option.

    Example:
        >>> factors = np.indices((4, 5)).reshape(2, -1).T
        >>> scores = StreamingScores(["mig", "modularity"])
        >>> for batch in np.split(factors, 4):
        ...     scores.update(batch.astype("float32"), batch)
        >>> len(scores)
        20
        >>> print(scores.compute())
        mig           1.0000
        modularity    1.0000
        >>> scores.reset()
        >>> len(scores)
        0
    """

    _batches: list[dict[str, np.ndarray]]
    _columns: dict[str, tuple[str, ...] | int]

    def __init__(self, metrics: Names = "standard", **options: Any) -> None:
        per_batch = {"codes", "factors", "log_variances"} & set(options)
        if per_batch:
            raise TypeError(f"`{min(per_batch)}` is an argument of `update`.")
        self.metrics = metrics if isinstance(metrics, str | Mapping) else tuple(metrics)
        self.options = {"verbose": False, **options}
        arguments = inspect.signature(score).bind(None, None, self.metrics, **options)
        arguments.apply_defaults()
        settings_of(self.metrics, seed=0)
        check_options(**{name: arguments.arguments[name] for name in OPTIONS})
        self.reset()

    def update(
        self,
        codes: ArrayLike,
        factors: ArrayLike | None = None,
        *,
        log_variances: ArrayLike | None = None,
    ) -> None:
        """Add a batch.

        Args:
            codes, factors, log_variances: As in `score`; the same of them in each batch.

        Raises:
            ValueError: For arrays of other columns than before, or unequal numbers of rows. The
                batch is not added then.
        """
        batch: dict[str, np.ndarray] = {}
        columns: dict[str, tuple[str, ...] | int] = {}
        arrays = {"codes": codes, "factors": factors, "log_variances": log_variances}
        for name, values in arrays.items():
            if values is None:
                continue
            array = np.array(to_numpy(values, f"`{name}`"), subok=True)
            check_two_axes(array, f"`{name}`", "columns")
            batch[name] = array
            columns[name] = column_names(values) or array.shape[1]
        rows = {name: len(array) for name, array in batch.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(
                f"A batch needs equal numbers of rows. Got "
                f"{', '.join(f'{count} of `{name}`' for name, count in rows.items())}."
            )
        if self._batches and columns != self._columns:
            raise ValueError(
                f"A batch needs the columns of the first one, {self._columns}. Got {columns}."
            )
        self._columns = columns
        self._batches.append(batch)

    def compute(self) -> Scores:
        """Return the scores of all samples since the last `reset`.

        Raises:
            ValueError: As `score`, or if there are no samples.
        """
        if not len(self):
            raise ValueError("`compute` needs samples: call `update` first. Got none.")
        arrays: dict[str, Any] = {}
        for name, columns in self._columns.items():
            arrays[name] = np.ma.concatenate([batch[name] for batch in self._batches])
            if not np.ma.is_masked(arrays[name]):
                arrays[name] = arrays[name].data
            if isinstance(columns, tuple):
                arrays[name] = dict(zip(columns, arrays[name].T, strict=True))
        return score(metrics=self.metrics, **arrays, **self.options)

    def reset(self) -> None:
        """Forget all samples."""
        self._batches = []
        self._columns = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(len(batch["codes"]) for batch in self._batches)
