"""Training of multi-player models, independent of data sets, metrics and run files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_disent._utils.modules import lazy_modules

__all__ = ["parallel", "schedules"]

if TYPE_CHECKING:
    from keras_disent.engine import parallel as parallel
    from keras_disent.engine import schedules as schedules
else:
    __getattr__ = lazy_modules(__name__, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
