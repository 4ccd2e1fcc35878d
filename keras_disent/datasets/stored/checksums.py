"""Compute and compare checksums of large files."""

from __future__ import annotations

import hashlib

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
        ValueError: The file cannot be read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("whole")
    >>> digest(path, "md5")
    '356c9ee60e9da05301adc3bd96f6b383'
    """
    size, done = file_size(path), 0
    state = hashlib.new(algorithm, usedforsecurity=False)
    with wrap_errors(path, "to be readable"), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            state.update(piece)
            done += len(piece)
            if progress is not None:
                progress(done, size)
    return state.hexdigest()


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
        sha256: Expected sha256 in hexadecimal digits, or the first of them.
        md5: Expected md5 in hexadecimal digits.
        progress: Function that is called with the number of bytes read and the file size.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The size or a checksum differs.

    >>> verify(__file__, md5="0" * 32)
    Traceback (most recent call last):
    keras_disent.datasets.stored.checks.MalformedFile: '...checksums.py' needs the md5
        00000000000000000000000000000000. Got ...
    """
    actual_size = file_size(path)
    if size is not None and actual_size != size:
        raise malformed(path, f"{size} bytes", actual_size)
    for name, digits in (("sha256", sha256), ("md5", md5)):
        if digits is None:
            continue
        checksum = digest(path, name, progress)
        if not checksum.startswith(digits.lower()):
            starts = " that starts with" if len(digits) < len(checksum) else ""
            raise malformed(path, f"the {name}{starts} {digits}", checksum)
