"""Registry of all metrics by name, with their inputs and settings."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from keras_disent._utils.registry import lookup
from keras_disent.metrics.beta_vae import beta_vae_score
from keras_disent.metrics.checks import (
    check_counts,
    check_grid,
    check_groups,
    check_labeled,
    has_groups,
)
from keras_disent.metrics.correlation import mcc
from keras_disent.metrics.dci import dci
from keras_disent.metrics.dci_es import dci_es
from keras_disent.metrics.downstream import downstream, reduced_downstream
from keras_disent.metrics.fairness import fairness
from keras_disent.metrics.infomec import infomec
from keras_disent.metrics.irs import irs
from keras_disent.metrics.mig import dcimig, mig, mig_sup
from keras_disent.metrics.modularity import explicitness, modularity
from keras_disent.metrics.posterior import active_units, jemmig, rmig
from keras_disent.metrics.sap import sap
from keras_disent.metrics.strong_downstream import strong_downstream
from keras_disent.metrics.unified import unified_scores
from keras_disent.metrics.unsupervised import unsupervised_scores
from keras_disent.metrics.votes import factor_vae_score, z_max_score


class Metric(NamedTuple):
    """A metric: its function, its inputs and its requirements.

    Attributes:
        function: Returns the score, a float or an object that `float()` accepts. Its keyword-only
            arguments are its settings, each with a default, except `test` and `n_jobs`.
        takes: "arrays" for `function(codes, factors)`, "codes" for `function(codes)`,
            "posterior" for `function(means, log_variances, factors)`, "encoder" for
            `function(encoder, data)`.
        latents: Minimum number of latents.
        grid: Whether it needs every combination of factors.
        groups: Whether it tells apart factors that groups of images share.
        higher: Whether higher scores are better.
        continuous: How it treats a continuous factor; settings are filled in.
        seconds: Time on one core for 10,000 codes of 10 latents and 113 values of 5 factors.
        trees: Whether it fits boosted trees from all latents to each factor, which it shares.
        reference: Settings of the large studies, where they differ from the defaults.
    """

    function: Callable[..., Any]
    takes: Literal["arrays", "codes", "posterior", "encoder"]
    latents: int = 1
    grid: bool = False
    groups: bool = False
    higher: bool = True
    continuous: str = ""
    seconds: float = 0.1
    trees: bool = False
    reference: Mapping[str, Any] = {}

    @property
    def arguments(self) -> dict[str, Any]:
        """All keyword-only arguments of the function with their defaults."""
        arguments = inspect.signature(self.function).parameters.values()
        return {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}

    @property
    def in_parallel(self) -> bool:
        """Whether it fits predictors, several at a time if there is more than one job."""
        return "n_jobs" in self.arguments

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with their defaults."""
        return {k: v for k, v in self.arguments.items() if k not in ("test", "n_jobs")}


_BINS = "{bins} bins of equal width"

_VOTES = {"train_votes": 10_000, "eval_votes": 5_000}

METRICS: dict[str, Metric] = {
    "active_units": Metric(active_units, takes="codes"),
    "beta_vae_score": Metric(
        beta_vae_score,
        takes="encoder",
        groups=True,
        seconds=0.4,
        reference={"eval_points": 5_000, "pool": 0},
    ),
    "dci": Metric(
        dci,
        takes="arrays",
        latents=2,
        continuous="regression trees, R²",
        seconds=9,
        trees=True,
    ),
    "dci_es": Metric(
        dci_es,
        takes="arrays",
        latents=2,
        continuous="regression trees, squared error",
        seconds=11,
        trees=True,
    ),
    "dcimig": Metric(dcimig, takes="arrays", continuous=_BINS),
    "downstream": Metric(
        downstream, takes="arrays", continuous="regression, R²", seconds=20, trees=True
    ),
    "explicitness": Metric(explicitness, takes="arrays", continuous=_BINS, seconds=0.4),
    "factor_vae_score": Metric(
        factor_vae_score, takes="encoder", groups=True, reference={**_VOTES, "pool": 0}
    ),
    "fairness": Metric(fairness, takes="encoder", grid=True, higher=False, seconds=11),
    "infomec": Metric(
        infomec,
        takes="arrays",
        latents=2,
        continuous=f"{_BINS}; explicitness: linear regression",
        seconds=1.8,
    ),
    "irs": Metric(irs, takes="arrays", grid=True, continuous=_BINS),
    "jemmig": Metric(
        jemmig, takes="posterior", latents=2, continuous="{factor_bins} bins of equal width"
    ),
    "mcc": Metric(mcc, takes="arrays", continuous="correlation with the numbers"),
    "mig": Metric(mig, takes="arrays", latents=2, continuous=_BINS),
    "mig_sup": Metric(mig_sup, takes="arrays", continuous=_BINS),
    "modularity": Metric(modularity, takes="arrays", continuous=_BINS),
    "reduced_downstream": Metric(
        reduced_downstream,
        takes="arrays",
        latents=2,
        continuous="regression, R²",
        seconds=54,
        trees=True,
    ),
    "rmig": Metric(
        rmig, takes="posterior", latents=2, continuous="{factor_bins} bins of equal width"
    ),
    "sap": Metric(sap, takes="arrays", latents=2, continuous="squared correlation"),
    "strong_downstream": Metric(strong_downstream, takes="encoder", grid=True, seconds=70),
    "unified": Metric(
        unified_scores,
        takes="arrays",
        latents=2,
        continuous=f"{_BINS}; importance: regression trees; accuracy: squared correlation",
        seconds=9,
        trees=True,
    ),
    "unsupervised": Metric(unsupervised_scores, takes="codes", latents=2, higher=False),
    "z_max": Metric(z_max_score, takes="encoder", groups=True, reference=_VOTES),
}

