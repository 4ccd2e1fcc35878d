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
        return Image.fromarray(rng.integers(0, 65_536, (height, width)).astype("uint16"))
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


def tiff(numbers: np.ndarray, photometric: int, order: str = "<", deflate: bool = False) -> bytes:
    """Return a TIFF file of one strip.

    Args:
        numbers: uint8 or uint16 `(height, width, bands)`.
        photometric: 0 if 0 is white, 1 if 0 is black, 2 for color.
        order: "<" or ">", the order of bytes.
        deflate: Whether libtiff is needed.
    """
    height, width, bands = numbers.shape
    bits = 8 * numbers.dtype.itemsize
    data = numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflate else data
    entries = 10 + (bands == 4)
    many = struct.pack(f"{order}{bands}H", *[bits] * bands) if bands > 2 else b""
    at = 8 + 2 + 12 * entries + 4
    tags = {256: width, 257: height, 258: bits, 259: 8 if deflate else 1, 262: photometric}
    tags |= {273: at + len(many), 277: bands, 278: height, 279: len(data), 339: 1}
    tags |= {338: 2} if bands == 4 else {}
    ifd = b""
    for tag, value in sorted(tags.items()):
        if tag == 258 and many:
            ifd += struct.pack(f"{order}HHII", tag, 3, bands, at)
        elif tag in (273, 279):
            ifd += struct.pack(f"{order}HHII", tag, 4, 1, value)
        else:
            ifd += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    mark = {"<": b"II", ">": b"MM"}[order]
    head = struct.pack(f"{order}2sHIH", mark, 42, 8, entries)
    return head + ifd + bytes(4) + many + data
