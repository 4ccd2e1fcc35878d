"""The command line's `presets`."""

from __future__ import annotations

from keras_disent import presets as ready
from keras_disent.cli.start import say, show


def presets() -> None:
    """List the ready models of the package, which other commands take as preset:NAME."""
    found = ready.list()
    show([row[:-1] for row in (found.heads, *found.rows())], "Presets", right=False)
    for preset in found:
        say(f"{preset.name}: {preset.description}")
    say(f"Try one: keras-disent knobs preset:{found[0].name}")
