"""From a TOML file to the runs of a study."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_disent import metrics
from keras_disent._utils.checks import check_integer
from keras_disent._utils.registry import lookup
from keras_disent.configuration import Config, options_of
from keras_disent.engine import schedules
from keras_disent.models import MODELS

_FIELDS = tuple(f.name for f in dataclasses.fields(Config) if f.name not in ("seed", "options"))
SHARED = ("seeds", "methods", *(name for name in _FIELDS if name != "model"))
"""The keys at the top of a study's file."""
OWN = tuple(name for name in _FIELDS if name != "metrics")
"""The keys of a method, besides the options of its model."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        label: of its method and setting, the same for all seeds.
        config: what it trains.
        settings: what sets its method and setting apart, by name.
    """

    label: str
    config: Config
    settings: Mapping[str, Any]

    @functools.cached_property
    def name(self) -> str:
        """Name of its folder: the model, and a digest of the configuration."""
        return f"{self.config.model}-{digest(self.config)}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a study.

    Attributes:
        runs: in the order of the file, the seeds of a setting one after the other.
        text: of the file.

    >>> plan = Plan.parse('''
    ... steps = 100
    ... seeds = 2
    ... [[methods]]
    ... model = "beta_vae"
    ... beta = [1, 4]
    ... ''')
    >>> [(run.label, run.config.seed) for run in plan.runs]
    [('beta_vae, beta 1', 0), ('beta_vae, beta 1', 1), ('beta_vae, beta 4', 0), ('beta_vae, beta 4', 1)]
    """  # noqa: E501

    runs: tuple[Run, ...]
    text: str

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read the file of a study.

        Raises:
            ValueError: names the file, the key and the rule.
        """
        path = Path(path)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"Cannot read the study {str(path)!r}: {reason}.") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "the study") -> Plan:
        """Return what the text of a study's file says.

        Args:
            text: TOML.
            source: what errors call it.

        Raises:
            ValueError: names the source, the key and the rule.
        """
        try:
            return cls(tuple(_runs(tomllib.loads(text))), text)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    def check(self) -> None:
        """Build the model of every setting, on its data.

        The first of each kind is built as large as it is, the others with small networks.

        Raises:
            ValueError: names the setting, and what the model or the data do not take.
        """
        settings: dict[str, Run] = {}
        for run in self.runs:
            settings.setdefault(_setting(run.config), run)
        kinds, data, source = set(), None, None
        for run in sorted(settings.values(), key=lambda run: source_of(run.config)):
            config = run.config
            kind = (config.model, config.network, config.width, source_of(config))
            try:
                if source != source_of(config):
                    data, source = config.load_data(), source_of(config)
                if kind not in kinds or not _builds_small(config, data):
                    config.build(data)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{run.label}: {error}") from None
            finally:
                keras.utils.clear_session(free_memory=False)
            kinds.add(kind)

    @property
    def digest(self) -> str:
        """What tells studies apart: their runs in any order, whatever the file looks like."""
        return _hash(sorted(run.name for run in self.runs))


def _builds_small(config: Config, data: Any) -> bool:
    """Return whether a setting is fine with small networks; if not, these may be the reason."""
    try:
        dataclasses.replace(config, network="mlp", width=0.01).build(data)
    except (ValueError, TypeError):
        return False
    return True


def _setting(config: Config) -> str:
    """Return what is the same for runs that one check is enough for."""
    return json.dumps(_whole(dataclasses.asdict(dataclasses.replace(config, seed=0, steps=1))))


def source_of(config: Config) -> str:
    """Return what sets the data of runs apart."""
    names = ("data", "data_dir", "subset", "correlate", "image_size", "channels")
    return json.dumps([getattr(config, name) for name in names])


def digest(config: Config) -> str:
    """Return twelve hexadecimal digits that stand for a configuration.

    Whole numbers count the same with and without a decimal point.
    """
    return _hash(_whole(dataclasses.asdict(config)))


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _whole(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(v) for v in value]
    return value


def _runs(study: dict[str, Any]) -> Iterator[Run]:
    for name in study:
        if name in ("seed", "model"):
            where = "seeds = [...]" if name == "seed" else "a [[methods]] table"
            raise ValueError(f"No key {name!r} at the top: give it as {where}.")
        lookup(name, dict.fromkeys(SHARED), "key")
    methods = study.pop("methods", None)
    if not (isinstance(methods, list) and methods and all(isinstance(m, dict) for m in methods)):
        raise ValueError("A study needs at least one [[methods]] table.")
    seeds = _seeds(study.pop("seeds", 1))
    chosen = study.pop("metrics", None)
    if chosen is not None:
        if not isinstance(chosen, (str, list)) or not chosen:
            raise ValueError(f"`metrics` is a name or a list of at least one. Got {chosen!r}.")
        study["metrics"] = metrics.names(chosen)
    known: dict[str, str] = {}
    for number, method in enumerate(methods, 1):
        try:
            for label, config, settings in _settings(study, method):
                for seed in seeds:
                    run = Run(label, dataclasses.replace(config, seed=seed), settings)
                    if run.name in known:
                        raise ValueError(f"{label!r} is there already, as {known[run.name]!r}.")
                    known[run.name] = label
                    yield run
        except (ValueError, TypeError) as error:
            raise ValueError(f"Method {number}: {error}") from None


def _seeds(given: Any) -> list[int]:
    if not isinstance(given, list):
        return list(range(check_integer("seeds", given, at_least=1)))
    if not given:
        raise ValueError("`seeds` is a list of at least one, or their number. Got [].")
    seeds = [check_integer("seeds", seed, at_least=0) for seed in given]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must all differ. Got {given}.")
    return seeds


def _settings(
    shared: Mapping[str, Any], method: Mapping[str, Any]
) -> Iterator[tuple[str, Config, dict[str, Any]]]:
    if "model" not in method:
        raise ValueError("A method needs its `model`.")
    given = {**shared, **method}
    axes = {name: _axis(name, value) for name, value in given.items()}
    # A setting is told by what its method gives, and by what is a grid for all methods.
    telling = [n for n in axes if n != "model" and (n in method or len(axes[n]) > 1)]
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        cls = lookup(chosen["model"], MODELS, "model")
        own = options_of(cls)
        for name in method:
            lookup(name, {**dict.fromkeys(OWN), **own}, f"key or option of {cls.__name__}")
        fields = {name: chosen[name] for name in chosen if name in _FIELDS}
        options = {name: chosen[name] for name in chosen if name not in _FIELDS}
        for name in ("subset", "correlate"):
            if not isinstance(fields.get(name, {}), dict):
                raise ValueError(f"`{name}` is a table. Got {fields[name]!r}.")
        config = Config(**fields, options=options)
        short = min(config.epoch_steps, config.steps)
        settings = {name: config.options.get(name, chosen[name]) for name in telling}
        label = ", ".join([config.model, *(f"{n} {text(v)}" for n, v in settings.items())])
        yield label, dataclasses.replace(config, epoch_steps=short), settings


def _axis(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    if not value:
        raise ValueError(f"The grid of `{name}` needs at least one value. Got [].")
    return value


def text(value: Any) -> str:
    """Return a setting as it is written: text as it is, a schedule as a call, all else as JSON."""
    if isinstance(value, str):
        return value
    return schedules.format_call(value) or json.dumps(value)
