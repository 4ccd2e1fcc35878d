"""Write picture files of every kind that people have, and broken ones, from a seed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

SIZES = [(16, 16), (16, 9), (7, 23), (1, 1), (64, 48)]
GOOD = {
    # name: (mode, format, options)
    "png_gray": ("L", "PNG"),
    "png_color": ("RGB", "PNG"),
    "png_bits": ("1", "PNG"),
    "png_palette": ("P", "PNG"),
    "png_16": ("I;16", "PNG"),
    "png_alpha": ("RGBA", "PNG"),
    "png_gray_alpha": ("LA", "PNG"),
    "jpeg_gray": ("L", "JPEG"),
    "jpeg_color": ("RGB", "JPEG"),
    "jpeg_cmyk": ("CMYK", "JPEG"),
    "bmp_gray": ("L", "BMP"),
    "bmp_color": ("RGB", "BMP"),
    "bmp_bits": ("1", "BMP"),
    "webp_color": ("RGB", "WEBP"),
    "webp_alpha": ("RGBA", "WEBP"),
    "gif_gray": ("L", "GIF"),
    "gif_palette": ("P", "GIF"),
    "tiff_gray": ("L", "TIFF"),
    "tiff_color": ("RGB", "TIFF"),
    "tiff_16": ("I;16", "TIFF"),
    "tiff_float": ("F", "TIFF"),
    "tiff_alpha": ("RGBA", "TIFF"),
    "tiff_cmyk": ("CMYK", "TIFF"),
    "tiff_lab": ("LAB", "TIFF"),
}


def image_of(mode: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a random picture of a Pillow mode."""
    width, height = size
    if mode == "F":
        return Image.fromarray(rng.random((height, width)).astype("float32"))
    if mode == "I;16":
        return Image.fromarray(rng.integers(4096, 65_536, (height, width)).astype("uint16"))
    bands = {"L": 1, "1": 1, "P": 3, "LA": 2, "RGB": 3, "LAB": 3}.get(mode, 4)
    pixels = rng.integers(0, 256, (height, width, bands), dtype=np.uint8)
    if mode in ("1", "P"):
        return Image.fromarray(pixels[..., 0] if bands == 1 else pixels).convert(mode)
    if bands == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.frombytes(mode, size, pixels.tobytes())


def write(folder: Path, seed: int = 0) -> tuple[list[Path], list[Path]]:
    """Write 200 files; return those that are pictures and those that are broken."""
    rng = np.random.default_rng(seed)
    good, broken = [], []
    for kind, (mode, format_) in GOOD.items():
        for number, size in enumerate(SIZES):
            options = {"lossless": True} if format_ == "WEBP" else {}
            if number % 2 and format_ in ("JPEG", "PNG", "TIFF", "WEBP"):
                exif = Image.Exif()
                exif[0x0112] = int(rng.integers(1, 9))
                options["exif"] = exif
            if number == 4 and mode == "RGB" and format_ in ("PNG", "JPEG", "TIFF"):
                profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
                options["icc_profile"] = profile if format_ != "PNG" else b"no profile"
            path = folder / f"{kind}_{number}.{format_.lower()}"
            image_of(mode, size, rng).save(path, format_, **options)
            good.append(path)
    keyed = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
    for name, save in {
        "key.png": {"transparency": 5},
        "animation.gif": {"save_all": True, "append_images": [keyed.rotate(90)]},
        "animation.png": {"save_all": True, "append_images": [keyed.rotate(90)]},
        "stack.tif": {"save_all": True, "append_images": [keyed.rotate(90)]},
    }.items():
        keyed.save(folder / name, **save)
        good.append(folder / name)
    source = [path for path in good if "_4." in path.name]
    ways = [cut, empty, text, postscript, claim, zeros, tail, header, other, bomb]
    for number in range(200 - len(good)):
        path = source[number % len(source)]
        way = ways[number % len(ways)]
        if way is zeros and path.suffix in (".bmp", ".tiff", ".jpeg"):
            way = cut  # zeros are pixels there
        target = folder / f"broken_{number}_{way.__name__}{path.suffix}"
        target.write_bytes(way(path.read_bytes(), rng))
        broken.append(target)
    return good, broken


