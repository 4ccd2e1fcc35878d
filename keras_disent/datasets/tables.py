"""Read tables of labels: CSV, TSV and Parquet, with columns of any type and with gaps."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from keras_disent._utils.texts import printable
from keras_disent.datasets.labels import cells_of, columns_of, fits_64_bits, take

WITHOUT_ROW, WITHOUT_PICTURE = "without a row of labels", "row without a picture"
"""Why a picture, and a row, are left out."""

NAMES = ("labels.csv", "labels.tsv", "labels.parquet")
"""Names of the table in a folder of pictures."""

FILE_COLUMNS = (
    *("file", "filename", "filepath", "image", "imageid", "imagename", "imagepath", "imagefile"),
    *("img", "imgid", "imgname", "imgpath", "path", "name", "id"),
)
"""Names of the column that names the pictures, in lower case without spaces, "_" and "-"."""

_FIRST = 100  # cells that tell whether a column names pictures
_INDEX = "\0index"  # of a data frame; no column has this name
_PAGE = re.compile(r"(?<=\.tif|tiff)#\d+$", re.IGNORECASE)
_GAPS = {"", "na", "n/a", "nan", "null", "none", "nat"}
_EXACT, _NAME, _STEM = 3, 2, 1  # how a cell names a picture; _STEM is without its suffix
_TRUTH = {"true": True, "false": False, "yes": True, "no": False}
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))


class TextColumn(list[Any]):
    """Labels of a column of a text file, with the cells they were read from.

    Attributes:
        texts: The cells, without blanks at their ends. File names need them: `007` is no number.
    """

    def __init__(self, labels: Sequence[Any], texts: Sequence[str]):
        super().__init__(labels)
        self.texts = texts


def read_table(path: str | PathLike[str]) -> Any:
    """Read a table of labels.

    A text file has a header and cells separated by commas, semicolons or tabs, in UTF-8 or UTF-16.
    Between semicolons, numbers may have a decimal comma.
    A column whose cells all are integers, numbers, truth values (true, false, yes, no) or ISO
    dates holds these; others, and integers of more than 64 bits, are texts. Blank cells, NA, NaN,
    null and None are missing values.

    Args:
        path: `.csv`, `.tsv`, `.txt` or `.parquet` file.

    Returns:
        `{name: (n,) labels}`, or the data frame of a Parquet file.

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
        name: _typed([cell.strip() for cell in cells], decimal_comma=separator == ";")
        for name, cells in zip(header, columns, strict=True)
    }


def find_tables(folder: Path) -> list[Path]:
    """Return the tables of labels in a folder, by their name in any case."""
    return [folder / name for name in sorted(os.listdir(folder)) if name.lower() in NAMES]


