"""Keras layers of the models: latents, likelihoods and networks."""

from __future__ import annotations

from keras_disent._utils.modules import lazy_modules

__all__ = ["latents", "networks"]


__getattr__ = lazy_modules(__name__, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
