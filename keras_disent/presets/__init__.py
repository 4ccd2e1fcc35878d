"""Ready models: small networks that are trained and stored in the package, with their cards.

>>> from keras_disent import VAE
>>> model = VAE.from_preset("faces_person")
>>> model.image_shape, type(model).__name__
((32, 32, 3), 'BetaTCVAE')
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_disent.presets import folder
from keras_disent.presets.folder import Preset, Presets

__all__ = ["Preset", "Presets", "list", "load", "read"]


def __dir__() -> Any:
    return sorted(__all__)


def list() -> Presets:
    """Return the presets in the package; no backend is needed.

    Printed, or in a notebook, they are a table.

    >>> "faces_person" in [preset.name for preset in list()]
    True
    """
    return folder.packaged()


def read(preset: str | Path) -> Preset:
    """Read the card of a preset; no backend is needed.

    Args:
        preset: Name of a preset in the package, or path of a folder.

    Raises:
        ValueError: If there is no such preset, it is damaged, or of another version.

    >>> read("faces_person").card["run"]["network"]
    'silu_mlp'
    """
    return folder.read(preset)


def load(preset: str | Path, *, load_weights: bool = True) -> Any:
    """Load the model of a preset, of any class; it is not compiled.

    Args:
        preset: Name of a preset in the package, or path of a folder.
        load_weights: Whether the weights are those of the preset, instead of new random ones.

    Raises:
        ValueError: If there is no such preset, it is damaged, of another version, or needs a class
            that is not registered with Keras.

    >>> load("faces_person").latent_dim
    6
    """
    from keras_disent.presets import stored  # which needs a backend

    return stored.load(preset, load_weights=load_weights)
