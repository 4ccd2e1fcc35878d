"""Sections of a report that need the trained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_disent.experiments.report import figures
from keras_disent.experiments.report.agreement import MATCHED, Matching
from keras_disent.experiments.report.frames import Frame, higher, title
from keras_disent.experiments.report.page import Drawn, Part, plain
from keras_disent.experiments.report.statistics import spearman
from keras_disent.plots import charts

WITHOUT = "Left out: it needs model files, and there are none in the runs of this study."
PICTURE = "traversal.png"
SHOWN = 24
"""Settings whose latents are drawn one by one; and runs beside each other."""


def selection(frame: Frame, udr: Mapping[str, float] | None) -> Part:
    """UDR, which needs no labels, against the scores that do."""
    name = "Choosing models without labels"
    if not udr:
        why = "it needs models with posteriors, and two seeds of a setting."
        return Part("selection", name, [WITHOUT if udr is None else f"Left out: {why}"], {})
    if not frame.metrics:
        return Part("selection", name, ["Left out: it needs a score."], {})
    rows = frame.runs.assign(udr=frame.runs.index.map(udr)).dropna(subset="udr")
    scores = frame.supervised or frame.metrics
    groups = {"all": rows} | dict(iter(rows.groupby("method", sort=False)))
    table = []
    for group, own in groups.items():
        correlations = {score: spearman(own, "udr", score) for score in scores}
        table.append({"runs": group, "n": len(own), **correlations})
    picked = _picked(frame, rows)
    points = [
        {"method": run.method, "setting": frame.settings[run.label].name, "seed": run.seed}
        | {"x": run.udr, "y": y}
        for run, y in zip(rows.itertuples(), rows[frame.main], strict=True)
        if np.isfinite(y)
    ]
    data = plain({"spearman": table, "picked": picked, "points": points, "udr": dict(udr)})
    pictures = [
        Drawn(
            figures.scatter(data["points"], "UDR (0 to 1)", title(frame.main)),
            f"{frame.main} against UDR, for every run",
            f"{title(frame.main)} against UDR, which needs no labels.",
            "selection.points",
            [{k: v for k, v in p.items() if k != "method"} for p in data["points"]],
        )
    ]
    matrix = np.array([[row[score] for score in scores] for row in table], float)
    varies = np.isfinite(matrix).all(axis=1)
    if varies.any():
        names = [f"{r['runs']} (n = {r['n']})" for r, v in zip(table, varies, strict=True) if v]
        label = "Spearman's rank correlation with UDR"
        figure = charts.heat_map(
            matrix[varies], names, list(scores), label, None, "PuOr", -1, 1, "{:+.2f}"
        )
        pictures.append(
            Drawn(
                figure,
                "Rank correlation of UDR with each score, for all runs and by method",
                "How far UDR ranks runs as a score does that has seen the labels.",
                "selection.spearman",
                data["spearman"],
                wide=True,
            )
        )
    text = [
        "UDR (Duan et al. 2020, with the lasso) measures how many latents of a run other seeds of "
        "its setting have too, and needs no labels. If it ranks runs as the supervised scores "
        "do, it can choose a model where there are none. All runs: across methods and strengths; "
        "a method: among its runs. The UDR of a run depends on the other runs of its setting, so "
        "they are not independent.",
        "The table shows the scores of the run with the highest UDR, beside the best run and the "
        "mean of all runs.",
    ]
    return Part("selection", name, text, data, pictures, {"Chosen by UDR": picked})


def _picked(frame: Frame, rows: Any) -> list[dict[str, Any]]:
    best = rows["udr"].idxmax()
    picked = []
    for score in frame.supervised or frame.metrics:
        values = rows[score].dropna()
        if best not in values.index:
            continue
        below = values < values[best] if higher(score) else values > values[best]
        picked.append(
            {
                "score": score,
                "chosen_by_UDR": float(values[best]),
                "mean_of_all": float(values.mean()),
                "best": float(values.max() if higher(score) else values.min()),
                "runs_it_beats": f"{100 * below.mean():.0f} %",
                "n": len(values),
            }
        )
    return picked


def matching(frame: Frame, matched: Mapping[str, Sequence[Matching]] | None) -> Part:
    """Which latents are found again by other seeds."""
    name = "Which latents are found again?"
    if not matched:
        why = "it needs two seeds of a setting."
        return Part("matching", name, [WITHOUT if matched is None else f"Left out: {why}"], {})
    seeds = frame.runs["seed"]
    data: dict[str, Any] = {"settings": [], "runs": []}
    for label in (label for label in frame.settings if label in matched):
        group, setting = matched[label], frame.settings[label]
        head = {"setting": setting.name, "method": setting.method}
        values = [m.share for m in group]
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        data["settings"].append(
            {
                **head,
                "n": len(group),
                "share": float(np.mean(values)),
                "mean_correlation": float(np.mean([m.mean for m in group])),
                "active": float(np.mean([len(m.latents) for m in group])),
                "quartile_1": low,
                "median": middle,
                "quartile_3": high,
                "values": values,
            }
        )
        for m in group:
            data["runs"].append(
                {
                    "setting": setting.name,
                    "run": m.run,
                    "seed": int(seeds[m.run]),
                    "share": m.share,
                    "mean_correlation": m.mean,
                    "latents": m.names,
                    "others": [int(seeds[other]) for other in m.others],
                    "correlations": m.correlations.round(4),
                }
            )
    data = plain(data)
    label = f"share of active latents found again (correlation > {MATCHED})"
    pictures = [
        Drawn(
            figures.strips(data["settings"], label, (-0.03, 1.03)),
            "Share of latents found again by other seeds, by setting",
            "For every run, the share of its active latents that the other seeds have too.",
            "matching.settings",
            [
                {k: v for k, v in row.items() if k not in ("values", "method")}
                for row in data["settings"]
            ],
        )
    ]
    shown = [label for label in frame.settings if label in matched][:SHOWN]
    for label in shown:
        group = sorted(matched[label], key=lambda m: m.share)
        middle = group[len(group) // 2]
        if middle.latents:
            entry = next(row for row in data["runs"] if row["run"] == middle.run)
            pictures.append(_latents(entry))
    text = [
        "The same images are encoded by all runs of a setting. For each pair of seeds, active "
        "latents are paired one to one so that the sum of their absolute rank correlations "
        "(Spearman) is largest. A latent counts as active if the variance of its mean over the "
        "images is above 0.01; a latent without a partner counts as 0. Two independent latents "
        "correlate a little too, as the best of several pairings is taken: look for values near 1.",
        "Below, one run of each setting, the middle one by share: its latents in rows, the "
        "correlation with its partner in every other seed in columns. The name beside a latent is "
        "the factor it goes with most in rank, if that correlation is above 0.5.",
    ]
    if len(matched) > SHOWN:
        text.append(f"Drawn for the first {SHOWN} of {len(matched)} settings; all are in the data.")
    return Part("matching", name, text, data, pictures)


def _latents(entry: Mapping[str, Any]) -> Drawn:
    matrix = np.array(entry["correlations"])[:SHOWN, :SHOWN]
    columns = [f"seed {seed}" for seed in entry["others"]][:SHOWN]
    names = entry["latents"][:SHOWN]
    figure = charts.heat_map(
        matrix, names, columns, "|rank correlation|", entry["setting"], "cividis", 0.0, 1.0
    )
    rows = [
        {"latent": name, **dict(zip(columns, row, strict=True))}
        for name, row in zip(names, matrix.tolist(), strict=True)
    ]
    return Drawn(
        figure,
        f"Latents of {entry['setting']}, seed {entry['seed']}, and their partners in other seeds",
        f"{entry['setting']}, seed {entry['seed']}: {100 * entry['share']:.0f} % found again "
        f"(n = {matrix.shape[0]} active latents, {matrix.shape[1]} other seeds).",
        "matching.runs",
        rows,
    )


def traversals(frame: Frame, study: Any) -> Part:
    """Show pictures of the best, the median and the worst run."""
    name = "The best, the median and the worst run"
    pictures = {run.name: study.place(run) / PICTURE for run in study.runs}
    there = [run for run in frame.runs.index if pictures[run].is_file()]
    values = frame.runs.loc[there, frame.main].dropna()
    if not len(values):
        return Part("traversals", name, [WITHOUT], {})
    ranked = values.sort_values(ascending=not higher(frame.main), kind="stable")
    places_of = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    data: list[dict[str, Any]] = []
    part_pictures = []
    for which, place in places_of.items():
        run = ranked.index[place]
        if any(row["run"] == run for row in data):
            continue
        row = frame.runs.loc[run]
        setting = frame.settings[row["label"]].name
        entry = {
            "which": which,
            "run": run,
            "setting": setting,
            "seed": int(row["seed"]),
            "rank": place + 1,
            "of": len(ranked),
            **{score: float(row[score]) for score in frame.scores},
        }
        data.append(plain(entry))
        part_pictures.append(
            Drawn(
                _picture(pictures[run]),
                f"Latent traversals of the {which} run",
                f"The {which} run by {title(frame.main)}, {values[run]:.3f}: {setting}, seed "
                f"{entry['seed']}; rank {place + 1} of n = {len(ranked):,} runs.",
                f"traversals.{len(data) - 1}",
                [data[-1]],
            )
        )
    text = [
        "The first two rows are images and their reconstructions. Each further row traverses one "
        "latent of the first image, the most important first, with the values below; where a "
        "latent encodes one factor, one thing changes along its row.",
    ]
    return Part("traversals", name, text, data, part_pictures)


def _picture(path: Path) -> bytes:
    """Return a picture with few colors.

    Raises:
        ValueError: Names a file that is damaged.
    """
    try:
        with Image.open(path) as image:
            return figures.few_colors(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not a picture: {error}.") from None
