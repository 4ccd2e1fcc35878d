"""Data sets that were prepared by TensorFlow Datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.progress import progress_bar
from keras_disent.datasets.arrays import ImageGrid, LabeledImages, grid_rows
from keras_disent.datasets.published.files import cache_key
from keras_disent.datasets.stored.cache import cached_rows

_BATCH = 256
_MOST = 2**24


class _Factor(NamedTuple):
    """Feature key of a factor's labels, its kind, and the value of each label, if known."""

    key: str
    kind: str | None = None
    values: np.ndarray | None = None


_FACTORS: dict[str, dict[str, _Factor]] = {
    "dsprites": {
        "shape": _Factor("label_shape", "categorical", np.array(["square", "ellipse", "heart"])),
        "scale": _Factor("label_scale", "ordinal", np.linspace(0.5, 1, 6)),
        "orientation": _Factor("label_orientation", "circular", np.linspace(0, 2 * np.pi, 40)),
        "position_x": _Factor("label_x_position", "ordinal", np.linspace(0, 1, 32)),
        "position_y": _Factor("label_y_position", "ordinal", np.linspace(0, 1, 32)),
    },
    "shapes3d": {
        "floor_hue": _Factor("label_floor_hue", "circular"),
        "wall_hue": _Factor("label_wall_hue", "circular"),
        "object_hue": _Factor("label_object_hue", "circular"),
        "scale": _Factor("label_scale", "ordinal"),
        "shape": _Factor(
            "label_shape", "categorical", np.array(["cube", "cylinder", "sphere", "capsule"])
        ),
        "orientation": _Factor("label_orientation", "ordinal"),
    },
    "smallnorb": {
        "category": _Factor(
            "label_category", "categorical", np.array(["animal", "human", "plane", "truck", "car"])
        ),
        "instance": _Factor("instance", "categorical", np.arange(10)),
        "elevation": _Factor("label_elevation", "ordinal", np.arange(30, 75, 5)),
        "azimuth": _Factor("label_azimuth", "circular", np.arange(0, 360, 20)),
        "lighting": _Factor("label_lighting", "categorical", np.arange(6)),
    },
}


