"""Turn columns of labels into steps: numbers, texts, truth values, dates, tags, with gaps."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.arrays import table_columns, to_numpy
from keras_disent.datasets.layout import is_tensor

MAX_ORDINAL_VALUES = 20
"""A factor with non-integer values is continuous if it has more different values than this."""

NUMBER_KINDS = ("continuous", "ordinal", "circular")
MISSING = -1
"""Step of an image without a value."""

_SEPARATORS = re.compile(r"[;|,]")


class WrongLabel(ValueError):
    """A label that breaks a rule.

    Attributes:
        rule: What labels of this factor need to be.
        got: The label.
        row: Its number, from 0.
        cure: What to do about it, or "".
    """

    def __init__(self, rule: str, got: str, row: int, cure: str = ""):
        self.rule, self.got, self.row, self.cure = rule, got, row, cure
        super().__init__(self.text(f"in row {row}"))

    def text(self, where: str) -> str:
        """Return the message with another description of the place, such as "of 'a.png'"."""
        return f"{self.rule}. Got {self.got} {where}{self.cure}."


class Column(NamedTuple):
    """A factor: the steps of all images, the value of each step, and its kind.

    Attributes:
        steps: `(n,)` int64 from 0; -1 for an image without a value.
        values: One value per step.
        kind: Kind that the values suggest; None for real numbers in few steps, which are ordinal,
            or continuous.
    """

    steps: np.ndarray
    values: np.ndarray
    kind: str | None


def columns_of(labels: Any) -> dict[str, Any]:
    """Return the columns of a table by name.

    Args:
        labels: A mapping, or a table of pandas, Polars, PyArrow or NumPy (a structured array).

    Raises:
        TypeError: It is anything else.
        ValueError: A column has no name, or the name of another one.

    >>> columns_of({"hair  color\\n": ["red"]})
    {'hair color': ['red']}
    """
    if hasattr(labels, "collect"):
        raise TypeError("`labels` is a lazy table: pass labels.collect().")
    table = table_columns(labels)
    if table is None:
        cure = ": pass {'label': labels} for one factor" if hasattr(labels, "__len__") else ""
        raise TypeError(
            "`labels` is a table: {name: one label per image}, or a data frame. "
            f"Got {type(labels).__name__}{cure}."
        )
    texts = [" ".join(name.split()) for name in table]  # one line each
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None or "" in texts:
        got = "an empty one" if "" in texts else f"{twice!r} twice"
        raise ValueError(f"`labels` needs different names of factors. Got {got}.")
    return dict(zip(texts, table.values(), strict=True))


def cells_of(column: Any) -> list[Any]:
    """Return the labels of a column of any library as a list of Python objects."""
    for convert in ("to_pylist", "to_list", "tolist"):  # PyArrow; pandas, Polars; NumPy
        if hasattr(column, convert) and not is_tensor(column):
            return getattr(column, convert)()
    return list(column)


def take(column: Any, rows: Sequence[int]) -> Any:
    """Return some labels of a column; one of a data frame keeps its type, such as categories.

    >>> take(["a", "b", "c"], [2, 0])
    ['c', 'a']
    """
    package = type(column).__module__.partition(".")[0]
    if hasattr(column, "iloc"):
        return column.iloc[list(rows)]
    if package == "pyarrow":
        return column.take(list(rows))
    if package in ("pandas", "polars") or isinstance(column, np.ndarray):
        return column[np.asarray(rows, np.int64)]
    cells = cells_of(column)
    return [cells[row] for row in rows]


def is_label(value: Any) -> bool:
    """Return whether a value can be a label by itself: a number, text, truth value or date."""
    return _type_of(_plain(value)) not in ("tags", "others")


def fits_64_bits(integers: Sequence[int]) -> bool:
    """Return whether integers fit into one dtype of NumPy, int64 or uint64."""
    low, high = min(integers), max(integers)
    return high < (2**63 if low < 0 else 2**64) and low >= -(2**63)


def read_columns(labels: Any, n: int, kinds: Mapping[str, str] | None) -> dict[str, Column]:
    """Return the factors of `n` images.

    Args:
        labels: See `columns_of`.
        n: Number of images.
        kinds: Kinds of some columns; see `labeled`.

    Raises:
        TypeError: `labels` is no table.
        ValueError: There is no factor, or not one label per image; a label is infinite or of
            another type than the others; or a kind is unknown or does not fit its labels.
    """
    if not isinstance(kinds, Mapping | None):
        raise TypeError(f"`kinds` is {{factor: kind}}. Got {kinds!r:.80}.")
    kinds = dict(kinds or {})
    labels_by_name = columns_of(labels)
    if not labels_by_name:
        raise ValueError("`labels` needs at least one factor. Got none.")
    for name in kinds:
        if name not in labels_by_name:
            raise ValueError(f"`kinds` needs names from {', '.join(labels_by_name)}. Got {name!r}.")
    columns: dict[str, Column] = {}
    for name, labels_of in labels_by_name.items():
        values, order = _array(name, labels_of)
        if values.shape != (n,):
            is_one_hot = values.ndim == 2 and len(values) == n
            cure = f": pass {name}.argmax(axis=1) if it is one-hot" if is_one_hot else ""
            raise ValueError(
                f"'{name}' needs one label for each of the {n} images. "
                f"Got shape {values.shape}{cure}."
            )
        if order is None and (values.dtype == object or kinds.get(name) == "multilabel"):
            new = _tags(name, values, kinds.get(name))
        else:
            new = {name: _column(name, values, order, kinds.get(name))}
        if twice := [factor for factor in new if factor in columns]:
            raise ValueError(f"`labels` needs different names of factors. Got {twice[0]!r} twice.")
        columns |= new
    return columns


def _column(
    name: str, values: np.ndarray, order: tuple[np.ndarray, bool] | None, kind: str | None
) -> Column:
    if values.dtype.kind == "U":
        values = _composed(values)
    has_value = ~_missing(values)
    if order is not None:  # categories in an order of their own, without unused ones
        categories, is_ordered = order
        has_value &= ~np.isin(values, np.flatnonzero(_missing(categories)))  # of blank texts
        codes = values[has_value].astype(np.int64)
        used = np.unique(codes)
        steps = np.full(len(values), MISSING)
        steps[has_value] = np.searchsorted(used, codes)
        column = Column(steps, categories[used], "ordinal" if is_ordered else "categorical")
    else:
        steps = np.full(len(values), MISSING)
        unique, steps[has_value] = np.unique(values[has_value], return_inverse=True)
        column = Column(steps, unique, _natural_kind(unique))
    if not column.values.size:
        raise ValueError(
            f"'{name}' needs a label for at least one image. Got none: leave it out of the labels."
        )
    if kind is not None:
        numeric = column.values.dtype.kind in "iufmM" or (order is not None and order[1])
        options: tuple[str, ...] = (*NUMBER_KINDS, "categorical") if numeric else ("categorical",)
        if column.values.dtype.kind == "b":
            options = ("categorical", "ordinal")
        if kind not in options:
            holds = "numbers" if numeric else "texts"
            holds = "truth values" if column.values.dtype.kind == "b" else holds
            raise ValueError(
                f"'{name}' holds {holds}, so its kind is {' or '.join(options)}. Got {kind!r}."
            )
        column = column._replace(kind=kind)
    return column._replace(kind="constant") if len(column.values) == 1 else column


def _natural_kind(values: np.ndarray) -> str | None:
    if values.dtype.kind in "Ub":
        return "categorical"
    is_integer = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool((values == np.round(values)).all())
    )
    return "ordinal" if is_integer or len(values) <= MAX_ORDINAL_VALUES else None


def _tags(name: str, values: np.ndarray, kind: str | None) -> dict[str, Column]:
    """Return one factor per tag of a column whose labels are several tags each."""
    if kind not in (None, "multilabel"):
        raise ValueError(
            f"'{name}' holds several tags each, so its kind is multilabel. Got {kind!r}."
        )
    if _are_one_hot(values):
        raise ValueError(
            f"'{name}' needs texts as tags. Got {values[0]!r:.80} in row 0: pass "
            f"np.argmax({name}, axis=1) if it is one-hot."
        )
    sets: list[set[str] | None] = []
    for row, value in enumerate(values):
        if is_missing(value):
            sets.append(None)
            continue
        parts: Iterable[Any] = value
        if isinstance(value, str):
            parts = filter(None, map(str.strip, _SEPARATORS.split(value)))
        elif _type_of(value) != "tags":
            raise WrongLabel(f"'{name}' needs texts or lists of texts as tags", repr(value), row)
        present = [_plain(part) for part in parts if not is_missing(part)]
        if wrong := [part for part in present if _type_of(part) not in ("texts", "numbers")]:
            raise WrongLabel(f"'{name}' needs texts as tags", f"{wrong[0]!r:.80}", row)
        sets.append({str(part).strip() for part in present})
    has_value = np.array([tags_of is not None for tags_of in sets])
    known = [tags_of for tags_of in sets if tags_of is not None]
    tags = sorted(set().union(*known))
    if not tags:
        raise ValueError(f"'{name}' needs at least one tag. Got none.")
    columns = {}
    for tag in tags:
        steps = np.full(len(sets), MISSING)
        has_tag = np.array([tag in tags_of for tags_of in known])
        truth, steps[has_value] = np.unique(has_tag, return_inverse=True)
        kind_ = "constant" if len(truth) == 1 else "categorical"
        columns[f"{name}={tag}"] = Column(steps, truth, kind_)
    return columns


def _are_one_hot(labels: np.ndarray) -> bool:
    """Return whether labels are vectors of zeros and ones, of one length of at least 2."""
    vectors = [np.asarray(label) for label in labels if isinstance(label, (list, np.ndarray))]
    return (
        len(vectors) == len(labels)
        and len({vector.shape for vector in vectors}) == 1
        and vectors[0].ndim == 1
        and len(vectors[0]) > 1
        and all(v.dtype.kind in "biuf" and np.isin(v, (0, 1)).all() for v in vectors)
    )


def _array(name: str, column: Any) -> tuple[np.ndarray, tuple[np.ndarray, bool] | None]:
    """Return a column as an array of one type, and categories with their order, if it has any.

    The array of a categorical holds its codes, as floats with NaN for missing values; so does that
    of integers and truth values with gaps. A column of tags is an array of objects.
    """
    package = type(column).__module__.partition(".")[0]
    if package == "pandas":
        if str(column.dtype) == "category":
            column = getattr(column, "cat", column)  # of a Series; a Categorical has it all itself
            codes = np.asarray(column.codes, np.float64)
            codes[codes < 0] = np.nan
            categories, order = _array(name, list(column.categories))
            if order is not None:  # intervals
                categories = order[0][categories.astype(np.int64)]
            return codes, (categories, bool(column.ordered))
        is_numpy = isinstance(column.dtype, np.dtype)
        column = column.to_numpy() if is_numpy else column.to_numpy(dtype=object)
    elif package == "polars" and str(column.dtype).startswith("Enum"):
        codes = column.to_physical().cast(float).to_numpy()
        return codes, (np.array(column.dtype.categories.to_list()), True)
    elif package == "pyarrow" and getattr(column.type, "ordered", False):
        if hasattr(column, "chunks"):
            column = column.unify_dictionaries()
            column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        codes = np.array(column.indices.to_pylist(), np.float64)
        return codes, (np.array(column.dictionary.to_pylist()), True)
    elif hasattr(column, "to_pylist"):  # PyArrow
        column = column.to_pylist()
    elif hasattr(column, "to_list"):  # Polars
        column = column.to_list()
    elif package in ("h5py", "zarr"):
        column = np.asarray(column[:])
    elif isinstance(column, np.ma.MaskedArray):
        column = column.tolist()  # with None where it is masked
    elif is_tensor(column):
        column = to_numpy(column)
    if isinstance(column, np.ndarray) and column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if isinstance(column, np.ndarray) and column.dtype.kind in "biufUmM":
        array = column
    elif isinstance(column, np.ndarray) and column.dtype.kind not in "OST":
        raise ValueError(f"'{name}' needs numbers, texts or dates as labels. Got {column.dtype}.")
    elif isinstance(column, (str, bytes, Set, Mapping)) or not hasattr(column, "__len__"):
        raise ValueError(f"'{name}' needs one label per image. Got {column!r:.80}.")
    else:
        shape = np.shape(column) if hasattr(column, "shape") else (len(column),)
        if len(shape) != 1:
            return np.asarray(column), None
        array, values = _of_one_type(name, list(column))
        if values is not None:
            return array, (values, values.dtype.kind != "b")
    if array.dtype.kind == "f" and np.isinf(array).any():
        row = int(np.flatnonzero(np.isinf(array))[0])
        rule = f"'{name}' needs finite numbers, texts or dates as labels"
        raise WrongLabel(rule, str(array[row]), row, ": leave it blank or None if it has no value")
    return array, None


_TYPES: dict[str, tuple[type, ...]] = {
    "truth values": (bool, np.bool_),
    "numbers": (int, float, np.integer, np.floating),
    "texts": (str,),
    "dates": (date, np.datetime64),
    "durations": (timedelta, np.timedelta64),
    "tags": (list, tuple, set, frozenset, np.ndarray),
}


def _of_one_type(name: str, labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return labels of any Python types as an array of one type, or of objects for tags.

    Integers and truth values have no NaN. With gaps, the array holds numbers of the values that are
    returned beside it.
    """
    cells = [to_numpy(label) if is_tensor(label) else label for label in labels]
    cells = [c.item() if isinstance(c, np.ndarray) and c.ndim == 0 else c for c in cells]
    cells = [None if is_missing(cell) else cell for cell in cells]
    cells = [_plain(cell) for cell in cells]
    types = [None if cell is None else _type_of(cell) for cell in cells]
    unique_types = list(dict.fromkeys(kind for kind in types if kind is not None))
    if len(unique_types) > 1 or unique_types == ["others"]:
        row = next(i for i, kind in enumerate(types) if kind == unique_types[-1])
        rule = "labels of one type: numbers, texts, truth values, dates or lists of texts"
        raise WrongLabel(f"'{name}' needs {rule}", f"{cells[row]!r:.80}", row)
    if not unique_types:
        return np.full(len(cells), np.nan), None
    (kind,) = unique_types
    if kind == "tags":
        array = np.empty(len(cells), object)
        array[:] = cells
        return array, None
    if kind == "texts":
        return np.array(["" if cell is None else cell for cell in cells], dtype=np.str_), None
    if kind == "intervals":
        intervals = sorted({cell for cell in cells if cell is not None})
        codes = {interval: float(code) for code, interval in enumerate(intervals)}
        array = np.array([np.nan if cell is None else codes[cell] for cell in cells])
        return array, np.array(list(map(str, intervals)))
    if kind == "dates":
        dates = ["NaT" if cell is None else _instant(cell) for cell in cells]
        return np.array(dates, "datetime64[us]"), None
    if kind == "durations":
        return np.array(["NaT" if cell is None else cell for cell in cells], "m8[us]"), None
    present = np.array([cell is not None for cell in cells])
    dtype: type = np.bool_
    if kind == "numbers":
        is_integer = all(c is None or isinstance(c, (int, np.integer)) for c in cells)
        dtype = np.int64 if is_integer else np.float64
        integers = [int(cell) for cell in cells if cell is not None] if is_integer else []
        if is_integer and not fits_64_bits(integers):
            row = next(
                i for i, c in enumerate(cells) if c is not None and not -(2**63) <= int(c) < 2**63
            )
            rule = f"'{name}' needs integers of at most 64 bits"
            raise WrongLabel(rule, str(cells[row]), row, ": pass texts, or floats")
        if is_integer and max(integers) >= 2**63:
            dtype = np.uint64
    values: np.ndarray = np.array([cell for cell in cells if cell is not None], dtype)
    if present.all():
        return values, None
    array = np.full(len(cells), np.nan)
    if dtype is np.float64:
        array[present] = values
        return array, None
    unique, array[present] = np.unique(values, return_inverse=True)
    return array, unique


