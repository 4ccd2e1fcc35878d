"""Sections of a report that need only the table of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from keras_disent.experiments.report import figures, statistics
from keras_disent.experiments.report.frames import COST, Frame, direction, title
from keras_disent.experiments.report.page import Drawn, Part, plain
from keras_disent.plots import charts

MANY = 60
"""Maximum number of settings as rows of a figure; for more, rows are methods."""


def overview(study: Any, table: Any, frame: Frame) -> Part:
    """Describe the study: runs, settings, data, steps, seeds, versions."""
    runs, states, failed = study.runs, study.status().states, study.failures()
    configs = {run.name: run.config for run in runs}
    done = Counter(states.values())
    labels: dict[str, Counter[str]] = {}
    models = {run.label: run.model for run in runs}
    for run in runs:
        labels.setdefault(run.label, Counter())[states[run.name]] += 1
    settings = [
        {
            "method": frame.settings[label].method if label in frame.settings else models[label],
            "setting": frame.settings[label].short if label in frame.settings else label,
            "done": run_counts["done"],
            "failed": run_counts["failed"],
            "missing": run_counts.total() - run_counts["done"] - run_counts["failed"],
        }
        for label, run_counts in labels.items()
    ]

    def of(name: str) -> str:
        values = dict.fromkeys(_words(config.get(name)) for config in configs.values())
        return "; or ".join(v for v in values if v != "None")

    about = {
        "runs": len(runs),
        "done": done["done"],
        "failed": done["failed"],
        "missing": len(runs) - done["done"] - done["failed"],
        "methods": len(frame.methods),
        "settings": len(labels),
        "seeds": sorted({config["seed"] for config in configs.values()}),
        "steps": of("steps"),
        "data": of("data"),
        "image_size": of("image_size"),
        "subset": of("subset"),
        "network": of("network"),
        "width": of("width"),
        "latents": of("latent_dim"),
        "likelihood": of("likelihood"),
        "player_batch": of("player_batch"),
        "learning_rate": of("learning_rate") or "the model's own",
        "backend": ", ".join(sorted(set(table["backend"]))),
        "keras_disent": ", ".join(sorted(set(table["keras_disent"]))),
        "hours_of_training": float(table.groupby("run")["seconds"].first().sum() / 3600),
        "values_not_finite": frame.infinite,
    }
    shown = [
        {"what": name.replace("_", " "), "": _words(value)}
        for name, value in about.items()
        if value not in ("", [], 0) or name in ("failed", "missing")
    ]
    text = []
    if about["missing"] or about["failed"]:
        text.append(
            f"Of {about['runs']:,} runs, {about['failed']:,} failed and {about['missing']:,} are "
            "not done yet. They are in none of the figures."
        )
    if about["failed"]:
        text.append("If runs failed because of their settings, what is left looks too good.")
    if frame.infinite:
        text.append(f"{frame.infinite:,} values that are not finite are left out.")
    several = [name for name in ("data", "subset", "likelihood") if "; or " in of(name)]
    if several:
        text.append(
            f"Runs differ in {' and '.join(several)}; scores are comparable only within each."
        )
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        "The study": shown,
        "Runs by setting": settings,
    }
    if failed:
        tables["Failed runs"] = [
            {"run": name, "error": message.splitlines()[0][:200]}
            for name, message in failed.items()
        ]
    data = {**about, "by_setting": settings, "failures": dict(failed)}
    return Part("study", "What the study was", text, plain(data), tables=tables)


def distributions(frame: Frame, intervals: Mapping[str, Mapping[str, Any]]) -> Part:
    """Every score of every run, by setting."""
    many = len(frame.settings) > MANY
    groups = frame.groups("method" if many else "label")
    data, pictures = {}, []
    for score in frame.scores:
        rows = []
        scored = {name: runs for name, runs in groups.items() if runs[score].notna().any()}
        for row in statistics.spread(scored, score):
            name = row.pop("group")
            setting = None if many else frame.settings[name]
            head = {
                "setting": setting.name if setting else name,
                "method": setting.method if setting else name,
            }
            ends = intervals[name][score] if name in intervals else None
            values = scored[name][score].dropna().tolist()
            rows.append(plain({**head, **row, "interval_of_mean": ends, "values": values}))
        data[score] = rows
        label = ", ".join(filter(None, (title(score), direction(score))))
        shown = [{k: v for k, v in row.items() if k not in ("values", "method")} for row in rows]
        pictures.append(
            Drawn(
                figures.strips(rows, label),
                f"{title(score)} of every run, by setting",
                f"{title(score)}: {sum(row['n'] for row in rows):,} runs.",
                f"distributions.{score}",
                shown,
            )
        )
    text = [
        "One figure for each score. Every dot is a run: a row shows how much a score depends on "
        "the seed.",
    ]
    if many:
        text.append(
            f"With {len(frame.settings)} settings, each row is a method with all its settings."
        )
    return Part("distributions", "Scores by method and strength", text, data, pictures)


def tradeoffs(frame: Frame, intervals: Mapping[str, Mapping[str, Any]]) -> Part:
    """Reconstruction against each score."""
    name = "Reconstruction against disentanglement"
    if COST not in frame.terms:
        text = [f"Left out: not all runs have a term {COST!r}."]
        return Part("tradeoff", name, text, {})
    if not frame.metrics:
        return Part("tradeoff", name, ["Left out: it needs a score."], {})
    groups = frame.groups()
    data, pictures = {}, []
    for score in frame.supervised or frame.metrics:
        rows = []
        for label, runs in groups.items():
            if runs[score].notna().any():
                setting = frame.settings[label]
                rows.append(
                    {
                        "method": setting.method,
                        "strength": setting.short,
                        "chain": frame.chain(setting.method),
                        "n": int(runs[score].notna().sum()),
                        "x": float(runs[COST].mean()),
                        "x_interval": intervals[label][COST],
                        "y": float(runs[score].mean()),
                        "y_interval": intervals[label][score],
                    }
                )
        data[score] = plain(rows)
        pictures.append(
            Drawn(
                figures.tradeoff(data[score], title(COST), title(score)),
                f"{title(score)} against {title(COST)}",
                f"{title(score)}, {direction(score)}, against what it costs.",
                f"tradeoff.{score}",
                [
                    {
                        "setting": ", ".join(filter(None, (row["method"], row["strength"]))),
                        "n": row["n"],
                        COST: row["x"],
                        "its_interval": row["x_interval"],
                        score: row["y"],
                        "interval": row["y_interval"],
                    }
                    for row in data[score]
                ],
            )
        )
    text = [
        "Each point is the mean of a setting; its strength is written beside it, and a line leads "
        "through the strengths of a method. The reconstruction error is the negative "
        "log-likelihood of 64 other batches of the training data, in nats for an image.",
        "Lines are 95 % bootstrap intervals of the mean over seeds, widened for few runs as "
        "Student's t demands (Hesterberg 2015). There are none for fewer than three runs.",
    ]
    return Part("tradeoff", name, text, data, pictures)


def agreement(frame: Frame) -> Part:
    """How the scores rank the runs."""
    names, matrix, n = statistics.rank_correlations(frame.runs, frame.scores)
    name = "Do the scores agree?"
    if len(names) < 2 or n < 3:
        text = ["Left out: it needs two scores that vary, and three runs."]
        return Part("rank_correlation", name, text, {})
    label = f"Spearman's rank correlation, n = {n:,} runs"
    figure = charts.heat_map(matrix, names, names, label, None, "PuOr", -1, 1, "{:+.2f}")
    rows = [
        {"score": one, **{other: float(matrix[i, j]) for j, other in enumerate(names)}}
        for i, one in enumerate(names)
    ]
    picture = Drawn(
        figure,
        "Rank correlation of each pair of scores",
        f"Spearman's rank correlation of each pair of scores over n = {n:,} runs.",
        "rank_correlation",
        rows,
        wide=True,
    )
    low = [score for score in names if direction(score) == "lower is better"]
    text = ["+1: two scores rank the runs the same way; 0: they have nothing in common."]
    if low:
        text.append(f"Of {', '.join(low)} low values are the good ones: there, -1 is agreement.")
    data = {"scores": names, "matrix": matrix, "n": n}
    return Part("rank_correlation", name, text, plain(data), [picture])


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, list) and all(isinstance(v, int) for v in value) and value:
        consecutive = list(range(value[0], value[0] + len(value)))
        if value == consecutive and len(value) > 2:
            return f"{value[0]} to {value[-1]} (n = {len(value)})"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
