"""Colors of all figures, from the Okabe-Ito palette, which is safe for color-blind readers."""

INK, QUIET = "#222222", "#777777"
ACCENT, WRONG = "#0072b2", "#d55e00"  # blue and vermilion
