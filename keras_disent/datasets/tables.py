"""Read tables of labels: CSV, TSV and Parquet, with columns of any type and with gaps."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.texts import printable
from keras_disent.datasets.labels import columns_of

NAMES = ("labels.csv", "labels.tsv", "labels.parquet")
"""Names of the table in a folder of pictures."""

FILE_COLUMNS = (
    *("file", "filename", "filepath", "image", "imageid", "imagename", "imagepath", "imagefile"),
    *("img", "imgid", "imgname", "imgpath", "path", "name", "id"),
)
"""Names of the column that names the pictures, in lower case without spaces, "_" and "-"."""

_PAGE = re.compile(r"(?<=\.tif|tiff)#\d+$", re.IGNORECASE)
_GAPS = {"", "na", "n/a", "nan", "null", "none", "nat"}
_TRUTH = {"true": True, "false": False, "yes": True, "no": False}
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))


def read_table(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a table into columns of labels.

    A text file has a header and cells separated by commas, semicolons or tabs, in UTF-8 or UTF-16.
    Between semicolons, numbers may have a decimal comma.
    A column whose cells all are integers, numbers, truth values (true, false, yes, no) or ISO
    dates becomes an array of these; others are texts. Blank cells, NA, NaN, null and None are
    missing values.

    Args:
        path: `.csv`, `.tsv`, `.txt` or `.parquet` file.

    Returns:
        `{name: (n,) labels}`.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A Parquet file needs pandas and PyArrow.
        ValueError: The table is malformed.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = file.write_text("file,size,kind\\na.png,3,cat\\nb.png,,dog\\n")
    >>> read_table(file)["size"]
    [3, None]
    """
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"`labels` is a table, or the path of one. Got {path!r:.80}.")
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    data = path.read_bytes()
    encoding = next(name for mark, name in _ENCODINGS if data.startswith(mark))
    try:
        text = data.decode(encoding)
        if "\0" in text:  # UTF-16 without a mark reads as UTF-8 with a zero behind each letter
            raise ValueError("zero bytes: save the table as UTF-8, or with a byte order mark")
        lines = io.StringIO(text, newline="")  # splits at no other separators
        first = next((line for line in lines if line.strip()), "")
        lines.seek(0)
        separator = max(("\t", ";", ","), key=first.count)
        header, *rows = [
            row
            for row in csv.reader(lines, delimiter=separator, strict=True)
            if any(cell.strip() for cell in row)
        ] or [[]]
    except (csv.Error, ValueError) as error:
        cure = ": save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise ValueError(
            f"'{path}' needs to be a table in UTF-8 or UTF-16. Got {error}{cure}."
        ) from error
    header = [name.strip() for name in header]
    while header and not header[-1] and not any("".join(row[len(header) - 1 :]) for row in rows):
        header, rows = header[:-1], [row[: len(header) - 1] for row in rows]  # of a spreadsheet
    if header and not header[0] and _is_index([row[0] for row in rows]):
        header, rows = header[1:], [row[1:] for row in rows]
    if not header or not all(header) or len(set(header)) < len(header):
        got = ", ".join(map(repr, header)) or "an empty file"
        raise ValueError(f"'{path}' needs a header of different names. Got {got}.")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"'{path}' needs {len(header)} cells a row. Row {line}: {len(row)}.")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {
        name: _typed(
            [cell.strip() for cell in cells],
            is_file=_is_file_column(name),
            decimal_comma=separator == ";",
        )
        for name, cells in zip(header, columns, strict=True)
    }


def find_tables(folder: Path) -> list[Path]:
    """Return the tables of labels in a folder, by their name in any case."""
    return [folder / name for name in sorted(os.listdir(folder)) if name.lower() in NAMES]


