"""Models, one file per method; `MODELS` lists them by name."""

from keras_disent.engine import backend  # noqa: F401  (first: it says what to install)
from keras_disent.models.autoencoder import Autoencoder
from keras_disent.models.beta_tcvae import BetaTCVAE
from keras_disent.models.beta_vae import AnnealedVAE, BetaVAE
from keras_disent.models.causal_vae import CausalVAE
from keras_disent.models.dip_vae import DIPVAE
from keras_disent.models.factor_vae import FactorVAE
from keras_disent.models.group_vae import GVAE, MLVAE, AdaGVAE, AdaMLVAE
from keras_disent.models.hfs_vae import HFSVAE
from keras_disent.models.info_gan import InfoGAN
from keras_disent.models.info_vae import InfoVAE
from keras_disent.models.qlae import QLAE
from keras_disent.models.tripod import Tripod
from keras_disent.models.vae import VAE

MODELS = {
    "vae": VAE,
    "beta_vae": BetaVAE,
    "annealed_vae": AnnealedVAE,
    "factor_vae": FactorVAE,
    "beta_tcvae": BetaTCVAE,
    "dip_vae": DIPVAE,
    "info_vae": InfoVAE,
    "hfs_vae": HFSVAE,
    "ada_gvae": AdaGVAE,
    "ada_mlvae": AdaMLVAE,
    "gvae": GVAE,
    "mlvae": MLVAE,
    "autoencoder": Autoencoder,
    "qlae": QLAE,
    "tripod": Tripod,
    "info_gan": InfoGAN,
    "causal_vae": CausalVAE,
}

__all__ = [
    "DIPVAE",
    "GVAE",
    "HFSVAE",
    "MLVAE",
    "MODELS",
    "QLAE",
    "VAE",
    "AdaGVAE",
    "AdaMLVAE",
    "AnnealedVAE",
    "Autoencoder",
    "BetaTCVAE",
    "BetaVAE",
    "CausalVAE",
    "FactorVAE",
    "InfoGAN",
    "InfoVAE",
    "Tripod",
]


def __dir__() -> list[str]:
    return sorted(__all__)
