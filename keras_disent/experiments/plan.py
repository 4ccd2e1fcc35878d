"""A grid study: from a TOML file to all of its runs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_disent import metrics
from keras_disent._utils.checks import check_integer
from keras_disent._utils.registry import lookup
from keras_disent.experiments.config import Config, model_class, options_of
from keras_disent.experiments.custom import import_modules
from keras_disent.experiments.planned import PlannedRun, text

LARGE = 100_000
"""Runs above which a study asks."""
_FIELDS = tuple(f.name for f in dataclasses.fields(Config) if f.name not in ("seed", "options"))
SHARED = ("seeds", "methods", *(name for name in _FIELDS if name != "model"))
"""The keys at the top of a study's file."""
OWN = tuple(name for name in _FIELDS if name != "metrics")
"""The keys of a method, besides the options of its model."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A grid study: all of its runs are known from the start.

    Attributes:
        runs: `PlannedRun`s in the order of the file, the seeds of a setting one after the other.
        text: Text of the file.
        imports: Names of modules that register custom methods.

    >>> plan = Plan.parse('''
    ... steps = 100
    ... seeds = 2
    ... [[methods]]
    ... model = "beta_vae"
    ... beta = [1, 4]
    ... ''')
    >>> [(run.label, run.seed) for run in plan.runs]
    [('beta_vae, beta 1', 0), ('beta_vae, beta 1', 1), ('beta_vae, beta 4', 0), ('beta_vae, beta 4', 1)]
    """  # noqa: E501

    runs: tuple[PlannedRun, ...]
    text: str
    imports: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path, *, imports: tuple[str, ...] = (), large: bool = False) -> Plan:
        """Read the file of a study.

        Args:
            path: TOML file.
            imports, large: As `parse`.

        Raises:
            ValueError: Names the file, the key and the rule.
        """
        path = Path(path)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"Cannot read the study {str(path)!r}: {reason}.") from None
        return cls.parse(content, str(path), imports=imports, large=large)

    @classmethod
    def parse(
        cls,
        content: str,
        source: str = "the study",
        *,
        imports: tuple[str, ...] = (),
        large: bool = False,
    ) -> Plan:
        """Return what the text of a study's file says.

        Args:
            content: TOML.
            source: What errors call it.
            imports: Names of modules that register custom methods; they are imported.
            large: Whether more than 100,000 runs are meant.

        Raises:
            ValueError: Names the source, the key and the rule.
        """
        import_modules(imports)
        try:
            return cls(tuple(_runs(tomllib.loads(content), large)), content, tuple(imports))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source}: {error}") from None

    def check(self) -> None:
        """Build the model of every setting, on its data.

        The first of each kind is built as large as it is, the others with small networks.

        Raises:
            ValueError: Names the setting, and what the model or the data do not take.
        """
        settings: dict[str, tuple[str, Config]] = {}
        for run in self.runs:
            config = Config.from_dict(run.config)
            settings.setdefault(_setting(config), (run.label, config))
        kinds, data, source = set(), None, None
        for label, config in sorted(settings.values(), key=lambda pair: _source(pair[1])):
            kind = (config.model, config.network, config.width, _source(config))
            try:
                if source != _source(config):
                    data, source = config.load_data(), _source(config)
                if kind not in kinds or not _builds_small(config, data):
                    config.build(data)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{label}: {error}") from None
            finally:
                keras.utils.clear_session(free_memory=False)
            kinds.add(kind)

    def configs(self) -> Iterator[Config]:
        """Yield one configuration for each data set."""
        for run in {run.config["data"]: run for run in self.runs}.values():
            yield Config.from_dict(run.config)

    def grown(self, study: Any) -> bool:
        """Return whether the plan has more runs than a study.

        Raises:
            ValueError: If it lacks some of them.
        """
        if "search" in study.definition:
            raise ValueError(f"{str(study.folder)!r} holds a search, not this study.")
        names, stored = {run.name for run in self.runs}, study.runs
        missing = [run for run in stored if run.name not in names]
        if missing:
            first = f"{missing[0].label}, seed {missing[0].seed}"
            raise ValueError(
                f"{str(study.folder)!r} holds another study: {len(missing)} of its {len(stored)} "
                f"runs are not in this one; the first is {first!r}. A study may grow by seeds and "
                "methods; choose another folder for other runs."
            )
        return len(names) > len(stored)

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(run.model for run in self.runs))

    def definition(self) -> dict[str, Any]:
        """Return what defines the study, as what JSON can hold."""
        return {"runs": [dataclasses.asdict(run) for run in self.runs]}


def _builds_small(config: Config, data: Any) -> bool:
    """Return whether a setting is fine with small networks; if not, these may be the reason."""
    try:
        dataclasses.replace(config, network="mlp", width=0.01).build(data)
    except (ValueError, TypeError):
        return False
    return True


def _setting(config: Config) -> str:
    """Return what is the same for runs that one check is enough for."""
    return json.dumps(_with_integers(dataclasses.replace(config, seed=0, steps=1).as_dict()))


