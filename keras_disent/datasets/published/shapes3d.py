"""3D Shapes, from the published file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from keras_disent.datasets.arrays import ImageGrid, grid_rows
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.published.files import check_file, find_file
from keras_disent.datasets.stored.checks import malformed
from keras_disent.datasets.stored.hdf5 import open_hdf5

_FILE = "3dshapes.h5"
_CONVERTED = "3dshapes.contiguous.h5"
_COUNT = 480_000
_SIZES = {
    "floor_hue": 10,
    "wall_hue": 10,
    "object_hue": 10,
    "scale": 8,
    "shape": 4,
    "orientation": 15,
}
_SHAPES = np.array(["cube", "cylinder", "sphere", "capsule"])
_KINDS = ("circular", "circular", "circular", "ordinal", "categorical", "ordinal")


class Shapes3D(ImageGrid):
    """An object in a room, seen from several sides (Burgess and Kim 2018).

    480,000 images in color. The factors are floor_hue (10 steps), wall_hue (10), object_hue (10),
    scale (8), shape (4) and orientation (15). The file has real values instead of steps: a step
    is the rank of its value, and `factor_values` are these values (names for shapes).

    Images are read from the file batch by batch. The published file is compressed in chunks of
    many images, which makes reading single images slow. A warning shows the command that converts
    it to `3dshapes.contiguous.h5` (5.9 GB). If that file exists, it is used instead, and mapped
    into memory.

    Args:
        data_dir: Folder of the file, which may also be in its subfolder `shapes3d`. By default
            KERAS_DISENT_DATA.
        verify: Whether to check the checksum of the published file. The converted file has none.

    Raises:
        FileNotFoundError: The file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is
            set. The message names the download page.
        ValueError: The file is broken, or differs from the published one; or its labels do not
            have each combination exactly once.

    Warns:
        UserWarning: Single images are slow to read.
    """

    card = Card(
        title="3D Shapes",
        page="https://github.com/google-deepmind/3d-shapes",
        download="268 MB",
        license="Apache-2.0",
        citation="Burgess and Kim 2018",
        files=(
            File(
                _FILE,
                size=267_573_662,
                sha256="0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
                md5="099a2078d58cec4daad0702c55d06868",
            ),
        ),
        notes=(
            f"If the converted file {_CONVERTED} exists, it is read instead.",
            "The labels are real values; a step is the rank of its value.",
        ),
    )
    name = "shapes3d"
    factor_names = tuple(_SIZES)
    factor_sizes = tuple(_SIZES.values())

    def __init__(self, data_dir: str | PathLike[str] | None = None, *, verify: bool = True):
        path = find_file(self.name, self.card, (_CONVERTED, _FILE), data_dir)
        if verify:
            check_file(path, self.card)
        values, rows = _grid(path)
        images = open_hdf5(path, "images")
        shape = images.shape
        if len(shape) != 4 or (shape[0], shape[3]) != (_COUNT, 3) or images.dtype != np.uint8:
            rule = f"uint8 'images' of shape ({_COUNT}, height, width, 3)"
            raise malformed(path, rule, f"{images.dtype} {shape}")
        super().__init__(images, values, self.name, rows=rows, kinds=_KINDS)


def _grid(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the values of all factors, and the row of each combination."""
    source = open_hdf5(path, "labels", warn=False)
    if source.shape != (_COUNT, len(_SIZES)) or source.dtype.kind != "f":
        rule = f"floats 'labels' of shape {(_COUNT, len(_SIZES))}"
        raise malformed(path, rule, f"{source.dtype} {source.shape}")
    columns = source[np.arange(_COUNT)].T
    unique = [np.unique(column, return_inverse=True) for column in columns]
    values = {name: levels for name, (levels, _) in zip(_SIZES, unique, strict=True)}
    # The converted file has no checksum.
    sizes = tuple(map(len, values.values()))
    rows = grid_rows(np.stack([ranks for _, ranks in unique], axis=1), sizes)
    if sizes != tuple(_SIZES.values()) or rows is None:
        rule = f"each combination of {tuple(_SIZES.values())} values in 'labels' once"
        raise malformed(path, rule, f"{sizes} values")
    return values | {"shape": _SHAPES}, rows
