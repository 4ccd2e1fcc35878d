"""dSprites, from the published files."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.layout import blocks_of
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.source import check_indices
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed
from keras_disent.datasets.stored.hdf5 import open_hdf5
from keras_disent.datasets.stored.npy import open_npz
from keras_disent.datasets.stored.rows import Stream

_FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
_VALUES = {
    "color": np.array(["white"]),
    "shape": np.array(["square", "ellipse", "heart"]),
    "scale": np.linspace(0.5, 1.0, 6),
    "orientation": np.linspace(0.0, 2 * np.pi, 40),
    "position_x": np.linspace(0.0, 1.0, 32),
    "position_y": np.linspace(0.0, 1.0, 32),
}


class DSprites(GroundTruth):
    """White squares, ellipses and hearts on black (Matthey et al. 2017).

    737,280 images of 0 and 255 (1 in the file). The factors are color (1 step), shape (3), scale
    (6), orientation (40), position_x (32) and position_y (32). They are read from the `.npz`
    file, or from the `.hdf5` file if there is no `.npz`. The first use packs the images into the
    cache, with one bit per pixel (377 MB); all batches are read from there.

    - `color` is constant, and metrics ignore it.
    - The angles go from 0 to 2 pi inclusive, so that the last orientation, 39, has the same
      images as the first.
    - A square looks the same after a rotation by 90 degrees, and an ellipse by 180 degrees. Their
      orientations cannot all be distinguished, and some images differ in a few pixels only.
    - Orientation is counterclockwise; positions grow to the right and downwards.

    `keras_disent.datasets.Sprites` renders the same grid without any file.

    Args:
        data_dir: Folder of the file, which may also be in its subfolder `dsprites`. By default
            KERAS_DISENT_DATA.
        verify: Whether to check the file's checksum, if it is published.

    Raises:
        FileNotFoundError: The file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is
            set. The message names the download page.
        ValueError: The file is broken, or differs from the published one.
        OSError: The cache cannot be written to.
    """

    card = Card(
        title="dSprites",
        page="https://github.com/google-deepmind/dsprites-dataset",
        download="26 MB",
        license="Apache-2.0",
        citation="Matthey, Higgins, Hassabis and Lerchner 2017",
        files=(
            File(f"{_FILE}.npz"),
            File(
                f"{_FILE}.hdf5",
                size=28_024_106,
                sha256="729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb",
                md5="b331c4447a651c44bf5e8ae09022e230",
            ),
        ),
        notes=(
            "One of the two files is enough; the .npz has no published checksum.",
            "The first use writes 377 MB to the cache.",
            "Orientation 39 has the same images as orientation 0.",
        ),
    )
    name = "dsprites"
    factor_names = tuple(_VALUES)
    factor_sizes = tuple(len(values) for values in _VALUES.values())
    factor_kinds = ("constant", "categorical", "ordinal", "circular", "ordinal", "ordinal")

    def __init__(self, data_dir: str | PathLike[str] | None = None, *, verify: bool = True):
        path = find_file(self.name, self.card, (f"{_FILE}.npz", f"{_FILE}.hdf5"), data_dir)
        if verify:
            check_file(path, self.card)
        images = _stream(path, "imgs")
        count, *size = images.shape
        if count != len(self) or len(size) != 2 or images.dtype != np.uint8:
            rule = f"uint8 'imgs' of shape ({len(self)}, height, width)"
            raise malformed(path, rule, f"{images.dtype} {images.shape}")
        self.image_shape = (size[0], size[1], 1)

        def write(target: np.ndarray) -> None:
            self._check_order(path)
            _pack(path, images, target)

        shape = (count, math.ceil(math.prod(size) / 8))
        self._bits = cached_rows(cache_key(f"{self.name}-bits", path), shape, np.uint8, write)

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Names of the color and the shapes, scales, angles in radians, positions from 0 to 1."""
        return dict(_VALUES)

    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at some indices.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.

        Returns:
            uint8 `(n, height, width, 1)` of 0 and 255.

        Raises:
            TypeError, ValueError, IndexError: See `check_indices`.
        """
        packed = np.asarray(self._bits[check_indices(indices, len(self))])
        pixels = np.unpackbits(packed, axis=1, count=math.prod(self.image_shape))
        np.multiply(pixels, 255, out=pixels)
        return pixels.reshape(-1, *self.image_shape)

    def _check_order(self, path: Path) -> None:
        member = "latents_classes" if path.suffix == ".npz" else "latents/classes"
        shape, dtype, blocks = _stream(path, member)
        expected_shape = (len(self), len(self.factor_sizes))
        if shape != expected_shape or dtype.kind not in "iu":
            rule = f"integers '{member}' of shape {expected_shape}"
            raise malformed(path, rule, f"{dtype} {shape}")
        first = 0
        for block in blocks:
            expected = self.factors(np.arange(first, first + len(block)))
            wrong = (block != expected).any(axis=1)
            if wrong.any():
                row = int(np.argmax(wrong))
                rule = f"{expected[row].tolist()} in row {first + row} of '{member}'"
                raise malformed(path, rule, block[row].tolist())
            first += len(block)


def _pack(path: Path, images: Stream, target: np.ndarray) -> None:
    done = 0
    with progress_bar(f"Packing {path.name}") as advance:
        for block in images.blocks:
            if block.max() > 1:
                index = done + int(np.argmax(block.max(axis=(1, 2)) > 1))
                raise malformed(path, "'imgs' of 0 and 1", f"{block.max()} in image {index}")
            part = slice(done, done + len(block))
            target[part] = np.packbits(block.reshape(len(block), -1), axis=1)
            done = part.stop
            advance(done, len(target))


def _stream(path: Path, member: str) -> Stream:
    is_npz = path.suffix == ".npz"
    rows = open_npz(path, member) if is_npz else open_hdf5(path, member, warn=False)
    if isinstance(rows, Stream):
        return rows
    return Stream(rows.shape, rows.dtype, (block for _, block in blocks_of(rows)))
