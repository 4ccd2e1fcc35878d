"""Data sets by name, or by the folder or file that holds them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from keras_disent.datasets import pixels
from keras_disent.datasets.file import open_file
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
from keras_disent.datasets.rendered.flow import Flow
from keras_disent.datasets.rendered.pendulum import Pendulum
from keras_disent.datasets.rendered.scenes3d import Scenes3D
from keras_disent.datasets.rendered.sprites import Sprites
from keras_disent.datasets.source import ImageSource
from keras_disent.datasets.views import transform_images


def _changed(name: str, make: Any, change: Callable[[], Any], text: str) -> Any:
    """Make a data set with other pixels, under a name of its own."""

    def changed(**options: Any) -> ImageSource:
        return transform_images(make(**options), change(), name)

    changed.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    title = f"{make.card.title}, {text}"
    changed.card = dataclasses.replace(make.card, title=title)  # type: ignore[attr-defined]
    return changed


def _part(make: Any, part: str, download: str) -> Any:
    """Make one part of a data set that comes in several."""
    named = partial(make, part)
    card = dataclasses.replace(make.card, title=f"{make.card.title}, {part}", download=download)
    named.card = card  # type: ignore[attr-defined]
    return named


_CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "color": (pixels.RandomColor, "in random colors"),
    "noisy": (pixels.NoisyBackground, "on noise"),
    "scream": (pixels.PictureBackground, "on a picture"),
}
_VARIANTS = {
    f"{how}_{make.name}": _changed(f"{how}_{make.name}", make, *change)
    for make in (Sprites, DSprites)
    for how, change in _CHANGES.items()
}

# What makes each data set; every one has a `card`.
DATASETS: dict[str, Any] = {
    "sprites": Sprites,
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
    """Check that a name is that of a data set, or of a folder or file that is there.

    Raises:
        ValueError: lists the data sets.
    """
    if name not in DATASETS and not Path(name).exists():
        raise ValueError(
            f"No data set {name!r} here. Choose from: {', '.join(sorted(DATASETS))}; "
            "or a folder or file of images."
        )


def load(
    name: str | PathLike[str],
    *,
    data_dir: str | PathLike[str] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    subset: Mapping[str, Sequence[Any]] | None = None,
    correlate: Mapping[tuple[str, str], float] | None = None,
    **options: Any,
) -> Any:
    """A data set by name, or by the folder or file that holds its images.

    Args:
        name: a key of `DATASETS`, or a path.
        data_dir: where the files of published data sets are; by default KERAS_DISENT_DATA.
        image_size: height and width in pixels; by default the data set's own.
        channels: 1 for gray, 3 for color; by default the data set's own.
        subset: steps of factors to keep; see `GroundTruth.subgrid`.
        correlate: what training sees; see `GroundTruth.correlated`.
        options: arguments of its constructor.

    Returns:
        an `ImageSource`; a `GroundTruth` if it is a grid of factors.

    Raises:
        ValueError: no data set has this name, or it has no grid to take a subset of.
        FileNotFoundError: its file is not there.

    >>> load("sprites", image_size=32, subset={"shape": ["heart"]}).factor_sizes
    (1, 6, 40, 32, 32)
    """
    check_name(str(name))
    opener = open_folder if Path(name).is_dir() else open_file
    make = DATASETS.get(str(name)) or partial(opener, name)
    given = {"data_dir": data_dir, "image_size": image_size, "channels": channels}
    own = inspect.signature(make).parameters
    options |= {key: v for key, v in given.items() if v is not None and key in own}
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
