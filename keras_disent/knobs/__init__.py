"""The page of knobs: a trained model with a slider for each latent, in one HTML file.

The networks run in the browser, by ONNX Runtime Web, which is in the page too: it opens from a disk
and needs no network. `Widget` shows it in a notebook.
"""

from typing import Any

from keras_disent.knobs.names import read_names
from keras_disent.knobs.pages import write_page

__all__ = ["Widget", "read_names", "write_page"]


def __getattr__(name: str) -> Any:
    if name != "Widget":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_disent.knobs.notebook import widget_class

    return widget_class()


def __dir__() -> list[str]:
    return sorted(__all__)
