"""The command line's `presets`."""

from __future__ import annotations

from keras_disent import presets as ready
from keras_disent.cli.start import say, show


def presets() -> None:
    """List the ready models of the package, which other commands take as preset:NAME."""
    ready_presets = ready.list()
    show([row[:-1] for row in (ready_presets.heads, *ready_presets.rows())], "Presets", right=False)
    for preset in ready_presets:
        say(f"{preset.name}: {preset.description}")
    say(f"Try one: keras-disent knobs preset:{ready_presets[0].name}")
