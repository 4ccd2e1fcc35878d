"""Take data sets of other libraries, which hand out one example at a time."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.callers import outside
from keras_disent._utils.checks import check_pixels
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import with_labels
from keras_disent.datasets.labels import cells_of, is_label, is_missing
from keras_disent.datasets.layout import channels_last, is_tensor
from keras_disent.datasets.pictures import channels_of, decode
from keras_disent.datasets.pictures.opening import UnreadablePicture
from keras_disent.datasets.pictures.settings import PictureSettings
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.stored.cache import cache_folder
from keras_disent.datasets.values import (
    AS_THEY_ARE,
    Range,
    check_dark,
    check_range,
    note_dark,
    to_bytes,
)


def from_examples(
    source: Any,
    image: str | int = "image",
    labels: str | Iterable[str] | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    crop: int | None = None,
    fit: str = "crop",
    background: str | tuple[int, int, int] = "white",
    data_format: str | None = None,
    pixel_range: Range | None = None,
    kinds: Mapping[str, str] | None = None,
    name: str | None = None,
) -> ImageSource:
    """Take the images and labels of a data set of another library.

    The examples are read once, and their images are kept as bytes in a temporary file in the cache
    folder, which is gone with the process. Memory stays bounded.

    Args:
        source: A `Dataset` of Hugging Face; a map-style `Dataset` of PyTorch; a finite
            `tf.data.Dataset`, such as those of TensorFlow Datasets; a data frame of pandas or
            Polars with a column of images; a mapping of columns, such as those of TensorFlow
            Datasets in one batch; or a list of examples. An example is a mapping, a tuple that
            begins with the image, or an image alone. An image is an array or tensor, a Pillow
            image, the bytes of a picture file, or the path of one.
        image: Name of the image in an example that is a mapping.
        labels: Names of the labels; by default all numbers and texts beside the image. () for
            none. Lists of texts, which are tags, need their name. The second item of a tuple is
            "label", further ones are "label_2" and so on.
        image_size: Side of a square image in pixels, or `(height, width)`; by default that of the
            images, which must be equal.
        channels: 1 for gray, 3 for color; by default that of the first image.
        crop, fit, background: See `PictureSettings`. Arrays with alpha keep it, unless
            `image_size`, `channels`, `crop` or `background` is set.
        data_format: `"channels_first"` for arrays `(channels, height, width)`.
        pixel_range: See `Images`.
        kinds: Kinds of some factors; see `labeled`.
        name: Name of the data set in messages and tables.

    Returns:
        `Images`, `LabeledImages` or `ImageGrid`.

    Raises:
        TypeError: `source` is of no such kind, or endless.
        ValueError: There is no example, an example has no such image or label, images have
            different shapes, or values have no rule; see `Images`.

    Warns:
        UserWarning: Images of 16 bits are nearly black, as in `Images`. Without `labels`, something
            beside the images is no number or text.

    >>> examples = [(Image.new("L", (8, 8), 40 * i), i % 2) for i in range(4)]
    >>> data = from_examples(examples)
    >>> data.image_shape, data.factor_names, data.images([3])[0, 0, 0]
    ((8, 8, 1), ('label',), array([120], dtype=uint8))
    """
    pixel_range = check_range(pixel_range)
    label_names = (
        (labels,) if isinstance(labels, str) else None if labels is None else tuple(labels)
    )
    examples, count, names_of, categories = _examples(source, image)
    settings = PictureSettings(image_size, channels or 3, crop, fit, background, pixel_range)
    check_pixels("image_size", settings.size)
    keep = channels is None and settings.background == (255, 255, 255)
    highest: list[float] = []
    columns: dict[str, Any] = {}
    non_labels: dict[str, str] = {}
    shape: tuple[int, ...] | None = None
    cache_folder().mkdir(parents=True, exist_ok=True)
    number = 0
    with (
        tempfile.TemporaryFile(dir=cache_folder(), prefix=".examples-") as file,
        progress_bar("Reading examples") as advance,
    ):
        for example in examples:
            raw_image, fields = _parts(example, image, number)
            if is_missing(_picture(raw_image)):
                raise ValueError(
                    f"Example {number} needs an image. Got {_picture(raw_image)!r}: leave such "
                    "examples out."
                )
            if not _is_picture(raw_image):
                raw_image = _array(raw_image, data_format, number)
            if channels is None and number == 0:
                settings = dataclasses.replace(settings, channels=_channels(raw_image))
            try:
                pixels = _pixels(raw_image, settings, number, highest, keep)
            except UnreadablePicture as error:
                raise UnreadablePicture(_name(raw_image, number), error.reason) from error
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise ValueError(
                    f"Images of different sizes need `image_size`. Got {pixels.shape} in example "
                    f"{number} after {shape}."
                )
            file.write(pixels.tobytes())
            non_labels |= _collect(columns, fields, label_names, number)
            number += 1
            if count:
                advance(number, count)
        if shape is None:
            raise ValueError("`source` needs at least one example. Got none.")
        check_dark(highest)
        file.flush()
        rows = np.memmap(file, np.uint8, "r", 0, (number, *shape))
    for column, texts in names_of.items():
        if column in columns:
            columns[column] = [
                None if value is None or int(value) < 0 else texts[int(value)]
                for value in columns[column]
            ]
    if label_names is None:  # what is never a number or a text is no label
        columns = {n: c for n, c in columns.items() if any(value is not None for value in c)}
    columns |= {name: column for name, column in categories.items() if name in columns}
    if non_labels:
        names = ", ".join(f"'{name}' ({what})" for name, what in non_labels.items())
        warnings.warn(
            f"What is no number or text is no label: {names}. labels=() leaves out all; of one-hot "
            "labels, take the argmax.",
            UserWarning,
            stacklevel=outside(),
        )
    title = name or getattr(source, "builder_name", None) or type(source).__name__.lower()
    options: dict[str, Any] = {"pixel_range": AS_THEY_ARE if pixel_range else None}
    data = with_labels(rows, columns or None, title, kinds, **options)
    data.pictures = settings.shared()
    return data


def _examples(
    source: Any, image: str | int
) -> tuple[Iterator[Any], int | None, dict[str, list[str]], dict[str, Any]]:
    """Return the examples, and what is known of all of them.

    Returns:
        The examples; their number or None; names of the values of labels; and columns of
        categories, which may have an order that their values have not.
    """
    if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__"):
        raise TypeError(
            f"`source` needs several examples. Got {source!r:.80}: pass a list, or open a folder "
            "or file with datasets.load."
        )
    package = type(source).__module__.partition(".")[0]
    part = "list(itertools.islice(source, 10_000))"
    part = "source.take(10_000)" if hasattr(source, "take") else part
    endless = f"`source` must end: take a part of it, such as {part}."
    if package == "tensorflow" and hasattr(source, "cardinality"):
        if int(source.cardinality()) == -1:
            raise TypeError(endless)
        size = int(source.cardinality())
        return source.as_numpy_iterator(), size if size > 0 else None, {}, {}
    if package in ("pandas", "polars"):
        categories = {
            str(name): source[name]
            for name in source.columns
            if name != image and str(source[name].dtype).startswith(("category", "Enum"))
        }
        columns = {
            str(name): list(source[name]) if name == image else cells_of(source[name])
            for name in source.columns
        }
        for name in categories:
            columns[name] = [None if is_missing(cell) else str(cell) for cell in columns[name]]
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return rows, len(source), {}, categories
    if isinstance(source, Mapping) and image in source:
        columns = {str(name): source[name] for name in source if hasattr(source[name], "__len__")}
        rows = ({name: c[i] for name, c in columns.items()} for i in range(len(source[image])))
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"`source` needs columns of equal length. Got {lengths}.")
        return rows, len(source[image]), {}, {}
    if isinstance(source, Mapping):
        raise TypeError(
            f"`source` holds several parts: take one of {', '.join(map(repr, source))}."
        )
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        if hasattr(source, "dataset"):  # a DataLoader of PyTorch
            raise TypeError("`source` hands out batches: pass source.dataset.")
        if hasattr(source, "__iter__"):
            raise TypeError(endless)
        raise TypeError(
            "`source` needs to be a data set of Hugging Face, PyTorch or tf.data, a data frame, or "
            f"a list of examples. Got {type(source).__name__}."
        )
    features = getattr(source, "features", None) or {}
    names_of = {key: list(f.names) for key, f in features.items() if getattr(f, "names", None)}
    if classes := getattr(source, "classes", None):  # of torchvision
        names_of["label"] = list(map(str, classes))
    return (source[i] for i in range(len(source))), len(source), names_of, {}


def _parts(example: Any, image: str | int, number: int) -> tuple[Any, dict[str, Any]]:
    """Return the image of an example, and everything else by name."""
    if isinstance(example, Mapping) and not {"bytes", "path"} >= set(example):
        if image not in example:
            keys = ", ".join(map(repr, example))
            raise ValueError(f"`image` needs a name from {keys}. Got {image!r}.")
        rest = {str(key): value for key, value in example.items() if key != image}
        return example[image], rest
    if isinstance(example, list) and len(example) > 1 and _scalar(example[1]) is not None:
        example = tuple(example) if _is_picture(example[0]) or np.ndim(example[0]) > 1 else example
    if isinstance(example, tuple):
        if not example:
            raise ValueError(f"Example {number} needs an image. Got an empty tuple.")
        names = ["label", *(f"label_{i}" for i in range(2, len(example)))]
        return example[0], dict(zip(names, example[1:], strict=False))
    return example, {}


def _collect(
    columns: dict[str, list[Any]], fields: Mapping[str, Any], label_names: Any, number: int
) -> dict[str, str]:
    """Add the labels of an example to the columns; without a wish, examples may lack some.

    Returns:
        What is left out, because it is no number or text: `{name: type or shape}`.
    """
    names = (
        [n for n, v in fields.items() if _scalar(v) is not None]
        if label_names is None
        else label_names
    )
    for name in names:
        columns.setdefault(name, [None] * number)
    for name, column in columns.items():
        if name not in fields and label_names is not None:
            got = ", ".join(fields) or "none"
            raise ValueError(f"Example {number} needs a label {name!r}. Got {got}.")
        value = fields.get(name)
        value = None if type(value).__name__ == "NAType" else value  # of pandas
        is_tags = label_names is not None and _are_tags(value)
        column.append(value if is_tags else _scalar(value))
        if column[-1] is None and value is not None and label_names is not None:
            raise ValueError(
                f"Example {number} needs a number, a text or tags as {name!r}. Got "
                f"{_what(value)}: take the argmax of one-hot labels."
            )
    if label_names is not None:
        return {}
    rest = {name: value for name, value in fields.items() if name not in columns}
    return {name: _what(value) for name, value in rest.items() if value is not None}


def _are_tags(value: Any) -> bool:
    is_column = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OUST"
    return is_column or isinstance(value, (list, tuple, set, frozenset))


def _what(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"an array of shape {tuple(shape)}"


def _scalar(value: Any) -> Any:
    """Return a label as a plain value; None for anything that is no number or text."""
    if is_tensor(value):
        value = to_numpy(value)
    if isinstance(value, np.ndarray):
        if value.ndim:
            return None
        value = value[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if is_label(value) else None


def _is_picture(image: Any) -> bool:
    return isinstance(image, (Image.Image, bytes, str, Mapping)) or hasattr(image, "__fspath__")


def _picture(image: Any) -> Any:
    """Return a source for `decode`; Hugging Face stores undecoded pictures in a mapping."""
    if isinstance(image, Mapping):
        return image.get("bytes") or image.get("path")
    return image


def _name(image: Any, number: int) -> str:
    """Return the name of an example for messages, with the path of its picture, if it has one."""
    path: Any = image.get("path") if isinstance(image, Mapping) else image
    if isinstance(path, str) or hasattr(path, "__fspath__"):
        return f"example {number}, {os.fspath(path)}"
    return f"example {number}"


def _channels(image: Any) -> int:
    """Return the number of channels: 1 for gray, with or without alpha, 3 for other pictures."""
    is_file = _is_picture(image) and not isinstance(image, Image.Image)
    return 3 if is_file else channels_of(image)


def _array(image: Any, data_format: str | None, number: int) -> np.ndarray:
    """Return an image as an array `(height, width, channels)`."""
    array = to_numpy(image) if is_tensor(image) else np.asarray(image)
    if array.ndim == 4:
        raise ValueError(
            f"Example {number} needs one image. Got a batch of shape {array.shape}: pass the data "
            "set without batches, such as source.unbatch()."
        )
    try:
        rows = channels_last(array[None], data_format)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Example {number}: {error}") from None
    return rows[0] if rows.ndim == 4 else rows[0][..., None]


def _pixels(
    image: Any,
    settings: PictureSettings,
    number: int,
    highest: list[float],
    keep: bool,
) -> np.ndarray:
    """Return an image as uint8 `(height, width, channels)`.

    Args:
        image: Picture, or array.
        settings: How to convert it.
        number: Number of the example.
        highest: List for `check_dark`.
        keep: Whether arrays keep their channels, also those of transparency.
    """
    if _is_picture(image):
        return decode(_picture(image), settings, f"example {number}", highest=highest)
    try:
        note_dark(image, settings.pixel_range, highest)
        pixels = to_bytes(image, settings.pixel_range)
        same = pixels.shape[2] == settings.channels
        if settings.size is None and (same or keep):
            return pixels
        return decode(pixels, dataclasses.replace(settings, pixel_range=None))
    except UnreadablePicture as error:
        raise ValueError(f"Example {number}: {error.reason}.") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"Example {number}: {error}") from None
