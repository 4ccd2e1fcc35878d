"""Data set metadata: source, size, license, citation, checksums."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class File:
    """Metadata of a published file.

    Attributes:
        name: File name without a folder.
        size: Size in bytes; None if it is not published.
        sha256, md5: Checksums in lower-case hexadecimal; None if they are not published.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class Card:
    """Metadata of a data set: what is needed to download, use and cite it.

    Attributes:
        title: Title given by its authors.
        page: Address of its web page.
        download: Size of the download, such as "26 MB"; empty if nothing is downloaded.
        license: Name or terms of its license, as far as they are published.
        citation: Authors and year.
        files: Files of the data set.
        notes: Further remarks, one sentence each.
    """

    title: str
    page: str = ""
    download: str = ""
    license: str = ""
    citation: str = ""
    files: tuple[File, ...] = ()
    notes: tuple[str, ...] = ()
