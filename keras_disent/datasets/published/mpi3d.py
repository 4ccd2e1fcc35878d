"""MPI3D, from the published files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent.datasets.arrays import ImageGrid
from keras_disent.datasets.card import Card, File
from keras_disent.datasets.published.files import cache_key, check_file, find_file
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.checks import malformed
from keras_disent.datasets.stored.npy import open_npz
from keras_disent.datasets.stored.rows import Stream, copy_blocks

_FILES = {
    "toy": ("mpi3d_toy.npz",),
    "realistic": ("mpi3d_realistic.npz",),
    "real": ("mpi3d_real.npz",),
    "complex": (
        "real3d_complicated_shapes_ordered.npz",
        "mpi3d_real_complex.npz",
        "mpi3d_complex.npz",
    ),
}
_MEMBER = "images"
_SCENE = {
    "object_size": np.array(["small", "large"]),
    "camera_height": np.array(["top", "center", "bottom"]),
    "background_color": np.array(["purple", "sea green", "salmon"]),
    "horizontal_axis": np.arange(40),
    "vertical_axis": np.arange(40),
}
_SIX = {
    "object_color": np.array(["white", "green", "red", "blue", "brown", "olive"]),
    "object_shape": np.array(["cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere"]),
    **_SCENE,
}
_COMPLEX = {
    "object_color": np.array(["yellow", "green", "olive", "red"]),
    "object_shape": np.array(["coffee-cup", "tennis-ball", "croissant", "beer-cup"]),
    **_SCENE,
}
_FOUR = {"object_color": np.arange(4), "object_shape": np.arange(4), **_SCENE}
_KINDS = (
    "categorical",
    "categorical",
    "ordinal",
    "ordinal",
    "categorical",
    "ordinal",
    "ordinal",
)


class MPI3D(ImageGrid):
    """A robot arm that holds an object, rendered or photographed (Gondal et al. 2019).

    1,036,800 images in color, 12.7 GB. The factors are object_color (6 steps), object_shape (6),
    object_size (2), camera_height (3), background_color (3), horizontal_axis (40) and
    vertical_axis (40). `"complex"` has 4 colors and 4 everyday objects: 460,800 images, 5.7 GB.

    The grid is derived from the number of images. An early release of `"toy"`, `"realistic"` and
    `"real"` with 4 colors and 4 shapes, 460,800 images, is supported too. Its colors and shapes
    are not documented, so their values are plain numbers.

    The images are mapped into memory. If the file is compressed, the first use unpacks them into
    the cache.

    Args:
        part: `"toy"` (simple rendering), `"realistic"` (rendering), `"real"` or `"complex"`
            (photographs).
        data_dir: Folder of the file, which may also be in its subfolder `mpi3d`. By default
            KERAS_DISENT_DATA.
        verify: Whether to check the file's checksum. No checksum is published, so this has no
            effect.

    Raises:
        FileNotFoundError: The file is missing, or neither `data_dir` nor KERAS_DISENT_DATA is
            set. The message names the download page.
        ValueError: The part is unknown; or the file is broken, or differs from the published one.
        OSError: The cache cannot be written to.
    """

    card = Card(
        title="MPI3D",
        page="https://github.com/rr-learning/disentanglement_dataset",
        download="12.7 GB each for toy, realistic and real, 5.7 GB for complex",
        license="CC BY 4.0",
        citation="Gondal et al. 2019",
        files=tuple(File(names[0]) for names in _FILES.values()),
        notes=(
            "No checksums are published for the current files, so none are checked.",
            "The file of `real` was reported broken in 2024 and replaced in April 2025.",
            "toy, realistic and real: https://huggingface.co/datasets/waleedgondal/mpi3d.",
        ),
    )
    name = "mpi3d"
    factor_names = tuple(_SIX)

    def __init__(
        self,
        part: str = "toy",
        data_dir: str | PathLike[str] | None = None,
        *,
        verify: bool = True,
    ):
        if part not in _FILES:
            raise ValueError(f"`part` is one of {', '.join(_FILES)}. Got {part!r}.")
        path = find_file("mpi3d", self.card, _FILES[part], data_dir)
        if verify:
            check_file(path, self.card)
        self.part = part
        images, values = _images(path, (_COMPLEX,) if part == "complex" else (_SIX, _FOUR))
        super().__init__(images, values, f"mpi3d_{part}", kinds=_KINDS)


def _images(path: Path, grids: tuple[Mapping[str, np.ndarray], ...]) -> tuple[Any, Any]:
    """Read images in grid order, `(n, height, width, 3)`, and the values of their factors."""
    source = open_npz(path, _MEMBER)
    sizes, pixels = source.shape[:-3], source.shape[-3:]
    values = next((g for g in grids if math.prod(_sizes(g)) == math.prod(sizes)), None)
    fits = values is not None and (len(sizes) == 1 or sizes == _sizes(values)) and pixels[2] == 3
    if not fits or source.dtype != np.uint8:
        counts = " or ".join(str(math.prod(_sizes(g))) for g in grids)
        rule = (
            f"uint8 '{_MEMBER}' of shape (n, height, width, 3), where n is {counts} or the sizes "
            "of the factors"
        )
        raise malformed(path, rule, f"{source.dtype} {source.shape}")
    shape = (math.prod(sizes), *pixels)
    if not isinstance(source, Stream):
        return source.reshape(shape), values

    def write(target: np.ndarray) -> None:
        copy_blocks(source, target, f"Unpacking {path.name}")

    return cached_rows(cache_key("mpi3d", path), shape, np.uint8, write), values


def _sizes(grid: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    return tuple(len(values) for values in grid.values())