def labels_of_files(
    labels: Any, files: Sequence[str], source: str, skip: bool = False
) -> tuple[dict[str, list[Any]], list[int]]:
    """Match the rows of a table with pictures.

    Args:
        labels: Table with a column of file names and one column per factor. The former has one of
            the names `FILE_COLUMNS`, or is the first one that names nothing but pictures.
        files: Names of the pictures, relative to their folder. A row may name a page of a TIFF
            file (`stack.tif#1`), or the file, which stands for all of its pages.
        source: Name of the table for messages.
        skip: Whether to leave out pictures without a row, and rows without a picture.

    Returns:
        Labels of the pictures that have a row, by factor, and the numbers of these pictures.

    Raises:
        ValueError: There is no column of file names or no factor; a row names no picture or
            several; or pictures and rows do not match.
    """
    columns = {name: _cells(column) for name, column in columns_of(labels).items()}
    if len({len(cells) for cells in columns.values()}) > 1:
        sizes = ", ".join(f"{name} {len(cells)}" for name, cells in columns.items())
        raise ValueError(f"'{source}' needs columns of one length. Got {sizes}.")
    keys = list(filter(_is_file_column, columns))
    file_of = {file: _PAGE.sub("", file) for file in files}  # the file of each page
    names = list(dict.fromkeys([*files, *file_of.values()]))
    index = _index(names)
    # A column whose own name is that of a picture is a row of a table without a header.
    others = (
        n for n in columns if not _find(n, index) and _find(next(iter(columns[n]), ""), index)
    )
    matches = {name: _rows_by_file(columns[name], index) for name in keys or others}
    if not keys:
        keys = [name for name, (rows, unknown, _) in matches.items() if rows and not unknown][:1]
    key = max(keys, key=lambda name: len(matches[name][0])) if keys else None
    factors = [name for name in columns if name != key]
    if key is None or not factors:
        raise ValueError(
            f"'{source}' needs a column `file` with the names of pictures, and at least one column "
            f"with the name of a factor. Got {', '.join(map(repr, columns))}."
        )
    row_of, unknown, repeated = matches[key]
    if repeated:
        row, name = repeated[0]
        raise ValueError(
            f"'{source}' needs one row per image. Row {row + 2} repeats '{printable(name)}'"
            f"{_more(repeated)}."
        )
    if unknown and not skip:
        row, name = unknown[0]
        is_page = bool(_PAGE.search(name))
        raise ValueError(
            f"'{source}' names a missing image: '{printable(name)}' in row {row + 2}"
            f"{_more(unknown)}. on_error='skip' leaves such rows out"
            f"{', and pages=' + repr('all') + ' takes every page' if is_page else ''}."
        )
    rows_of = [row_of.get(file, row_of.get(file_of[file])) for file in files]
    present = [number for number, row in enumerate(rows_of) if row is not None]
    missing = [file for file, row in zip(files, rows_of, strict=True) if row is None]
    if missing and not skip:
        raise ValueError(
            f"'{source}' needs one row per image. {len(missing)} of {len(files)} have none, first "
            f"'{printable(missing[0])}'. on_error='skip' leaves such images out."
        )
    if not present:
        raise ValueError(f"'{source}' needs a row for at least one image. Got none.")
    rows = [row for row in rows_of if row is not None]
    return {name: [columns[name][row] for row in rows] for name in factors}, present


class _Index(NamedTuple):
    """Files by name, and by other ways to write it: without folder or suffix, NFD, any case."""

    exact: set[str]
    loose: dict[str, list[str]]
    folded: dict[str, list[str]]


def _index(files: Sequence[str]) -> _Index:
    index = _Index(set(files), {}, {})
    for file in files:
        normal = unicodedata.normalize("NFC", file)
        base = normal.rpartition("/")[2]
        texts = {normal, base, normal.rpartition(".")[0], base.rpartition(".")[0]} - {""}
        for text in texts:
            index.loose.setdefault(text, []).append(file)
        for text in {text.casefold() for text in texts}:
            index.folded.setdefault(text, []).append(file)
    return index


