"""Disentangled representation learning in Keras 3, on TensorFlow, JAX and PyTorch.

>>> from keras_disent import FactorVAE
>>> FactorVAE.__name__
'FactorVAE'
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from keras_disent._utils.backends import choose
from keras_disent._utils.version import __version__
from keras_disent.engine.registration import register_with_keras

if TYPE_CHECKING:
    from keras_disent import callbacks as callbacks
    from keras_disent import datasets as datasets
    from keras_disent import engine as engine
    from keras_disent import experiments as experiments
    from keras_disent import export as export
    from keras_disent import knobs as knobs
    from keras_disent import layers as layers
    from keras_disent import metrics as metrics
    from keras_disent import models as models
    from keras_disent import plots as plots
    from keras_disent import presets as presets
    from keras_disent import serving as serving
    from keras_disent import testing as testing
    from keras_disent.engine import parallel as parallel
    from keras_disent.engine import schedules as schedules
    from keras_disent.experiments.recommendation import recommend as recommend
    from keras_disent.layers import latents as latents
    from keras_disent.layers import networks as networks
    from keras_disent.models import DIPVAE as DIPVAE
    from keras_disent.models import GVAE as GVAE
    from keras_disent.models import HFSVAE as HFSVAE
    from keras_disent.models import MLVAE as MLVAE
    from keras_disent.models import MODELS as MODELS
    from keras_disent.models import QLAE as QLAE
    from keras_disent.models import VAE as VAE
    from keras_disent.models import AdaGVAE as AdaGVAE
    from keras_disent.models import AdaMLVAE as AdaMLVAE
    from keras_disent.models import AnnealedVAE as AnnealedVAE
    from keras_disent.models import Autoencoder as Autoencoder
    from keras_disent.models import BetaTCVAE as BetaTCVAE
    from keras_disent.models import BetaVAE as BetaVAE
    from keras_disent.models import CausalVAE as CausalVAE
    from keras_disent.models import FactorVAE as FactorVAE
    from keras_disent.models import InfoGAN as InfoGAN
    from keras_disent.models import InfoVAE as InfoVAE
    from keras_disent.models import Tripod as Tripod
    from keras_disent.models import causal as causal
    from keras_disent.models import hyperparameters as hyperparameters
    from keras_disent.models.saving import load_model as load_model

_ABOVE = {  # the public names of each place, which is imported when one of them is used
    "": "callbacks datasets engine experiments export knobs layers metrics models plots presets"
    " serving testing",
    "engine": "parallel schedules",
    "experiments.recommendation": "recommend",
    "layers": "latents networks",
    "models": "causal hyperparameters MODELS AdaGVAE AdaMLVAE AnnealedVAE Autoencoder BetaTCVAE"
    " BetaVAE CausalVAE DIPVAE FactorVAE GVAE HFSVAE InfoGAN InfoVAE MLVAE QLAE Tripod VAE",
    "models.saving": "load_model",
}
_PLACES = {name: place for place, names in _ABOVE.items() for name in names.split()}
_WITHOUT_BACKEND = [
    *("datasets", "engine", "experiments", "knobs", "metrics", "plots", "presets", "serving")
]
__all__ = ["__version__", *_PLACES]


def _load(name: str) -> Any:
    # Names are loaded when they are used: metrics and data sets need no backend, and the command
    # line can choose one before Keras starts.
    if name not in _PLACES:
        near = difflib.get_close_matches(name.lower(), {n.lower(): n for n in _PLACES}, 1)
        meant = [n for n in _PLACES if near == [n.lower()]]
        hint = f". Did you mean {meant[0]!r}?" if meant else ""
        # `from keras_disent import NAME` asks whether the name is there, which would hide the hint.
        is_import = sys._getframe(1).f_code.co_name == "_handle_fromlist"
        if hint and is_import and not importlib.util.find_spec(f"{__name__}.{name}"):
            raise ImportError(f"cannot import name {name!r} from {__name__!r}{hint}")
        # Python adds no hint of its own where `obj` is set.
        text = f"module {__name__!r} has no attribute {name!r}{hint}"
        raise AttributeError(text, name=name, obj=None)
    if name not in _WITHOUT_BACKEND:
        importlib.import_module(f"{__name__}.engine.backend")  # first: it says what to install
    path = ".".join(filter(None, (__name__, _PLACES[name])))
    module = importlib.import_module(path)
    if path != __name__ and hasattr(module, name):
        return getattr(module, name)
    return importlib.import_module(f"{path}.{name}")


if not TYPE_CHECKING:  # a type checker would take any name for one of ours
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted(__all__)


choose()  # before anything imports Keras
if os.environ.get("KERAS_BACKEND") == "jax":
    from keras_disent._utils.memory import share_one_arena

    share_one_arena()  # before Keras starts a thread, whose arena JAX's threads would take in turns
register_with_keras()
