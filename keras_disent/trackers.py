"""Experiment trackers: MLflow, Weights & Biases, trackio, TensorBoard.

A tracker of a library writes where that library writes by default; its own environment variables
(`MLFLOW_TRACKING_URI`, `WANDB_DIR`, `WANDB_MODE`, `TRACKIO_DIR` ...) take effect. The libraries are
imported when a tracker is opened.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from keras_disent._utils.files import atomic_write
from keras_disent._utils.registry import lookup

__all__ = ["TRACKERS", "MLflow", "TensorBoard", "Tracker", "Trackio", "WandB", "check", "create"]

SPRITE_SIDE = 8192
"""Largest side in pixels of the picture from which TensorBoard's projector takes thumbnails."""


def __dir__() -> list[str]:
    return sorted(__all__)


class Tracker(ABC):
    """One run in an experiment tracker. Subclasses need no more than the abstract methods.

    Class attributes:
        library: Name of the module that must be installed.
        extra: Extra of this package that installs it.
    """

    library: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    _run: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the tracker takes values."""
        return self._run is not None

    @classmethod
    def check(cls) -> None:
        """Check that the library is installed, without importing it.

        Raises:
            ImportError: If it is not; says what to install.
        """
        if cls.library and importlib.util.find_spec(cls.library) is None:
            raise ImportError(
                f"{cls.__name__} is not installed: pip install 'keras-disent[{cls.extra}]'."
            )

    @abstractmethod
    def open(
        self, project: str, name: str, config: Mapping[str, Any], run_id: str | None = None
    ) -> str:
        """Start a run, or continue one, and return its identifier.

        Args:
            project: Project or experiment that the run belongs to.
            name: Name of the run, for people.
            config: Settings of the run, as JSON holds them.
            run_id: Identifier of a run to continue.
        """

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name at a training step."""

    @abstractmethod
    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture, uint8 (height, width, 3), at a training step."""

    def embedding(
        self,
        codes: np.ndarray,
        images: np.ndarray,
        latents: Sequence[str],
        labels: Mapping[str, np.ndarray],
    ) -> None:
        """Keep codes with their images, for trackers that show such: TensorBoard.

        Args:
            codes: Floats (n, latents).
            images: uint8 (n, height, width, channels).
            latents: Name of each latent.
            labels: Values of each image by name, such as its factors: (n,) each.
        """
        return

    @abstractmethod
    def close(self, failed: bool = False) -> None:
        """End the run, if one is open; `failed` marks it as such where the tracker can."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: v for name, v in self.__dict__.items() if name != "_run"}  # copies are closed


class MLflow(Tracker):
    """MLflow: metrics, parameters, pictures as artifacts; the project is the experiment.

    Without `MLFLOW_TRACKING_URI`, a database `mlflow.db` in the working directory.
    """

    library, extra = "mlflow", "mlflow"

    def open(
        self, project: str, name: str, config: Mapping[str, Any], run_id: str | None = None
    ) -> str:
        import mlflow
        from mlflow.entities import Param

        self._run = client = mlflow.MlflowClient()
        if run_id is None:
            experiment = client.get_experiment_by_name(project)
            number = experiment.experiment_id if experiment else client.create_experiment(project)
            run_id = client.create_run(number, run_name=name).info.run_id
            parameters = [Param(key, str(value)[:6000]) for key, value in flat(config).items()]
            for start in range(0, len(parameters), 100):
                client.log_batch(run_id, params=parameters[start : start + 100])
        else:
            client.update_run(run_id, status="RUNNING")
        self._id = run_id
        return run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._run.log_batch(self._id, metrics=metrics)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self._run.log_image(self._id, image, artifact_file=f"{name}/{step:08d}.png")

    def close(self, failed: bool = False) -> None:
        if self._run is not None:
            self._run.set_terminated(self._id, "FAILED" if failed else "FINISHED")
        self._run = None


class WandB(Tracker):
    """Weights & Biases. Runs are written offline unless `WANDB_MODE` says otherwise.

    `wandb sync` sends offline runs later.
    """

    library, extra = "wandb", "wandb"

    def open(
        self, project: str, name: str, config: Mapping[str, Any], run_id: str | None = None
    ) -> str:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        settings = wandb.Settings(silent=True)
        self._run = wandb.init(
            project=project,
            name=name,
            config=dict(config),
            id=run_id,
            resume=None if run_id is None else "allow",
            mode=mode,
            reinit="create_new",
            settings=settings,
        )
        return self._run.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        library = importlib.import_module(self.library)
        self._run.log({name: library.Image(image)}, step=step)

    def close(self, failed: bool = False) -> None:
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
        self._run = None


class Trackio(WandB):
    """Trackio, in its local database: the calls of Weights & Biases, runs known by their names."""

    library, extra = "trackio", "trackio"

    def open(
        self, project: str, name: str, config: Mapping[str, Any], run_id: str | None = None
    ) -> str:
        import trackio

        if run_id is None:  # names are identifiers here: never continue a run by chance
            run_id = f"{name}-{os.urandom(3).hex()}"
        self._run = trackio.init(project, name=run_id, config=dict(config), resume="allow")
        return run_id

    def close(self, failed: bool = False) -> None:
        if self._run is not None:
            self._run.finish()
        self._run = None


