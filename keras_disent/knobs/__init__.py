"""The page of knobs: a trained model with a slider for each latent, in one HTML file.

The networks run in the browser, by ONNX Runtime Web, which is in the page too: it opens from a disk
and needs no network.
"""

from keras_disent.knobs.pages import write_page

__all__ = ["write_page"]


def __dir__() -> list[str]:
    return sorted(__all__)
