"""Compute and compare checksums of large files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from keras_disent.datasets.stored.checks import Path, Progress, file_size, malformed, wrap_errors

_PIECE = 2**20


def digest(path: Path, algorithm: str, progress: Progress | None = None) -> str:
    """Compute the checksum of a file, one megabyte at a time.

    Args:
        path: File to read.
        algorithm: Name of a `hashlib` algorithm, such as `"sha256"` or `"md5"`.
        progress: Function that is called with the number of bytes read and the file size.

    Returns:
        Hexadecimal digits, in lower case.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or the algorithm is unknown.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("whole")
    >>> digest(path, "md5")
    '356c9ee60e9da05301adc3bd96f6b383'
    """
    algorithms = sorted(n for n in hashlib.algorithms_guaranteed if not n.startswith("shake"))
    if algorithm not in algorithms:
        names = ", ".join(algorithms)
        raise ValueError(f"`algorithm` needs to be one of {names}. Got {algorithm!r}.")
    size = file_size(path)
    state = hashlib.new(algorithm, usedforsecurity=False)
    done = 0
    for piece in _pieces(path):
        state.update(piece)
        done += len(piece)
        if progress is not None:
            progress(done, size)
    return state.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with wrap_errors(path, "to be readable"), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def verify(
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Check the size and the checksums of a file.

    Args:
        path: File to check.
        size: Expected size in bytes.
        sha256: Expected sha256: 64 hexadecimal digits, or the first 8 or more of them.
        md5: Expected md5: 32 hexadecimal digits.
        progress: Function that is called with the number of bytes read and the file size.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The size or a checksum differs, or an expected checksum is malformed.

    >>> verify(__file__, md5="0" * 32)
    Traceback (most recent call last):
    keras_disent.datasets.stored.checks.MalformedFile: '...checksums.py' needs the md5
        00000000000000000000000000000000. Got ...
    """
    expected = {}
    for name, digits, least, most in (("sha256", sha256, 8, 64), ("md5", md5, 32, 32)):
        if digits is None:
            continue
        if not re.fullmatch(f"[0-9a-fA-F]{{{least},{most}}}", digits):
            count = f"{least} to {most}" if least < most else f"{most}"
            raise ValueError(f"`{name}` needs {count} hexadecimal digits. Got {digits!r}.")
        expected[name] = digits.lower()
    actual_size = file_size(path)
    if size is not None and actual_size != size:
        raise malformed(path, f"{size} bytes", actual_size)
    for name, digits in expected.items():
        checksum = digest(path, name, progress)
        if not checksum.startswith(digits):
            starts = " that starts with" if len(digits) < len(checksum) else ""
            raise malformed(path, f"the {name}{starts} {digits}", checksum)
