"""Sections of a report on differences that are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_disent.experiments.report import figures, statistics
from keras_disent.experiments.report.frames import COST, Frame, direction, title
from keras_disent.experiments.report.page import Drawn, Part, plain


def variance(frame: Frame, n_resamples: int) -> Part:
    """What explains the differences between runs."""
    name = "Method, strength or seed?"
    rows = []
    for score in frame.scores:
        runs = frame.runs[["method", "label", score]].dropna()
        columns = runs[score].to_numpy(), runs["method"].to_numpy(), runs["label"].to_numpy()
        try:
            raw, adjusted = statistics.explained(*columns)
        except ValueError:
            continue
        ends = statistics.explained_intervals(*columns, n_resamples)
        intervals = {f"{n}_interval": e for n, e in zip(raw._fields, ends, strict=True)}
        rows.append(
            {
                "score": score,
                "n": len(runs),
                "adjusted": {**adjusted._asdict(), **intervals},
                "plain": raw._asdict(),
            }
        )
    if not rows:
        text = ["Left out: it needs a setting with two runs or more, and a score that varies."]
        return Part("variance", name, text, {})
    data = plain(rows)
    shown = [
        {
            "score": row["score"],
            "n": row["n"],
            **{
                f"{n} {what}": row["adjusted"][f"{n}{end}"]
                for n in figures.SHARES
                for what, end in (("share", ""), ("interval", "_interval"))
            },
            **{f"{n} (plain R²)": row["plain"][n] for n in figures.SHARES},
        }
        for row in data
    ]
    picture = Drawn(
        figures.shares(data),
        "Share of the variance of each score by method, strength and seed",
        "Adjusted shares of the variance of each score.",
        "variance",
        shown,
    )
    text = [
        "Two least-squares regressions of a score on categories: on the method, and on method and "
        "strength together, each setting a category of its own. The R² of the first is the share "
        "of the method; what the second adds is that of the strength within methods; what remains "
        "is the seed (Locatello et al. 2019, section 5.4). Drawn is the adjusted R², since the "
        "plain one, in the table, rises with every category by chance alone; a share may then "
        "come out a little below 0, and is drawn as 0.",
        f"Intervals are from {n_resamples:,} draws of runs within their settings, as another "
        "choice of seeds would give them. The shares depend on which methods and strengths were "
        "tried: wider grids make the strength matter more.",
    ]
    return Part("variance", name, text, data, [picture])


QUESTIONS = {
    "methods": (
        "Methods, all their strengths together",
        "A run of one method against a run of another, whatever strength of its grid it has. All "
        "pairs of methods are compared (with more than eight methods, each with the baseline).",
    ),
    "chosen": (
        "Each method at its best strength",
        "Against the baseline only. The strength is chosen for each seed by the mean over the "
        "other seeds, so that a setting does not win by having been lucky: n is the number of "
        "seeds.",
    ),
    "strength": (
        "The highest strength of a method against its lowest",
        "Does the strength do what it should, for the main score and for reconstruction? Highest "
        "is the largest value, which for a capacity is the weakest constraint.",
    ),
}


def compared(frame: Frame, families: Mapping[str, Sequence[Any]]) -> Part:
    """What differs by more than chance."""
    data, pictures, tables = {}, [], {}
    for family, (heading, _) in QUESTIONS.items():
        rows = [
            plain({**one._asdict(), "significant": one.significant}) for one in families[family]
        ]
        data[family] = rows
        scores = list(dict.fromkeys(row["score"] for row in rows))
        for score in scores:
            own = [row for row in rows if row["score"] == score]
            if score not in (frame.main, COST) or (score == COST and family != "strength"):
                continue
            pictures.append(
                Drawn(
                    figures.forest(own, title(score)),
                    f"{heading}: differences of {score}",
                    f"{heading}: {title(score)}, {direction(score)}.",
                    f"comparisons.{family}",
                    [_row(row) for row in own],
                )
            )
        if scores and family != "strength":
            tables[heading] = [
                {
                    "score": score,
                    "comparisons": len(own),
                    "more than chance": sum(row["significant"] for row in own),
                    "which": "; ".join(_which(row) for row in own if row["significant"]) or "none",
                }
                for score in scores
                if (own := [row for row in rows if row["score"] == score])
            ]
    fewest = min((min(row["runs"]) for rows in data.values() for row in rows), default=0)
    text = [
        "Differences of means, each with a 95 % interval by drawing runs again, and a two-sided "
        "permutation test (Welch's test beyond 200 runs). Holm's correction counts the comparisons "
        "of one figure or one line of a table: one score within one question. It does not count "
        "that several scores and questions are asked, so one line in twenty may be wrong by "
        "chance. Not every pair of settings is compared: with few seeds, no p-value would "
        "survive the correction for so many.",
        *(f"{heading}: {words}" for heading, words in QUESTIONS.values()),
    ]
    if not fewest:
        text.append("No comparison: it needs two methods or strengths with three runs each.")
    return Part("comparisons", "What differs by more than chance", text, data, pictures, tables)


def _which(row: Mapping[str, Any]) -> str:
    sign = ">" if row["difference"] > 0 else "<"
    return f"{row['first']} {sign} {row['second']}"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "first": row["first"],
        "second": row["second"],
        "n": row["runs"],
        "means": row["means"],
        "difference": row["difference"],
        "interval": row["interval"],
        "test": row["test"],
        "p": row["p"],
        "p_after_Holm": row["adjusted"],
    }
