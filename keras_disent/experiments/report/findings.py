"""Findings of a study: sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_disent.experiments.report.comparisons import Comparison
from keras_disent.experiments.report.frames import COST, Frame, higher
from keras_disent.experiments.report.page import Part
from keras_disent.experiments.report.statistics import FEWEST, shown

FEW = 10
"""Seeds below which the reader is warned."""


def sentences(
    frame: Frame, parts: Mapping[str, Part], compared: Mapping[str, Sequence[Comparison]]
) -> list[str]:
    """Return a few sentences, the most general first."""
    return [
        *_size(frame, parts["study"].data),
        *_methods(frame, compared),
        *_variance(frame, parts["variance"].data),
        *_strength(frame, compared["strength"]),
        *_scores(frame, parts["rank_correlation"].data),
        *_udr(frame, parts["selection"].data),
        *_latents(parts["matching"].data),
    ]


def _size(frame: Frame, study: Mapping[str, Any]) -> Iterator[str]:
    seeds = [len(rows) for rows in frame.groups().values()]
    few, most = min(seeds), max(seeds)
    each = f"{few}" if few == most else f"{few} to {most}"
    lost = study["failed"] + study["missing"]
    rest = f", {lost:,} failed or not done" if lost else ""
    seeds_each = f"{each} seed" if most == 1 else f"{each} seeds"
    methods = _many(len(frame.methods), "method")
    if len(frame.settings) > len(frame.methods):
        methods += f" in {_many(len(frame.settings), 'setting')}"
    several = len(frame.settings) > 1
    yield (
        f"{_many(study['done'], 'run')} done{rest}: {methods}, {seeds_each}"
        f"{' each' if several else ''}."
    )
    if not several:
        return
    if most < FEWEST:
        yield (
            f"With {seeds_each} a setting, no difference can be tested: the seeds alone may "
            "explain any of them."
        )
    elif few < FEW:
        yield (
            f"With {seeds_each} a setting, only large differences can be told from chance: what "
            "is not found here may still be there."
        )


def _methods(frame: Frame, compared: Mapping[str, Sequence[Comparison]]) -> Iterator[str]:
    base, main = frame.baseline, frame.main
    medians = frame.runs.groupby("method")[main].median().drop(base)
    if not len(medians):
        return
    reference = frame.runs.loc[frame.runs["method"] == base, main].median()
    strengths = len(frame.settings) > len(frame.methods)
    together = ", over the runs of all strengths" if strengths else ""
    if len(medians) == 1:
        ((method, median),) = medians.items()
        better = f"{method} has {_than(median, reference, main)} median {main} than {base}"
        better += f" ({median:.2f} and {reference:.2f}{together})"
    else:
        ahead = _better(medians, reference, main)
        better = (
            f"{ahead} of {_many(len(medians), 'method')} {_has(ahead)} a better median {main} than "
            f"{base}{together}"
        )
    tested = [one for one in compared["methods"] if one.score == main and one.second == base]
    if len(tested) == 1:
        chance = "" if tested[0].significant else "not "
        yield f"{better}; the difference of the means is {chance}more than chance."
    else:
        yield f"{better}; after correction, {_summary(tested)}." if tested else f"{better}."
    best = [one for one in compared["chosen"] if one.score == main]
    if best and strengths:
        means = ", ".join(f"{one.first} {one.means[0]:.2f}" for one in best)
        yield (
            f"With the strength of each method chosen by its other seeds, {_summary(best)}. Mean "
            f"{main} at these strengths, one run for each seed: {base} {best[0].means[1]:.2f}, "
            f"{means}."
        )


def _variance(frame: Frame, rows: Any) -> Iterator[str]:
    if len(frame.settings) == 1:
        return
    for row in rows or ():
        if row["score"] == frame.main:
            shares = row["adjusted"]
            method, strength, seed = map(_percent, shown(shares))
            low, high = (_percent(min(max(end, 0.0), 1.0)) for end in shares["seed_interval"])
            parts = [f"the method explains {method} %"] if len(frame.methods) > 1 else []
            if len(frame.settings) > len(frame.methods):
                within = " within methods" if parts else " explains"
                parts.append(f"the strength{within} {strength} %")
            explained = ", ".join(parts)
            yield (
                f"Of the variance of {frame.main}, {explained}, and the seed the other {seed} % "
                f"({low} to {high} %)."
            )


def _strength(frame: Frame, compared: Sequence[Comparison]) -> Iterator[str]:
    main = frame.main
    for score, words, opposite in (
        (COST, "reconstructs worse", "reconstructs better"),
        *([(main, f"has a better {main}", f"has a worse {main}")] if main != COST else ()),
    ):
        own = [one for one in compared if one.score == score]
        if not own:
            continue
        good = higher(score)
        more = [one for one in own if (one.difference > 0) == (good or score == COST)]
        sure = sum(one.significant for one in more)
        against = sum(one.significant for one in own if one not in more)
        other = f"; the opposite holds by more than chance in {against}" if against else ""
        tested = f", in {sure or 'none'} of them by more than chance" if more else ""
        if len(own) == 1:
            (one,) = own
            chance = "" if one.significant else ", but not by more than chance"
            verb = words if more else opposite
            yield f"The highest strength ({one.first}) {verb} than the lowest{chance}."
        else:
            yield (
                f"The highest strength {words} than the lowest in {len(more) or 'none'} of "
                f"{_many(len(own), 'method')}{tested}{other}."
            )


def _scores(frame: Frame, data: Mapping[str, Any]) -> Iterator[str]:
    indices = [i for i, name in enumerate(data.get("scores", ())) if name in frame.metrics]
    if len(indices) < 2:
        return
    names = [data["scores"][i] for i in indices]
    matrix = np.array(data["matrix"], float)[np.ix_(indices, indices)]
    signs = np.array([1 if higher(name) else -1 for name in names])
    matrix = matrix * signs * signs[:, None]
    rows, columns = np.triu_indices(len(names), 1)
    values = matrix[rows, columns]
    least = int(np.argmin(values))
    if len(values) == 1:
        yield (
            f"{names[0]} and {names[1]} rank the runs with a Spearman correlation of "
            f"{values[0]:+.2f} (n = {data['n']:,}; the better end of both up)."
        )
        return
    yield (
        f"Of {_many(len(values), 'pair')} of metrics, {int((values > 0.5).sum())} rank the "
        f"runs much alike (Spearman above 0.5, the better end of both up) and "
        f"{int((values < 0).sum())} against each other; "
        f"least in agreement: {names[rows[least]]} and {names[columns[least]]} "
        f"({values[least]:+.2f})."
    )


def _udr(frame: Frame, data: Mapping[str, Any]) -> Iterator[str]:
    if not data:
        return
    overall = data["spearman"][0]
    correlations = {s: v for s, v in overall.items() if s not in ("runs", "n") and v is not None}
    if frame.main not in correlations:
        return
    picked = {row["score"]: row for row in data["picked"]}.get(frame.main)
    selection = ""
    if picked:
        selection = (
            f" The run with the highest UDR has {frame.main} {picked['chosen_by_UDR']:.2f}; the "
            f"mean over all {picked['n']:,} runs that have a UDR is {picked['mean_of_all']:.2f}, "
            f"the best {picked['best']:.2f}."
        )
    low, high = min(correlations.values()), max(correlations.values())
    yield (
        f"Without labels, UDR ranks runs as {frame.main} does with a rank correlation of "
        f"{correlations[frame.main]:+.2f} (n = {overall['n']:,}; over all scores {low:+.2f} to "
        f"{high:+.2f}).{selection}"
    )


def _latents(data: Mapping[str, Any]) -> Iterator[str]:
    if not data:
        return
    rows = sorted(data["settings"], key=lambda row: row["share"])
    median = float(np.median([run["share"] for run in data["runs"]]))
    ends = ""
    if len(rows) > 1:
        low, high = rows[0], rows[-1]
        ends = (
            f", from {_percent(low['share'])} % ({low['setting']}) to "
            f"{_percent(high['share'])} % ({high['setting']}) on average"
        )
    yield (
        f"In the median run, {_percent(median)} % of the active latents are found again by another "
        f"seed of the same setting (rank correlation above 0.5){ends}."
    )


def _summary(compared: Sequence[Comparison]) -> str:
    """Return in words how many methods differ from the baseline, and which way."""
    sure = [one for one in compared if one.significant]
    if len(compared) == 1:
        verb = "differs" if sure else "does not differ"
        return f"{compared[0].first} {verb} from {compared[0].second} by more than chance"
    if not sure:
        return f"none of {len(compared)} differs from it by more than chance"
    better = [one.first for one in sure if (one.difference > 0) == higher(one.score)]
    worse = [one.first for one in sure if one.first not in better]
    words = [f"better: {', '.join(better)}"] if better else []
    words += [f"worse: {', '.join(worse)}"] if worse else []
    verb = "differs" if len(sure) == 1 else "differ"
    return f"{len(sure)} of {len(compared)} {verb} from it by more than chance ({'; '.join(words)})"


def _better(values: Any, than: float, score: str) -> int:
    return int(((values > than) if higher(score) else (values < than)).sum())


def _than(value: float, other: float, score: str) -> str:
    if value == other:
        return "no better"
    return "a better" if (value > other) == higher(score) else "a worse"


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}"
