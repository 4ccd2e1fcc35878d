"""Pictures of latents; charts of scores are in `charts`, those of causal models in `causal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_disent._utils.modules import lazy_modules
from keras_disent.plots.files import (
    as_png,
    check_image_path,
    is_animation,
    save,
    save_animation,
    save_image,
)
from keras_disent.plots.latents import poster, traversal_frames
from keras_disent.plots.pictures import as_array, beside, contact_sheet, mosaic, traversals

__all__ = [
    "as_array",
    "as_png",
    "beside",
    "causal",
    "charts",
    "check_image_path",
    "contact_sheet",
    "is_animation",
    "mosaic",
    "poster",
    "save",
    "save_animation",
    "save_image",
    "traversal_frames",
    "traversals",
]

if TYPE_CHECKING:
    from keras_disent.plots import causal as causal
    from keras_disent.plots import charts as charts
else:
    __getattr__ = lazy_modules(__name__, ("causal", "charts"))


def __dir__() -> list[str]:
    return sorted(__all__)
