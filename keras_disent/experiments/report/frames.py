"""A table with one row for each run, its method, and its setting within the method."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from keras_disent._utils.registry import lookup
from keras_disent.experiments import table as results
from keras_disent.experiments.planned import read_text, text
from keras_disent.experiments.scores import unit
from keras_disent.metrics import METRICS
from keras_disent.metrics.catalog import LABEL_FREE

COST = "reconstruction"
TERMS = (COST, "kl")
"""Terms that are comparable between methods, unlike a loss."""
ORDER = (
    "mig",
    "dci",
    "sap",
    "factor_vae_score",
    "beta_vae_score",
    "modularity",
    "explicitness",
    "irs",
)
TITLES = {
    "active_units": "active units",
    "beta_vae_score": "BetaVAE score",
    "dci": "DCI disentanglement",
    "factor_vae_score": "FactorVAE score",
    "fairness": "unfairness",
    "irs": "IRS",
    "kl": "KL from the prior",
    "mcc": "MCC",
    "mig": "MIG",
    "reconstruction": "reconstruction error",
    "sap": "SAP",
    "unsupervised": "total correlation of the codes",
}
"""What a score is, where that is not its name."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A method with the values of its hyperparameters, the same for all seeds.

    Attributes:
        label: Label in the table of results.
        method: Model, with the hyperparameters that are not numbers, such as "dip_vae ii".
        values: Numbers that vary within the method, by name.
    """

    label: str
    method: str
    values: Mapping[str, float]

    @property
    def short(self) -> str:
        """Its values in words, such as "beta 4"; "" if the method has one setting."""
        return ", ".join(f"{name} {_number(value)}" for name, value in self.values.items())

    @property
    def name(self) -> str:
        """The method and its values in words."""
        return ", ".join(filter(None, (self.method, self.short)))


@dataclasses.dataclass(frozen=True)
class Frame:
    """The runs of a study that are done.

    Attributes:
        runs: A pandas `DataFrame`, by name of the run: `label`, `method`, `seed`, and a column for
            each score; numbers that are not finite are missing.
        settings: Setting of each label, in the order of methods, then of values.
        metrics: Names of the metrics, those that most studies report first; none if the runs have
            no scores.
        terms: Terms of the objective among `TERMS` that all runs have.
        main: Metric that represents all where one is shown; without metrics, the first term.
        baseline: Method that others are compared with.
        infinite: Number of values that are not finite.
    """

    runs: Any
    settings: dict[str, Setting]
    metrics: tuple[str, ...]
    terms: tuple[str, ...]
    main: str
    baseline: str
    infinite: int

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in their order."""
        return list(dict.fromkeys(setting.method for setting in self.settings.values()))

    @property
    def scores(self) -> tuple[str, ...]:
        """Metrics, then terms."""
        return (*self.metrics, *self.terms)

    @property
    def supervised(self) -> tuple[str, ...]:
        """The metrics that need labels."""
        return tuple(name for name in self.metrics if name not in LABEL_FREE)

    def of(self, method: str) -> list[str]:
        """Return the labels of a method, in the order of its values."""
        return [label for label, s in self.settings.items() if s.method == method]

    def chain(self, method: str) -> bool:
        """Return whether a method's settings are in one order: each value rises or falls."""
        rows = [tuple(self.settings[label].values.values()) for label in self.of(method)]
        columns = list(zip(*rows, strict=True))
        return len(rows) > 1 and all(
            list(c) == sorted(c) or list(c) == sorted(c, reverse=True) for c in columns
        )

    def groups(self, by: str = "label") -> dict[str, Any]:
        """Return the rows of each label, or method, in order."""
        groups = dict(iter(self.runs.groupby(by, sort=False, observed=True)))
        names = list(self.settings) if by == "label" else self.methods
        return {name: groups[name] for name in names if name in groups}


def higher(score: str) -> bool:
    """Return whether a higher value of a score or term is the better one."""
    return METRICS[score].higher if score in METRICS else False


def title(score: str) -> str:
    """Return what a score is, with its unit."""
    return f"{TITLES.get(score, score.replace('_', ' '))} ({unit(score) or 'score'})"


def direction(score: str) -> str:
    """Return which values are good; "" for a KL, of which neither more nor less is."""
    if score in TERMS and score != COST:
        return ""
    return "higher is better" if higher(score) else "lower is better"


