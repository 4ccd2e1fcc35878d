"""What a person has to know of a data set: where it is, what it costs, what one may do with it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        name: without a folder.
        size: bytes; None where nobody says.
        sha256, md5: hexadecimal; a sha256 may be cut off after eight digits or more.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class Card:
    """What a person has to know to get a data set and to use it lawfully.

    Attributes:
        title: as its authors call it.
        page: where it is to be had.
        download: what to expect, such as "26 MB"; empty if it is drawn.
        license: its name or terms, as far as they are stated.
        citation: authors and year.
        files: what is looked for.
        about: what else to know, one sentence each.
    """

    title: str
    page: str = ""
    download: str = ""
    license: str = ""
    citation: str = ""
    files: tuple[File, ...] = ()
    about: tuple[str, ...] = ()
