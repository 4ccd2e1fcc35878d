"""Open a file of images: .npy, .npz, HDF5 or idx."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent.datasets.arrays import with_labels
from keras_disent.datasets.published.files import cache_key
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.stored import binary, hdf5, npy
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.rows import Stream, copy_blocks

HDF5 = (".h5", ".hdf5", ".hdf")


def open_file(path: str | PathLike[str], *, kinds: Mapping[str, str] | None = None) -> ImageSource:
    """Open a file of images as a data set.

    The images are mapped into memory if the format allows it, otherwise unpacked into the cache.

    - `.npy`: one array of images, `(n, height, width, channels)` or `(n, height, width)`.
    - `.npz`: the array `images`; every other array with one number per image is a factor.
    - `.h5`, `.hdf5`: the data set `images`.
    - idx, the format of MNIST, raw or `.gz`.

    Args:
        path: File to open.
        kinds: Kinds of some factors of a `.npz`, such as `{"age": "continuous"}`; see `labeled`.

    Returns:
        `Images`; with labels `LabeledImages`, or `ImageGrid` if every combination of factors has
        exactly one image.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The format is unsupported; the file is broken or has no images; or `kinds` is
            set, but there are no labels.
        TypeError: The images are neither uint8 nor floats.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "shades.npz"
    >>> np.savez(file, images=np.zeros((4, 8, 8), "uint8"), shade=[3, 1, 2, 4])
    >>> data = open_file(file)
    >>> data.name, data.factor_names, data.factor_sizes
    ('shades', ('shade',), (4,))
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".npz":
        return _archive(path, kinds)
    if ending == ".npy":
        rows: Any = npy.map_npy(path)
    elif ending in HDF5:
        rows = hdf5.open_hdf5(path, "images")
    elif "idx" in path.name:
        gzipped = binary.is_gzip(path)
        rows = _cached(path, binary.stream_idx(path)) if gzipped else binary.map_idx(path)
    else:
        raise ValueError(
            f"A file of images needs to be .npy, .npz, .h5, .hdf5 or idx. Got '{path}'."
        )
    return with_labels(rows, None, path.stem, kinds)


def _archive(path: Path, kinds: Mapping[str, str] | None) -> ImageSource:
    members = npy.members(path)
    if "images" not in members:
        raise ValueError(f"'{path}' needs an array 'images'. Got {', '.join(members) or 'none'}.")
    if npy.is_stored(path, "images"):
        rows = npy.map_npz(path, "images")
    else:
        rows = _cached(path, npy.stream_npz(path, "images"))
    labels = {}
    for member in members:
        if member != "images":
            stream = npy.stream_npz(path, member)
            if stream.shape == rows.shape[:1]:
                labels[member] = np.concatenate(list(stream.blocks))
    return with_labels(rows, labels, path.stem, kinds)


def _cached(path: Path, stream: Stream) -> np.ndarray:
    def write(rows: np.ndarray) -> None:
        copy_blocks(stream.blocks, rows, f"Unpacking {path.name}")

    return cached_rows(cache_key(path.stem, path), stream.shape, stream.dtype, write)
