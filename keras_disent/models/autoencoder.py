"""The plain autoencoder, and independent component analysis of its codes: a strong baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_disent._utils import checks
from keras_disent.engine import backend
from keras_disent.layers import networks
from keras_disent.layers.standardization import RunningStandardization
from keras_disent.models.coder import Coder
from keras_disent.models.image_model import batched


@keras.saving.register_keras_serializable("keras_disent")
class Autoencoder(Coder):
    """Autoencoder: minimizes the reconstruction alone.

    What the encoder puts out has any scale. The codes that `encode` gives and all others take are
    *standardized*, with mean 0 and standard deviation 1 over the images of training (about the last
    10,000), which changes nothing of what is learned. After training, `separate` can rotate them
    until they are independent.

    Args:
        image_shape: (height, width, channels).
        latent_dim: int, number of latents D.
        encoder, decoder, likelihood, seed: as `VAE`.

    Takes images (n, height, width, channels) as uint8 in 0..255 or floats in [0, 1]. Called on
    images it gives their reconstructions, floats in [0, 1].

    Logs (nats, means over samples): `loss` and `reconstruction`, the same: -log p(x|z) summed over
    pixels and channels.

    Raises:
        ValueError: names the argument, the rule and what came.

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
    weighs_images = True

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        latent_dim: int = 10,
        encoder: Any = None,
        decoder: Any = None,
        likelihood: Any = "bernoulli",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(image_shape, latent_dim, encoder, decoder, likelihood, seed, **kwargs)
        self.code_head = layers.Dense(
            self.latent_dim,
            kernel_initializer=next(networks.initializers(self.part_seed("head"))),
            dtype="float32",
            name="code_head",
        )
        self.code_head.build((None, self.features))
        self.frame = Frame(self.latent_dim)
        self.built = True

    # -- learning ---------------------------------------------------------------------------------

    def objective(self, player: str, batch, training: bool) -> dict[str, Any]:
        images = self.preprocess(batch)
        raw = self.raw_codes(images, training)
        codes = self.coded(raw, training)
        if training:
            self.frame.moments.update(codes, self._sample_weight)
        loss, terms = self.penalty(raw, codes)  # first: it may ask the decoder about other codes
        reconstruction = self.reconstruction(images, codes, training)
        return {"loss": reconstruction + loss, "reconstruction": reconstruction, **terms}

    def raw_codes(self, images, training: bool):
        """Return what the encoder says of preprocessed images: (n, D) float32."""
        return self.code_head(self.encoder(images, training=training))

    def coded(self, raw, training: bool):
        """Return what is decoded, (n, D), of what the encoder says."""
        return raw

    def snapped(self, codes):
        """Return the nearest that the decoder knows to any codes (n, D)."""
        return codes

    def penalty(self, raw, codes) -> tuple[Any, dict[str, Any]]:
        """Return what the objective adds to the reconstruction, and the terms to log.

        Args:
            raw, codes: (n, D), what the encoder says, and what is decoded.
        """
        return 0.0, {}

    # -- tensors ----------------------------------------------------------------------------------

    def encoded(self, images, training: bool = False) -> tuple:
        return (self.frame(self._codes(images, training)),)

    def decoded(self, codes, training: bool = False):
        return super().decoded(self.snapped(self.frame.inverse(codes)), training)

    def _codes(self, images, training: bool = False):
        return self.coded(self.raw_codes(self.preprocess(images), training), training)

    # -- NumPy arrays in, NumPy arrays out, in batches of bounded memory --------------------------

    def encode(self, images, batch_size: int = 256) -> np.ndarray:
        """Return the codes of images, standardized: (n, D) float32."""
        self.check_images(images, whole=True)
        return batched(self._encode, images, batch_size)[0]

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """Return `n` images of codes drawn as if standardized codes were Gaussian, in [0, 1].

        Nothing has taught an autoencoder to decode these: it has no prior.
        """
        n = checks.check_integer("n", n, at_least=1)
        return self.decode(np.random.default_rng(seed).standard_normal((n, self.latent_dim)))

    def separate(self, images, seed: int = 0, batch_size: int = 256) -> None:
        """Turn the codes, now and for good, until they are as independent as can be: linear ICA.

        FastICA (by scikit-learn) finds the matrix that makes the codes of `images` uncorrelated, of
        variance 1, and least Gaussian. It takes seconds and changes no weight of a network: images
        are reconstructed as before. The matrix is kept in the model's files. Where latents of no
        use leave fewer directions than there are latents, the last codes are 0.

        Args:
            images: (n, h, w, c), n above D: what the matrix is fitted to.
            seed: of the first guess.
            batch_size: of images at a time.

        Raises:
            ValueError: images that are too few, or all have the same codes.

        Source: Hyvarinen & Oja 2000, "Independent component analysis: algorithms and applications";
        as a baseline Hsu et al. 2023, "Disentanglement via latent quantization", section 5.

        >>> model = Autoencoder((16, 16, 1), 3, encoder="mlp", decoder="mlp")
        >>> images = np.random.default_rng(0).integers(256, size=(50, 16, 16, 1)).astype("uint8")
        >>> model.separate(images)
        >>> bool(np.allclose(np.cov(model.encode(images).T, bias=True), np.eye(3), atol=1e-3))
        True
        """
        self.check_images(images, whole=True)
        if len(images) <= self.latent_dim:
            raise ValueError(
                f"`images` must be more than the {self.latent_dim} latents. Got {len(images)}."
            )
        self.frame.separate(batched(self._unframed, images, batch_size)[0], seed)

    @cached_property
    def _unframed(self) -> Callable:
        return backend.compiled(self, lambda x: (self._codes(x),))


