"""Keras callbacks: traversal pictures, disentanglement metrics, experiment trackers, progress.

All of them can be copied (`copy.deepcopy`, as KerasTuner does for each execution of a trial) and
used again in another `fit`, before and after training.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from keras_disent import datasets, plots, trackers
from keras_disent import metrics as metrics_module
from keras_disent._utils import checks
from keras_disent._utils.types import Logs

__all__ = ["DisentanglementMetrics", "ProgressCallback", "Tracking", "TraversalGrid"]


def __dir__() -> list[str]:
    return sorted(__all__)


class _Copyable(keras.callbacks.Callback):
    """Support deep copies that are independent and share the model and the data.

    Class attributes:
        shared: Names of attributes that deep copies share: data, and objects of the caller.
        reset: Values of the attributes that copies and pickles do not inherit.
    """

    shared: ClassVar[tuple[str, ...]] = ()
    reset: ClassVar[Mapping[str, Any]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        state = {**self.__dict__, **self.reset}
        for name in ("_model", *self.shared):
            memo[id(state.get(name))] = state.get(name)
        duplicate = type(self).__new__(type(self))
        duplicate.__dict__.update(copy.deepcopy(state, memo))
        return duplicate

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **self.reset, "_model": None}


class TraversalGrid(_Copyable):
    """Write a picture of latent traversals every few epochs or steps.

    The first rows show originals and reconstructions. Each further row traverses one latent, the
    most important first, labeled with its importance (for a VAE the mean KL).

    Args:
        images: A few images (n, h, w, c); the first one is traversed, and all of them determine the
            order of the latents.
        directory: Folder of the pictures `traversal_00001000.png` (the number is the training
            step).
        every: Number of epochs or steps between pictures (int), at least 1.
        unit: "epoch" or "step".
        log_dir: TensorBoard log directory for the same pictures; needs `tensorboard`.
        values, at_most: As `plots.traversals`.

    Raises:
        ValueError: If `every` or `unit` is out of its range.

    >>> TraversalGrid(np.zeros((1, 32, 32, 1), "uint8"), "runs/pictures", every=5).every
    5
    """

    shared = ("images",)
    reset = {"_writer": None}

    def __init__(
        self,
        images: np.ndarray,
        directory: str | Path,
        every: int = 1,
        unit: str = "epoch",
        log_dir: str | Path | None = None,
        values: Iterable[float] = tuple(np.linspace(-2, 2, 9).tolist()),
        at_most: int = 10,
    ):
        super().__init__()
        if unit not in ("epoch", "step"):
            raise ValueError(f"`unit` is 'epoch' or 'step'. Got {unit!r}.")
        self.images, self.directory = images, Path(directory)
        self.every = checks.check_integer("every", every, at_least=1)
        self.unit, self.log_dir = unit, log_dir
        self.values, self.at_most = tuple(values), at_most
        self.async_safe = unit == "epoch"
        self._writer: Any = None
        self._epoch_start = self._last = 0

    def set_model(self, model: keras.Model) -> None:
        """Check that the images are those of the model, before training."""
        super().set_model(model)
        model.check_images(self.images, "images", check_values=True)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._close()  # left open by a training that ended with an error
        if self.log_dir is not None:
            self._writer = trackers.TensorBoard(self.log_dir)
            self._writer.open()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_start = self._last = self.model.steps_taken()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.unit == "epoch" and (epoch + 1) % self.every == 0:
            self.draw()

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        # Counted here: reading the model's step would copy its state from the device. Keras may
        # take several steps between two calls.
        step = self._epoch_start + batch + 1
        if self.unit == "step" and step // self.every > self._last // self.every:
            self.draw()
        self._last = step

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def draw(self) -> Path:
        """Write a picture of the current model, and return its path."""
        step = self.model.steps_taken()
        figure = plots.traversals(
            self.model,
            self.images,
            values=self.values,
            at_most=self.at_most,
            title=f"Latent traversals, step {step:,}",
        )
        if self._writer is not None:
            self._writer.image("traversals", plots.as_array(figure), step)
        return plots.save(figure, self.directory / f"traversal_{step:08d}.png")


class DisentanglementMetrics(_Copyable):
    """Put disentanglement scores of the model into the logs at the end of an epoch.

    Each is logged as `val_NAME`, so that History, CSVLogger, TensorBoard, ModelCheckpoint,
    EarlyStopping and KerasTuner read it like any other term. In `fit` of this package's models all
    callbacks of the epoch see the scores, wherever this one is in the list.

    Scores are measured in the first epoch of a `fit` and then in every `every`-th. In the other
    epochs they are absent, so that the patience of other callbacks counts measurements.

    Args:
        data: Ground-truth data set (`keras_disent.datasets`).
        metrics: Names from `keras_disent.metrics.METRICS`, "standard", "all", or
            `{name: settings}`.
        every: Number of epochs between scores (int), at least 1.
        n_samples: Number of images for metrics of arrays.
        seed: Random seed: the images are the same each time. No other generator is used.

    Attributes:
        latest: Last `Scores`, with their settings; None before the first.

    Raises:
        ValueError: Before training, for an unknown metric, unlabeled data or too few latents.

    >>> from keras_disent.datasets import Sprites
    >>> data = Sprites(image_size=32).subgrid({"shape": ["heart"], "orientation": [0]})
    >>> DisentanglementMetrics(data, ["mig"], every=10).every
    10
    """

    scores = True  # `PlayerModel.fit` calls `measure` before the callbacks of an epoch
    shared = ("data",)

    def __init__(
        self,
        data: Any,
        metrics: str | Iterable[str] | Mapping[str, Mapping[str, Any]] = (
            "mig",
            "factor_vae_score",
        ),
        every: int = 1,
        n_samples: int = 10_000,
        seed: int = 0,
    ):
        super().__init__()
        self.every = checks.check_integer("every", every, at_least=1)
        self.metrics = metrics_module.check(metrics, data)
        self.n_samples = checks.check_integer("n_samples", n_samples, at_least=2)
        self.data, self.seed = data, checks.check_integer("seed", seed, at_least=0)
        self.latest: metrics_module.Scores | None = None
        self._epoch: int | None = None  # the last one that `measure` was called for
        self._logged: dict[str, float] = {}

    def set_model(self, model: keras.Model) -> None:
        """Check that the scores can be computed, before training."""
        super().set_model(model)
        metrics_module.check(self.metrics, self.data, getattr(model, "latent_dim", None))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._epoch = None

    def measure(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the scores of an epoch to its logs, if it is one of those that are measured.

        Called again for the same epoch, it adds the same scores without measuring.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Logs of the epoch.
        """
        if epoch != self._epoch:
            first, self._epoch, self._logged = self._epoch is None, epoch, {}
            # The first one is measured too: CSVLogger learns its columns from it.
            if first or (epoch + 1) % self.every == 0:
                self.latest = metrics_module.evaluate(
                    self.model,
                    self.data,
                    self.metrics,
                    n_samples=self.n_samples,
                    seed=self.seed,
                    verbose=0,  # Keras shows its own progress
                )
                self._logged = {f"val_{name}": value for name, value in self.latest.items()}
        if logs is not None:
            logs.update(self._logged)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.measure(epoch, logs)


