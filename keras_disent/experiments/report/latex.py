"""The table of a study for a paper: means with intervals, the best in bold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_disent.experiments import latex
from keras_disent.experiments.report.comparisons import difference, holm
from keras_disent.experiments.report.frames import COST, Frame, Setting, direction, higher
from keras_disent.experiments.report.statistics import FEWEST

LEVEL = 0.05


def table(frame: Frame, intervals: Mapping[str, Mapping[str, Any]], n_resamples: int = 4000) -> str:
    """Return a LaTeX table: rows of settings, columns of metrics and of the reconstruction.

    It needs the package booktabs. The best mean of a column is bold, and so is every mean that
    does not differ from it by more than chance: the permutation test of the report, with Holm's
    correction over the rows of the column. Where that would be all rows, only the best is bold,
    and a dagger marks the column.

    Args:
        frame: Runs of the study.
        intervals: Interval of the mean of each score, or None, by label.
        n_resamples: Bootstrap draws of the test.
    """
    scores = [*frame.metrics, *(name for name in (COST,) if name in frame.terms)] or [frame.main]
    groups = frame.groups()
    seeds = sorted({len(rows) for rows in groups.values()})
    bold, equal = {}, []
    for score in scores:
        bold[score] = best(frame, score, n_resamples)
        if len(bold[score]) == len(groups) > 1:
            bold[score] = bold[score][:1]
            equal.append(score)
    heading = [_heading(score, score in equal) for score in scores]
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_caption(scores, equal, seeds)}}}",
        "  \\medskip",
        f"  \\begin{{tabular}}{{l{'c' * len(scores)}}}",
        "    \\toprule",
        f"    Method & {' & '.join(heading)} \\\\",
        "    \\midrule",
    ]
    before = None
    for label, rows in groups.items():
        setting = frame.settings[label]
        if before is not None and setting.method != before and len(groups) > len(frame.methods):
            lines.append("    \\addlinespace")
        before = setting.method
        cells = [
            _cell(rows[score], intervals[label][score], label in bold[score]) for score in scores
        ]
        lines.append(f"    {_name(setting)} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


def best(frame: Frame, score: str, n_resamples: int = 4000) -> list[str]:
    """Return the labels whose mean is best, or does not differ from it by more than chance.

    Args:
        frame: Runs of the study.
        score: Score or term.
        n_resamples: Bootstrap draws of the test.

    Returns:
        Labels, the best one first; none where no run has the score.
    """
    values = {label: rows[score].dropna().to_numpy() for label, rows in frame.groups().items()}
    values = {label: v for label, v in values.items() if len(v)}
    if not values:
        return []
    sign = 1 if higher(score) else -1
    top = max(values, key=lambda label: sign * values[label].mean())
    others = [
        label
        for label, v in values.items()
        if label != top and min(len(v), len(values[top])) >= FEWEST
    ]
    p = holm([difference(values[top], values[label], n_resamples)[-1] for label in others])
    return [top, *(label for label, p in zip(others, p, strict=True) if p >= LEVEL)]


def _name(setting: Setting) -> str:
    values = [latex.setting(name, value) for name, value in setting.values.items()]
    return ", ".join([latex.method(setting.method), *values])


def _heading(score: str, equal: bool) -> str:
    arrow = {"higher is better": r" $\uparrow$", "lower is better": r" $\downarrow$"}
    return latex.score(score) + arrow.get(direction(score), "") + (r"$^\dagger$" if equal else "")


def _cell(values: Any, interval: Any, bold: bool) -> str:
    values = values.dropna()
    if not len(values):
        return "--"
    mean = _number(values.mean())
    mean = f"\\textbf{{{mean}}}" if bold else mean
    if interval is None:
        return mean
    low, high = map(_number, interval)
    return f"{mean} {{\\footnotesize [{low}, {high}]}}"


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return f"$-${text[1:]}" if text.startswith("-") else text


def _caption(scores: list[str], equal: list[str], seeds: list[int]) -> str:
    n = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    if seeds[-1] < FEWEST:
        runs = "1 run" if n == "1" else f"{n} runs"
        what = f"Means over {runs} of each setting" if seeds[-1] > 1 else "One run of each setting"
        return f"{what}; too few for intervals or a test. Bold: the best of a column."
    text = (
        f"Means over {n} seeds of each setting, with 95\\,\\% bootstrap intervals. Bold: the best "
        "mean of a column, and those that do not differ from it by more than chance (permutation "
        "test, $p < 0.05$ after Holm's correction)."
    )
    if equal:
        text += " $^\\dagger$No setting differs from the best by more than chance: only it is bold."
    if COST in scores:
        text += " Reconstruction is the negative log-likelihood of an image in nats."
    return text
