"""InfoGAN: a generative adversarial network whose codes can be inferred from its images."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self, Unpack

import keras
import numpy as np
from keras import layers, ops

from keras_disent._utils import checks, seeds
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.engine import backend, schedules
from keras_disent.layers import networks
from keras_disent.layers.acceleration import accelerate
from keras_disent.layers.custom_networks import check_decoder, check_encoder
from keras_disent.models.batching import as_dtype, batched, bounded, check_dtype
from keras_disent.models.codes import CodeNoise, Codes
from keras_disent.models.gan_networks import DISCRIMINATORS, GENERATORS
from keras_disent.models.hyperparameters import Range
from keras_disent.models.image_model import ImageModel


@keras.saving.register_keras_serializable("keras_disent")
class InfoGAN(ImageModel):
    """Train an InfoGAN: min over G and Q, max over D of V(D, G) - lambda * L(G, Q).

    A generator G maps noise and codes to images, and a discriminator D distinguishes them from real
    images. Q(c|x), a second head on D's trunk, infers the codes c from the images. L is a lower
    bound on the mutual information of codes and images. In a training step the discriminator is
    updated first, then generator and Q's head, with new noise and codes, one for each row of the
    player batch (docs/training.md, "Player batch").

    As in the authors' code, L also updates the trunk: it is part of the objectives of both players.
    Their head of Q is updated with the trunk; here it is updated with the generator, as in
    equation 6. The generator's objective is the non-saturating -E log D(G), as theirs. A gradient
    penalty is added for stability (Mescheder et al. 2018, equation 9).

    A latent is one code, in standard deviations of its prior, so latents are traversed as those of
    a VAE. A continuous code, uniform on (-1, 1), is multiplied by sqrt(3); class k of K becomes
    (k - (K - 1) / 2) / sqrt((K^2 - 1) / 12). Values outside of the prior are decoded as the nearest
    code, always with noise 0, its mean.

    Args:
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of codes D (int).
        generator: "conv" or "profiles" (those of `models.gan_networks`), "higgins", "mlp" or a
            Keras model. It maps columns of noise, continuous codes and one-hot classes to
            (n, h, w, c) real numbers, to which the sigmoid is applied. Default "conv".
        discriminator: Name of a network or a Keras model, the trunk of D and Q: images
            (n, h, w, c), floats in [0, 1], to features (n, f). Default "conv".
        categorical: Number of classes of each categorical code, such as `(10,)`. These are the last
            of the codes; the others are continuous.
        noise_dim: Number of noise variables uniform on (-1, 1) besides the codes (int).
        mutual_information_weight: Weight lambda: a number of at least 0, or a schedule.
        code_stddev: Standard deviation of q(c|x) of a continuous code, a number above 0. Smaller
            values penalize errors more; with the authors' 1 the bound is nearly flat.
        gradient_penalty_weight: Weight gamma: a number of at least 0, or a schedule; 0 as
            published.
        seed: Random seed (int) of the initial weights and the noise.

    Reads images (n, height, width, channels) as uint8 in 0..255 or floats in [0, 1]. Called on
    images it returns their reconstructions from codes, floats in [0, 1].

    Logs (nats, means over samples): `discriminator_loss` and `generator_loss`, the terms that the
    players minimize; `mutual_information`, L = H(c) + E log q(c|G(z, c)), summed over codes, of
    which a continuous one adds at most log 2 - log(code_stddev * sqrt(2 pi));
    `discriminator_accuracy`, 0.5 at chance, 1 if all images are distinguished; and with a penalty
    `gradient_penalty`, E |d logit / d x|^2 on real images, before its weight.

    Raises:
        ValueError: Names the argument, the rule and what came.

    Source: Chen et al. 2016, "InfoGAN", equations 5 and 6; Mescheder et al. 2018, "Which training
    methods for GANs do actually converge?".

    >>> model = InfoGAN((32, 32, 1), latent_dim=3, categorical=(4,))
    >>> model.compile()
    >>> images = np.zeros((8, 32, 32, 1), "uint8")
    >>> history = model.fit(images, batch_size=4, verbose=0)
    >>> model.encode(images).shape
    (8, 3)
    """

    terms = (
        "discriminator_loss",
        "generator_loss",
        "mutual_information",
        "discriminator_accuracy",
    )
    lead = "generator_loss"
    mutual_information_weight, gradient_penalty_weight = schedules.Weight(), schedules.Weight()
    players = {
        "discriminator_loss": ("discriminator", "logit_head"),
        "generator_loss": ("generator", "code_head"),
    }
    tunable = {"mutual_information_weight": Range(0.1, 10.0), **ImageModel.tunable}

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 5,
        generator: str | keras.Model | None = None,
        discriminator: str | keras.Model | None = None,
        categorical: Sequence[int] = (),
        noise_dim: int = 5,
        mutual_information_weight: schedules.WeightValue = 1.0,
        code_stddev: float = 0.5,
        gradient_penalty_weight: schedules.WeightValue = 2.0,
        seed: int | None = None,
        **kwargs: Unpack[KerasOptions],
    ):
        generator, discriminator = (
            keras.saving.deserialize_keras_object(part) if isinstance(part, dict) else part
            for part in (generator or "conv", discriminator or "conv")
        )
        codes = Codes(latent_dim, categorical)
        number = isinstance(code_stddev, numbers.Real)
        if not number or not 0 < code_stddev < math.inf:
            raise ValueError(f"`code_stddev` is a number above 0. Got {code_stddev!r}.")
        super().__init__(image_shape, codes.count, seed, **kwargs)
        self.codes, self.categorical, self.code_stddev = codes, codes.categorical, code_stddev
        self.noise_dim = checks.check_integer("noise_dim", noise_dim, at_least=0)
        self.mutual_information_weight = mutual_information_weight
        self.gradient_penalty_weight = gradient_penalty_weight
        if self.gradient_penalty_weight != 0:
            self.add_term("gradient_penalty")
        parts = {"generator": generator, "discriminator": discriminator}
        self._names = {name: part for name, part in parts.items() if isinstance(part, str)}
        inputs = self.noise_dim + codes.width
        with networks.precision(self.dtype_policy):
            if isinstance(generator, str):
                build = lookup(generator, GENERATORS, "generator")
                generator = build(self.image_shape, inputs, seed=self.part_seed("generator"))
            if isinstance(discriminator, str):
                build = lookup(discriminator, DISCRIMINATORS, "discriminator")
                discriminator = build(self.image_shape, seed=self.part_seed("discriminator"))
        check_decoder(generator, self.image_shape, inputs, "generator")
        features = check_encoder(discriminator, self.image_shape, "discriminator")
        self.generator, self.discriminator = accelerate(generator), accelerate(discriminator)
        initial = networks.initializers(self.part_seed("heads"))
        self.logit_head = keras.Sequential(
            [layers.Input((features,), dtype="float32"), _dense(1, next(initial))],
            name="logit_head",
        )
        self.code_head = keras.Sequential(
            [
                layers.Input((features,), dtype="float32"),
                _dense(128, next(initial), activation="leaky_relu"),
                _dense(codes.width, next(initial)),
            ],
            name="code_head",
        )
        self.noise = CodeNoise(self.seed)
        self.built = True

    @classmethod
    def with_networks(
        cls,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        network: str,
        width: float = 1.0,
        seed: int = 0,
        *,
        likelihood: str = "bernoulli",
        categorical: Sequence[int] = (),
        noise_dim: int = 5,
        **options: Any,
    ) -> Self:
        """Create a model with one kind of networks of any width.

        Args:
            image_shape: Shape (height, width, channels) of an image.
            latent_dim: Number of codes.
            network: Name of generator and discriminator, such as "conv" or "mlp".
            width: Factor that multiplies every number of filters and units.
            seed: Random seed of the initial weights and the noise.
            likelihood: Must be "bernoulli", the default of other models: it has no effect here.
            Others: As the class.

        Raises:
            ValueError: For another likelihood.
        """
        if likelihood != "bernoulli":
            raise ValueError(f"{cls.__name__} has no `likelihood`. Got {likelihood!r}.")
        build_discriminator = lookup(network, DISCRIMINATORS, "network")
        build_generator = lookup(network, GENERATORS, "network")
        seed = checks.check_integer("seed", seed, at_least=0)
        inputs = checks.check_integer("noise_dim", noise_dim, at_least=0)
        inputs += Codes(latent_dim, categorical).width
        seeds = {part: networks.part_seed(seed, part) for part in ("generator", "discriminator")}
        with networks.precision(options.get("dtype")):
            generator = build_generator(image_shape, inputs, width=width, seed=seeds["generator"])
            discriminator = build_discriminator(
                image_shape, width=width, seed=seeds["discriminator"]
            )
        return cls(
            image_shape,
            latent_dim,
            generator=generator,
            discriminator=discriminator,
            categorical=categorical,
            noise_dim=noise_dim,
            seed=seed,
            **options,
        )

    # -- learning ---------------------------------------------------------------------------------

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the default optimizer: Adam, beta_1 0.5, 1e-3 (discriminator: 2e-4).

        Source: Chen et al. 2016, appendix C.
        """
        published = 2e-4 if player == "discriminator_loss" else 1e-3
        rate = published if learning_rate is None else learning_rate
        return keras.optimizers.Adam(rate, beta_1=0.5)

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        weight = self.current("mutual_information_weight")
        samples = ops.shape(batch)[0]
        draws = self.noise.uniform(samples, self.noise_dim + self.latent_dim)
        columns = self.codes.from_uniform(draws[:, self.noise_dim :])
        generated = self._generated_images(draws[:, : self.noise_dim], columns, training)
        if player == "generator_loss":
            logits, q_parameters = self._discriminate(generated, training)
            information = self.mutual_information(q_parameters, columns)
            return {
                "generator_loss": ops.mean(ops.softplus(-logits)) - weight * information,
                "mutual_information": information,
            }
        images, generated = self.preprocess(batch), ops.stop_gradient(generated)
        penalty = None
        if "gradient_penalty" in self.terms:  # first: losses of layers count in the last call
            gradient = backend.input_gradient(
                lambda x: self._discriminate(x, training=False)[0], images
            )
            penalty = ops.mean(ops.sum(ops.square(gradient), axis=(1, 2, 3)))
        logits, q_parameters = self._discriminate(ops.concatenate([images, generated]), training)
        ones = ops.ones((samples,), dtype="float32")
        margins = logits * ops.concatenate([ones, -ones])
        information = self.mutual_information(q_parameters[samples:], columns)
        loss = 2 * ops.mean(ops.softplus(-margins)) - weight * information
        terms = {"discriminator_accuracy": ops.mean(ops.cast(margins > 0, "float32"))}
        if penalty is not None:
            loss = loss + 0.5 * self.current("gradient_penalty_weight") * penalty
            terms["gradient_penalty"] = penalty
        return {"discriminator_loss": loss, **terms}

    def check_weights(self, weights: dict[str, Any]) -> None:
        constructed = "gradient_penalty_weight" in self.weight_states
        if (
            constructed
            and weights["gradient_penalty_weight"] != 0
            and "gradient_penalty" not in self.terms
        ):
            raise ValueError(
                "This InfoGAN was created without a gradient penalty. Create one with "
                "`gradient_penalty_weight` above 0. "
                f"Got {weights['gradient_penalty_weight']!r}."
            )

    def mutual_information(self, q_parameters: Tensor, columns: Tensor) -> Tensor:
        """Return L = H(c) + mean log q(c|x), a scalar in nats.

        Args:
            q_parameters: Outputs (n, w) of Q's head for the images of the codes: the means of the
                continuous codes and a logit for each class.
            columns: Codes (n, w), classes one-hot.
        """
        log_q = self.codes.log_density(columns, q_parameters, self.code_stddev)
        return self.codes.entropy + ops.mean(log_q)

    # -- tensors ----------------------------------------------------------------------------------

    def encode_tensors(self, images: Tensor, training: bool = False) -> tuple[Any, ...]:
        q_parameters = self._discriminate(self.preprocess(images), training)[1]
        return (self.codes.most_probable(q_parameters),)

    def decode_tensors(self, codes: Tensor, training: bool = False) -> Tensor:
        noise = ops.zeros((ops.shape(codes)[0], self.noise_dim), dtype="float32")
        return self._generated_images(noise, self.codes.columns(codes), training)

    def _generated_images(self, noise: Tensor, columns: Tensor, training: bool) -> Tensor:
        """Generate images in [0, 1] from noise and codes."""
        outputs = self.generator(ops.concatenate([noise, columns], axis=-1), training=training)
        return ops.sigmoid(ops.cast(outputs, "float32"))

    def _discriminate(self, images: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        """Return D's logits (n,) and the outputs of Q's head for images in [0, 1]."""
        features = ops.cast(self.discriminator(images, training=training), "float32")
        return self.logit_head(features)[:, 0], self.code_head(features)

    # -- NumPy arrays in, NumPy arrays out, in batches of bounded memory --------------------------

    def encode(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Encode images: codes (n, D) float32, in standard deviations of the prior.

        They are the means of q for the continuous codes, then the most probable classes.
        """
        self.check_images(images, check_values=True)
        return batched(self._encode, images, batch_size)[0]

    def latent_values(self) -> list[np.ndarray | None]:
        """Return the values of each categorical code, one for each class; None for the others."""
        return self.codes.values()

    def sample(self, n: int, seed: int | None = None, dtype: str = "float32") -> np.ndarray:
        """Generate `n` images from noise and codes of the prior: float32 in [0, 1], or "uint8"."""
        check_dtype(dtype)
        n = checks.check_integer("n", n, at_least=1)
        draws = seeds.generator(seed).uniform(-1, 1, (n, self.noise_dim + self.latent_dim))
        batch_size = bounded(256, self.image_shape)
        return as_dtype(batched(self._generate, draws.astype("float32"), batch_size)[0], dtype)

    @cached_property
    def _generate(self) -> Callable[..., Any]:
        def generate(draws: Tensor) -> Any:
            noise, codes = draws[:, : self.noise_dim], draws[:, self.noise_dim :]
            return (self._generated_images(noise, self.codes.from_uniform(codes), training=False),)

        return backend.compiled(self, generate)

    # -- configuration ----------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        parts = {
            name: self._names.get(name) or keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("generator", "discriminator")
        }
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "latent_dim": self.latent_dim,
            **parts,
            "categorical": self.categorical,
            "noise_dim": self.noise_dim,
            "code_stddev": self.code_stddev,
            "seed": self.seed,
        }


def _dense(units: int, initial: Any, **kwargs: Any) -> keras.Layer:
    return layers.Dense(units, kernel_initializer=initial, dtype="float32", **kwargs)