# The scores that the large studies of the field report.
STANDARD = (
    "beta_vae_score",
    "dci",
    "explicitness",
    "factor_vae_score",
    "irs",
    "mig",
    "modularity",
    "sap",
    "unsupervised",
)

# The scores that need no labels.
LABEL_FREE = ("unsupervised", "active_units")  # the first one is the default without labels

_UNITS = {
    "active_units": "latents",
    **dict.fromkeys(("beta_vae_score", "factor_vae_score", "z_max"), "share right"),
    **dict.fromkeys(("mig", "rmig", "dcimig"), "share of entropy"),
    "unsupervised": "nats",
}


def unit(metric: str) -> str:
    """Return the unit of a metric; "0 to 1" if it is a number without one.

    >>> unit("mig"), unit("dci")
    ('share of entropy', '0 to 1')
    """
    return _UNITS.get(metric, "0 to 1")


Names = str | Iterable[str] | Mapping[str, Mapping[str, Any]]


def check(metrics: Names, data: Any, latents: int | None = None) -> dict[str, dict[str, Any]]:
    """Validate names and settings of metrics; return them as `{name: settings}`.

    Nothing is computed.

    Args:
        metrics: As in `evaluate`.
        data: Ground-truth data set.
        latents: Number of latents of the model, if known.

    Raises:
        ValueError: For an unknown name or setting, unlabeled data, or too few `latents`.
    """
    settings_by_name = settings_of(metrics, seed=0)
    check_data(data, settings_by_name)
    too_wide = [
        name for name in settings_by_name if latents is not None and METRICS[name].latents > latents
    ]
    if too_wide:
        raise ValueError(
            f"{' and '.join(map(repr, too_wide))} compare latents, so there must be at least "
            f"{METRICS[too_wide[0]].latents}. Got {latents}."
        )
    options = metrics if isinstance(metrics, Mapping) else {}
    return {name: dict(options.get(name, {})) for name in settings_by_name}


def names(metrics: Names) -> tuple[str, ...]:
    """Expand "standard", "all", one name or several names into a tuple of names.

    >>> names("mig"), "dci" in names("standard")
    (('mig',), True)
    """
    if isinstance(metrics, str):
        return {"standard": STANDARD, "all": tuple(METRICS)}.get(metrics, (metrics,))
    return tuple(metrics)


def check_data(data: Any, metrics: Iterable[str]) -> None:
    """Raise ValueError if a metric needs labels, or combinations of factors, that `data` lacks."""
    metrics = tuple(metrics)
    check_labeled(data, *(name for name in metrics if METRICS[name].takes != "codes"))
    check_grid(data, *(name for name in metrics if METRICS[name].grid))
    check_groups(data, *(name for name in metrics if METRICS[name].groups))


def applicable(metrics: Iterable[str], data: Any) -> tuple[str, ...]:
    """Keep the metrics that `data` has the labels for; if none, return a label-free one."""
    labeled = len(getattr(data, "factor_sizes", ())) > 0
    grid = hasattr(data, "sample_factors")
    groups = labeled and has_groups(data)
    return (
        tuple(
            name
            for name in metrics
            if (labeled or METRICS[name].takes == "codes")
            and (grid or not METRICS[name].grid)
            and (groups or not METRICS[name].groups)
        )
        or LABEL_FREE[:1]
    )


def settings_of(
    metrics: Names, seed: int, legacy_stream: bool = False, reference: bool = False
) -> dict[str, dict[str, Any]]:
    """Return all settings of the requested metrics, by name, in the requested order.

    With `reference` or `legacy_stream`, the defaults are those of the large studies.
    """
    check_counts(0, seed=seed)
    options = metrics if isinstance(metrics, Mapping) else {name: {} for name in names(metrics)}
    if not options:
        raise ValueError(
            f"`metrics` must name at least one. Choose from: {', '.join(sorted(METRICS))}."
        )
    settings_by_name = {}
    for name, changes in options.items():
        settings = lookup(name, METRICS, "metric").settings
        for setting in changes:
            if setting not in settings:
                raise ValueError(
                    f"{name!r} has no setting {setting!r}. "
                    f"Choose from: {', '.join(sorted(settings)) or 'none'}."
                )
        common = {"seed": seed, "legacy_stream": legacy_stream}
        accepted = {key: value for key, value in common.items() if key in settings}
        study = METRICS[name].reference if reference or legacy_stream else {}
        settings_by_name[name] = {**settings, **study, **accepted, **changes}
    return settings_by_name