class TensorBoard(Tracker):
    """TensorBoard: scalars, pictures, the configuration as text, codes in the projector.

    It needs the package `tensorboard` alone, not TensorFlow.

    Args:
        log_dir: Folder of the event file and of the files of the projector.

    >>> import tempfile
    >>> tracker = TensorBoard(tempfile.mkdtemp())
    >>> _ = tracker.open("shapes", "first", {"beta": 4.0})
    >>> tracker.log({"loss": 31.5}, step=1000)
    >>> tracker.close()
    """

    library, extra = "tensorboard", "tensorboard"

    def __init__(self, log_dir: str | Path):
        self.log_dir = Path(log_dir)

    def open(
        self,
        project: str = "",
        name: str = "",
        config: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> str:
        self.check()
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        # TensorBoard's own writer of event files would import TensorFlow where it is installed.
        self.log_dir.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()
        name = f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{os.getpid()}.{now}"
        self._run = RecordWriter((self.log_dir / name).open("wb"))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if config:
            self._add(0, _text_summary("config", _markdown_table(config)))
        return str(self.log_dir)

    def log(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=n, simple_value=float(v)) for n, v in values.items()]
        self._add(step, Summary(value=scalars))

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = image.shape[:2]
        encoded = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=_png(image)
        )
        self._add(step, Summary(value=[Summary.Value(tag=name, image=encoded)]))

    def embedding(
        self,
        codes: np.ndarray,
        images: np.ndarray,
        latents: Sequence[str],
        labels: Mapping[str, np.ndarray],
    ) -> None:
        """Write the files of the projector: codes, labels and thumbnails of images.

        Raises:
            ValueError: If images and codes are not as many.
        """
        from google.protobuf import text_format
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

        if len(codes) != len(images):
            raise ValueError(
                f"An embedding needs one image for each code. Got {len(images)} images for "
                f"{len(codes)} codes."
            )
        self.log_dir.mkdir(parents=True, exist_ok=True)
        config = ProjectorConfig()
        entry = config.embeddings.add()
        entry.tensor_name = f"codes ({', '.join(latents)})"
        entry.tensor_path, entry.metadata_path = "codes.tsv", "labels.tsv"
        entry.sprite.image_path = "thumbnails.png"
        sprite, side = _sprite(images)
        entry.sprite.single_image_dim.extend(side)
        with atomic_write(self.log_dir / "codes.tsv") as temporary:
            np.savetxt(temporary, codes, fmt="%.6g", delimiter="\t")
        _write(self.log_dir / "labels.tsv", _table(len(codes), labels).encode())
        _write(self.log_dir / "thumbnails.png", _png(sprite))
        # Last: TensorBoard looks for this file, which names the others.
        text = text_format.MessageToString(config)
        _write(self.log_dir / "projector_config.pbtxt", text.encode())

    def close(self, failed: bool = False) -> None:
        if self._run is not None:
            self._run.close()
        self._run = None

    def _add(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        self._run.write(event.SerializeToString())
        self._run.flush()


TRACKERS: dict[str, type[Tracker]] = {
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
    "tensorboard": TensorBoard,
}


def check(name: str) -> None:
    """Check that a tracker exists and its library is installed; nothing is imported.

    Raises:
        ValueError: If there is no tracker of this name; the message lists them.
        ImportError: If its library is not installed; says what to install.
    """
    lookup(name, TRACKERS, "tracker").check()


def create(name: str, log_dir: str | Path = "runs/tensorboard") -> Tracker:
    """Return a new tracker, not yet open.

    Args:
        name: Name in `TRACKERS`.
        log_dir: Folder for TensorBoard; the others write where their libraries do.

    Raises:
        ValueError, ImportError: As `check`.
    """
    check(name)
    cls: Any = TRACKERS[name]
    return cls(log_dir) if cls is TensorBoard else cls()


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, with dots between the names.

    >>> flat({"model": "beta_vae", "options": {"beta": 4.0}})
    {'model': 'beta_vae', 'options.beta': 4.0}
    """
    items: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return items


def _markdown_table(config: Mapping[str, Any]) -> str:
    rows = [f"|{key}|{value}|" for key, value in flat(config).items()]
    return "\n".join(["|setting|value|", "|-|-|", *rows])


def _text_summary(tag: str, text: str) -> Any:
    """Return a text for TensorBoard, without its own function for it, which needs TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    plugin = SummaryMetadata.PluginData(plugin_name="text")
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()])
    tensor.tensor_shape.dim.add(size=1)
    value = Summary.Value(
        tag=f"{tag}/text_summary", metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor
    )
    return Summary(value=[value])


def _table(n: int, labels: Mapping[str, np.ndarray]) -> str:
    """Return the labels as TSV, with a heading, which the projector wants for two columns on."""
    columns = {"image": np.arange(n), **labels}
    rows = [*([list(columns)] if len(columns) > 1 else []), *zip(*columns.values(), strict=True)]
    return "".join("\t".join(" ".join(str(v).split()) for v in row) + "\n" for row in rows)


def _sprite(images: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Return all images in one square, (rows, columns, 3), and width and height of each."""
    columns = math.ceil(math.sqrt(len(images)))
    step = math.ceil(max(images.shape[1:3]) * columns / SPRITE_SIDE)
    small = np.broadcast_to(images[:, ::step, ::step], (*images[:, ::step, ::step].shape[:3], 3))
    height, width = small.shape[1:3]
    sheet = np.zeros((columns * columns, height, width, 3), "uint8")
    sheet[: len(small)] = small
    sheet = sheet.reshape(columns, columns, height, width, 3).swapaxes(1, 2)
    return sheet.reshape(columns * height, columns * width, 3), (width, height)


def _png(image: np.ndarray) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "png")
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
