"""Types of the arguments that the models of one family pass on to their base class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_disent._utils.types import KerasOptions

if TYPE_CHECKING:
    from keras_disent.layers.latents import Likelihood
    from keras_disent.models.supervision import Supervision


class CoderOptions(KerasOptions, total=False):
    """Arguments of any model with an encoder and a decoder; see `Autoencoder`."""

    encoder: str | keras.Model | None
    decoder: str | keras.Model | None
    likelihood: str | Likelihood
    seed: int | None


class VAEOptions(CoderOptions, total=False):
    """Arguments of any `VAE`."""

    supervision: Supervision | None