def _source(config: Config) -> str:
    """Return what sets the data of runs apart."""
    names = ("data", "data_dir", "subset", "correlate", "image_size", "channels", "data_options")
    return json.dumps([getattr(config, name) for name in names])


LATER_FIELDS = ("data_options", "precision", "steps_per_execution", "jit_compile", "track")


def digest(config: Config) -> str:
    """Return twelve hexadecimal digits that stand for a configuration.

    Whole numbers count the same with and without a decimal point. Fields that configurations did
    not always have count where they are not the default, so that names of runs stay.
    """
    fields, default = config.as_dict(), Config().as_dict()
    digest_fields = {k: v for k, v in fields.items() if k not in LATER_FIELDS or v != default[k]}
    return _hash(_with_integers(digest_fields))


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _with_integers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _with_integers(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_integers(v) for v in value]
    return value


def planned(label: str, config: Config, settings: Mapping[str, Any]) -> PlannedRun:
    """Return a run with its name: the model, and a digest of the configuration."""
    name = f"{config.model.rpartition(':')[2]}-{digest(config)}"
    return PlannedRun(name, label, dict(settings), config.absolute().as_dict())


def _runs(study: dict[str, Any], large: bool) -> Iterator[PlannedRun]:
    for name in study:
        if name in ("seed", "model"):
            where = "seeds = [...]" if name == "seed" else "a [[methods]] table"
            raise ValueError(f"No key {name!r} at the top: give it as {where}.")
        lookup(name, dict.fromkeys(SHARED), "key")
    methods = study.pop("methods", None)
    if not (isinstance(methods, list) and methods and all(isinstance(m, dict) for m in methods)):
        raise ValueError("A study needs at least one [[methods]] table.")
    seeds = _seeds(study.pop("seeds", 1))
    metric_names = study.pop("metrics", None)
    if metric_names is not None:
        if not isinstance(metric_names, (str, list)) or not metric_names:
            raise ValueError(
                f"`metrics` is a name or a list of at least one. Got {metric_names!r}."
            )
        study["metrics"] = metrics.names(metric_names)
    _check_size(study, methods, len(seeds), large)
    labels: dict[str, str] = {}
    for number, method in enumerate(methods, 1):
        try:
            for label, config, settings in _settings(study, method):
                for seed in seeds:
                    run = planned(label, dataclasses.replace(config, seed=seed), settings)
                    if run.name in labels:
                        raise ValueError(f"{label!r} is there already, as {labels[run.name]!r}.")
                    labels[run.name] = label
                    yield run
        except (ValueError, TypeError) as error:
            raise ValueError(f"Method {number}: {error}") from None


def _check_size(study: Mapping[str, Any], methods: list[Any], seeds: int, large: bool) -> None:
    grids = [{**study, **method}.values() for method in methods]
    size = seeds * sum(math.prod(len(v) for v in g if isinstance(v, list)) for g in grids)
    if size > LARGE and not large:
        raise ValueError(
            f"The study has {size:,} runs, more than {LARGE:,}. Pass --yes (`large=True` in "
            "Python) if that is meant."
        )


def _seeds(value: Any) -> Sequence[int]:
    if not isinstance(value, list):
        return range(check_integer("seeds", value, at_least=1))
    if not value:
        raise ValueError("`seeds` is a list of at least one, or their number. Got [].")
    seeds = [check_integer("seeds", seed, at_least=0) for seed in value]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must all differ. Got {value}.")
    return seeds


def _settings(
    shared: Mapping[str, Any], method: Mapping[str, Any]
) -> Iterator[tuple[str, Config, dict[str, Any]]]:
    if "model" not in method:
        raise ValueError("A method needs its `model`.")
    axes = {name: _axis(name, value) for name, value in {**shared, **method}.items()}
    # A setting is told by what its method gives, and by what is a grid for all methods.
    telling = [n for n in axes if n != "model" and (n in method or len(axes[n]) > 1)]
    for values in itertools.product(*axes.values()):
        combination = dict(zip(axes, values, strict=True))
        cls = model_class(combination["model"])
        own = options_of(cls)
        for name in method:
            lookup(name, {**dict.fromkeys(OWN), **own}, f"key or option of {cls.__name__}")
        fields = {name: combination[name] for name in combination if name in _FIELDS}
        options = {name: combination[name] for name in combination if name not in _FIELDS}
        for name in ("subset", "correlate"):
            if not isinstance(fields.get(name, {}), dict):
                raise ValueError(f"`{name}` is a table. Got {fields[name]!r}.")
        config = Config(**fields, options=options)
        short = min(config.epoch_steps, config.steps)
        settings = {name: config.options.get(name, combination[name]) for name in telling}
        label = ", ".join([config.model, *(f"{n} {text(v)}" for n, v in settings.items())])
        yield label, dataclasses.replace(config, epoch_steps=short), settings


def _axis(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    if not value:
        raise ValueError(f"The grid of `{name}` needs at least one value. Got [].")
    return value
