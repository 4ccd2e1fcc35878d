"""One training run in one folder: configuration, checkpoint, history, scores and pictures.

A run goes on exactly where it was after a kill at any moment: the weights, both optimizers, the
seeds and the step are in `model.keras`, and the images of a step depend on the seed and the step
alone. Every file is written whole or not at all.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_disent import callbacks, datasets, metrics, plots
from keras_disent._utils.files import atomic_write
from keras_disent.configuration import CONFIG, Config
from keras_disent.datasets.catalog import check_name
from keras_disent.engine import parallel

MODEL, HISTORY, SCORES = "model.keras", "history.csv", "scores.json"


def load_model(
    path: str | Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Load a model of this package from a `.keras` file, or from a run folder.

    Args:
        path: of the file, or of the run's folder.
        custom_objects: `{name: class or function}`, those of your own networks that are not
            registered with Keras.
        compile: whether to compile the model, its optimizers as they were saved.
        safe_mode: whether to refuse a file that holds Python code (a Lambda layer); with False, the
            code is run.

    Raises:
        ValueError: if there is no such file, it is cut short or broken, it holds Python code, or a
            class that is neither registered nor among `custom_objects`.
    """
    path = Path(path)
    unzipped = (path / "metadata.json").is_file()  # by `save_model(..., zipped=False)`
    if path.is_dir() and not unzipped:
        path = path / MODEL
    if not (path.is_file() or unzipped):
        raise ValueError(f"There is no file {str(path)!r} to load a model from.")
    try:
        return keras.saving.load_model(
            path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
        )
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        missing = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
        if missing:
            raise ValueError(
                f"{str(path)!r} needs {missing[1]!r}, which Keras does not know: import the module "
                f"that registers it, or pass custom_objects={{{missing[1]!r}: {missing[1]}}}."
            ) from error
        if "unsafe" in str(error):
            raise ValueError(
                f"{str(path)!r} holds Python code, in a Lambda layer. It is not run, as it could "
                "do anything: write the layer as a registered class, or pass safe_mode=False if "
                "you trust the file."
            ) from error
        raise ValueError(f"{str(path)!r} is not a whole .keras file: {first}") from error


