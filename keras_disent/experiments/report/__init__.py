"""The report of a study: one page to read, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_disent._utils.checks import check_integer
from keras_disent._utils.progress import progress_bar
from keras_disent._utils.version import __version__
from keras_disent.experiments import table
from keras_disent.experiments.report import (
    agreement,
    codes,
    comparisons,
    differences,
    figures,
    findings,
    knobs,
    latex,
    models,
    parts,
    published,
    statistics,
)
from keras_disent.experiments.report import page as html
from keras_disent.experiments.report.frames import Frame, frame
from keras_disent.experiments.report.page import Part
from keras_disent.experiments.store import write_text

if TYPE_CHECKING:
    from keras_disent.experiments.study_folder import StudyFolder

HTML, JSON, LATEX, FIGURES = "report.html", "report.json", "report.tex", "figures"
FORMAT = 2
"""Version of what `report.json` looks like."""


class Report(NamedTuple):
    """Files of a report.

    Attributes:
        html, json: Paths.
        findings: Sentences at the head of the page.
        latex: Path of the LaTeX table; None without one.
        figures: Folder of the figures as PDF and SVG; None without them.
    """

    html: Path
    json: Path
    findings: list[str]
    latex: Path | None = None
    figures: Path | None = None


def report(
    study: StudyFolder,
    out: str | Path | None = None,
    *,
    score: str | None = None,
    images: int = codes.IMAGES,
    n_resamples: int = 4000,
    page: bool = True,
    paper: bool = False,
) -> Report:
    """Write `report.html` and `report.json` of a study, as far as its runs are done.

    `knobs.html` beside them is the page of knobs of the best run, if runs have models and a page
    can be written; else the report says why there is none.

    Args:
        study: The study.
        out: Folder of the report; default, that of the study.
        score: Metric that represents all where one is shown; default MIG, or the first of the
            study.
        images: Number of images whose codes compare seeds, at most 1,000; fewer are faster, and
            less certain.
        n_resamples: Draws for intervals; a quarter as many for shares of variance.
        page: Whether to write the page of knobs, which starts Keras in another process. It is
            written again only if another run is the best one, or has been trained on.
        paper: Whether to write what a paper takes too: `report.tex`, a table of all settings, and
            all figures as PDF and SVG in `figures`.

    Raises:
        ValueError: If no run is done, there is no such score, or a file is damaged, which it
            names.
        OSError: If `out` cannot be written.
        ImportError: Without pandas or PyArrow.
    """
    table.needed()
    check_integer("images", images, at_least=10)
    check_integer("n_resamples", n_resamples, at_least=100)
    out = study.folder if out is None else Path(out)
    results = table.results(study)
    frames = frame(results, score)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write into {str(out)!r}: {error.strerror}.") from None
    groups = {label: list(rows.index) for label, rows in frames.groups().items()}
    several = {name for names in groups.values() if len(names) > 1 for name in names}
    places = [study.place(run) for run in study.runs if run.name in several]
    encoded = codes.read_codes(places, images)
    ends, said, sections = _parts(frames, study, results, encoded, groups, n_resamples)
    if page and (tried := knobs.best_run(frames, study, out, out / JSON)):
        sections.append(tried)
    name = study.folder.resolve().name
    foot = f"keras-disent {__version__}. All numbers are in {JSON}."
    text = html.render(f"Study {name}", said, sections, foot)
    numbers = {
        "format": FORMAT,
        "made_with": {"keras_disent": __version__},
        "score": frames.main,
        "baseline": frames.baseline,
        "findings": said,
        "runs": _runs(frames),
        **{part.key: part.data for part in sections},
    }
    write_text(out / JSON, json.dumps(numbers, allow_nan=False))
    write_text(out / HTML, text)
    written = Report(out / HTML, out / JSON, said)
    if not paper:
        return written
    write_text(out / LATEX, latex.table(frames, ends, n_resamples))
    pictures = [one for part in sections for one in part.pictures]
    figures.write({(one.key, one.caption): one.figure for one in pictures}, out / FIGURES)
    return written._replace(latex=out / LATEX, figures=out / FIGURES)


def _parts(
    frames: Frame,
    study: StudyFolder,
    results: Any,
    encoded: dict[str, codes.Codes],
    groups: dict[str, list[str]],
    n_resamples: int,
) -> tuple[dict[str, dict[str, Any]], list[str], list[Part]]:
    """Return intervals of means, the findings, and all sections in the order of the page."""
    ends = statistics.intervals(frames.groups(), frames.scores, n_resamples)
    compared = comparisons.families(frames, n_resamples)
    configs = {run.label: run.config for run in study.runs}
    udr = agreement.udr(encoded, groups) if encoded else None
    matched = agreement.matched(encoded, groups) if encoded else None
    steps: tuple[Callable[[], Part], ...] = (
        lambda: parts.overview(study, results, frames),
        lambda: parts.distributions(frames, ends),
        lambda: parts.tradeoffs(frames, ends),
        lambda: parts.agreement(frames),
        lambda: differences.variance(frames, max(n_resamples // 4, 100)),
        lambda: differences.compared(frames, compared),
        lambda: models.selection(frames, udr),
        lambda: models.traversals(frames, study),
        lambda: models.matching(frames, matched),
        lambda: published.section(frames, configs),
    )
    sections = []
    with progress_bar("Drawing") as advance:
        for i, step in enumerate(steps):
            section = step()
            for picture in section.pictures:
                picture.png  # noqa: B018  (drawn here, behind the progress bar)
            sections.append(section)
            advance(i + 1, len(steps))
    said = findings.sentences(frames, {part.key: part for part in sections}, compared)
    return ends, said, sections


def _runs(frames: Frame) -> dict[str, list[Any]]:
    """Return the scores of all runs by column, None where there is none."""
    runs = frames.runs.astype(object).where(frames.runs.notna(), None)
    return {"run": list(runs.index), **{name: list(runs[name]) for name in runs.columns}}