class Frame(layers.Layer):
    """The coordinates in which codes are given: standardized, and after `separate` turned.

    Args:
        latent_dim: int, D.
        window: as `RunningStandardization`'s.

    Call: codes as the decoder takes them (n, D) -> codes as users see them (n, D).
    """

    def __init__(self, latent_dim: int, window: float = 10_000, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.moments = RunningStandardization(latent_dim, window)
        self.turn, self.turn_back = (
            self.add_weight(
                shape=(latent_dim, latent_dim), initializer="identity", trainable=False, name=name
            )
            for name in ("turn", "turn_back")
        )
        self.built = True

    def call(self, raw):
        return ops.matmul(self.moments(raw), self.turn)

    def inverse(self, codes):
        """Return codes as the decoder takes them, of codes as users see them."""
        return self.moments.inverse(ops.matmul(codes, self.turn_back))

    def separate(self, raw: np.ndarray, seed: int) -> None:
        """Fit the matrix to codes (n, D), as `Autoencoder.separate` says."""
        from sklearn.decomposition import FastICA

        raw = raw.astype("float64")
        shift, scale = raw.mean(axis=0), raw.std(axis=0)
        varies = scale > 1e-6 * (1 + np.abs(shift))
        if not varies.any():
            raise ValueError("Independent components need codes that vary. Got constant ones.")
        standard = (raw - shift) / np.where(varies, scale, np.inf)
        variances, axes = np.linalg.eigh(np.cov(standard.T, bias=True).reshape(2 * [len(shift)]))
        used = variances > 1e-6
        white = axes[:, used] / np.sqrt(variances[used])
        ica = FastICA(whiten=False, random_state=seed, max_iter=1000).fit(standard @ white)
        turn = np.zeros((len(shift), len(shift)))
        turn[:, : used.sum()] = white @ ica.components_.T
        for variable, value in (
            (self.moments.shift, shift),
            (self.moments.variance, scale**2),
            (self.turn, turn),
            (self.turn_back, np.linalg.pinv(turn)),
        ):
            variable.assign(value.astype("float32"))
