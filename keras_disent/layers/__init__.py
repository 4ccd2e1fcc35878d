"""Keras layers of the models: latents, likelihoods and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_disent._utils.modules import lazy_modules

__all__ = ["latents", "networks"]

if TYPE_CHECKING:
    from keras_disent.layers import latents as latents
    from keras_disent.layers import networks as networks
else:
    __getattr__ = lazy_modules(__name__, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
