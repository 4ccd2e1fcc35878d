"""Plain autoencoder with independent component analysis of its codes: a strong baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Unpack

import keras
import numpy as np
from keras import layers, ops

from keras_disent._utils import checks, seeds
from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.engine import backend
from keras_disent.layers import latents, networks
from keras_disent.layers.standardization import RunningStandardization
from keras_disent.models.batching import batched
from keras_disent.models.coder import Coder


@keras.saving.register_keras_serializable("keras_disent")
class Autoencoder(Coder):
    """Train a plain autoencoder: minimize the reconstruction alone.

    The encoder's outputs have an arbitrary scale. The codes that `encode` returns, and that all
    other methods take, are *standardized*: they have mean 0 and standard deviation 1 over about the
    last 10,000 training images. This does not influence training. After training, `fit_ica` can
    transform them to independent components.

    Args:
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of latents D (int).
        encoder, decoder, likelihood, seed: As `VAE`.

    Reads images (n, height, width, channels) as uint8 in 0..255 or floats in [0, 1]. Called on
    images it returns their reconstructions, floats in [0, 1].

    Logs (nats, means over samples): `loss` and `reconstruction`, the same: -log p(x|z) summed over
    pixels and channels.

    Raises:
        ValueError: Names the argument, the rule and what came.

    Source: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks".

    >>> model = Autoencoder((32, 32, 1), latent_dim=4)
    >>> model.compile()
    >>> images = np.zeros((8, 32, 32, 1), "uint8")
    >>> history = model.fit(images, batch_size=4, verbose=0)
    >>> model.encode(images).shape
    (8, 4)
    """

    terms: tuple[str, ...] = ("loss", "reconstruction")
    players: dict[str, tuple[str, ...]] = {
        "loss": ("encoder", "code_head", "decoder", "likelihood")
    }
    supports_sample_weight = True

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        encoder: str | keras.Model | None = None,
        decoder: str | keras.Model | None = None,
        likelihood: str | latents.Likelihood = "bernoulli",
        seed: int | None = None,
        **kwargs: Unpack[KerasOptions],
    ):
        super().__init__(image_shape, latent_dim, encoder, decoder, likelihood, seed, **kwargs)
        self.code_head = layers.Dense(
            self.latent_dim,
            kernel_initializer=next(networks.initializers(self.part_seed("head"))),
            dtype="float32",
            name="code_head",
        )
        self.code_head.build((None, self.features))
        self.code_transform = CodeTransform(self.latent_dim)
        self.built = True

    # -- training ---------------------------------------------------------------------------------

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        images = self.preprocess(batch)
        raw = self.raw_codes(images, training)
        codes = self.to_codes(raw, training)
        if training:
            self.code_transform.moments.update(codes, self._sample_weight)
        loss, terms = self.penalty(raw, codes)  # first: it may decode other codes
        reconstruction = self.reconstruction(images, codes, training)
        return {"loss": reconstruction + loss, "reconstruction": reconstruction, **terms}

    def raw_codes(self, images: Tensor, training: bool) -> Tensor:
        """Encode preprocessed images, without standardization: (n, D) float32."""
        return self.code_head(self.encoder(images, training=training))

    def to_codes(self, raw: Tensor, training: bool) -> Tensor:
        """Map raw codes (n, D) to those that the decoder reads, (n, D)."""
        return raw

    def nearest_codes(self, codes: Tensor) -> Tensor:
        """Map any codes (n, D) to the nearest ones that the decoder can read."""
        return codes

    def penalty(self, raw: Tensor, codes: Tensor) -> tuple[Any, dict[str, Any]]:
        """Return the part of the objective besides the reconstruction, and the terms to log.

        Args:
            raw, codes: Raw codes of the encoder, and the codes that are decoded, each (n, D).
        """
        return 0.0, {}

    # -- tensors ----------------------------------------------------------------------------------

    def encode_tensors(self, images: Tensor, training: bool = False) -> tuple[Any, ...]:
        return (self.code_transform(self._codes(images, training)),)

    def decode_tensors(self, codes: Tensor, training: bool = False) -> Tensor:
        return super().decode_tensors(
            self.nearest_codes(self.code_transform.inverse(codes)), training
        )

    def _codes(self, images: Tensor, training: bool = False) -> Tensor:
        return self.to_codes(self.raw_codes(self.preprocess(images), training), training)

    # -- NumPy arrays in, NumPy arrays out, in batches of bounded memory --------------------------

    def encode(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the codes of images, standardized: (n, D) float32."""
        self.check_images(images, check_values=True)
        return batched(self._encode, images, batch_size)[0]

    def sample(self, n: int, seed: int | None = None, dtype: str = "float32") -> np.ndarray:
        """Decode `n` codes drawn from a standard normal distribution: images in [0, 1], or "uint8".

        An autoencoder has no prior, so it was not trained to decode such codes.
        """
        n = checks.check_integer("n", n, at_least=1)
        codes = seeds.generator(seed).standard_normal((n, self.latent_dim))
        return self.decode(codes, dtype=dtype)

    def fit_ica(self, images: Tensor, seed: int = 0, batch_size: int = 256) -> None:
        """Fit a linear independent component analysis, and apply it to all codes from now on.

        FastICA (by scikit-learn) finds the matrix that makes the codes of `images` uncorrelated, of
        variance 1, and as far from Gaussian as possible. It takes seconds and changes no weight of
        a network: reconstructions stay the same. The matrix is stored in the model's files. Where
        the codes vary in fewer than D directions, the last components are 0.

        Args:
            images: Images (n, h, w, c) to fit the matrix to, n above D.
            seed: Random seed of the initial matrix.
            batch_size: Number of images encoded at a time.

        Raises:
            ValueError: If there are too few images, or all have the same codes.

        Source: Hyvarinen & Oja 2000, "Independent component analysis: algorithms and applications";
        as a baseline Hsu et al. 2023, "Disentanglement via latent quantization", section 5.

        >>> model = Autoencoder((16, 16, 1), 3, encoder="mlp", decoder="mlp")
        >>> images = np.random.default_rng(0).integers(256, size=(50, 16, 16, 1)).astype("uint8")
        >>> model.fit_ica(images)
        >>> bool(np.allclose(np.cov(model.encode(images).T, bias=True), np.eye(3), atol=1e-3))
        True
        """
        self.check_images(images, check_values=True)
        if len(images) <= self.latent_dim:
            raise ValueError(
                f"`images` must be more than the {self.latent_dim} latents. Got {len(images)}."
            )
        self.code_transform.fit_ica(batched(self._encode_raw, images, batch_size)[0], seed)

    @cached_property
    def _encode_raw(self) -> Callable[..., Any]:
        return backend.compiled(self, lambda x: (self._codes(x),))


