"""A preset in place of a run: what reads a run reads a ready model in the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from keras_disent import presets
from keras_disent.experiments.config import Config
from keras_disent.experiments.store import RUN, Store
from keras_disent.experiments.trained_run import TrainedRun


class PresetRun(TrainedRun):
    """The model of a preset with its data and scores; files go to a folder of its name.

    Args:
        preset: As `presets.read`.

    Raises:
        ValueError: As `presets.read`, or if the card does not hold the configuration of a run.
    """

    def __init__(self, preset: str | Path):
        self.preset = presets.read(preset)
        source = f"`run` in the card of the preset {str(preset)!r}"
        stored = self.preset.card.get("run")
        if stored is None:
            raise ValueError(
                f"The preset {str(preset)!r} was saved without its run, so its data are not known: "
                "save it by `Run.save_to_preset`, or load it in Python by `from_preset`."
            )
        self.named = str(preset)
        super().__init__(_Outputs(RUN, Path(self.preset.name)), Config.from_dict(stored, source))

    def __repr__(self) -> str:
        """Return name, model and data."""
        return f"<Preset {self.preset.name!r}: {self.config.model} on {self.config.data}>"

    def trained_model(self) -> Any:
        """Return the model of the preset, loaded once."""
        if self._model is None:
            self._model = presets.load(self.preset.folder)
        return self._model

    @property
    def model(self) -> Any:
        """The model of the preset, loaded once."""
        return self.trained_model()

    def scores(self) -> dict[str, Any] | None:
        """Return the scores in the card; None if it has none."""
        return self.preset.card.get("scores")

    def _about(self) -> dict[str, Any]:
        return {**self.config.as_dict(), "preset": self.preset.name}

    @property
    def source(self) -> str:
        """Where `load_model` finds the model."""
        return self.named

    def train(self, *args: Any, **options: Any) -> NoReturn:
        """Raise a ValueError: a preset is not changed."""
        self._refuse(
            "is not trained in its place", "load it by `from_preset`, compile it and call `fit`"
        )

    def extend(self, *args: Any, **options: Any) -> NoReturn:
        """Raise a ValueError: a preset is not changed."""
        self._refuse(
            "is not trained in its place", "load it by `from_preset`, compile it and call `fit`"
        )

    def name_latents(self, names: Any = None) -> NoReturn:
        """Raise a ValueError: a preset is not changed."""
        self._refuse(
            "is not renamed in its place",
            "load it by `from_preset`, set `latent_names` and call `save_to_preset`",
        )

    def save_to_preset(self, folder: str | Path, description: str = "") -> NoReturn:
        """Raise a ValueError: a preset is a folder already."""
        self._refuse("is a folder already", f"copy {str(self.preset.folder)!r}")

    def _refuse(self, what: str, cure: str) -> NoReturn:
        raise ValueError(f"A preset {what}: {cure}. Got {self.named!r}.")


class _Outputs(Store):
    """A folder that is made when the first file is written."""

    @contextlib.contextmanager
    def lock(self, create: bool = True, wait: float = 0.5) -> Iterator[None]:
        with super().lock(True, wait):
            yield
