"""Configuration of a run: model, data, steps, seed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_disent import datasets, metrics, models, trackers
from keras_disent._utils import html
from keras_disent._utils.checks import check_integer
from keras_disent._utils.registry import lookup
from keras_disent.engine import backend, schedules
from keras_disent.engine.inputs import check_batches
from keras_disent.experiments.custom import find_class
from keras_disent.layers import networks
from keras_disent.models.image_model import ImageModel

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float64")
EVALUATION_BATCHES = 64
"""Number of batches on which the terms of the objective are evaluated."""


LOADED = {"name": "data"} | {
    name: name for name in ("data_dir", "image_size", "channels", "subset", "correlate")
}
"""Fields that are arguments of `datasets.load`, by the name of the argument."""


@dataclasses.dataclass(frozen=True, repr=False)
class Config:
    """Configuration of a run.

    Attributes:
        model: Name in `MODELS`, or "module:Class" for a custom method.
        data: Name in `DATASETS`, a folder of images, or a file of them.
        data_dir: Folder of the files of published data sets; None means KERAS_DISENT_DATA.
        subset: Steps to keep of some factors of a ground-truth set, `{factor: steps}`.
        correlate: Correlations of factors of a ground-truth set, `{"factor,factor": sigma}`; see
            `GroundTruth.correlated`.
        image_size, channels: Size and channels of the images; None leaves them as they are.
        data_options: Other arguments of the data set, such as `{"crop": 140}` of a folder; see
            `datasets.load`.
        steps: Number of training steps.
        epoch_steps: Steps between checkpoints, lines of the history and pictures.
        player_batch: Number of images that each player learns from in a step. Each step takes this
            times the number of players.
        seed: Random seed of weights, noise and data order.
        changed: Number of factors in which the two images of a pair differ, or "random"; for models
            that learn from pairs.
        learning_rate: Learning rate of the model's (not the discriminator's) optimizer: a number,
            or a schedule as in `options`, such as `"CosineDecay(0, 1800, warmup_target=0.002,
            warmup_steps=200)"`; None means the model's own.
        latent_dim, likelihood: As the model's, such as `"gaussian(scale=0.05)"`.
        network, width: Name of encoder and decoder, and a factor of their sizes.
        precision: Name in `PRECISIONS`, the dtype policy of the model; None means Keras's setting.
        steps_per_execution: As in `compile`; a divisor of `steps` and `epoch_steps`.
        jit_compile: As in `compile`: True, False or "auto".
        options: Other arguments of the model, such as `{"beta": 4.0}`; a schedule as it is stored,
            or as its call in words, `"Linear(0, 4, steps=1000)"`.
        metrics: Names in `METRICS`, for the scores at the end.
        track: Name in `trackers.TRACKERS`, the experiment tracker to log to; None means none.
    """

    model: str = "factor_vae"
    data: str = "sprites"
    data_dir: str | None = None
    subset: dict[str, list[Any]] | None = None
    correlate: dict[str, float] | None = None
    image_size: int | None = None
    channels: int | None = None
    data_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = 20_000
    epoch_steps: int = 1_000
    player_batch: int = 64
    seed: int = 0
    changed: int | str = 1
    learning_rate: Any = None
    latent_dim: int = 10
    likelihood: str = "bernoulli"
    network: str = "conv"
    width: float = 1.0
    precision: str | None = None
    steps_per_execution: int = 1
    jit_compile: bool | str = "auto"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] = ("mig", "factor_vae_score")
    track: str | None = None

    def __repr__(self) -> str:
        """Return the call that makes it, with what differs from the defaults.

        >>> Config(model="vae", steps=500)
        Config(model='vae', steps=500)
        """
        default = vars(type(self)())
        settings = (f"{n}={v!r}" for n, v in vars(self).items() if v != default[n])
        return f"{type(self).__name__}({', '.join(settings)})"

    def _repr_html_(self) -> str:
        """Return a table of all settings, which notebooks show."""
        rows = [(name, "" if v is None else v) for name, v in vars(self).items()]
        return html.table([type(self).__name__, ""], rows)

    def __post_init__(self) -> None:
        self._check_types()
        model_class(self.model)
        lookup(self.network, networks.ENCODERS, "network")
        for name in self.metrics:
            lookup(name, metrics.METRICS, "metric")
        if self.track is not None:
            lookup(self.track, trackers.TRACKERS, "tracker")
        for names in self.correlate or {}:
            _pair(names)
        for name in self.data_options:
            if name in LOADED:
                raise ValueError(
                    "`data_options` is for what has no field of its own. Got "
                    f"{name!r}: set `{LOADED[name]}` (--{LOADED[name].replace('_', '-')})."
                )
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"`precision` is one of: {', '.join(PRECISIONS)}. Got {self.precision!r}."
            )
        if self.jit_compile not in (True, False, "auto"):
            raise ValueError(f"`jit_compile` is true, false or 'auto'. Got {self.jit_compile!r}.")
        for name in ("steps", "epoch_steps", "player_batch", "latent_dim", "steps_per_execution"):
            check_integer(name, getattr(self, name), at_least=1)
        if self.steps_per_execution > 1 and not backend.STEPS_AT_ONCE:
            raise ValueError(
                "`steps_per_execution` is 1 on PyTorch, which does one step at a time. Got "
                f"{self.steps_per_execution}."
            )
        if self.steps % self.steps_per_execution or self.epoch_steps % self.steps_per_execution:
            raise ValueError(
                "`steps_per_execution` divides `steps` and `epoch_steps`. Got "
                f"{self.steps_per_execution} for {self.steps} and {self.epoch_steps}."
            )
        check_integer("seed", self.seed, at_least=0)
        if self.changed != "random":
            if not isinstance(self.changed, int):
                raise ValueError(f"`changed` is a number or 'random'. Got {self.changed!r}.")
            check_integer("changed", self.changed, at_least=1)
        rate = schedules.parse(self.learning_rate)
        object.__setattr__(self, "learning_rate", rate)
        scheduled = isinstance(rate, Mapping)
        for name, value in (("learning_rate", None if scheduled else rate), ("width", self.width)):
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise ValueError(f"`{name}` is a number above 0. Got {value!r}.")
        options = {name: schedules.parse(value) for name, value in self.options.items()}
        object.__setattr__(self, "options", options)

    def load_data(self) -> Any:
        """Return the data set."""
        return datasets.load(
            self.data,
            data_dir=self.data_dir,
            image_size=self.image_size,
            channels=self.channels,
            subset=self.subset,
            correlate={_pair(names): sigma for names, sigma in (self.correlate or {}).items()},
            **self.data_options,
        )

    def build(self, data: Any) -> Any:
        """Return the model, compiled.

        Raises:
            ValueError: If the model does not take the options or the batches, or the metrics
                cannot be computed on the data.
        """
        metrics.check(metrics.applicable(self.metrics, data), data, self.latent_dim)
        cls = model_class(self.model)
        options = copy.deepcopy(self.options)  # Keras takes apart what it deserializes
        for name in options:
            lookup(name, options_of(cls), f"option of {cls.__name__}")
        if "concepts" in options_of(cls) and hasattr(data, "concept_names"):
            options.setdefault("concepts", data.concept_names)
        if options.get("estimator") == "mss":
            options.setdefault("dataset_size", len(data))
        try:
            model = cls.with_networks(
                data.image_shape,
                self.latent_dim,
                self.network,
                self.width,
                likelihood=self.likelihood,
                seed=self.seed,
                **({} if self.precision is None else {"dtype": self.precision}),
                **options,
            )
        except TypeError as error:
            raise ValueError(f"{cls.__name__} does not take these options: {error}") from None
        model.pictures = data.pictures
        rate = self.learning_rate
        if isinstance(rate, Mapping):
            rate = keras.saving.deserialize_keras_object(copy.deepcopy(rate))
        model.compile(
            model.default_optimizer(rate),
            steps_per_execution=self.steps_per_execution,
            jit_compile=self.jit_compile,
        )
        check_batches(model, self.batches(model, data), None, training=True, name="data")
        return model

    def batches(self, model: Any, data: Any, evaluation: bool = False) -> Any:
        """Return the stream of training batches, or other draws of the data for `evaluation`."""
        size = self.player_batch * (1 if evaluation else len(model.players))
        seed, steps = self.seed, self.epoch_steps
        if evaluation:
            seed, steps = seed + 1_000_003, EVALUATION_BATCHES
        if model.pairs:
            changed = None if self.changed == "random" else int(self.changed)
            pairs = datasets.ChangedPairs(data, changed, labels=model.labeled)
            return pairs.batches(size, seed=seed, steps=steps)
        return data.batches(size, seed=seed, steps=steps, labels=model.labeled)

    def absolute(self) -> Config:
        """Return the configuration with absolute paths, which hold in any directory."""
        data, data_dir = self.data, self.data_dir
        if data not in datasets.DATASETS:
            data = str(Path(data).absolute())
        if data_dir is not None:
            data_dir = str(Path(data_dir).absolute())
        options = dict(self.data_options)
        if isinstance(options.get("labels"), str) and options["labels"] != "folders":
            options["labels"] = str(Path(options["labels"]).absolute())
        return dataclasses.replace(self, data=data, data_dir=data_dir, data_options=options)

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as what JSON can hold."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        try:
            return json.loads(json.dumps(fields, default=_plain, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"A configuration holds what JSON can hold: {error}.") from None

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], source: str = "the configuration") -> Config:
        """Return the configuration that `as_dict` gave.

        Args:
            stored: Its fields.
            source: What the message calls it.

        Raises:
            ValueError: If it is not of that form; names the source.
        """
        try:
            return cls(**{**stored, "metrics": tuple(stored["metrics"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{source} is not the configuration of a run: {reason}") from None

    def _check_types(self) -> None:
        kinds: dict[str, Any] = {
            **dict.fromkeys(("model", "data", "likelihood", "network"), str),
            "data_dir": (str, type(None)),
            **dict.fromkeys(("subset", "correlate"), (Mapping, type(None))),
            **dict.fromkeys(("options", "data_options"), Mapping),
            "metrics": (list, tuple),
            "track": (str, type(None)),
        }
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"`{name}` has another type. Got {getattr(self, name)!r:.80}.")


def model_class(name: Any) -> Any:
    """Return the class of a model: a name in `MODELS`, or "module:Class".

    Raises:
        ValueError: If there is no such model.

    >>> model_class("beta_vae").__name__
    'BetaVAE'
    """
    if isinstance(name, str) and ":" in name:
        cls = find_class(name)
        if not issubclass(cls, ImageModel):
            raise ValueError(f"{name!r} is no model: its class does not derive from ImageModel.")
        return cls
    return lookup(name, models.MODELS, "model")


def custom_objects(config: Config) -> dict[str, Any]:
    """Return the class of a custom method by name, as `load_model` takes it."""
    if ":" not in config.model:
        return {}
    cls = model_class(config.model)
    return {cls.__name__: cls}


def inside_data(config: Config, path: str | Path) -> bool:
    """Return whether a path lies in the folder whose images are the data."""
    data = Path(config.data)
    if config.data in datasets.DATASETS or not data.is_dir():
        return False
    return data.resolve() in [Path(path).resolve(), *Path(path).resolve().parents]


def _pair(names: str) -> tuple[str, str]:
    first, comma, second = names.partition(",")
    if not comma:
        raise ValueError(f"`correlate` needs two factors with a comma between. Got {names!r}.")
    return first.strip(), second.strip()


def options_of(cls: Any) -> dict[str, None]:
    """Return the arguments of a model's constructor that are no fields of a configuration."""
    excluded = {field.name for field in dataclasses.fields(Config)}
    excluded |= {"self", "image_shape", "encoder", "decoder", "supervision", "config", "kwargs"}
    classes = [c for c in cls.__mro__ if issubclass(c, ImageModel)]
    names = [name for c in classes for name in inspect.signature(c.__init__).parameters]
    return dict.fromkeys(name for name in names if name not in excluded)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be stored")