def labels_of_files(
    labels: Any, files: Sequence[str], source: str, skip: bool = False
) -> tuple[dict[str, Any], list[int], dict[str, str]]:
    """Match the rows of a table with pictures.

    Names of pictures with their suffix count more than names without. If two columns name different
    pictures and none counts more, the table is refused.

    Args:
        labels: Table with a column of file names and one column per factor. The former has one of
            the names `FILE_COLUMNS`, or is the index of a data frame, or is the first column that
            names nothing but pictures.
        files: Names of the pictures, relative to their folder. A row may name a page of a TIFF
            file (`stack.tif#1`), or the file, which stands for all of its pages.
        source: Name of the table for messages.
        skip: Whether to leave out pictures without a row, and rows without a picture.

    Returns:
        Labels of the pictures that have a row, by factor; the numbers of these pictures; and what
        is left out, `{name: reason}`.

    Raises:
        ValueError: There is no column of file names or no factor; a row names no picture or
            several; or pictures and rows do not match.
    """
    columns = columns_of(labels)
    sizes = {name: _length(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"'{source}' needs columns of one length. Got {got}.")
    file_of = {file: _PAGE.sub("", file) for file in files}  # the file of each page
    index = _index(list(dict.fromkeys([*files, *file_of.values()])))
    matches = {
        name: _rows_by_file(_texts(column), index)
        for name, column in columns.items()
        if _is_file_column(name) or _may_name_files(name, column, index)
    }
    if (names := _frame_index(labels)) and (match := _rows_by_file(names, index)).row_of:
        matches[_INDEX] = match
    key = _key_column(matches, source)
    factors = [name for name in columns if name != key]
    if key is None or not factors:
        raise ValueError(
            f"'{source}' needs a column `file` with the names of pictures, and at least one column "
            f"with the name of a factor. Got {', '.join(map(repr, columns))}."
        )
    where = "the index" if key == _INDEX else f"column '{key}'"
    match = matches[key]
    if match.ambiguous:
        row, name, found = match.ambiguous[0]
        pictures = " and ".join(f"'{printable(file)}'" for file in found[:2])
        pictures += f" and {len(found) - 2} more" if len(found) > 2 else ""
        raise ValueError(
            f"'{source}' needs names of one picture each. '{printable(name)}' in row {row + 2} "
            f"of {where} fits {pictures}{_more(match.ambiguous)}: write the path in the folder."
        )
    if match.repeated:
        row, name = match.repeated[0]
        raise ValueError(
            f"'{source}' needs one row per image. Row {row + 2} repeats '{printable(name)}'"
            f"{_more(match.repeated)} in {where}."
        )
    if match.unknown and not skip:
        row, name = match.unknown[0]
        is_page = bool(_PAGE.search(name))
        raise ValueError(
            f"'{source}' names a missing image: '{printable(name)}' in row {row + 2}"
            f"{_more(match.unknown)} of {where}. on_error='skip' leaves such rows out"
            f"{', and pages=' + repr('all') + ' takes every page' if is_page else ''}."
        )
    rows_of = [match.row_of.get(file, match.row_of.get(file_of[file])) for file in files]
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
    skipped = dict.fromkeys(missing, WITHOUT_ROW)
    skipped |= dict.fromkeys([name for _, name in match.unknown], WITHOUT_PICTURE)
    return {name: take(columns[name], rows) for name in factors}, present, skipped


class _Match(NamedTuple):
    """How a column names pictures.

    Attributes:
        row_of: Row of each picture.
        levels: How each of these rows names its picture: `_EXACT`, `_NAME` or `_STEM`.
        unknown: Rows that name no picture, with their names.
        repeated: Rows that name a picture that has a row, with their names.
        ambiguous: Rows that may name several pictures, with their names and the pictures.
    """

    row_of: dict[str, int]
    levels: dict[int, int]
    unknown: list[tuple[int, str]]
    repeated: list[tuple[int, str]]
    ambiguous: list[tuple[int, str, list[str]]]

    @property
    def level(self) -> int:
        """The level of most rows; 0 without any."""
        return Counter(self.levels.values()).most_common(1)[0][0] if self.levels else 0


def _key_column(matches: Mapping[str, _Match], source: str) -> str | None:
    """Return the column that names the pictures.

    Raises:
        ValueError: Two columns name different pictures, and none of them counts more.
    """
    named = [name for name in matches if name == _INDEX or _is_file_column(name)]
    others = [
        name
        for name, match in matches.items()
        if name not in named and match.row_of and not match.unknown and not match.ambiguous
    ]
    if any(matches[name].row_of for name in named):
        candidates = named
    else:
        candidates = [n for n in others if not named or matches[n].level > _STEM] or named
    if not candidates:
        return None
    key = max(candidates, key=lambda name: (matches[name].level, len(matches[name].row_of)))
    file_of_row = {row: file for file, row in matches[key].row_of.items()}
    for other, match in matches.items():
        # What is called otherwise may name other pictures, such as the next one of a film.
        margin = 0 if other in candidates else 1
        for file, row in match.row_of.items():
            own = matches[key].levels.get(row, 0)
            if file_of_row.get(row, file) != file and match.levels[row] >= own + margin:
                columns = " and ".join(
                    "the index" if n == _INDEX else f"'{n}'" for n in (key, other)
                )
                raise ValueError(
                    f"'{source}' needs one column with the names of pictures. Got {columns}, which "
                    f"name '{printable(file_of_row[row])}' and '{printable(file)}' in row "
                    f"{row + 2}: name the right one `file`, and rename or leave out the other."
                )
    return key


class _Index(NamedTuple):
    """Files by name, and by other ways to write it, with or without suffix.

    Attributes:
        exact: The names.
        loose: Files by name, with or without their folder, each beside its level.
        folded: The same in lower case.
    """

    exact: set[str]
    loose: dict[str, list[tuple[str, int]]]
    folded: dict[str, list[tuple[str, int]]]


def _index(files: Sequence[str]) -> _Index:
    index = _Index(set(files), {}, {})
    for file in files:
        normal = unicodedata.normalize("NFC", file)
        base = normal.rpartition("/")[2]
        levels = {normal: _NAME, base: _NAME}
        if not _PAGE.search(file):  # the name without a suffix is that of the file
            for text in (normal.rpartition(".")[0], base.rpartition(".")[0]):
                levels.setdefault(text, _STEM)
        levels.pop("", None)
        for text, level in levels.items():
            index.loose.setdefault(text, []).append((file, level))
        for text, level in {text.casefold(): level for text, level in levels.items()}.items():
            index.folded.setdefault(text, []).append((file, level))
    return index


def _rows_by_file(names: Sequence[str], index: _Index) -> _Match:
    """Return the row of each file, and the rows that name no file, several, or one again."""
    match = _Match({}, {}, [], [], [])
    for row, name in enumerate(names):
        files, level = _find(name, index)
        if not files:
            match.unknown.append((row, name))
        elif len(files) > 1:
            match.ambiguous.append((row, name, files))
        elif files[0] in match.row_of:
            match.repeated.append((row, name))
        else:
            match.row_of[files[0]] = row
            match.levels[row] = level
    return match


def _find(name: str, index: _Index) -> tuple[list[str], int]:
    """Return the files that a name may mean, and its level: `_EXACT`, `_NAME` or `_STEM`.

    A name is taken as it is, in other ways, or with a path before.
    """
    written = name.replace("\\", "/").removeprefix("./")
    if written in index.exact:
        return [written], _EXACT
    normal = unicodedata.normalize("NFC", written)
    if found := index.loose.get(normal) or index.folded.get(normal.casefold()):
        level = max(level for _, level in found)
        return [file for file, own in found if own == level], level
    parts = written.split("/")
    ends = ("/".join(parts[i:]) for i in range(1, len(parts)))
    end = next((end for end in ends if end in index.exact), None)
    return ([], 0) if end is None else ([end], _NAME)


def _may_name_files(name: str, column: Any, index: _Index) -> bool:
    """Return whether one of the first cells of a column is the name of a picture.

    A column whose own name is that of a picture is a row of a table without a header. Repeated
    cells without a suffix are labels, such as 0 and 1.
    """
    cells = _texts(column, _FIRST)
    level = max((_find(cell, index)[1] for cell in cells), default=0)
    may_be = level > _STEM or (level == _STEM and len(set(cells)) == len(cells))
    return may_be and not _find(name, index)[0]


def _frame_index(labels: Any) -> list[str] | None:
    """Return the names in the index of a data frame of pandas; None if it counts the rows."""
    if not hasattr(labels, "iloc") or labels.index.nlevels > 1:
        return None
    index = labels.index
    if index.dtype.kind != "O" and not _is_file_column(str(index.name)):
        return None
    return [str(name) for name in index]


def _is_file_column(name: str) -> bool:
    return re.sub(r"[\s_-]", "", name.lower()) in FILE_COLUMNS


def _is_index(cells: Sequence[str]) -> bool:
    """Return whether a column without a name is the index of a data frame."""
    return all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)


