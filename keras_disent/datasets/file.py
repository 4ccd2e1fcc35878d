"""Images in one file: .npy, .npz, HDF5 or idx."""

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
from keras_disent.datasets.stored.rows import Stream

HDF5 = (".h5", ".hdf5", ".hdf")


def open_file(path: str | PathLike[str], *, kinds: Mapping[str, str] | None = None) -> ImageSource:
    """The images of a file, mapped into memory where the file allows it, else cached.

    - `.npy`: one array of images, `(n, height, width, channels)` or without channels.
    - `.npz`: the array `images`; every other array with one number per image is a factor.
    - `.h5`, `.hdf5`: the data set `images`.
    - idx, as MNIST's, raw or `.gz`.

    Args:
        path: file.
        kinds: kinds of factors of a `.npz`, such as `{"age": "continuous"}`, as of `labeled`.

    Returns:
        `Images`; with labels `LabeledImages`, or `ImageGrid` where all combinations are there.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these, or broken, or holds no images, or no factors of
            which `kinds` could be.
        TypeError: the images are neither uint8 nor floats.

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
        zipped = binary.is_gzip(path)
        rows = _cached(path, binary.stream_idx(path)) if zipped else binary.map_idx(path)
    else:
        raise ValueError(
            f"'{path}' needs to be .npy, .npz, .h5, .hdf5 or idx to be read as images."
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
        start = 0
        for block in stream.blocks:
            rows[start : start + len(block)] = block
            start += len(block)

    return cached_rows(cache_key(path.stem, path), stream.shape, stream.dtype, write)
