"""Do the seeds of a setting find the same latents? UDR, and latents matched one to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_disent import metrics
from keras_disent.experiments.report.codes import Codes
from keras_disent.metrics.correlation import absolute_correlations

ACTIVE = 0.01
"""A latent counts if the variance of its mean over images is above this (Burda et al. 2016)."""
MATCHED = 0.5
"""A latent is found again if its partner's rank correlation is above this."""


class Matching(NamedTuple):
    """One run's latents, and what the other seeds of its setting have of them.

    Attributes:
        run: Name of the run.
        latents: Numbers of its active latents, those that are found again best first.
        names: Their names, each with the factor that it correlates with most in rank, such as
            "z3 scale".
        others: Names of the other runs.
        correlations: Absolute rank correlation with the partner in each other run, 0 where there
            is none: (latents, others).
    """

    run: str
    latents: tuple[int, ...]
    names: tuple[str, ...]
    others: tuple[str, ...]
    correlations: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over latents and other runs; 0 without an active latent."""
        return float(self.correlations.mean()) if self.correlations.size else 0.0

    @property
    def share(self) -> float:
        """Share of latents and other runs with a correlation above 0.5."""
        return float((self.correlations > MATCHED).mean()) if self.correlations.size else 0.0


def udr(codes: Mapping[str, Codes], groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return UDR of each run among the seeds of its setting, for runs with posteriors.

    Args:
        codes: Codes of runs, by name.
        groups: Names of the runs of each setting, by label.
    """
    scores: dict[str, float] = {}
    for names in groups.values():
        kls = {n: codes[n].kl for n in names if n in codes and codes[n].kl is not None}
        if len(kls) >= 2:
            udr = metrics.udr([codes[n].means for n in kls], [np.asarray(k) for k in kls.values()])
            scores |= dict(zip(kls, udr.model_scores.tolist(), strict=True))
    return scores


def matched(
    codes: Mapping[str, Codes], groups: Mapping[str, Sequence[str]]
) -> dict[str, list[Matching]]:
    """Match the active latents of the runs of each setting, pair by pair.

    Latents of two runs are paired so that the sum of their absolute rank correlations is largest
    (the Hungarian algorithm). A latent without a partner, in a run that has fewer, counts as 0.

    Args:
        codes: Codes of runs, by name.
        groups: Names of the runs of each setting, by label.

    Returns:
        One `Matching` for each run, by label; labels with fewer than two runs are left out.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import rankdata

    matchings = {}
    for label, group in groups.items():
        names = [name for name in group if name in codes]
        if len(names) < 2:
            continue
        active = [np.flatnonzero(codes[n].means.var(axis=0) > ACTIVE) for n in names]
        ranks = [rankdata(codes[n].means[:, a], axis=0) for n, a in zip(names, active, strict=True)]
        rows = {
            (i, j): np.zeros(len(active[i]))
            for i in range(len(names))
            for j in range(len(names))
            if i != j
        }
        for i in range(len(names)):
            for j in range(i):
                if len(active[i]) and len(active[j]):
                    strength = absolute_correlations(ranks[i], ranks[j])
                    one, other = linear_sum_assignment(strength, maximize=True)
                    rows[i, j][one] = rows[j, i][other] = strength[one, other]
        matchings[label] = [
            _matching(i, names, active[i], rows, codes[names[i]], ranks[i])
            for i in range(len(names))
        ]
    return matchings


def _matching(
    i: int, names: Sequence[str], active: np.ndarray, rows: Any, codes: Codes, ranks: np.ndarray
) -> Matching:
    others = [j for j in range(len(names)) if j != i]
    table = np.stack([rows[i, j] for j in others], axis=1)
    order = np.argsort(-table.mean(axis=1).round(6), kind="stable")
    factors = _factors(codes, ranks)
    return Matching(
        names[i],
        tuple(int(active[k]) for k in order),
        tuple(_label(codes.latent(active[k]), factors[k]) for k in order),
        tuple(names[j] for j in others),
        table[order],
    )


def _label(latent: str, factor: str) -> str:
    """Return the name of a latent with its factor, unless the name has it already."""
    return latent if not factor or factor in latent else f"{latent} {factor}"


def _factors(codes: Codes, ranks: np.ndarray) -> list[str]:
    """Return the factor that each latent correlates with, such as "scale", or ""."""
    if codes.factors is None or not ranks.shape[1]:
        return [""] * ranks.shape[1]
    strength = absolute_correlations(ranks, codes.factors, "spearman")
    best = strength.argmax(axis=1)
    return [codes.factor_names[f] if strength[k, f] > MATCHED else "" for k, f in enumerate(best)]
