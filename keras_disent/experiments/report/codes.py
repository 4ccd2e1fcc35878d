"""Codes of example images: a run of a study keeps them, so that a report needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent._utils.files import atomic_write

FILE = "codes.npz"
IMAGES = 1000


class Codes(NamedTuple):
    """Codes of images.

    Attributes:
        means: float32 (n, latents).
        kl: Mean KL of each latent over the images, nats: (latents,); None without a posterior.
        factors: int (n, factors) of the images, or None.
        factor_names: Names of its columns.
    """

    means: np.ndarray
    kl: np.ndarray | None
    factors: np.ndarray | None
    factor_names: tuple[str, ...]


def write_codes(run: Any, images: int = IMAGES) -> None:
    """Encode example images with the model of a run, and keep the codes in its folder."""
    from keras_disent.datasets import example_indices

    indices = example_indices(run.data, images)
    pictures, model = run.data.images(indices), run.model
    names = tuple(getattr(run.data, "factor_names", ()))
    arrays: dict[str, Any] = {
        "means": np.asarray(model.encode(pictures), "float32"),
        "names": np.array(names, dtype=str),
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
        images: How many of the images.

    Raises:
        ValueError: Names a file that is damaged.
    """
    return {
        folder.name: _read(folder / FILE, images) for folder in folders if (folder / FILE).is_file()
    }


def _read(path: Path, images: int) -> Codes:
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            kl, factors = file.get("kl"), file.get("factors")
            return Codes(
                file["means"][:images],
                kl,
                None if factors is None else factors[:images],
                tuple(file["names"].tolist()),
            )
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not the codes of a run: {error}.") from None
