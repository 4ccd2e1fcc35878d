"""Write models as presets, and load them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_disent._utils import native
from keras_disent._utils.files import atomic_folder, check_new_folder
from keras_disent.engine import schedules
from keras_disent.presets.folder import CARD, WEIGHTS, card_text, read

LARGEST = 6e4  # which float16 still holds after rounding
PACKED = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def save(model: Any, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write a model as a preset: its card and its weights in float16, without the optimizer.

    Args:
        model: Model of this package, or of a registered subclass.
        folder: Folder to write, new or empty.
        card: What is known about the model besides what it knows itself, as JSON holds it.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder is not empty or cannot be written, or the class is not registered
            with Keras; nothing is written.
    """
    folder = Path(folder)
    check_new_folder(folder, "A preset")
    cls = type(model)
    if keras.saving.get_registered_object(keras.saving.get_registered_name(cls)) is not cls:
        raise ValueError(
            f"A preset holds no code, so its class is registered with Keras: put "
            f"@keras.saving.register_keras_serializable() above it. Got {cls.__name__}."
        )
    with native.without_tensorflow():
        config = keras.saving.serialize_keras_object(model)
    config = {name: value for name, value in config.items() if name != "compile_config"}
    weights = {n: schedules.config(value) for n, value in schedules.weights(model).items()}
    about = {
        "latent_names": list(model.latent_names),
        "weights": weights,
        "steps": model.steps_taken(),
        **(card or {}),
    }
    text = card_text(config, about)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as partial:
            (partial / CARD).write_text(text, encoding="utf-8")
            full_weights = partial / f"whole.{WEIGHTS}"
            model.save_weights(full_weights)
            _halve(full_weights, partial / WEIGHTS)
            os.remove(full_weights)
    except PermissionError as error:
        raise ValueError(f"Cannot write into {str(folder.parent)!r}: {error.strerror}.") from None
    return folder


def load(preset: str | Path, cls: Any = None, *, load_weights: bool = True) -> Any:
    """Load the model of a preset, on any backend. It is not compiled.

    Args:
        preset: Name of a preset in the package (`list` shows them), or path of a folder.
        cls: Class that the model must be of, or of a subclass. Default: any.
        load_weights: Whether the weights are those of the preset, instead of new random ones.

    Raises:
        ValueError: If there is no such preset, it is damaged, of another version, or of another
            class.
    """
    stored_preset = read(preset)
    try:
        kind = keras.saving.get_registered_object(stored_preset.config.get("registered_name"))
        if cls is not None and kind is not None and not issubclass(kind, cls):
            raise ValueError(
                f"The preset {str(preset)!r} is not a {cls.__name__}: load it by "
                f"{stored_preset.model}.from_preset({str(preset)!r})."
            )
        if kind is None:
            raise ValueError(
                f"The preset {str(preset)!r} needs the class {stored_preset.model!r}: import the "
                "module that registers it with Keras."
            )
    except TypeError as error:
        raise ValueError(f"{str(stored_preset.folder / CARD)!r} is damaged: {error}.") from None
    try:
        model = keras.saving.deserialize_keras_object(stored_preset.config)
        if load_weights:
            model.load_weights(stored_preset.folder / WEIGHTS)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"The preset in {str(stored_preset.folder)!r} is damaged: {first}"
        ) from error
    return model


def _halve(source: Path, target: Path) -> None:
    """Copy a file of weights with its arrays in float16, and without the optimizer.

    Single numbers, and arrays with a value that float16 does not hold, stay as they are.
    """
    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name: str, item: Any) -> None:
            if name.split("/")[0] == "optimizer":
                return
            if isinstance(item, h5py.Group):
                created: Any = new.require_group(name)
            else:
                values = item[()]
                single = values.dtype in (np.float32, np.float64)
                if single and values.ndim and np.abs(values).max(initial=0) <= LARGEST:
                    values = _rounded(values.astype(np.float16))
                packed = PACKED if values.ndim else {}
                created = new.create_dataset(name, data=values, track_times=False, **packed)
            for key, value in item.attrs.items():
                created.attrs[key] = value

        for key, value in old.attrs.items():
            new.attrs[key] = value
        old.visititems(copy)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round float16 numbers to 9 significant bits: the zeros at their ends take no room in a file.

    >>> _rounded(np.float16([1, -1.001, 0])).tolist()
    [1.0, -1.0, 0.0]
    """
    return ((values.view(np.uint16) + 2) & 0xFFFC).view(np.float16)
