"""Codes of the same images from all models of a study, encoded once for each run and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_disent import runs
from keras_disent._utils.files import atomic_write
from keras_disent._utils.progress import progress_bar
from keras_disent.configuration import Config
from keras_disent.studies.plan import Run, source_of
from keras_disent.studies.work import RUNS

CODES = "codes"
"""Folder of what is kept, beside the report."""


class Codes(NamedTuple):
    """What a model makes of images.

    Attributes:
        means: float32 (n, latents).
        kl: of each latent, mean over the images, nats: (latents,); None without a posterior.
        factors: int (n, factors) of the images, or None.
        factor_names: of its columns.
    """

    means: np.ndarray
    kl: np.ndarray | None
    factors: np.ndarray | None
    factor_names: tuple[str, ...]


def encode(folder: Path, among: Sequence[Run], kept: Path, images: int) -> dict[str, Codes]:
    """Return the codes of each run, from the file that is kept of them if it is of this model.

    Args:
        folder: of the study.
        among: runs; those without a model file are left out.
        kept: folder of the files, one for each run; made if need be.
        images: how many are encoded.

    Raises:
        ValueError: names a model file that is broken.
    """
    drawn: dict[str, tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]] = {}
    found = {}
    there = [run for run in among if (folder / RUNS / run.name / runs.MODEL).is_file()]
    with progress_bar("Encoding") as advance:
        for done, run in enumerate(there):
            stamp = _stamp(folder / RUNS / run.name / runs.MODEL, images)
            path = kept / f"{run.name}.npz"
            codes = _read(path, stamp)
            if codes is None:
                key = source_of(run.config)
                if key not in drawn:
                    drawn.clear()  # a study has few data sets, and their runs stand together
                    config = Config.read(folder / RUNS / run.name)  # with the data's whole path
                    drawn[key] = _draw(config.load_data(), images)
                codes = _encode(folder / RUNS / run.name, *drawn[key])
                _write(path, codes, stamp)
            found[run.name] = codes
            advance(done + 1, len(there))
    return found


def _draw(data: Any, n: int) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    indices = runs.example_indices(data, n)
    names = tuple(getattr(data, "factor_names", ()))
    factors = np.asarray(data.factors(indices)) if names else None
    return data.images(indices), factors, names


def _encode(
    folder: Path, images: np.ndarray, factors: np.ndarray | None, names: tuple[str, ...]
) -> Codes:
    model = runs.load_model(folder)
    means = np.asarray(model.encode(images), "float32")
    kl = np.asarray(model.latent_kl(images)) if hasattr(model, "latent_kl") else None
    keras.utils.clear_session(free_memory=False)
    return Codes(means, kl, factors, names)


def _stamp(path: Path, images: int) -> list[int]:
    """Return what changes when a model is trained again, or other images are asked for."""
    state = path.stat()
    return [images, state.st_size, state.st_mtime_ns]


def _read(path: Path, stamp: list[int]) -> Codes | None:
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            if file["stamp"].tolist() != stamp:
                return None
            kl, factors = file.get("kl"), file.get("factors")
            return Codes(file["means"], kl, factors, tuple(file["names"].tolist()))
    except Exception:  # missing, cut short or of another form: it is made again
        return None


def _write(path: Path, codes: Codes, stamp: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = np.array(codes.factor_names, dtype=str)
    arrays: dict[str, Any] = {"means": codes.means, "names": names, "stamp": stamp}
    if codes.kl is not None:
        arrays["kl"] = codes.kl
    if codes.factors is not None:
        arrays["factors"] = codes.factors
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)