def _more(rows: Sequence[Any]) -> str:
    return f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""


def _length(column: Any) -> int:
    if isinstance(column, (str, bytes, Set, Mapping)) or not hasattr(column, "__len__"):
        raise TypeError(
            "`labels` needs a sequence of labels per column, such as "
            f"{{'file': ['a.png'], 'x': [1]}}. Got {column!r:.80}."
        )
    return len(column)


def _texts(column: Any, count: int | None = None) -> list[str]:
    """Return the first cells of a column, or all, as texts, as names of pictures need them."""
    cells = column.texts if isinstance(column, TextColumn) else cells_of(column)
    return [
        cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
        for cell in cells[:count]
    ]


def _parquet(path: Path) -> Any:
    path.stat()
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"'{path}' needs pandas and PyArrow: pip install 'keras-disent[studies]'. {error}"
        ) from None
    try:
        return pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"'{path}' needs PyArrow: pip install 'keras-disent[studies]'. {error}"
        ) from None
    except Exception as error:
        raise ValueError(f"'{path}' needs to be a Parquet file. Got: {error}") from error


def _typed(cells: list[str], decimal_comma: bool) -> TextColumn:
    """Return cells as numbers, truth values or dates if all of them are, else as texts."""
    gaps = [cell.lower() in _GAPS for cell in cells]
    values = [cell for cell, gap in zip(cells, gaps, strict=True) if not gap]
    number = _number_with_comma if decimal_comma else _number
    digits = {value for value in values if value.isdecimal()}
    # "01" and "1" are names, not numbers, where a column has both.
    are_names = len({value.lstrip("0") for value in digits}) < len(digits)
    labels: list[Any] = list(values)
    for convert in () if are_names else (_integer, number, _truth, _date):
        try:
            labels = [convert(value) for value in values]
        except (ValueError, OverflowError):
            continue
        break
    if isinstance(labels[0] if labels else None, int) and not fits_64_bits(labels):
        labels = list(values)  # such as hashes
    following = iter(labels)
    return TextColumn([None if gap else next(following) for gap in gaps], cells)


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
