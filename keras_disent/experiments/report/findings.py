"""What a study has found, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_disent.experiments.report.comparisons import Comparison
from keras_disent.experiments.report.frames import COST, Frame, higher
from keras_disent.experiments.report.page import Part
from keras_disent.experiments.report.statistics import shown

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
    yield (
        f"{_many(study['done'], 'run')} done{rest}: {_many(len(frame.methods), 'method')} in "
        f"{_many(len(frame.settings), 'setting')}, {each} seeds each."
    )
    if few < FEW:
        yield (
            f"With {each} seeds a setting, only large differences can be told from chance: what "
            "is not found here may still be there."
        )


def _methods(frame: Frame, compared: Mapping[str, Sequence[Comparison]]) -> Iterator[str]:
    base, main = frame.baseline, frame.main
    medians = frame.runs.groupby("method")[main].median().drop(base)
    if not len(medians):
        return
    ahead = _better(medians, frame.runs.loc[frame.runs["method"] == base, main].median(), main)
    told = _told([one for one in compared["methods"] if one.score == main and one.second == base])
    yield (
        f"{ahead} of {_many(len(medians), 'method')} {_has(ahead)} a better median {main} than "
        f"{base}, all strengths together; after correction {told}."
    )
    best = [one for one in compared["chosen"] if one.score == main]
    if best:
        means = ", ".join(f"{one.first} {one.means[0]:.2f}" for one in best)
        yield (
            f"With the strength of each method chosen by its other seeds, {_told(best)}. Mean "
            f"{main}: {base} {best[0].means[1]:.2f}, {means}."
        )


def _variance(frame: Frame, rows: Any) -> Iterator[str]:
    for row in rows or ():
        if row["score"] == frame.main:
            shares = row["adjusted"]
            method, strength, seed = map(_percent, shown(shares))
            low, high = (_percent(min(max(end, 0.0), 1.0)) for end in shares["seed_interval"])
            yield (
                f"The method explains {method} % of the variance of {frame.main}, the strength "
                f"within methods {strength} %, and the seed the other {seed} % ({low} to {high} %)."
            )


def _strength(frame: Frame, compared: Sequence[Comparison]) -> Iterator[str]:
    for score, words in ((COST, "reconstructs worse"), (frame.main, f"has a better {frame.main}")):
        own = [one for one in compared if one.score == score]
        if not own:
            continue
        good = higher(score)
        more = [one for one in own if (one.difference > 0) == (good or score == COST)]
        sure = sum(one.found for one in more)
        against = sum(one.found for one in own if one not in more)
        other = f"; the opposite holds by more than chance in {against}" if against else ""
        yield (
            f"The highest strength {words} than the lowest in {len(more)} of "
            f"{_many(len(own), 'method')}, in {sure} of them by more than chance{other}."
        )


def _scores(frame: Frame, data: Mapping[str, Any]) -> Iterator[str]:
    among = [i for i, name in enumerate(data.get("scores", ())) if name in frame.metrics]
    if len(among) < 2:
        return
    names = [data["scores"][i] for i in among]
    matrix = np.array(data["matrix"], float)[np.ix_(among, among)]
    signs = np.array([1 if higher(name) else -1 for name in names])
    matrix = matrix * signs * signs[:, None]
    rows, columns = np.triu_indices(len(names), 1)
    values = matrix[rows, columns]
    least = int(np.argmin(values))
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
    known = {s: v for s, v in overall.items() if s not in ("runs", "n") and v is not None}
    if frame.main not in known:
        return
    picked = {row["score"]: row for row in data["picked"]}.get(frame.main)
    chosen = ""
    if picked:
        chosen = (
            f" Choosing the run with the highest UDR gets {frame.main} "
            f"{picked['chosen_by_UDR']:.2f}, where the mean run has {picked['mean_of_all']:.2f} "
            f"and the best {picked['best']:.2f}."
        )
    low, high = min(known.values()), max(known.values())
    yield (
        f"Without labels, UDR ranks runs as {frame.main} does with a rank correlation of "
        f"{known[frame.main]:+.2f} (n = {overall['n']:,}; over all scores {low:+.2f} to "
        f"{high:+.2f}).{chosen}"
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


def _told(found: Sequence[Comparison]) -> str:
    """Say how many differ, and which way."""
    sure = [one for one in found if one.found]
    if not sure:
        return f"none of {len(found)} differs from it by more than chance"
    better = [one.first for one in sure if (one.difference > 0) == higher(one.score)]
    worse = [one.first for one in sure if one.first not in better]
    words = [f"better: {', '.join(better)}"] if better else []
    words += [f"worse: {', '.join(worse)}"] if worse else []
    verb = "differs" if len(sure) == 1 else "differ"
    return f"{len(sure)} of {len(found)} {verb} from it by more than chance ({'; '.join(words)})"


def _better(values: Any, than: float, score: str) -> int:
    return int(((values > than) if higher(score) else (values < than)).sum())


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