class CodeTransform(layers.Layer):
    """Standardize raw codes, and after `fit_ica` transform them to independent components.

    Args:
        latent_dim: Number of latents D (int).
        window: Number of rows of the running moments, as `RunningStandardization`.

    Call: raw codes, which the decoder reads (n, D) -> codes of the model's methods (n, D).
    """

    def __init__(self, latent_dim: int, window: float = 10_000, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.moments = RunningStandardization(latent_dim, window)
        self.unmixing, self.mixing = (
            self.add_weight(
                shape=(latent_dim, latent_dim), initializer="identity", trainable=False, name=name
            )
            for name in ("unmixing", "mixing")
        )
        self.built = True

    def call(self, raw: Tensor) -> Tensor:
        return ops.matmul(self.moments(raw), self.unmixing)

    def inverse(self, codes: Tensor) -> Tensor:
        """Map codes (n, D) back to raw codes, which the decoder reads."""
        return self.moments.inverse(ops.matmul(codes, self.mixing))

    def fit_ica(self, raw: np.ndarray, seed: int) -> None:
        """Fit the unmixing matrix to raw codes (n, D), see `Autoencoder.fit_ica`."""
        from sklearn.decomposition import FastICA

        raw = raw.astype("float64")
        shift, scale = raw.mean(axis=0), raw.std(axis=0)
        varies = scale > 1e-6 * (1 + np.abs(shift))
        if not varies.any():
            raise ValueError("Independent components need codes that vary. Got constant ones.")
        standard = (raw - shift) / np.where(varies, scale, np.inf)
        variances, axes = np.linalg.eigh(np.cov(standard.T, bias=True).reshape(2 * [len(shift)]))
        nonzero = variances > 1e-6
        white = axes[:, nonzero] / np.sqrt(variances[nonzero])
        ica = FastICA(whiten=False, random_state=seed, max_iter=1000).fit(standard @ white)
        unmixing = np.zeros((len(shift), len(shift)))
        unmixing[:, : nonzero.sum()] = white @ ica.components_.T
        for variable, value in (
            (self.moments.shift, shift),
            (self.moments.variance, scale**2),
            (self.unmixing, unmixing),
            (self.mixing, np.linalg.pinv(unmixing)),
        ):
            variable.assign(value.astype("float32"))
