"""Load data sets by name, or from a folder or a file."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from keras_disent._utils.registry import lookup
from keras_disent.datasets import pixels
from keras_disent.datasets.file import is_zarr, open_file
from keras_disent.datasets.folder import open_folder
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.photographs import Photographs
from keras_disent.datasets.published.cars3d import Cars3D
from keras_disent.datasets.published.celeba import CelebA
from keras_disent.datasets.published.dsprites import DSprites
from keras_disent.datasets.published.idx import MNIST, FashionMNIST
from keras_disent.datasets.published.mpi3d import MPI3D
from keras_disent.datasets.published.shapes3d import Shapes3D
from keras_disent.datasets.published.small_norb import SmallNORB
from keras_disent.datasets.rendered.faces import Faces
from keras_disent.datasets.rendered.flow import Flow
from keras_disent.datasets.rendered.pendulum import Pendulum
from keras_disent.datasets.rendered.scenes3d import Scenes3D
from keras_disent.datasets.rendered.sprites import Sprites
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.views import transform_images


def _variant(name: str, make: Any, transform: Callable[[], Any], text: str) -> Any:
    """Return a function that creates a data set with transformed images."""

    def make_variant(**options: Any) -> ImageSource:
        return transform_images(make(**options), transform(), name)

    make_variant.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    title = f"{make.card.title}, {text}"
    make_variant.card = dataclasses.replace(make.card, title=title)  # type: ignore[attr-defined]
    return make_variant


def _part(make: Any, part: str, download: str) -> Any:
    """Return a function that creates one part of a data set."""
    make_part = partial(make, part)
    card = dataclasses.replace(make.card, title=f"{make.card.title}, {part}", download=download)
    make_part.card = card  # type: ignore[attr-defined]
    return make_part


_TRANSFORMS: dict[str, tuple[Callable[[], Any], str]] = {
    "color": (pixels.RandomColor, "in random colors"),
    "noisy": (pixels.NoisyBackground, "on a noise background"),
    "scream": (pixels.PictureBackground, "on a picture background"),
}
_VARIANTS = {
    f"{prefix}_{make.name}": _variant(f"{prefix}_{make.name}", make, *transform)
    for make in (Sprites, DSprites)
    for prefix, transform in _TRANSFORMS.items()
}

# Functions and classes that create data sets; each has a `card`.
DATASETS: dict[str, Any] = {
    "sprites": Sprites,
    "faces": Faces,
    "scenes3d": Scenes3D,
    "pendulum": Pendulum,
    "flow": Flow,
    "photographs": Photographs,
    "dsprites": DSprites,
    **_VARIANTS,
    "shapes3d": Shapes3D,
    "cars3d": Cars3D,
    "small_norb": SmallNORB,
    **{f"mpi3d_{p}": _part(MPI3D, p, "12.7 GB") for p in ("toy", "realistic", "real")},
    "mpi3d_complex": _part(MPI3D, "complex", "5.7 GB"),
    "celeba": CelebA,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
}


def check_name(name: str) -> None:
    """Check that a data set of this name, or a folder or file at this path, exists.

    Raises:
        ValueError: The name is unknown; the message lists the data sets.
    """
    if not name or (name not in DATASETS and not Path(name).exists()):  # Path("") is "."
        raise ValueError(
            f"Unknown data set {name!r}. Choose from: {', '.join(sorted(DATASETS))}; "
            "or a folder or file of images."
        )


def load(
    name: str | PathLike[str],
    *,
    data_dir: str | PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    subset: Mapping[str, Sequence[Any]] | None = None,
    correlate: Mapping[tuple[str, str], float] | None = None,
    **options: Any,
) -> Any:
    """Load a data set by name, or from a folder or a file of images.

    Args:
        name: Key of `DATASETS`, or path of a folder or a file.
        data_dir: Folder of the files of published data sets; by default KERAS_DISENT_DATA.
        image_size: Side of square images in pixels, or `(height, width)`; by default that of the
            data set.
        channels: 1 for gray, 3 for color; by default that of the data set.
        subset: Steps to keep of some factors; see `GroundTruth.subgrid`.
        correlate: Correlations of factors in training batches; see `GroundTruth.correlated`.
        options: Further arguments of the class or function in `DATASETS`; for a path those of
            `open_folder` or `open_file`.

    Returns:
        An `ImageSource`; a `GroundTruth` if the data set is a grid of factors.

    Raises:
        ValueError: The name or an option is unknown; or `subset` or `correlate` is set, but the
            data set is not a grid of factors.
        FileNotFoundError: A file of the data set is missing.

    >>> load("sprites", image_size=32, subset={"shape": ["heart"]}).factor_sizes
    (1, 6, 40, 32, 32)
    """
    for argument, value, rule in (
        ("subset", subset, "{factor: steps}"),
        ("correlate", correlate, "{(factor, factor): sigma}"),
    ):
        if not isinstance(value, Mapping | None):
            raise TypeError(f"`{argument}` is {rule}. Got {value!r:.80}.")
    check_name(str(name))
    opener = open_folder if is_picture_folder(name) else open_file
    make = DATASETS.get(str(name)) or partial(opener, name)
    common = {"data_dir": data_dir, "image_size": image_size, "channels": channels}
    parameters = inspect.signature(make).parameters
    for option in options:
        lookup(option, parameters, f"option of the data set {str(name)!r}")
    options |= {key: v for key, v in common.items() if v is not None and key in parameters}
    data: Any = make(**options)
    if image_size is not None:
        data = data.resized(image_size)
    if channels is not None:
        data = data.with_channels(channels)
    if (subset or correlate) and not isinstance(data, GroundTruth):
        raise ValueError(
            f"`subset` and `correlate` are for a grid of factors. '{data.name}' has none."
        )
    if subset:
        data = data.subgrid(subset)
    return data.correlated(correlate) if correlate else data


def training_size(name: str | Path) -> int | None:
    """Return the side at which `train` and `data preview` take the pictures of a folder: 32.

    It is None for what is no folder: other data sets keep their own size.

    >>> training_size("sprites")
    """
    return 32 if is_picture_folder(name) and str(name) not in DATASETS else None


def is_picture_folder(path: str | PathLike[str]) -> bool:
    """Return whether a path is a folder of pictures, not one of Zarr."""
    return Path(path).is_dir() and not is_zarr(path)
