"""The stamp of a checkpoint: digests of the configuration and the data that it was trained with.

By it a checkpoint and its run cannot contradict each other: training is resumed only with the same
settings, on the same images and on the same backend.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_disent import datasets
from keras_disent.datasets.file import is_zarr
from keras_disent.datasets.folder import find_pictures
from keras_disent.datasets.tables import find_tables
from keras_disent.experiments.config import Config
from keras_disent.experiments.store import RUN

STAMP = "run.json"
"""Name of the stamp inside of the `.keras` file."""
SAMPLE = 64
"""Images that stand for a data set in its digest."""


def make_stamp(config: Config, data: Any) -> dict[str, str]:
    """Return what a checkpoint says about its run, whose number of steps is no part of it."""
    return {
        "config": config_digest(config),
        "data": data_digest(config, data),
        "backend": keras.backend.backend(),
    }


def read_stamp(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says about its run.

    Raises:
        ValueError: If the file is damaged, or it is not the checkpoint of a run; names it.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if STAMP not in file.namelist():
                raise ValueError(
                    f"{str(path)!r} is not the checkpoint of a run: it was not written by `train`."
                )
            stamp = json.loads(file.read(STAMP))
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a whole .keras file: {error}") from None
    is_valid = isinstance(stamp, dict) and isinstance(stamp.get("step"), int)
    if not is_valid or not str(stamp.get("backend")).isidentifier():
        raise ValueError(f"{str(path)!r} is not the checkpoint of a run: its {STAMP} is damaged.")
    return dict(stamp)


def check_stamp(path: Path, expected: Mapping[str, str], data: str) -> None:
    """Check that a checkpoint is of the run whose stamp is expected.

    Args:
        path: Checkpoint.
        expected: What `make_stamp` returns for the run.
        data: Name of the data set, for the message.

    Raises:
        ValueError: If the checkpoint is of another backend, other settings or other data, or
            `read_stamp` raises; names the file.
    """
    stored, name = read_stamp(path), repr(str(path))
    if stored.get("backend") != expected["backend"]:
        raise ValueError(
            f"{name} was trained on {stored.get('backend')}, and is resumed bit-exactly "
            f"there only: set KERAS_BACKEND={stored.get('backend')}. Got "
            f"{expected['backend']}."
        )
    if stored.get("config") != expected["config"]:
        raise ValueError(f"{name} was trained with other settings than those in {RUN.file}.")
    if stored.get("data") != expected["data"]:
        raise ValueError(f"{name} was trained on other images than those that {data!r} holds now.")


def config_digest(config: Config) -> str:
    """Return what tells configurations apart whose checkpoints differ.

    Steps, metrics and tracker may change when a run is resumed.
    """
    changing = ("steps", "metrics", "track")
    return _digest({name: v for name, v in config.as_dict().items() if name not in changing})


def data_digest(config: Config, data: Any) -> str:
    """Return what tells the images of data sets apart.

    It depends on the absolute path, the names and sizes of files, and on shape and pixels of a
    sample of images.
    """
    images = data.images(np.unique(np.linspace(0, len(data) - 1, SAMPLE).astype(int)))
    about: dict[str, Any] = {
        "images": [len(data), *data.image_shape],
        "sample": hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest(),
    }
    if config.data not in datasets.DATASETS:
        path = Path(config.data).resolve()
        about["path"] = str(path)
        about["files"] = [
            [name, (path / name if name else path).stat().st_size] for name in _names(path)
        ]
        tables = find_tables(path) if path.is_dir() else []
        tables += [Path(v) for v in config.data_options.values() if isinstance(v, str)]
        about["tables"] = [
            hashlib.sha256(table.read_bytes()).hexdigest() for table in tables if table.is_file()
        ]
    return _digest(about)


def _names(path: Path) -> list[str]:
    """Return the names of the pictures in a folder, or "" for a file."""
    if path.is_file():
        return [""]
    return [] if is_zarr(path) else find_pictures(path)[0]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
