"""smallNORB: photographs of toys on a turntable."""

from __future__ import annotations

import itertools
from operator import itemgetter
from os import PathLike
from pathlib import Path

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import ImageGrid, grid_rows
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.layout import blocks_of
from keras_disent.datasets.pixels import Resized
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.stored.binary import open_matrix, read_rows
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed
from keras_disent.datasets.stored.rows import Stream

_VALUES = {
    "category": np.array(["animal", "human", "plane", "truck", "car"]),
    "instance": np.arange(10),
    "elevation": np.arange(30, 75, 5),
    "azimuth": np.arange(0, 360, 20),
    "lighting": np.arange(6),
}
_SIZES = tuple(len(values) for values in _VALUES.values())
_COUNT = int(np.prod(_SIZES))
_HALF = _COUNT // 2
_HALVES = (
    "smallnorb-5x46789x9x18x6x2x96x96-training",
    "smallnorb-5x01235x9x18x6x2x96x96-testing",
)
_FILES = (
    (0, "dat", 131_896_188, "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873"),
    (0, "cat", 348, "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"),
    (0, "info", 71_052, "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32"),
    (1, "dat", 130_799_817, "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474"),
    (1, "cat", 347, "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff"),
    (1, "info", 10_428, "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2"),
)


class SmallNORB(ImageGrid):
    """Toys of five categories, photographed from all sides (LeCun et al. 2004).

    48,600 gray images, the first of each stereo pair. The factors are category (5 steps),
    instance (10), elevation (9), azimuth (18) and lighting (6). The values are names of
    categories, elevations of 30 to 70 degrees, azimuths of 0 to 340 degrees, and numbers of
    instances and lightings. Instances with the same number in two categories are unrelated.

    The grid combines the published training and test data. To separate them, use
    `.hold_out({"instance": [0, 1, 2, 3, 5]})`, which holds out the published test data.
    Locatello et al. (2019) treat the instance as a nuisance factor:
    `.only("category", "elevation", "azimuth", "lighting")`.

    Args:
        data_dir: Folder of the six files, `.mat.gz` or `.mat`, which may also be in its subfolder
            `small_norb`. By default KERAS_DISENT_DATA.
        image_size: Height and width in pixels, resized from 96 (antialiased). Resized images are
            cached.
        verify: Whether to check the checksums of the `.mat.gz` files.

    Raises:
        FileNotFoundError: A file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is set.
        ValueError: A file is broken, differs from the published one, or does not match the others.

    >>> data = SmallNORB("~/data", image_size=64)  # doctest: +SKIP
    >>> train, test = data.hold_out({"instance": [0, 1, 2, 3, 5]})  # doctest: +SKIP
    """

    name = "small_norb"
    card = Card(
        title="smallNORB",
        page="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
        download="six files, 263 MB",
        license="for research only, no sale",
        citation="LeCun, Huang and Bottou 2004",
        files=tuple(
            File(f"{_HALVES[half]}-{kind}.mat.gz", size, sha256)
            for half, kind, size, sha256 in _FILES
        ),
        notes=(
            "The published training and test data show different instances.",
            "Only the first image of each stereo pair is used.",
        ),
    )

    def __init__(
        self,
        data_dir: str | PathLike[str] | None = None,
        *,
        image_size: int = 64,
        verify: bool = True,
    ):
        self.image_size = size = check_integer("image_size", image_size, at_least=1)
        halves = [
            [
                find_file(
                    self.name, self.card, (f"{half}-{kind}.mat.gz", f"{half}-{kind}.mat"), data_dir
                )
                for kind in ("dat", "cat", "info")
            ]
            for half in _HALVES
        ]
        files = [path for half in halves for path in half]

        def write(rows: np.memmap) -> None:
            if verify:
                for path in files:
                    check_file(path, self.card)
            _write(rows, halves)

        key = cache_key(self.name, *files, image_size=size, verify=verify)
        rows = cached_rows(key, (_COUNT, size, size, 1), np.uint8, write)
        kinds = ("categorical", "categorical", "ordinal", "circular", "categorical")
        super().__init__(rows, _VALUES, self.name, kinds=kinds)


def _write(rows: np.memmap, halves: list[list[Path]]) -> None:
    """Write the images in the order of the grid, which differs from that of the files."""
    streams = []
    for dat, _, _ in halves:
        images = open_matrix(dat)
        if images.dtype != np.uint8 or images.shape[:2] != (_HALF, 2) or len(images.shape) != 4:
            rule = f"bytes of the shape ({_HALF}, 2, height, width)"
            raise malformed(dat, rule, f"{images.dtype} {images.shape}")
        streams.append(
            images.blocks if isinstance(images, Stream) else map(itemgetter(1), blocks_of(images))
        )
    indices = _grid_indices(halves)
    resized = Resized(rows.shape[1])
    done = 0
    with progress_bar("Resizing smallNORB") as advance:
        for block in itertools.chain.from_iterable(streams):
            stop = done + len(block)
            rows[indices[done:stop]] = resized(block[:, 0, :, :, None], None)
            done = stop
            advance(done, _COUNT)


def _grid_indices(halves: list[list[Path]]) -> np.ndarray:
    """Return the index in the grid of each image, int64 `(n,)`, the training data first."""
    category = np.concatenate([_labels(cat, (_HALF,)) for _, cat, _ in halves])
    others = np.concatenate([_labels(info, (_HALF, 4)) for _, _, info in halves])
    others[:, 2] //= 2  # azimuths are even, in steps of ten degrees
    steps = np.column_stack([category, others])
    in_range = ((steps >= 0) & (steps < _SIZES)).all()
    rows = grid_rows(steps, _SIZES) if in_range else None
    if rows is None:
        raise malformed(
            halves[0][2].parent,
            "each combination of category, instance, elevation, azimuth and lighting once in "
            + ", ".join(f"'{path.name}'" for half in halves for path in half[1:]),
            "a combination twice, or a step out of range",
        )
    return np.argsort(rows)


def _labels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    rows = open_matrix(path)
    if rows.dtype != np.int32 or rows.shape != shape:
        raise malformed(path, f"labels of int32 of the shape {shape}", f"{rows.dtype} {rows.shape}")
    return read_rows(rows).astype(np.int64)
