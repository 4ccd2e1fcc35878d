"""Base class of models with an encoder and a decoder: VAEs and autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, Unpack

import keras
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.layers import latents, networks
from keras_disent.layers.acceleration import accelerate
from keras_disent.layers.custom_networks import check_decoder, check_encoder
from keras_disent.models.image_model import ImageModel


class Coder(ImageModel):
    """Combine an `encoder`, a `decoder` and the `likelihood` of pixels to an image model.

    A subclass adds the layers between features and codes.

    Attributes:
        features: Number of columns of the encoder's output (int).
    """

    def __init__(
        self,
        image_shape: Any,
        latent_dim: int,
        encoder: str | keras.Model | None = None,
        decoder: str | keras.Model | None = None,
        likelihood: Any = "bernoulli",
        seed: int | None = None,
        **kwargs: Unpack[KerasOptions],
    ):
        encoder, decoder, likelihood = (
            keras.saving.deserialize_keras_object(part) if isinstance(part, dict) else part
            for part in (encoder or "conv", decoder or "conv", likelihood)
        )
        super().__init__(image_shape, latent_dim, seed, **kwargs)
        shape, latent_dim = self.image_shape, self.latent_dim
        parts = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood}
        self._names = {name: part for name, part in parts.items() if isinstance(part, str)}
        if isinstance(encoder, str):
            build = lookup(encoder, networks.ENCODERS, "encoder")
            with networks.precision(self.dtype_policy):
                encoder = build(shape, seed=self.part_seed("encoder"))
        if isinstance(decoder, str):
            build = lookup(decoder, networks.DECODERS, "decoder")
            with networks.precision(self.dtype_policy):
                decoder = build(shape, latent_dim, seed=self.part_seed("decoder"))
        if isinstance(likelihood, str):
            likelihood = latents.likelihood(likelihood)
        elif not isinstance(likelihood, latents.Likelihood):
            raise ValueError(
                f"`likelihood` is a name ({', '.join(latents.LIKELIHOODS)}) or a Likelihood. "
                f"Got {likelihood!r}."
            )
        self.features = check_encoder(encoder, shape)
        check_decoder(decoder, shape, latent_dim)
        self.encoder, self.decoder = accelerate(encoder), accelerate(decoder)
        self.likelihood: latents.Likelihood = likelihood
        self.noise = latents.Noise(self.seed)

    @classmethod
    def with_networks(
        cls,
        image_shape: tuple[int, int, int],
        latent_dim: Any,
        network: str,
        width: float = 1.0,
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Create a model with one kind of networks ("conv", "mlp", ...) of any width.

        Args:
            image_shape: Shape (height, width, channels) of an image.
            latent_dim: Number of latents.
            network: Name of both networks.
            width: Factor that multiplies every number of filters and units.
            seed: Random seed of the initial weights of all parts and of the sampling noise.
            Others: As the class.
        """
        build_encoder = lookup(network, networks.ENCODERS, "network")
        build_decoder = lookup(network, networks.DECODERS, "network")
        seed = checks.check_integer("seed", seed, at_least=0)
        latent_dim, options = cls.network_options(latent_dim, width, seed, options)
        columns = cls.decoder_input_dim(latent_dim, options)
        seeds = {part: networks.part_seed(seed, part) for part in ("encoder", "decoder")}
        with networks.precision(options.get("dtype")):
            encoder = build_encoder(image_shape, width=width, seed=seeds["encoder"])
            decoder = build_decoder(image_shape, columns, width=width, seed=seeds["decoder"])
        return cls(image_shape, latent_dim, encoder=encoder, decoder=decoder, seed=seed, **options)

    @classmethod
    def network_options(
        cls, latent_dim: Any, width: float, seed: int, options: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return `latent_dim` and the options of the class, with its further networks."""
        return latent_dim, options

    @classmethod
    def decoder_input_dim(cls, latent_dim: Any, options: Mapping[str, Any]) -> int:
        """Return the number of inputs of the decoder for these arguments of the class."""
        return latent_dim

    def reconstruction(self, images: Tensor, codes: Tensor, training: bool) -> Tensor:
        """Return -log p(x|z), summed over pixels and averaged over images: a scalar, nats."""
        outputs = ops.cast(self.decoder(codes, training=training), "float32")
        return self.mean(self.likelihood.negative_log_likelihood(images, outputs))

    def decode_tensors(self, codes: Tensor, training: bool = False) -> Tensor:
        return self.likelihood(self.decoder(codes, training=training))

    def get_config(self) -> dict[str, Any]:
        parts = {
            name: self._names.get(name) or keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("encoder", "decoder", "likelihood")
        }
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "latent_dim": self.latent_dim,
            "seed": self.seed,
            **parts,
        }
