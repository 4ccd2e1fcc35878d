"""Open a file of images: .npy, .npz, HDF5, Zarr or idx."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent._utils.callers import outside
from keras_disent.datasets.arrays import with_labels
from keras_disent.datasets.layout import channels_last
from keras_disent.datasets.published.files import cache_key, identity_of
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.stored import binary, hdf5, npy
from keras_disent.datasets.stored.cache import cached_rows
from keras_disent.datasets.stored.rows import Stream
from keras_disent.datasets.values import AS_THEY_ARE, Range, check_range, write_bytes

HDF5 = (".h5", ".hdf5", ".hdf")


def open_file(
    path: str | PathLike[str],
    *,
    images: str = "images",
    labels: Any = None,
    data_format: str | None = None,
    pixel_range: Range | None = None,
    kinds: Mapping[str, str] | None = None,
) -> ImageSource:
    """Open a file of images as a data set.

    Bytes are mapped into memory if the format allows it. Other numbers (see `Images`), and
    compressed files, are converted to bytes in the cache once, a few megabytes at a time.

    - `.npy`: one array of images, `(n, height, width, channels)` or `(n, height, width)`.
    - `.npz`, `.h5`, `.hdf5`, and groups of `.zarr`, which needs the library zarr: the array
      `images`, or the only one that can be images. Without `labels`, every other array `(n,)` or
      `(n, 1)` is a factor.
    - idx, the format of MNIST, raw or `.gz`.

    Args:
        path: File to open.
        images: Name of the array of images in an `.npz`, HDF5 or Zarr file.
        labels: Table with one row per image, in the order of the images, or the path of one (CSV,
            TSV or Parquet); see `labeled`. By default the other arrays of the file; {} for none.
        data_format: See `Images`.
        pixel_range: See `Images`.
        kinds: Kinds of some factors, such as `{"age": "continuous"}`; see `labeled`.

    Returns:
        `Images`; with labels `LabeledImages`, or `ImageGrid` if every combination of factors has
        exactly one image.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The format is unsupported; the file is broken or has no images; or `kinds` is
            set, but there are no labels. See also `Images`.
        TypeError: The images need `pixel_range`.

    Warns:
        UserWarning: Without `labels`, the file has arrays beside the images that are no labels,
            such as one-hot ones.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "shades.npz"
    >>> np.savez(file, images=np.zeros((4, 8, 8), "uint8"), shade=[3, 1, 2, 4])
    >>> data = open_file(file)
    >>> data.name, data.factor_names, data.factor_sizes
    ('shades', ('shade',), (4,))
    """
    path = Path(os.fsdecode(path)) if isinstance(path, bytes) else Path(path)
    pixel_range = check_range(pixel_range)
    ending = path.suffix.lower()
    columns: Mapping[str, Any] = {}
    if ending == ".npz":
        rows, columns = _archive(path, images, labels, npy.shapes(path), npy.open_npz, npy.read_npz)
    elif ending == ".npy":
        rows = npy.map_npy(path)
    elif ending in HDF5:
        arrays = hdf5.shapes(path)
        rows, columns = _archive(path, images, labels, arrays, hdf5.open_hdf5, hdf5.read_column)
    elif is_zarr(path):
        rows = opened = _open_zarr(path)
        if not hasattr(opened, "shape"):  # a group
            arrays = {key: tuple(array.shape) for key, array in opened.arrays()}
            rows, columns = _archive(
                path, images, labels, arrays, lambda _, key: opened[key], lambda _, key: opened[key]
            )
    elif "idx" in path.name:
        rows = binary.open_matrix(path)
    else:
        raise ValueError(
            f"A file of images needs to be .npy, .npz, .h5, .hdf5, .zarr or idx. Got '{path}'."
        )
    source = path  # of the labels
    if labels is None:
        labels = columns
    elif isinstance(labels, (str, PathLike)):
        from keras_disent.datasets.tables import read_table

        source, labels = Path(labels), read_table(labels)
    is_right = rows.dtype != np.uint8 or pixel_range is not None  # of what is converted
    try:
        rows = _as_bytes(path, images, rows, data_format, pixel_range)
    except (TypeError, ValueError) as error:
        raise _named(error, path) from error
    options: dict[str, Any] = {"pixel_range": AS_THEY_ARE if is_right else None}
    try:
        return with_labels(rows, labels, path.stem, kinds, data_format="channels_last", **options)
    except (TypeError, ValueError) as error:
        raise _named(error, source) from error


def _named(error: TypeError | ValueError, path: Path) -> TypeError | ValueError:
    """Return an error whose message names the file."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return error if str(path) in str(error) else kind(f"'{path}': {error}")