def from_tfds(
    name: str,
    split: str = "all",
    data_dir: str | PathLike[str] | None = None,
    *,
    download: bool = False,
) -> ImageGrid | LabeledImages:
    """Load a data set of TensorFlow Datasets, such as dsprites, shapes3d or smallnorb.

    The examples are sorted into the order of the grid by their labels. The first use unpacks the
    images into the cache; later they are read from there.

    Args:
        name: Name of a builder, such as `"dsprites"` or `"shapes3d:2.0.0"`. It needs a feature
            `image` of fixed size, and integer features `label_*`, which are the factors, in this
            order. Steps are the ranks of the labels in the data. Features `value_*`, if any, are
            the real values of the factors.
        split: Name of a split, such as `"train"`, `"test"` or `"all"`.
        data_dir: Folder of TensorFlow Datasets; by default its own default.
        download: Whether TensorFlow Datasets downloads and prepares a missing data set.

    Returns:
        An `ImageGrid` if each combination of labels occurs exactly once; otherwise
        `LabeledImages`. Pixels 0 and 1 of dSprites are converted to 0 and 255.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        FileNotFoundError: The data set has not been prepared.
        ValueError: The features of the builder are unsupported, or an example does not match
            them.
        OSError: The cache cannot be written to.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "`from_tfds` needs TensorFlow Datasets: pip install tensorflow-datasets tensorflow"
        ) from error

    builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    if download:
        builder.download_and_prepare()
    if not builder.info.splits:
        raise FileNotFoundError(
            f"'{name}' needs to be prepared in '{builder.data_dir}'. Use `download=True`, or run: "
            f"tfds build {name}"
        )
    source = builder.name
    features = dict(builder.info.features.items())
    shape, factors = _check_features(source, features)
    value_keys = _value_keys(features, factors)
    keys = [*(entry.key for entry in factors.values()), *value_keys.values()]
    count = builder.info.splits[split].num_examples
    if not count:
        raise ValueError(f"The split '{split}' of '{source}' needs examples. Got none.")

    def write(target: np.ndarray) -> None:
        images, numbers = _parts(target, count, shape, len(keys))
        batch = max(1, min(_BATCH, _MOST // math.prod(shape)))
        dataset = builder.as_dataset(split=split, batch_size=batch, shuffle_files=False)
        _fill(images, numbers, tfds.as_numpy(dataset), keys, source)

    files = sorted(p for p in Path(builder.data_dir).iterdir() if p.is_file())
    size = count * (math.prod(shape) + 8 * len(keys))
    rows = cached_rows(cache_key(f"tfds-{source}", *files, split=split), (size,), np.uint8, write)
    images, numbers = _parts(rows, count, shape, len(keys))

    values, steps = {}, []
    for column, (factor, entry) in enumerate(factors.items()):
        labels, first, ranks = np.unique(
            numbers[:, column].astype(np.int64), return_index=True, return_inverse=True
        )
        steps.append(ranks)
        if factor in value_keys:
            values[factor] = numbers[first, keys.index(value_keys[factor])]
        else:
            values[factor] = _label_values(source, entry, features[entry.key], labels)
    table = np.stack(steps, axis=1)
    order = grid_rows(table, [len(v) for v in values.values()])
    if order is None:
        return LabeledImages(images, table, values, source)
    kinds = tuple(
        "constant" if len(v) == 1 else entry.kind
        for entry, v in zip(factors.values(), values.values(), strict=True)
    )
    all_kinds = None if None in kinds else kinds
    return ImageGrid(images, values, source, rows=order, kinds=all_kinds)  # type: ignore[arg-type]


def _check_features(
    name: str, features: Mapping[str, Any]
) -> tuple[tuple[int, int, int], dict[str, _Factor]]:
    """Return the shape of an image and the factors, or raise an error for other features."""
    labels = {key.removeprefix("label_"): _Factor(key) for key in features if key[:6] == "label_"}
    factors = _FACTORS.get(name, labels)
    shape = tuple(features["image"].shape) if "image" in features else ()
    fixed = len(shape) == 3 and None not in shape and features["image"].np_dtype == np.uint8
    if not fixed:
        got = f"{features['image'].np_dtype} {shape}" if shape else ", ".join(features)
        raise ValueError(f"'{name}' needs a uint8 feature 'image' of fixed size. Got {got}.")
    for entry in factors.values():
        feature = features.get(entry.key)
        if feature is None or feature.shape != () or np.dtype(feature.np_dtype).kind not in "iu":
            raise ValueError(f"'{name}' needs an integer feature '{entry.key}'. Got {feature}.")
    if not factors:
        raise ValueError(f"'{name}' needs integer features 'label_*'. Got {', '.join(features)}.")
    return shape, factors


def _value_keys(features: Mapping[str, Any], factors: Mapping[str, _Factor]) -> dict[str, str]:
    """Return the feature with the real values of each factor whose values are not built in."""
    keys = {name: f"value_{entry.key.removeprefix('label_')}" for name, entry in factors.items()}
    return {
        name: key
        for name, key in keys.items()
        if factors[name].values is None and key in features and features[key].shape == ()
    }


def _parts(
    rows: np.ndarray, count: int, shape: tuple[int, ...], columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split a buffer into the images and the numbers that are stored behind them."""
    end = count * math.prod(shape)
    numbers = np.ndarray((count, columns), np.float64, rows, end)
    return rows[:end].reshape(count, *shape), numbers


def _fill(
    images: np.ndarray,
    numbers: np.ndarray,
    batches: Iterator[Mapping[str, np.ndarray]],
    keys: list[str],
    name: str,
) -> None:
    scale: Callable[[np.ndarray], np.ndarray] = _scale_binary if name == "dsprites" else lambda x: x
    done = 0
    with progress_bar(f"Unpacking {name}") as advance:
        for batch in batches:
            part = slice(done, done + len(batch["image"]))
            if part.stop > len(images):
                break
            images[part] = scale(batch["image"])
            numbers[part] = np.stack([batch[key] for key in keys], axis=1)
            done = part.stop
            advance(done, len(images))
    if done != len(images):
        raise ValueError(
            f"'{name}' needs {len(images)} examples, according to its metadata. Got {done}."
        )


def _scale_binary(images: np.ndarray) -> np.ndarray:
    """Convert pixels 0 and 1 to 0 and 255."""
    if images.max() > 1:
        raise ValueError(f"'dsprites' needs pixels of 0 and 1. Got {images.max()}.")
    return images * np.uint8(255)


def _label_values(name: str, entry: _Factor, feature: Any, labels: np.ndarray) -> np.ndarray:
    """Return the values of sorted labels; the labels themselves if their values are unknown."""
    values = entry.values
    if values is None:
        names = getattr(feature, "names", None)
        # For labels without names, TensorFlow Datasets uses their numbers as names.
        if not names or all(text.isdigit() for text in names):
            return labels
        values = np.array(names)
    if labels[0] < 0 or labels[-1] >= len(values):
        raise ValueError(
            f"'{name}' needs labels from 0 to {len(values) - 1} in '{entry.key}'. "
            f"Got {labels[0]} to {labels[-1]}."
        )
    return values[labels]
