"""Codes of example images: a run of a study keeps them, so that a report needs no model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.files import atomic_write
from keras_disent._utils.latent_names import default_names

FILE, MODEL = "codes.npz", "model.keras"
IMAGES = 1000


class Codes(NamedTuple):
    """Codes of images.

    Attributes:
        means: float32 (n, latents).
        kl: Mean KL of each latent over the images, nats: (latents,); None without a posterior.
        factors: int (n, factors) of the images, or None.
        factor_names: Names of its columns.
        latent_names: Name of each latent; None for z0, z1 and so on.
    """

    means: np.ndarray
    kl: np.ndarray | None
    factors: np.ndarray | None
    factor_names: tuple[str, ...]
    latent_names: tuple[str, ...] | None = None

    def latent(self, i: int) -> str:
        """Return the name of a latent."""
        return (self.latent_names or default_names(self.means.shape[1]))[i]


def write_codes(run: Any, images: int = IMAGES) -> None:
    """Encode example images with the model of a run, and keep the codes in its folder."""
    from keras_disent.datasets import example_indices

    indices = example_indices(run.data, images)
    pictures, model = run.data.images(indices), run.model
    names = tuple(getattr(run.data, "factor_names", ()))
    arrays: dict[str, Any] = {
        "means": np.asarray(model.encode(pictures), "float32"),
        "names": np.array(names, dtype=str),
        "latents": np.array(model.latent_names, dtype=str),
    }
    if hasattr(model, "latent_kl"):
        arrays["kl"] = np.asarray(model.latent_kl(pictures))
    if names:
        arrays["factors"] = np.asarray(run.data.factors(indices))
    with atomic_write(run.folder / FILE) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_codes(folders: Sequence[Path], images: int = IMAGES) -> dict[str, Codes]:
    """Return the codes that runs have kept, by the names of their folders.

    Args:
        folders: Run folders; those without codes are left out.
        images: Number of images.

    Returns:
        `{name: codes}`, the latents named as in the checkpoint of the run.

    Raises:
        ValueError: Names a file that is damaged.
    """
    codes = {
        folder.name: _read(folder / FILE, images) for folder in folders if (folder / FILE).is_file()
    }
    for folder in folders:
        names = _latent_names(folder / MODEL) if folder.name in codes else None
        if names:
            codes[folder.name] = codes[folder.name]._replace(latent_names=names)
    return codes


def _latent_names(path: Path) -> tuple[str, ...] | None:
    """Return the names that the latents of a checkpoint were given; None if there are none."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            names = json.loads(file.read("config.json"))["config"].get("latent_names")
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not the model of a run: {error}.") from None
    return tuple(names) if names else None


def _read(path: Path, images: int) -> Codes:
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            kl, factors, latents = (file.get(name) for name in ("kl", "factors", "latents"))
            return Codes(
                file["means"][:images],
                kl,
                None if factors is None else factors[:images],
                tuple(file["names"].tolist()),
                None if latents is None else tuple(latents.tolist()),
            )
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not the codes of a run: {error}.") from None
