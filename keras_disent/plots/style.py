"""Looks of all figures: colors of the Okabe-Ito palette, safe for color-blind readers, and text."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, QUIET = "#222222", "#777777"
ACCENT, WRONG = "#0072b2", "#d55e00"  # blue and vermilion

# Decorates what draws a figure: names of runs, factors and files show as they are written, where
# Matplotlib would read `$...$` as a formula, or end with an error when it is none.
as_written = matplotlib.rc_context({"text.parse_math": False})


class Picture(Figure):
    """A figure that notebooks show, also where Matplotlib's own display is not set up."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=self.dpi)
        return stream.getvalue()


def new_figure(wide: float, tall: float, dpi: int = 160) -> Figure:
    """Return an empty white figure of so many inches, which belongs to no window."""
    figure = Picture(figsize=(wide, tall), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure
