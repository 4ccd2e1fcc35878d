"""The folder of a run: its configuration, its data, and the model of its checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from keras_disent.experiments.config import Config, custom_objects, inside_data
from keras_disent.experiments.scores import SCORES, read_scores
from keras_disent.experiments.stamp import read_stamp
from keras_disent.experiments.store import Store
from keras_disent.models.saving import FILE as MODEL
from keras_disent.models.saving import load_model


class RunFolder:
    """What the folder of a run holds, read when it is first needed.

    Attributes:
        store: Its `Store`, with its lock.
        folder: Its path.
        config: Its `Config`.
    """

    def __init__(self, store: Store, config: Config):
        self.store, self.folder, self.config = store, store.folder, config
        self._model: Any = None

    @functools.cached_property
    def data(self) -> Any:
        """The data set, loaded once."""
        return self.config.load_data()

    @property
    def model(self) -> Any:
        """The model, of the checkpoint if there is one, loaded once."""
        if self._model is None:
            if self.checkpoint.exists():
                self._model = load_model(self.checkpoint, custom_objects(self.config))
            else:
                self._model = self.config.build(self.data)
        return self._model

    @property
    def source(self) -> str:
        """Where `load_model` finds the model."""
        return str(self.folder)

    def scores(self) -> dict[str, Any] | None:
        """Return what `scores.json` holds; None if there is none.

        Raises:
            ValueError: If the file is damaged; names it.
        """
        return read_scores(self.folder) if (self.folder / SCORES).exists() else None

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / MODEL

    def trained_model(self) -> Any:
        """Return the model of the checkpoint as it is now.

        Raises:
            ValueError: If there is none.
        """
        if not self.checkpoint.exists():
            raise ValueError(f"The run in {str(self.folder)!r} has no {MODEL} yet: train it first.")
        if self._model is not None:
            self._drop_stale()
        return self.model

    def _drop_stale(self) -> None:
        """Forget a model that another process has trained further, or that was never saved."""
        if read_stamp(self.checkpoint).get("step") != self._model.steps_taken():
            self._model = None

    def check_outside(self, path: Path) -> None:
        """Raise a ValueError if a file to write lies among the images of the data."""
        if inside_data(self.config, path):
            raise ValueError(
                f"{str(path)!r} lies in the folder {self.config.data!r}, whose pictures are the "
                "data. Choose another place."
            )
