"""Tags of TIFF files: how numbers are stored, which Pillow does not tell or does not read."""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

from PIL import Image, TiffImagePlugin

_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_STRIPS, _TILES = (273, 279), (324, 325)  # places and sizes of the data
_SAME = (256, 257, 259, 266, 274, 278, 317, 322, 323)  # tags that each plane has
_FORMATS = {1: "integers", 2: "integers with a sign", 3: "floats"}


class Tags(NamedTuple):
    """How a TIFF file stores its numbers; the defaults are those of other pictures.

    Attributes:
        bits: Bits of a number; 0 if it is no TIFF file.
        is_signed: Whether integers have a sign.
        white_is_zero: Whether 0 is white.
        planes: Whether the bands follow each other, instead of the pixels.
        is_misread: Whether Pillow takes the numbers for others, unless `repair` comes first.
    """

    bits: int = 0
    is_signed: bool = False
    white_is_zero: bool = False
    planes: bool = False
    is_misread: bool = False


def tags_of(picture: Image.Image) -> Tags:
    tags: Any = getattr(picture, "tag_v2", None)
    if picture.format != "TIFF" or tags is None:
        return getattr(picture, "tags", Tags())  # of a copy
    bits, is_signed = tags.get(_BITS, (1,))[0], tags.get(_FORMAT, (1,))[0] == 2
    white_is_zero, planes = tags.get(_PHOTOMETRIC) == 0, tags.get(_PLANAR) == 2
    is_swapped = _is_compressed(picture) and tags.prefix == b"MM" and (bits == 32 or is_signed)
    is_single = planes and tags.get(_SAMPLES, 1) == 1 and (bits != 8 or white_is_zero)
    return Tags(
        bits,
        is_signed,
        white_is_zero,
        planes,
        (is_swapped and bits > 8) or (is_single and not _is_compressed(picture)),
    )


def _is_compressed(picture: Image.Image) -> bool:
    return bool(picture.info.get("compression", "raw") != "raw")


def repair(picture: Any) -> None:
    """Let Pillow read numbers that it misreads, before it decodes them.

    It takes a band alone for bytes, if the file says that its bands are planes. It takes the
    numbers that libtiff has unpacked, in the order of this computer, for those of the file.
    """
    tags = getattr(picture, "tag_v2", {})
    if picture.format != "TIFF":
        return
    if tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) == 1:
        tags[_PLANAR] = 1
        picture._setup()
    for number, tile in enumerate(picture.tile):
        native = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}.get(tile[3][0])
        if tile[0] == "libtiff" and native:
            make = getattr(type(tile), "_make", tuple)
            picture.tile[number] = make((*tile[:3], (native, *tile[3][1:])))


def plane_files(picture: Any) -> tuple[list[bytes], bool]:
    """Return each band of a TIFF file as a gray one, and whether alpha is in the colors.

    Raises:
        ValueError: The file is larger than 4 GB, or a BigTIFF file.
    """
    content, tags = picture.fp.getvalue(), picture.tag_v2
    if content[2:4] not in (b"*\0", b"\0*"):
        raise ValueError("its colors are in separate planes of a BigTIFF file: save it as a PNG")
    places, sizes = _TILES if _TILES[0] in tags else _STRIPS
    count = len(tags[places]) // tags[_SAMPLES]
    files = []
    for plane in range(len(picture.mode)):
        part = slice(plane * count, (plane + 1) * count)
        own = {tag: [tags[tag]] for tag in _SAME if tag in tags}
        own |= {places: tags[places][part], sizes: tags[sizes][part]}
        own |= {_BITS: [tags[_BITS][0]], _PHOTOMETRIC: [1], _SAMPLES: [1]}
        files.append(_with_tags(content, own))
    return files, tags.get(_EXTRA, (0,))[0] == 1 and len(files) == 4


def _with_tags(content: bytes, tags: dict[int, Any]) -> bytes:
    """Return a TIFF file with other tags, which come after its data."""
    order = "<" if content[:2] == b"II" else ">"
    start = len(content) + len(content) % 2
    place = start + 2 + 12 * len(tags) + 4
    table, later = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        is_long = tag in (*_STRIPS, *_TILES) or max(values) > 65_535
        value = struct.pack(f"{order}{len(values)}{'I' if is_long else 'H'}", *values)
        if len(value) > 4:
            later, value = later + value, struct.pack(f"{order}I", place + len(later))
        table += struct.pack(f"{order}HHI", tag, 4 if is_long else 3, len(values))
        table += value.ljust(4, b"\0")
    head = content[:4] + struct.pack(f"{order}I", start)
    return head + content[8:].ljust(start - 8, b"\0") + table + bytes(4) + later


def is_tiff(content: bytes) -> bool:
    """Return whether a file begins as a TIFF file."""
    return content[:4] in _MARKS


def kind_of_tiff(content: bytes) -> str:
    """Return what a TIFF file holds that Pillow does not open."""
    if content[:4] == b"MM\0+":
        return "it is a BigTIFF file with the highest byte first, which Pillow does not open"
    try:
        head = content[: 16 if b"+" in content[:4] else 8]
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2(head)
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        bands, bits = tags.get(_SAMPLES, 1), tags.get(_BITS, (1,))[0]
        kind = _FORMATS.get(tags.get(_FORMAT, (1,))[0], "numbers")
        facts = [f"{bands} band{'s' if bands != 1 else ''} of {kind} of {bits} bits"]
    except Exception:  # Pillow raises many kinds of errors on broken files
        return "it is a broken TIFF file"
    facts += ["0 is white"] if tags.get(_PHOTOMETRIC) == 0 else []
    facts += ["the highest byte first"] if tags.prefix == b"MM" and bits > 8 else []
    facts += ["bands in separate planes"] if tags.get(_PLANAR) == 2 and bands > 1 else []
    part = "it" if bands < 5 else "one or three of its bands"
    return (
        f"it is a TIFF file of a kind that Pillow does not open ({', '.join(facts)}): save {part} "
        "as a PNG, or read it with a library such as tifffile, and pass an array"
    )