def _as_bytes(
    path: Path, name: str, rows: Any, data_format: str | None, pixel_range: Range | None
) -> Any:
    """Return rows of bytes: as they are if possible, otherwise from the cache."""
    is_stream = isinstance(rows, Stream)
    layout = np.broadcast_to(np.zeros((), rows.dtype), rows.shape) if is_stream else rows
    turned = channels_last(layout, data_format)
    if rows.dtype == np.uint8 and pixel_range in (None, AS_THEY_ARE) and not is_stream:
        return turned
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    settings: dict[str, Any] = {
        "array": name,
        "data_format": data_format,
        "pixel_range": pixel_range,
    }
    if path.is_dir():  # Zarr: many files
        settings["files"] = [(str(f), *identity_of(f)) for f in files if f.is_file()]

    def write(target: np.ndarray) -> None:
        write_bytes(target, rows, data_format, pixel_range, f"Converting {path.name}")

    key = cache_key(path.stem, path, **settings)
    return cached_rows(key, turned.shape, np.uint8, write)


def _archive(
    path: Path,
    name: str,
    labels: Any,
    shapes: Mapping[str, tuple[int, ...]],
    open_rows: Callable[[Path, str], Any],
    read: Callable[[Path, str], Any],
) -> tuple[Any, dict[str, Any]]:
    """Return the images of a file of several arrays; without labels, also those of one value."""
    name = _image_array_name(path, name, shapes)
    rows = open_rows(path, name)
    if labels is not None:
        return rows, {}
    n = rows.shape[0]
    others = {other: shape for other, shape in shapes.items() if other != name and shape}
    columns = {other: shape for other, shape in others.items() if shape in ((n,), (n, 1))}
    if non_labels := {other: s for other, s in others.items() if other not in columns}:
        listed = ", ".join(f"'{other}' {shape}" for other, shape in list(non_labels.items())[:10])
        more = f" and {len(non_labels) - 10} more" if len(non_labels) > 10 else ""
        warnings.warn(
            f"'{path}' has arrays that are no labels of its {n} images: {listed}{more}. A label "
            f"has the shape ({n},) or ({n}, 1): of one-hot labels, pass labels={{name: "
            "array.argmax(axis=1)}. labels={} leaves out all.",
            UserWarning,
            stacklevel=outside(),
        )
    return rows, {other: read(path, other) for other in columns}


def _image_array_name(path: Path, name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of the array of images: the given one, or the only one that can be."""
    if name in shapes:
        return name
    candidates = [other for other, shape in shapes.items() if len(shape) in (3, 4)]
    if name == "images" and len(candidates) == 1:
        return candidates[0]
    arrays = ", ".join(f"{other} {shape}" for other, shape in list(shapes.items())[:10])
    cure = f": pass images={candidates[0]!r}, for example" if candidates else ""
    raise ValueError(f"'{path}' needs an array {name!r}. Got {arrays or 'none'}{cure}.")


def is_zarr(path: str | PathLike[str]) -> bool:
    """Return whether a folder is an array or group of Zarr, by its suffix or its metadata."""
    path = Path(path)
    marks = ("zarr.json", ".zarray", ".zgroup")
    return path.is_dir() and (
        path.suffix.lower() == ".zarr" or any((path / mark).is_file() for mark in marks)
    )


def _open_zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError:
        raise ImportError(f"'{path}' needs the library zarr: pip install zarr.") from None
    try:
        return zarr.open(str(path), mode="r")
    except Exception as error:
        raise ValueError(f"'{path}' needs to be a Zarr array or group. Got: {error}") from error