def frame(table: Any, score: str | None = None) -> Frame:
    """Return the runs of a table of results, see `table.results`.

    Args:
        table: pandas `DataFrame`.
        score: Metric that represents all; default MIG, or the first that the runs have.

    Raises:
        ValueError: If no run is done, there is no such metric, or no finite value at all.
    """
    pandas = results.needed()
    if not len(table):
        raise ValueError("No run of the study is done: there is nothing to report.")
    kinds = table.drop_duplicates("score").set_index("score")["kind"]
    computed = list(kinds[kinds == "metric"].index)
    values = table.pivot(index="run", columns="score", values="value")
    finite = values.where(values.abs() < math.inf)
    names = [name for name in computed if finite[name].notna().any()]
    metrics = [n for n in ORDER if n in names] + sorted(n for n in names if n not in ORDER)
    terms = [name for name in TERMS if name in values and finite[name].notna().all()]
    if not metrics and not terms:
        score_names = ", ".join(computed or kinds.index)
        raise ValueError(f"No run of the study has a finite score of {score_names}.")
    if score is not None:
        lookup(score, dict.fromkeys(metrics or terms), "score of this study")
    about = table.drop_duplicates("run").set_index("run")
    settings = _settings(about)
    runs = pandas.concat([about[["label", "seed"]], finite[[*metrics, *terms]]], axis=1)
    runs.insert(1, "method", runs["label"].map(lambda label: settings[label].method))
    order = {label: i for i, label in enumerate(settings)}
    runs = runs.assign(_order=runs["label"].map(order)).sort_values(["_order", "seed"])
    methods = list(dict.fromkeys(s.method for s in settings.values()))
    sizes = table.groupby("score", sort=False)["value"].size()
    infinite = int(sum(sizes[n] - finite[n].notna().sum() for n in [*computed, *terms]))
    return Frame(
        runs.drop(columns="_order"),
        settings,
        tuple(metrics),
        tuple(terms),
        score or [*metrics, *terms][0],
        "vae" if "vae" in methods else methods[0],
        infinite,
    )


def _settings(about: Any) -> dict[str, Setting]:
    """Return the setting of each label, from the columns that vary."""
    columns = [c for c in about.columns if c not in (*results.FIRST, *results.LAST)]
    labels = []
    for model, rows in about.drop_duplicates("label").groupby("model", sort=False):
        leaves = _leaves(rows[columns].to_dict("records"), columns)
        names = list(dict.fromkeys(name for leaf in leaves for name in leaf))
        varying = [n for n in names if len({str(leaf.get(n)) for leaf in leaves}) > 1]
        numeric = [
            n for n in varying if all(isinstance(leaf[n], float) for leaf in leaves if n in leaf)
        ]
        for label, leaf in zip(rows["label"], leaves, strict=True):
            words = [str(leaf[n]) for n in varying if n not in numeric and n in leaf]
            method = " ".join([str(model), *words])
            labels.append((label, method, {n: leaf[n] for n in numeric if n in leaf}, numeric))
    methods = list(dict.fromkeys(method for _, method, _, _ in labels))
    settings = []
    for label, method, values, numeric in labels:  # within "dip_vae ii", fewer of them may vary
        own = [v for _, m, v, _ in labels if m == method]
        varying = [n for n in numeric if len({v.get(n) for v in own}) > 1]
        values = {n: values.get(n, math.nan) for n in varying}
        settings.append(Setting(label, method, values))
    rank = {method: i for i, method in enumerate(methods)}
    low = -math.inf  # a value that is not given comes first
    settings.sort(
        key=lambda s: (rank[s.method], [low if math.isnan(v) else v for v in s.values.values()])
    )
    return {setting.label: setting for setting in settings}


def _leaves(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    """Return the settings of each row: numbers as floats, those of a schedule one by one.

    Where the rows have different schedules, or one has a number instead, each is a word.
    """
    read = [{name: _read(row[name]) for name in columns} for row in rows]
    read = [{name: value for name, value in row.items() if value is not None} for row in read]
    mixed = {name for name in columns if len({_kind(row[name]) for row in read if name in row}) > 1}
    leaves: list[dict[str, Any]] = [{} for _ in read]
    for row, leaf in zip(read, leaves, strict=True):
        for name, value in row.items():
            if name in mixed:
                leaf[name] = f"{name} {text(value)}"
            elif isinstance(value, dict):
                items = value.get("config", value).items()
                leaf.update({f"{name} {key}": _plain(part) for key, part in items})
            else:
                leaf[name] = _plain(value)
    return leaves


def _read(value: Any) -> Any:
    """Return a setting as it was before it was written into the table; None if it has none."""
    if isinstance(value, str):
        return read_text(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def _kind(value: Any) -> Any:
    """Return what schedules have in common that differ in numbers only; None for other values."""
    if not isinstance(value, dict):
        return None
    return value.get("class_name"), tuple(value.get("config", value))


def _plain(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else json.dumps(value)
    return float(value)


def _number(value: float) -> str:
    return "default" if math.isnan(value) else f"{value:g}"
