"""Colors of all pictures, from the Okabe-Ito palette, which color-blind people can tell apart."""

INK, QUIET = "#222222", "#777777"
ACCENT, WRONG = "#0072b2", "#d55e00"  # blue, and the vermilion that is told from it by all