def _rows_by_file(
    names: Sequence[Any], index: _Index
) -> tuple[dict[str, int], list[tuple[int, str]], list[tuple[int, str]]]:
    """Return the row of each file, and the rows that name no file or one that has a row."""
    row_of: dict[str, int] = {}
    unknown, repeated = [], []
    for row, name in enumerate(names):
        matches = _find(name, index)
        if len(matches) != 1:
            unknown.append((row, str(name)))
        elif matches[0] in row_of:
            repeated.append((row, str(name)))
        else:
            row_of[matches[0]] = row
    return row_of, unknown, repeated


def _find(name: Any, index: _Index) -> list[str]:
    """Return the files that a name may mean: as it is, in other ways, or with a path before."""
    written = str(name).replace("\\", "/").removeprefix("./")
    if written in index.exact:
        return [written]
    normal = unicodedata.normalize("NFC", written)
    if files := index.loose.get(normal) or index.folded.get(normal.casefold()):
        return files
    parts = written.split("/")
    ends = ("/".join(parts[i:]) for i in range(1, len(parts)))
    return next(([end] for end in ends if end in index.exact), [])


def _is_file_column(name: str) -> bool:
    return re.sub(r"[\s_-]", "", name.lower()) in FILE_COLUMNS


def _is_index(cells: Sequence[str]) -> bool:
    """Return whether a column without a name is the index of a data frame."""
    return all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)


def _more(rows: Sequence[Any]) -> str:
    return f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""


def _cells(column: Any) -> list[Any]:
    if isinstance(column, str) or not hasattr(column, "__len__"):
        raise TypeError(
            "`labels` needs a sequence of labels per column, such as "
            f"{{'file': ['a.png'], 'x': [1]}}. Got {column!r}."
        )
    if hasattr(column, "to_pylist"):
        return column.to_pylist()
    if hasattr(column, "to_list"):
        return column.to_list()
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _parquet(path: Path) -> dict[str, Any]:
    path.stat()
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"'{path}' needs pandas and PyArrow: pip install 'keras-disent[studies]'. {error}"
        ) from None
    try:
        frame = pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"'{path}' needs PyArrow: pip install 'keras-disent[studies]'. {error}"
        ) from None
    except Exception as error:
        raise ValueError(f"'{path}' needs to be a Parquet file. Got: {error}") from error
    return {str(name): frame[name] for name in frame.columns}


def _typed(cells: list[str], is_file: bool, decimal_comma: bool) -> list[Any]:
    """Return cells as numbers, truth values or dates if all of them are, else as texts."""
    if is_file:
        return list(cells)
    gaps = [cell.lower() in _GAPS for cell in cells]
    values = [cell for cell, gap in zip(cells, gaps, strict=True) if not gap]
    number = _number_with_comma if decimal_comma else _number
    digits = {value for value in values if value.isdecimal()}
    # "01" and "1" are names, not numbers, where a column has both.
    are_names = len(set(map(int, digits))) < len(digits)
    for convert in () if are_names else (_integer, number, _truth, _date):
        try:
            converted = iter([convert(value) for value in values])
        except (ValueError, OverflowError):
            continue
        return [None if gap else next(converted) for gap in gaps]
    return [None if gap else cell for cell, gap in zip(cells, gaps, strict=True)]


def _integer(cell: str) -> int:
    return int(cell if "_" not in cell else "")  # 1_000 is a text


def _number(cell: str) -> float:
    return float(cell if "_" not in cell else "")


def _number_with_comma(cell: str) -> float:
    return _number(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)


def _date(cell: str) -> datetime:
    if not re.match(r"\d{4}-\d\d-\d\d", cell):  # 20240101T12 and 2024-W01 are texts
        raise ValueError(cell)
    date = datetime.fromisoformat(cell)
    return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date


def _truth(cell: str) -> bool:
    if cell.lower() not in _TRUTH:
        raise ValueError(cell)
    return _TRUTH[cell.lower()]


def is_table(labels: Any) -> bool:
    """Return whether an object is a table in memory, not a path or a name."""
    return (
        isinstance(labels, Mapping) or hasattr(labels, "columns") or hasattr(labels, "column_names")
    )
