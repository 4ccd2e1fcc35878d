"""Convert arrays, tensors and tables of any library to NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class SupportsDLPack(Protocol):
    """An array of a library that shares its memory by `__dlpack__`."""

    def __dlpack__(self, /, *, stream: Any = None) -> Any: ...


ArrayLike = npt.ArrayLike | SupportsDLPack | Mapping[str, Any]
"""An array, tensor or table of any library, or nested lists of numbers."""


def to_numpy(values: Any, name: str = "An array") -> np.ndarray:
    """Convert an array, tensor, variable or table of any library, or a list, to a NumPy array.

    No library is imported for it. A tensor may require a gradient, be on a device, or have a dtype
    that NumPy lacks, such as bfloat16, which becomes float32. A table of numbers, such as a data
    frame, becomes an array `(rows, columns)`, with NaN for its missing values.

    Args:
        values: Object with `__array__` or `__dlpack__`, table (see `table_columns`) or list.
        name: Name of the values in error messages.

    Raises:
        ValueError: A column of a table does not hold numbers.
        TypeError: The library of the values does not let NumPy read them.

    >>> to_numpy([[1, 2]]).shape
    (1, 2)
    >>> to_numpy({"size": [1, 2], "angle": [0.5, None]})
    array([[1. , 0.5],
           [2. , nan]])
    """
    if isinstance(values, np.ndarray) and values.dtype.names is None:
        return values
    columns = table_columns(values)
    if columns is not None:
        if not columns:
            raise ValueError(f"{name} needs at least one column. Got none.")
        return np.stack([_numbers(c, key, name) for key, c in columns.items()], axis=1)
    if hasattr(values, "detach"):  # PyTorch
        values = values.detach().cpu()
        try:
            return values.numpy()
        except TypeError:  # a dtype that NumPy lacks
            return values.float().numpy()
    array = _read(values)
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 of JAX and TensorFlow
        return array.astype(np.float32)
    return array


def table_columns(values: Any) -> dict[str, Any] | None:
    """Return the columns of a table by name, or None if `values` is no table.

    Tables are mappings, data frames of pandas or Polars, tables of PyArrow, and structured arrays
    of NumPy.

    Raises:
        ValueError: Two columns have the same name.

    >>> table_columns({"size": [1, 2]}), table_columns([[1, 2]])
    ({'size': [1, 2]}, None)
    """
    names = list(values) if isinstance(values, Mapping) else None
    if names is None:
        names = getattr(values, "column_names", None)  # PyArrow, Hugging Face
    if names is None:
        names = getattr(values, "columns", None)  # pandas, Polars
    if names is None and isinstance(values, np.ndarray):
        names = values.dtype.names
    if names is None:
        return None
    columns = {str(name): values[name] for name in names}
    if len(columns) < len(names):
        texts = [str(name) for name in names]
        twice = next(text for text in texts if texts.count(text) > 1)
        raise ValueError(f"Columns of a table need different names. Got {twice!r} twice.")
    return columns


def column_names(values: Any) -> tuple[str, ...]:
    """Return the names of the columns of a table; `()` if `values` is no table.

    >>> column_names({"size": [1, 2]}), column_names([[1, 2]])
    (('size',), ())
    """
    return tuple(table_columns(values) or ())


def _read(values: Any) -> np.ndarray:
    shares_memory = hasattr(values, "__dlpack__")
    if hasattr(values, "__array__") or not shares_memory:
        try:
            return np.asarray(values)
        except TypeError:  # CuPy copies from its device only where it is asked to
            if not shares_memory:
                raise
    try:
        return np.from_dlpack(values, device="cpu")
    except TypeError:  # NumPy 2.0, or a library that knows one device only
        return np.from_dlpack(values)


def _numbers(column: Any, key: str, name: str) -> np.ndarray:
    """Return a column of a table as numbers, with NaN for missing values."""
    array = to_numpy(column, name)
    if isinstance(array, np.ma.MaskedArray):
        array = np.where(np.ma.getmaskarray(array), np.nan, array.filled(0))
    if array.dtype == object:
        gaps = [cell is None or type(cell).__name__ == "NAType" for cell in array.ravel()]
        if not any(isinstance(cell, str | bytes) for cell in array.ravel()):
            try:
                cells = zip(array.ravel(), gaps, strict=True)
                array = np.array([np.nan if gap else float(cell) for cell, gap in cells])
            except (TypeError, ValueError):
                pass
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        dtype = getattr(column, "dtype", array.dtype)
        got = dtype if array.ndim == 1 else f"shape {array.shape}"
        raise ValueError(
            f"{name} needs one number per row in each column. Got {got} in {key!r}: number its "
            "values first, as pandas.factorize does."
        )
    return array