def cut(data, rng):
    return data[: len(data) // 2]


def empty(data, rng):
    return b""


def text(data, rng):
    return b"this is no picture"


def postscript(data, rng):
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def claim(data, rng):
    """Return a small PNG that claims to be huge."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0)
    return _png(head, zlib.compress(bytes(100)))


def zeros(data, rng):
    middle = len(data) // 3
    return data[:middle] + bytes(len(data) - middle)


def tail(data, rng):
    return data[:20]


def header(data, rng):
    return bytes(8) + data[8:]


def other(data, rng):
    """Return a picture of a format that is not read."""
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PPM")
    return file.getvalue()


def bomb(data, rng):
    """Return a PNG whose 100 bytes unpack to the 400 million that it claims."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return _png(head, zlib.compress(bytes(10**6)))


def _png(head: bytes, data: bytes, *marks: bytes) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for chunk in (head, *marks, b"IDAT" + data, b"IEND"):
        size = struct.pack(">I", len(chunk) - 4)
        parts.append(size + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return b"".join(parts)


def png_of_16_bits(numbers: np.ndarray, key: tuple[int, ...] = ()) -> bytes:
    """Return a PNG of uint16 `(height, width, bands)`, which Pillow cannot write in color.

    Args:
        numbers: One to four bands.
        key: Color that is transparent.
    """
    height, width, bands = numbers.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    marks = [b"tRNS" + struct.pack(f">{len(key)}H", *key)] if key else []
    return _png(b"IHDR" + head, zlib.compress(rows), *marks)


def tiff(
    numbers: np.ndarray,
    photometric: int,
    order: str = "<",
    deflate: bool = False,
    planes: bool = False,
    extra: int = 2,
) -> bytes:
    """Return a TIFF file of one strip, or of one for each band.

    Args:
        numbers: Integers or floats `(height, width, bands)`.
        photometric: 0 if 0 is white, 1 if 0 is black, 2 for color.
        order: "<" or ">", the order of bytes.
        deflate: Whether libtiff is needed.
        planes: Whether the bands follow each other.
        extra: Meaning of a fourth band: 0 for none, 1 and 2 for alpha, which is multiplied into the
            colors with 1.
    """
    height, width, bands = numbers.shape
    kind = {"u": 1, "i": 2, "f": 3}[numbers.dtype.kind]
    stored = numbers.astype(numbers.dtype.newbyteorder(order))
    parts = list(np.moveaxis(stored, 2, 0)) if planes else [stored]
    strips = [zlib.compress(p.tobytes()) if deflate else p.tobytes() for p in parts]
    starts = 8 + np.cumsum([0, *map(len, strips)])
    data = b"".join(strips) + bytes(starts[-1] % 2)
    tags = {256: ("I", [width]), 257: ("I", [height]), 278: ("I", [height])}
    tags |= {273: ("I", starts[:-1].tolist()), 279: ("I", [len(strip) for strip in strips])}
    words = {
        259: [8 if deflate else 1],
        262: [photometric],
        277: [bands],
        284: [2 if planes else 1],
    }
    words |= {258: [8 * numbers.dtype.itemsize] * bands, 339: [kind] * bands}
    words |= {338: [extra]} if bands in (2, 4) else {}
    tags |= {tag: ("H", values) for tag, values in words.items()}
    place = 8 + len(data) + 2 + 12 * len(tags) + 4
    ifd, later = struct.pack(f"{order}H", len(tags)), b""
    for tag, (letter, values) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(value) > 4:
            later, value = later + value, struct.pack(f"{order}I", place + len(later))
        head = struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[letter], len(values))
        ifd += head + value.ljust(4, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order]
    return struct.pack(f"{order}2sHI", mark, 42, 8 + len(data)) + data + ifd + bytes(4) + later


def gray_png(rows: list[bytes], width: int, bits: int, key: int) -> bytes:
    """Return a gray PNG of packed rows with a transparent value."""
    head = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return _png(b"IHDR" + head, data, b"tRNS" + struct.pack(">H", key))


def linear_gray_profile() -> bytes:
    """Return an ICC profile of gray that is proportional to light."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65_536)) for value in values)

    white = fixed(0.9642, 1, 0.8249)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"cprt": b"text" + bytes(4) + b"none" + bytes(4),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IHH", 1, 256, 0),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content
    head = struct.pack(">I4xI", 132 + 12 * len(tags) + len(body), 0x02100000)
    head += b"mntrGRAYXYZ " + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + body