def _plain(cell: Any) -> Any:
    """Return a label as a number, text or date, if it is one in another form."""
    if isinstance(cell, Enum):  # one that is a text, too, prints its name and its class
        return cell.value if isinstance(cell.value, str | int | float) else cell.name
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if type(cell).__name__ == "Period" and hasattr(cell, "start_time"):  # of pandas
        return cell.start_time
    return float(cell) if isinstance(cell, Decimal) else cell


def _composed(texts: np.ndarray) -> np.ndarray:
    """Return texts without blanks at their ends, in the composed form of Unicode (NFC)."""
    values, inverse = np.unique(texts, return_inverse=True)
    return np.array([unicodedata.normalize("NFC", value.strip()) for value in values])[inverse]


def _type_of(cell: Any) -> str:
    if type(cell).__name__ == "Interval" and hasattr(cell, "closed"):  # of pandas
        return "intervals"
    return next((kind for kind, types in _TYPES.items() if isinstance(cell, types)), "others")


def _instant(cell: Any) -> str:
    """Return a date or a time, which pandas and the standard library write alike, as a text."""
    if isinstance(cell, np.datetime64):
        return str(cell)
    if getattr(cell, "tzinfo", None) is not None:
        cell = cell.astimezone(UTC).replace(tzinfo=None)
    return str(cell.isoformat())


def is_missing(label: Any) -> bool:
    """Return whether a label is no value: None, NaN, NaT, NA or a blank text."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, str):
        return not label.strip()
    if isinstance(label, np.datetime64 | np.timedelta64):
        return bool(np.isnat(label))
    return isinstance(label, (float, np.floating)) and bool(np.isnan(label))


def _missing(values: np.ndarray) -> np.ndarray:
    """Return a mask of the labels that are no value: NaN, NaT, blank texts."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "U":
        return np.char.strip(values) == ""
    return np.zeros(values.shape, np.bool_)