def prepare(config: Config, folder: str | Path) -> None:
    """Make the folder of a new run.

    Raises:
        ValueError: if there is no such data, the folder holds a run already, or cannot be written.
    """
    folder = Path(folder)
    check_name(config.data)
    if (folder / CONFIG).exists():
        raise ValueError(
            f"{str(folder)!r} holds a run already. Go on with it by --resume, or choose another "
            "folder."
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"A run needs a new or empty folder. {str(folder)!r} is neither.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / CONFIG, config.to_json())
    except OSError as error:
        raise ValueError(f"Cannot write into {str(folder)!r}: {error.strerror}.") from None


def train(
    config: Config,
    folder: str | Path,
    advance: Callable[[int, Mapping[str, float]], object] = lambda steps, logs: None,
    *,
    pictures: bool = True,
    devices: int | str = 1,
) -> Any:
    """Train the run in `folder` up to `config.steps`, from its checkpoint if it has one.

    Args:
        config: the run's; `prepare` has written it.
        folder: of the run.
        advance: called with a number of steps done and the logs, at least once a second or so.
        pictures: whether latent traversals are drawn at each checkpoint.
        devices: number of devices, or "all", as `keras_disent.engine.parallel.devices`. It is not
            part of the run, which can go on with any other number.

    Returns:
        the model.

    Raises:
        ValueError: as `parallel.devices`, or if they cannot share out a batch.
        FloatingPointError: if the loss stops being a number; the last good checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when the step under way is done and all is saved.
    """
    with parallel.devices(devices):
        return _train(config, Path(folder), advance, pictures)


def _train(
    config: Config,
    folder: Path,
    advance: Callable[[int, Mapping[str, float]], object],
    pictures: bool,
) -> Any:
    for unfinished in folder.rglob(".*.part*"):  # of a process that was killed
        unfinished.unlink()
    data = config.load_data()
    model = load_model(folder) if (folder / MODEL).exists() else config.build(data)
    batches = config.batches(model, data)
    keeper = _Keeper(folder)
    drawn = []
    if pictures:
        drawn.append(callbacks.TraversalGrid(example_images(data), folder / "traversals"))
    done = model.steps_taken()
    advance(done, {})
    with _Interruption(model) as interruption:
        while done < config.steps and not interruption.asked:
            # Up to the next whole epoch, then whole epochs, then what is left.
            until_whole = -done % config.epoch_steps or config.epoch_steps
            length = min(until_whole, config.steps - done)
            epochs = (config.steps - done) // length if length == config.epoch_steps else 1
            model.fit(
                batches,
                steps_per_epoch=length,
                epochs=epochs,
                verbose=0,
                callbacks=[
                    callbacks.ProgressCallback(advance),
                    interruption,
                    keeper,
                    *drawn,
                ],
            )
            done = model.steps_taken()
    if interruption.asked and done < config.steps:
        raise KeyboardInterrupt
    return model


def evaluate(
    folder: str | Path,
    names: Any = None,
    *,
    n_samples: int = 10_000,
    seed: int = 0,
    interval: float | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> dict[str, Any]:
    """Score the model of a run, write `scores.json`, and return what it holds.

    Besides the metrics it has the terms of the objective on 64 batches, see `terms`.

    Args:
        folder: of the run.
        names: as `metrics.evaluate`; default, those of the run that the data have labels for, or
            else those that need none.
        n_samples, seed, interval, progress: as `metrics.evaluate`.

    Raises:
        ValueError: as `metrics.evaluate`, before anything is written.
    """
    folder = Path(folder)
    config = Config.read(folder)
    data = config.load_data()
    if names is None:
        names = metrics.applicable(config.metrics, data)
    if names not in ("standard", "all"):  # of these, what cannot be computed is left out
        metrics.check(names, data)
    model = load_model(folder)
    result = terms(model, config, data)
    scores = metrics.evaluate(
        model, data, names, n_samples=n_samples, seed=seed, interval=interval, progress=progress
    )
    result |= scores.as_dict()
    write(folder / SCORES, json.dumps(result, indent=2))
    return result


def terms(model: Any, config: Config, data: Any) -> dict[str, Any]:
    """Return the terms of the objective on 64 batches drawn with a seed of their own.

    They are other draws of the same data set, whose images may have been trained on.

    Returns:
        `{term: {"value": float, "settings": {...}}}`, as `evaluate` does.
    """
    batches = config.batches(model, data, evaluation=True)
    images = 64 * batches.batch_size * (2 if model.pairs else 1)
    found = model.evaluate(batches, verbose=0, return_dict=True)
    settings = {"images": images, "seed": batches.seed, "step": model.steps_taken()}
    return {name: {"value": float(value), "settings": settings} for name, value in found.items()}


def traverse(folder: str | Path, path: str | Path | None = None, image: int = 0) -> Path:
    """Draw the latent traversals of a run's model; return the path of the picture.

    Args:
        folder: of the run.
        path: of the picture; default `traversal.png` in the folder.
        image: which of the example images is changed.
    """
    folder = Path(folder)
    config = Config.read(folder)
    images = example_images(config.load_data())
    if not 0 <= image < len(images):
        raise ValueError(f"`image` is a number from 0 to {len(images) - 1}. Got {image}.")
    model = load_model(folder)
    title = f"{type(model).__name__} on {Path(config.data).name}, step {model.steps_taken():,}"
    figure = plots.traversals(model, images, start=image, title=title)
    return plots.save(figure, path or folder / "traversal.png")


def example_images(data: Any, n: int = 256) -> np.ndarray:
    """Return images drawn once and for all: for pictures and for the order of the latents.

    The first is the one in the middle of the set, which on a grid has every factor at its middle.
    """
    return data.images(example_indices(data, n))


def example_indices(data: Any, n: int = 256) -> np.ndarray:
    """Return which images `example_images` draws."""
    drawn = np.random.default_rng(0).integers(len(data), size=n - 1)
    if isinstance(data, datasets.GroundTruth):
        (middle,) = data.indices(np.asarray(data.factor_sizes)[None] // 2)
    else:
        middle = 0
    return np.concatenate([[middle], drawn])


def write(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n")


class _Keeper(keras.callbacks.Callback):
    """Keep the history and the checkpoint of a run, at the end of each epoch.

    The history is written first: a line for steps that the checkpoint has not reached is dropped
    when the run goes on.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.lines: list[dict[str, Any]] = []

    def on_train_begin(self, logs=None) -> None:
        path = self.folder / HISTORY
        if path.exists() and not self.lines:
            with path.open(newline="") as file:
                lines = list(csv.DictReader(file))
            self.lines = [line for line in lines if int(line["step"]) <= self.model.steps_taken()]

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.lines.append({"step": self.model.steps_taken(), **(logs or {})})
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(self.lines[-1]), lineterminator="\n")
        table.writeheader()
        table.writerows(self.lines)
        write(self.folder / HISTORY, text.getvalue())
        with atomic_write(self.folder / MODEL) as temporary:
            self.model.save(temporary)


class _Interruption(keras.callbacks.Callback):
    """Turn Ctrl-C into a stop after the step under way, when all can be saved."""

    async_safe = True

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trained = model  # `self.model` would bring its state back from the device
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:  # a second Ctrl-C does not wait
            signal.signal(signal.SIGINT, self._before)
            os.kill(os.getpid(), signal.SIGINT)
        self.asked = True

    def on_train_batch_end(self, batch, logs=None) -> None:
        if self.asked:
            self.trained.stop_training = True
