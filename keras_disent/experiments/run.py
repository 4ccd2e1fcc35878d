"""A run: one training with its folder, which holds configuration, checkpoint, history and scores.

A run that is killed at any moment goes on bit-exactly: weights, optimizers, seeds and step are in
`model.keras`, and the images of a step depend on the seed and the step alone.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras

from keras_disent import trackers
from keras_disent._utils.progress import Verbose, check_verbose
from keras_disent.datasets.catalog import check_name
from keras_disent.engine import backend, parallel
from keras_disent.experiments import run_training
from keras_disent.experiments.command import command
from keras_disent.experiments.config import Config, model_class
from keras_disent.experiments.preset_run import PresetRun
from keras_disent.experiments.progress import OnSteps, Progress
from keras_disent.experiments.stamp import check_stamp, make_stamp, read_stamp
from keras_disent.experiments.store import RUN, Store
from keras_disent.experiments.trained_run import TrainedRun
from keras_disent.experiments.training import HISTORY, read_history
from keras_disent.models.saving import write_latent_names
from keras_disent.presets.folder import is_preset


class Run(TrainedRun):
    """One training with its folder; `Run.create` and `Run.open` make it.

    Attributes:
        folder: Path of the folder.
        config: Its `Config`.

    >>> import tempfile
    >>> config = Config(model="vae", subset={"shape": [0]}, image_size=32, network="mlp",
    ...                 width=0.02, steps=2, metrics=())
    >>> run = Run.create(config, Path(tempfile.mkdtemp()) / "run")
    >>> run.train().steps_taken()
    2
    """

    @classmethod
    def create(
        cls, config: Config, folder: str | Path, *, devices: int | str = 1, data: Any = None
    ) -> Run:
        """Make the folder of a new run, after building its model on its data.

        Args:
            config: Configuration; paths in it become absolute.
            folder: New or empty folder.
            devices: Number of devices that will train it, or "all".
            data: Data set of the configuration, where it has been loaded already.

        Raises:
            ValueError: If the folder is in use, lies within the data, or cannot be written, or
                the data or the model do not take the configuration. Nothing is written then.
            ImportError: If the experiment tracker of the configuration is not installed.
        """
        store = Store(RUN, folder)
        store.check_new()
        check_name(config.data)
        if config.track is not None:
            trackers.check(config.track)
        run = cls(store, config.absolute())
        run.check_outside(store.folder)
        if data is not None:
            run.data = data
        with parallel.devices(devices):
            model = run.config.build(run.data)
        if devices == 1:
            run._model = model
        store.create(run.config.as_dict(), keras.backend.backend(), backend.threads())
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run | PresetRun:
        """Open the folder of a run, or a preset as if it were one.

        Args:
            folder: Folder of a run or of a preset, or "preset:NAME" of a preset in the package,
                whose files go to a folder of that name here.

        Raises:
            ValueError: If it holds none, its configuration is damaged, or of another version.
        """
        if is_preset(folder):
            return PresetRun(folder)
        return cls.from_store(Store(RUN, folder))

    @classmethod
    def from_store(cls, store: Store) -> Run:
        """Open a run whose folder may be locked by `store`."""
        return cls(store, Config.from_dict(store.definition(), repr(str(store.path))))

    def __repr__(self) -> str:
        """Return folder, model, data and steps, such as <Run 'runs/a': vae on sprites, ...>."""
        config, step = self.config, Progress.read(self.folder).step
        return (
            f"<Run {str(self.folder)!r}: {config.model} on {config.data}, {step:,} of "
            f"{config.steps:,} steps>"
        )

    def train(
        self,
        on_steps: OnSteps | None = None,
        *,
        pictures: bool = True,
        devices: int | str = 1,
        verbose: Verbose = "auto",
        track: str | None = None,
    ) -> Any:
        """Train up to `config.steps`, from the checkpoint if there is one.

        Args:
            on_steps: Called with a number of steps done and the logs, from another thread, so that
                training need not wait for the logs.
            pictures: Whether latent traversals are drawn at each checkpoint.
            devices: Number of devices, or "all". It is not part of the run, which can be resumed
                with any other number.
            verbose: As in Keras: 0 is silent, 1 a bar, 2 a line from time to time, "auto" a bar on
                a terminal and in a notebook, and lines elsewhere.
            track: Name of an experiment tracker (`trackers.TRACKERS`) to log to; default, that of
                the configuration. A run that is resumed continues its run there.

        Returns:
            The model.

        Raises:
            ValueError: If the checkpoint is of other data, settings or another backend, a file is
                damaged, there is no such tracker, the devices cannot share out a batch, or for an
                unknown `verbose`; nothing is changed.
            ImportError: If the tracker is not installed.
            LockedError: If another process works on the run.
            FloatingPointError: If the loss or the weights are not finite; the last good checkpoint
                is kept.
            KeyboardInterrupt: After Ctrl-C, when the step under way is done and all is saved.
        """
        check_verbose(verbose)
        track = self.config.track if track is None else track
        if track is not None:
            trackers.check(track)
        with parallel.devices(devices), self.store.lock():
            if devices != 1:
                self._model = None
            try:
                self._check()
                run_training.train(
                    self,
                    self._stamp,
                    on_steps or (lambda steps, logs: None),
                    pictures=pictures,
                    verbose=verbose,
                    track=track,
                )
            except BaseException:
                self._model = None  # it is ahead of the checkpoint
                raise
            model = self._model
            if devices != 1:
                self._model = None  # other methods work on one device
        return model

    def fed(self) -> str:
        """Return in words what a step is fed: images, and how the players divide them."""
        # Of the class: a model made here would start the backend before its devices are chosen.
        cls: Any = model_class(self.config.model)
        players, size = len(cls.players), self.config.player_batch
        what = "pairs" if cls.pairs else "images"
        if players == 1:
            return f"Each step is fed {size} {what}."
        return f"Each step is fed {size * players} {what}: {size} for each of {players} players."

    def extend(self, steps: int, *, devices: int | str = 1) -> None:
        """Change the number of steps in all, if the run can be resumed.

        Args:
            steps: Number of steps.
            devices: Number of devices that the run is to be resumed on, as in `train`.

        Raises:
            ValueError: As `train`, or if more steps have been taken; nothing is changed.
        """
        config = dataclasses.replace(self.config, steps=steps)
        if devices != 1:
            with parallel.devices(devices):
                config.build(self.data)
        with self.store.lock():
            self._check()
            stamp = read_stamp(self.checkpoint) if self.checkpoint.exists() else {}
            step = stamp.get("step", 0)
            if steps < step:
                raise ValueError(
                    f"`steps` is at least the number of steps taken, {step:,}. Got {steps:,}."
                )
            if config != self.config:
                made_with = self.store.backend(), self.store.threads()
                self.store.define(config.as_dict(), *made_with)
        self.config = config

    def name_latents(self, names: Any = None) -> tuple[str, ...]:
        """Name the latents of the model, in its checkpoint, and return the names.

        Nothing but the names is changed in the file, so that training can be resumed.

        Args:
            names: As `latent_names` of the model; by default those that
                `model.suggest_latent_names(run.data)` suggests.

        Raises:
            ValueError: If the names are invalid, the data have no factors to suggest some, or the
                run has no checkpoint.
        """
        with self.store.lock():
            model = self.trained_model()
            model.latent_names = model.suggest_latent_names(self.data) if names is None else names
            write_latent_names(self.checkpoint, model.latent_names)
        return model.latent_names

    def save_to_preset(self, folder: str | Path, description: str = "") -> Path:
        """Write the model as a preset, its configuration, scores and command in the card.

        Args:
            folder: New or empty folder.
            description: One sentence about the model.

        Raises:
            ValueError: As the `save_to_preset` of models, or if the run has no checkpoint.
        """
        model, config = self.trained_model(), self.config
        options = ", ".join(f"{name} {value}" for name, value in config.data_options.items())
        card = {
            "description": description,
            "data": f"{config.data}, {options}" if options else config.data,
            "run": config.as_dict(),
            "command": command(config, Path("runs", Path(folder).name)),
            "backend": self.store.backend(),
            "scores": self.scores() or {},
            "headline": list(config.metrics),
        }
        return model.save_to_preset(folder, card)

    @functools.cached_property
    def _stamp(self) -> dict[str, Any]:
        return make_stamp(self.config, self.data)

    def _check(self) -> None:
        """Check that training can begin or be resumed; the folder must be locked."""
        if self.checkpoint.exists():
            check_stamp(self.checkpoint, self._stamp, self.config.data)
            if self._model is not None:
                self._drop_stale()
        read_history(self.folder / HISTORY)
        Progress.read(self.folder)
