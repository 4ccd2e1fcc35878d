"""Base class of all models: encode images to codes, and decode codes to images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import global_state

from keras_disent._utils import checks, html, native
from keras_disent._utils.arrays import ArrayLike, to_numpy
from keras_disent._utils.in_use import IN_USE
from keras_disent._utils.latent_names import latent_indices
from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.engine import backend, schedules
from keras_disent.engine.player_model import PlayerModel
from keras_disent.layers import latents, networks
from keras_disent.models.batching import as_dtype, batched, bounded, check_dtype
from keras_disent.models.diagnosis import Diagnosis, diagnose
from keras_disent.models.editing import Editing
from keras_disent.models.hyperparameters import Range

TRAVERSAL_VALUES = tuple(np.linspace(-2, 2, 9).tolist())  # standard deviations of the prior


DTYPES = ("float32", "float64", "bfloat16", "mixed_float16", "mixed_bfloat16")

LEGACY = (
    "Keras's legacy HDF5 format holds no model with a training step of its own: save to {name}, or "
    "only the weights by `save_weights`. Got {given}."
)


class ImageModel(Editing, PlayerModel):
    """Map images (n, h, w, c) to codes (n, D), in standard deviations of their prior, and back.

    A subclass defines `encode_tensors` and `decode_tensors`, which work on tensors, and `encode`
    and `sample`. Latents are given by index, or by their name in `latent_names`.

    Class attributes:
        encoding: Names of the outputs of `encode_tensors`.
        pairs: Whether the model learns from pairs of images (n, 2, h, w, c).
        tunable: `{name: Range}`, hyperparameters that a search tunes by default: arguments of the
            constructor, or `learning_rate` and `width`.
        importance_unit: Unit of `latent_importance`, "nats" or "gray levels".
        discrete_codes: Whether each latent takes few values.

    Attributes:
        image_shape: Shape (height, width, channels) of an image.
        latent_dim: Number of latents D (int).
        seed: Random seed (int) of the initial weights and the noise.
        noise: A `keras_disent.layers.latents.Noise`, which draws all random numbers of training.
        in_use: Least `latent_importance` (float) of a latent that is in use.
    """

    encoding: tuple[str, ...] = ("mean",)
    pairs = False
    tunable: dict[str, Range] = {
        "learning_rate": Range(1e-4, 3e-3),
        "latent_dim": Range(6, 20, "whole"),
        "width": Range(0.25, 1.0),
    }
    importance_unit = "gray levels"
    discrete_codes = False
    encode: Callable[..., np.ndarray]
    sample: Callable[..., np.ndarray]
    noise: latents.Noise

    def __init__(
        self, image_shape: Any, latent_dim: int, seed: int | None, **kwargs: Unpack[KerasOptions]
    ):
        shape = checks.image_shape(image_shape)
        latent_dim = checks.check_integer("latent_dim", latent_dim, at_least=1)
        _check_dtype(type(self).__name__, kwargs.get("dtype"))
        super().__init__(seed, **kwargs)
        self.image_shape, self.latent_dim = shape, latent_dim

    def __repr__(self) -> str:
        """Return class, shape of the images, and number of the latents, or their names."""
        if not hasattr(self, "latent_dim"):  # its constructor has not got so far
            return super().__repr__()
        latents = ", ".join(self._latent_names or ()) or f"{self.latent_dim} latents"
        return f"<{type(self).__name__} of images {self.image_shape}: {latents}>"

    def _repr_html_(self) -> str:
        """Return a table of what the model is, which notebooks show."""
        parts = dict.fromkeys(part for names in self.players.values() for part in names)
        counts = {part: getattr(self, part).count_params() for part in parts}
        rows = [
            ("images", " x ".join(map(str, self.image_shape))),
            ("latents", ", ".join(self.latent_names)),
            *((name, str(value)) for name, value in schedules.weights(self).items()),
            ("training steps", f"{self.steps_taken():,}"),
            ("parameters", ", ".join(f"{part} {n:,}" for part, n in counts.items() if n)),
        ]
        return html.table([type(self).__name__, ""], rows)

    def part_seed(self, part: str) -> int:
        """Return the seed of the initial weights of one part, as `networks.part_seed`."""
        return networks.part_seed(self.seed, part)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images as float32 in [0, 1]; uint8 is divided by 255."""
        if keras.backend.standardize_dtype(images.dtype) == "uint8":
            return ops.cast(images, "float32") * (1 / 255)
        return ops.clip(ops.cast(images, "float32"), 0.0, 1.0)  # of rounding errors

    def valid(self, batch: Any) -> Tensor | None:
        images = keras.tree.flatten(batch)[0]
        if keras.backend.standardize_dtype(images.dtype) == "uint8":
            return None
        low, high = ops.min(images), ops.max(images)
        inside = ops.logical_and(low >= -checks.ROUNDING, high <= 1 + checks.ROUNDING)
        return ops.logical_and(inside, ops.all(ops.isfinite(images)))  # XLA's minimum drops NaN

    # -- tensors ----------------------------------------------------------------------------------

    def encode_tensors(self, images: Tensor, training: bool = False) -> tuple[Any, ...]:
        """Encode images (n, h, w, c): the tensors named by `encoding`, codes (n, D) first."""
        raise NotImplementedError(f"{type(self).__name__} does not define `encode_tensors`.")

    def decode_tensors(self, codes: Tensor, training: bool = False) -> Tensor:
        """Decode codes (n, D) to expected images: (n, h, w, c) in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} does not define `decode_tensors`.")

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the reconstructions of images, as `call`, after a look at their values.

        Raises:
            ValueError: If the images are invalid. Values of a tensor on a GPU, or inside of a
                compiled function, are not looked at: that would be a wait for the device.
        """
        if backend.at_hand(images):
            self.check_images(images, check_values=True)
        return super().__call__(images, *args, **kwargs)

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        return self.decode_tensors(self.encode_tensors(images, training)[0], training)

    def retrace(self) -> None:
        for name in ("_encode", "_decode"):
            self.__dict__.pop(name, None)
        super().retrace()

    def quantize(self, mode: Any = None, *args: Any, **kwargs: Any) -> None:
        """Quantize the networks, as `keras.Model.quantize`.

        The layers that make codes of features stay in float32, as under mixed precision.

        Args: As Keras's.
        """
        for layer in self.layers:
            if isinstance(layer, keras.Model):
                layer.quantize(mode, *args, **kwargs)
        self.retrace()

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        return backend.compiled(self, self.encode_tensors)

    @cached_property
    def _decode(self) -> Callable[..., Any]:
        return backend.compiled(
            self, lambda codes: (self.decode_tensors(ops.cast(codes, "float32")),)
        )

    # -- NumPy arrays in, NumPy arrays out, in batches of bounded memory --------------------------

    def decode(self, codes: ArrayLike, batch_size: int = 256, dtype: str = "float32") -> np.ndarray:
        """Decode codes (n, D) to expected images: (n, h, w, c) float32 in [0, 1].

        Args:
            codes: Codes (n, D), an array, a tensor of any backend or a list of rows.
            batch_size: Number of codes decoded at a time.
            dtype: "float32", in [0, 1], or "uint8", which Pillow takes:
                `Image.fromarray(image.squeeze())`.

        Raises:
            ValueError: If `codes` is not (n, D), has no row, or is not finite.
        """
        check_dtype(dtype)
        if not hasattr(codes, "shape"):
            codes = to_numpy(codes)
        shape = tuple(codes.shape)
        if len(shape) != 2 or shape[1] != self.latent_dim:
            raise ValueError(f"`codes` must be (n, {self.latent_dim}). Got shape {shape}.")
        if shape[0] == 0:
            raise ValueError("`codes` must hold at least one row. Got none.")
        if not np.isfinite(to_numpy(codes)).all():
            raise ValueError("`codes` must be finite. Got NaN or infinite values.")
        batch_size = bounded(batch_size, self.image_shape)
        return as_dtype(batched(self._decode, codes, batch_size)[0], dtype)

    def reconstruct(
        self, images: Tensor, batch_size: int = 256, dtype: str = "float32"
    ) -> np.ndarray:
        """Encode images and decode their codes: (n, h, w, c) float32 in [0, 1], or "uint8"."""
        check_dtype(dtype)
        return self.decode(self.encode(images, batch_size), batch_size, dtype)

    def traverse(
        self,
        images: Tensor,
        latents: Any = None,
        values: ArrayLike = TRAVERSAL_VALUES,
        batch_size: int = 256,
        dtype: str = "float32",
    ) -> np.ndarray:
        """Decode latent traversals: change one latent of each image, with the others fixed.

        Args:
            images: Images (n, h, w, c).
            latents: Names or indices of the latents to traverse. Default: all in order.
            values: Values of the latent, in standard deviations of the prior.
            batch_size: Number of images encoded or decoded at a time.
            dtype: "float32", in [0, 1], or "uint8".

        Returns:
            Images (n, len(latents), len(values), h, w, c).

        Raises:
            ValueError: If a latent is unknown, a value is not a finite number, or there is none of
                either.

        >>> from keras_disent import VAE
        >>> VAE((32, 32, 1), 4).traverse(np.zeros((1, 32, 32, 1), "uint8"), [2], [-1, 1]).shape
        (1, 1, 2, 32, 32, 1)
        """
        check_dtype(dtype)
        indices = latent_indices(latents, self.latent_names)
        settings = to_numpy(values).astype("float32")
        if settings.ndim != 1 or not np.isfinite(settings).all():
            raise ValueError(f"`values` are finite numbers, in one row. Got {values!r}.")
        if not settings.size:
            raise ValueError("`values` must hold at least one number. Got none.")
        codes = self.encode(images, batch_size)
        grid = np.tile(codes[:, None, None], (1, len(indices), len(settings), 1))
        for row, latent in enumerate(indices):
            grid[:, row, :, latent] = settings
        decoded = self.decode(grid.reshape(-1, self.latent_dim), batch_size, dtype)
        return decoded.reshape(*grid.shape[:3], *self.image_shape)

    def latent_importance(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return the importance of each latent, by which pictures order them: (D,) float32.

        Here it is the mean change of a pixel if the latent is set to 0, in steps of 1/255.

        Args:
            images: Images (n, h, w, c).
            batch_size: Number of images at a time.
        """
        batch_size = bounded(batch_size, self.image_shape)
        codes = self.encode(images, batch_size)
        sums = np.zeros(self.latent_dim)
        for start in range(0, len(codes), batch_size):
            part = codes[start : start + batch_size]
            reconstructions = self.decode(part, batch_size)
            for latent in range(self.latent_dim):
                ablated = part.copy()
                ablated[:, latent] = 0
                changes = np.abs(self.decode(ablated, batch_size) - reconstructions)
                sums[latent] += len(part) * np.mean(changes)
        return (255 * sums / len(codes)).astype("float32")

    @property
    def in_use(self) -> float:
        """Least importance of a latent in use: 0.1 nats; 1 gray level where nats are unknown."""
        return IN_USE[self.importance_unit]

    def latents_in_use(self, images: Tensor, batch_size: int = 256) -> np.ndarray:
        """Return which latents are in use: (D,) bool.

        Their `latent_importance` is at least `in_use`. Pictures and pages mark the others as
        unused.
        """
        return self.latent_importance(images, batch_size) >= self.in_use

    def diagnose(self, images: np.ndarray) -> Diagnosis:
        """Say which latents are in use, and what has gone wrong in training.

        Args:
            images: Images (n, h, w, c) of the training, such as `datasets.example_images(data)`.

        Returns:
            A `Diagnosis`; `print` shows it.

        Raises:
            ValueError: If there are fewer than two images.
        """
        return diagnose(self, images)

    def latent_values(self) -> list[np.ndarray | None]:
        """Return the values that each latent can take, ascending; None for one without steps."""
        return [None] * self.latent_dim

    def build(self, input_shape: Any = None) -> None:
        """Check the shape of the images. The networks are built with the model.

        Raises:
            ValueError: If `input_shape`, (batch, height, width, channels), is of other images.
        """
        if input_shape is not None and tuple(input_shape)[1:] != self.image_shape:
            raise ValueError(
                f"{type(self).__name__} is built of images {self.image_shape}. Got the shape "
                f"{tuple(input_shape)}: create a model with another `image_shape`."
            )
        self.built = True

    def save(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the model with its training state, as `keras.Model.save` does.

        Args:
            filepath: File, by convention `NAME.keras`.
            overwrite, zipped, kwargs: As for `keras.Model.save`.

        Raises:
            ValueError: If the file is one of Keras's legacy HDF5 format, which holds no models with
                a training step of their own.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            name = Path(filepath).with_suffix(".keras").name
            raise ValueError(LEGACY.format(name=repr(name), given=repr(str(filepath))))
        with native.without_tensorflow():
            super().save(filepath, overwrite, zipped, **kwargs)

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        *,
        images: str = "float32",
        **options: Any,
    ) -> None:
        """Export the model with named endpoints, for use without Keras and this package.

        Args:
            filepath: Folder to write, new or empty, in every format.
            format: "tf_saved_model" (or "saved_model"), "onnx", "litert", "openvino" or "torch".
            verbose: Whether to print a summary. Default: no.
            input_signature: Must be None: endpoints take any number of images.
            images: Dtype of the returned images, "float32" in [0, 1] or "uint8" in 0..255.
            options: Not supported: options of Keras's exporters are rejected by name.

        Raises:
            TypeError: If `input_signature` or an unknown option is passed.
            ValueError, ImportError: As `keras_disent.export.model`, which this method calls.
        """
        from keras_disent import export  # which imports this module

        if input_signature is not None:
            options = {"input_signature": input_signature, **options}
        if options:
            raise TypeError(
                f"`export` takes no {', '.join(options)}: endpoints take any number of images "
                f"{self.image_shape} as bytes. Omit it; for another signature, wrap the model "
                "in a custom Keras model and export that."
            )
        folder = export.model(self, filepath, format, images=images)
        if verbose:
            endpoints = ", ".join(export.read_card(folder)["endpoints"])
            print(f"Saved the model as {format} in {str(folder)!r}, with endpoints {endpoints}.")

    # -- presets ----------------------------------------------------------------------------------

    @classmethod
    def from_preset(cls, preset: str | Path, load_weights: bool = True) -> Self:
        """Load a ready model, of this class or one derived from it; it is not compiled.

        Args:
            preset: Name of a preset in the package (`keras_disent.presets.list()`), or path of a
                folder that `save_to_preset` wrote.
            load_weights: Whether the weights are those of the preset, instead of new random ones.

        Raises:
            ValueError: If there is no such preset, it is damaged, of another version, or its model
                is of another class.

        >>> from keras_disent import VAE
        >>> VAE.from_preset("faces_person").sample(2, seed=0).shape
        (2, 32, 32, 3)
        """
        from keras_disent.presets import stored  # which imports models

        return stored.load(preset, cls, load_weights=load_weights)

    def save_to_preset(self, preset_dir: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write the model as a preset, for `from_preset`: float16 weights and a card, no optimizer.

        Args:
            preset_dir: Folder to write, new or empty.
            card: What is known about the model, as JSON holds it, such as `{"description": "One
                sentence.", "data": "sprites"}`.

        Returns:
            The folder.

        Raises:
            ValueError: If the folder is not empty or cannot be written, `card` is not what JSON
                holds, or the class is not registered with Keras. Nothing is written then.
        """
        from keras_disent.presets import stored

        return stored.save(self, preset_dir, card)

    # -- checks -----------------------------------------------------------------------------------

    def check_batch(
        self, images: Tensor, labels: Any = None, name: str = "x", training: bool = False
    ) -> None:
        """Raise a ValueError if images or labels are invalid for this model."""
        checks.images(images, self.image_shape, name)

    def check_images(
        self, images: Tensor, name: str = "images", check_values: bool = False
    ) -> None:
        """Raise a ValueError if `images` are invalid for this model.

        Args:
            images: Images (n, h, w, c).
            name: Name of the argument in errors.
            check_values: Whether values are checked, besides shape and dtype.
        """
        if check_values:
            checks.images(images, self.image_shape, name, refuse_bits=False)
        else:
            checks.batch_form(images, self.image_shape, name)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor: here the weights of the objective."""
        # `keras.saving.save_model` asks for it before it drops the optimizer from the model.
        if global_state.get_global_attribute("use_legacy_config", False):
            raise ValueError(LEGACY.format(name="a file NAME.keras", given="an HDF5 file"))
        return {
            **super().get_config(),
            **{name: schedules.config(value) for name, value in schedules.weights(self).items()},
            **({"pictures": dict(self.pictures)} if self.pictures else {}),
            **({"latent_names": list(self._latent_names)} if self._latent_names else {}),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        config = copy.deepcopy(config)  # Keras empties the dicts that it reads
        pictures, names = config.pop("pictures", None), config.pop("latent_names", None)
        model = cls(**config)
        model.pictures, model.latent_names = pictures, names
        return model


def _check_dtype(model: str, dtype: Any) -> None:
    """Raise a ValueError if a model cannot learn in a dtype; None is that of Keras's settings."""
    try:
        policy = keras.dtype_policies.get(dtype)
        name, variables = policy.name, policy.variable_dtype
    except (TypeError, ValueError):
        name, variables = dtype, None
    if variables not in DTYPES:
        what = "pure float16, which loses small steps" if name == "float16" else name
        raise ValueError(
            f"{model} cannot learn in {what}: use {', '.join(DTYPES[:-1])} or {DTYPES[-1]}. Got "
            f"{name!r}, by `dtype` or Keras's settings."
        )
