"""A model with the published networks."""

from support.checks import (
    LATENTS,
    small,
)

from keras_disent import latents, networks

CONV = (16, 16, 3)


def published():
    return small(
        "vae",
        CONV,
        encoder=networks.conv_encoder(CONV, width=0.1, kernels=(4, 4, 4, 4), seed=1),
        decoder=networks.conv_decoder(CONV, LATENTS, width=0.1, seed=2),
        likelihood=latents.GaussianLikelihood(0.2, learn_scale=True),
    )
