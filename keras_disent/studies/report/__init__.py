"""The report of a study: one page to read, and the same numbers as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from keras_disent import __version__
from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent.runs import write
from keras_disent.studies import folder as place
from keras_disent.studies import table
from keras_disent.studies.report import (
    agreement,
    codes,
    comparisons,
    differences,
    findings,
    models,
    page,
    parts,
    statistics,
)
from keras_disent.studies.report.frames import Frame, frame
from keras_disent.studies.report.page import Part

HTML, JSON = "report.html", "report.json"
FORMAT = 1
"""Version of what `report.json` looks like."""


class Report(NamedTuple):
    """What was written.

    Attributes:
        html, json: the paths.
        findings: the sentences at its head.
    """

    html: Path
    json: Path
    findings: list[str]


def report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    score: str | None = None,
    images: int = 1000,
    n_resamples: int = 4000,
) -> Report:
    """Write `report.html` and `report.json` of a study, as far as its runs are done.

    The codes that the models make of some images are kept in the folder `codes` beside the report,
    so that the next one takes seconds.

    Args:
        folder: of the study.
        out: folder of the report; default, that of the study.
        score: the metric that stands for all where one is shown; default MIG, or the first of
            those that were asked for.
        images: how many are encoded to compare seeds; fewer are faster, and less certain.
        n_resamples: draws for intervals; a quarter as many for shares of variance.

    Raises:
        ValueError: if no run is done, there is no such score, or a file is broken, which it names.
        OSError: if `out` cannot be written.
        ImportError: without pandas or PyArrow.
    """
    table.needed()
    check_integer("images", images, at_least=10)
    check_integer("n_resamples", n_resamples, at_least=100)
    folder = Path(folder)
    out = folder if out is None else Path(out)
    plan = place.read(folder)
    found = table.results(folder, plan.runs)
    frames = frame(found, score)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write into {str(out)!r}: {error.strerror}.") from None
    states = place.Watch(folder, plan.runs).status().states
    failed = place.failures(folder, plan.runs)
    groups = {label: list(rows.index) for label, rows in frames.groups().items()}
    several = {name for names in groups.values() if len(names) > 1 for name in names}
    encoded = codes.encode(
        folder, [run for run in plan.runs if run.name in several], out / codes.CODES, images
    )
    known = frames, plan, folder, found, states, failed, encoded, groups, n_resamples
    said, sections = _parts(*known)
    name = folder.resolve().name
    foot = f"keras-disent {__version__}. All numbers are in {JSON}."
    text = page.render(f"Study {name}", said, sections, foot)
    held = {
        "format": FORMAT,
        "made_with": {"keras_disent": __version__},
        "score": frames.main,
        "baseline": frames.baseline,
        "findings": said,
        "runs": _runs(frames),
        **{part.key: part.data for part in sections},
    }
    write(out / JSON, json.dumps(held, allow_nan=False))
    write(out / HTML, text)
    return Report(out / HTML, out / JSON, said)


def _parts(
    frames: Frame,
    plan: Any,
    folder: Path,
    found: Any,
    states: Any,
    failed: Any,
    encoded: dict[str, codes.Codes],
    groups: dict[str, list[str]],
    n_resamples: int,
) -> tuple[list[str], list[Part]]:
    """Return the findings and all sections, in the order of the page."""
    ends = statistics.intervals(frames.groups(), frames.scores, n_resamples)
    compared = comparisons.families(frames, n_resamples)
    udr = agreement.udr(encoded, groups) if encoded else None
    matched = agreement.matched(encoded, groups) if encoded else None
    steps = (
        lambda: parts.overview(plan, states, failed, found, frames),
        lambda: parts.distributions(frames, ends),
        lambda: parts.tradeoffs(frames, ends),
        lambda: parts.agreement(frames),
        lambda: differences.variance(frames, max(n_resamples // 4, 100)),
        lambda: differences.compared(frames, compared),
        lambda: models.selection(frames, udr),
        lambda: models.traversals(frames, plan, folder),
        lambda: models.matching(frames, matched),
    )
    sections = []
    with progress_bar("Drawing") as advance:
        for i, step in enumerate(steps):
            sections.append(step())
            advance(i + 1, len(steps))
    return findings.sentences(frames, {part.key: part for part in sections}, compared), sections


def _runs(frames: Frame) -> dict[str, list[Any]]:
    """Return the scores of all runs by column, None where there is none."""
    runs = frames.runs.astype(object).where(frames.runs.notna(), None)
    return {"run": list(runs.index), **{name: list(runs[name]) for name in runs.columns}}