class ProgressCallback(_Copyable):
    """Report training progress to a function.

    Args:
        on_steps: Function called with the number of steps since its last call, and the logs.
    """

    shared = ("on_steps",)

    def __init__(self, on_steps: Callable[[int, Mapping[str, float]], object]):
        super().__init__()
        self.on_steps = on_steps
        self._last = -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._last = -1

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        self.on_steps(batch - self._last, logs or {})
        self._last = batch


class Tracking(_Copyable):
    """Log terms, scores, traversals and configuration to an experiment tracker.

    At the end of each epoch it logs what the epoch's logs hold (with `DisentanglementMetrics` in
    the same `fit`, the scores too) at the training step, and draws the latent traversals. At the
    end of training, TensorBoard gets the codes of the images for its projector.

    Args:
        tracker: Name in `trackers.TRACKERS` ("mlflow", "wandb", "trackio" or "tensorboard"), or a
            `trackers.Tracker` of your own.
        data: Data set, whose example images are traversed and encoded; or images
            (n, height, width, channels). Default: no pictures.
        config: Settings to log. Default: name and numbers of the model's configuration.
        project: Project, or MLflow's experiment.
        name: Name of the run. Default: that of the model's class.
        log_dir: Folder for TensorBoard; the others write where their libraries do by default.
        every: Number of epochs between pictures (int), at least 1.
        run_id: Identifier of a run to continue.

    Attributes:
        run_id: Identifier of the run, from the start of training.

    Raises:
        ValueError: If there is no such tracker, or `every` is out of its range.
        ImportError: If the library of the tracker is not installed; says what to install.

    >>> Tracking("tensorboard", config={"beta": 4.0}, log_dir="runs/tensorboard").project
    'keras-disent'
    """

    shared = ("data",)
    reset = {"run_id": None, "_own": False}

    def __init__(
        self,
        tracker: str | trackers.Tracker,
        data: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
        project: str = "keras-disent",
        name: str | None = None,
        log_dir: str | Path = "runs/tensorboard",
        every: int = 1,
        run_id: str | None = None,
    ):
        super().__init__()
        if isinstance(tracker, str):
            tracker = trackers.create(tracker, log_dir)
        self.tracker, self.data, self.config = tracker, data, config
        self.project, self.name, self.run_id = project, name, run_id
        self.every = checks.check_integer("every", every, at_least=1)
        self._own = False  # whether training opened the tracker, and is to close it

    def open(self) -> str:
        """Start or continue the run before training begins, and return its identifier.

        A tracker that is opened so is closed by `close` alone, and several `fit` log to one run.
        It needs `name` and `config`, as there is no model yet.
        """
        if not self.tracker.is_open:
            model = getattr(self, "_model", None)
            name = self.name or type(model).__name__
            config = self.config if self.config is not None else _settings(model)
            self.run_id = self.tracker.open(self.project, name, config, self.run_id)
        return str(self.run_id)

    def close(self, failed: bool = False) -> None:
        """End the run; `failed` marks it as such where the tracker can."""
        self.tracker.close(failed)
        self._own = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self._own:  # left open by a training that ended with an error
            self.close(failed=True)
        if not self.tracker.is_open:
            self.open()
            self._own = True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        step = self.model.steps_taken()
        values = {name: float(v) for name, v in (logs or {}).items() if v is not None}
        self.tracker.log(values, step)
        if self.data is not None and (epoch + 1) % self.every == 0:
            title = f"Latent traversals, step {step:,}"
            figure = plots.traversals(self.model, self._examples()[0], title=title)
            self.tracker.image("traversals", plots.as_array(figure), step)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.data is not None:
            images, labels = self._examples(1000)
            self.tracker.embedding(
                np.asarray(self.model.encode(images)), images, self.model.latent_names, labels
            )
        if self._own:
            self.close()

    def _examples(self, n: int = 256) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images, and their factors by name."""
        if not hasattr(self.data, "images"):
            return self.data[:n], {}
        indices = datasets.example_indices(self.data, n)
        names = getattr(self.data, "factor_names", ())
        factors = self.data.factors(indices).T if names else ()
        return self.data.images(indices), dict(zip(names, factors, strict=True))


def _settings(model: Any) -> dict[str, Any]:
    """Return the class and the plain values of a model's configuration."""
    plain = {n: v for n, v in model.get_config().items() if isinstance(v, (bool, int, float, str))}
    return {"model": type(model).__name__, **plain}
