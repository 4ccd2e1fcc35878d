"""Work with the latents of a model by name: edit pictures, and look images up by their codes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_disent._utils import checks
from keras_disent._utils.arrays import to_numpy
from keras_disent._utils.callers import outside
from keras_disent._utils.latent_names import check_names, default_names, latent_index
from keras_disent._utils.types import Tensor
from keras_disent.models.batching import check_dtype
from keras_disent.models.picture_codes import code_of, codes_of, encoded, images_of

RANGES, INFORMATION = "latent_ranges", "latent_information"


class Editing:
    """Name latents, edit pictures, and find images by their codes: a base of `ImageModel`.

    A picture is a path, bytes of a picture file, an open binary file, a Pillow image, or an array.
    It becomes an image as the pictures of the training did (`datasets.read_image`), unless it is
    an array that has the model's `image_shape`.
    """

    image_shape: tuple[int, int, int]
    latent_dim: int
    steps_taken: Callable[[], int]
    encode: Callable[..., np.ndarray]
    decode: Callable[..., np.ndarray]
    importance_unit: str
    latent_importance: Callable[..., np.ndarray]
    _latent_names: tuple[str, ...] | None = None
    _latent_measures: tuple[int, dict[str, np.ndarray]] | None = None  # since which step

    # -- names and ranges -------------------------------------------------------------------------

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of the D latents, by default z0, z1, ...; saved with the model.

        Set all D of them, new names of some as a dict such as `{"z0": "hue", 3: "size"}`, or None
        to have the default again.

        Raises (when they are set):
            ValueError: If there are more or fewer names, two are equal, or one is not a name.
        """
        return self._latent_names or self.default_latent_names()

    @latent_names.setter
    def latent_names(self, names: Any) -> None:
        self._latent_names = None if names is None else check_names(names, self.latent_names)

    def default_latent_names(self) -> tuple[str, ...]:
        """Return the names of the latents while none are set."""
        return default_names(self.latent_dim)

    @property
    def latent_ranges(self) -> np.ndarray | None:
        """Smallest and largest code of each latent, (D, 2) float32, that images were found to have.

        None if they were not measured since the last training step. They are stored with the
        weights.
        """
        return self.latent_measures.get(RANGES)

    @property
    def latent_information(self) -> np.ndarray | None:
        """Information of each latent about an image, (D,) float32, nats, when last measured.

        None as `latent_ranges`, and for a model whose `latent_importance` is not in nats.
        """
        return self.latent_measures.get(INFORMATION)

    def measure_latents(self, images: Tensor, batch_size: int = 256) -> None:
        """Measure ranges and information of the latents, to be stored with the weights.

        `edit` warns of values far outside of the ranges; both are in the card of an export. A run
        measures at every checkpoint.

        Args:
            images: Images (n, h, w, c), such as `datasets.example_images(data)`.
            batch_size: Number of images encoded at a time.
        """
        codes = self.encode(images, batch_size)
        measures = {RANGES: np.stack([codes.min(axis=0), codes.max(axis=0)], axis=1)}
        if self.importance_unit == "nats":
            measures[INFORMATION] = self.latent_importance(images, batch_size)
        self.latent_measures = measures

    @property
    def latent_measures(self) -> dict[str, np.ndarray]:
        """What `measure_latents` found, by name; empty if that was before the last step."""
        if self._latent_measures is None or self._latent_measures[0] != self.steps_taken():
            return {}
        return self._latent_measures[1]

    @latent_measures.setter
    def latent_measures(self, measures: Mapping[str, np.ndarray]) -> None:
        self._latent_measures = self.steps_taken(), dict(measures)

    def suggest_latent_names(
        self, data: Any, *, n_samples: int = 10_000, bins: int = 20, seed: int = 0
    ) -> tuple[str, ...]:
        """Name latents after the factors that they encode; others keep their default names.

        A latent gets the name of the factor about which it informs most: the one with the largest
        mutual information, as a proportion of the factor's entropy. Codes and continuous factors
        are sorted into bins, and the information of shuffled factors, which is due to chance, is
        subtracted. Latents that inform about the same factor are numbered, the best one first:
        hue, hue_2. A latent keeps its default name if it has less than a tenth of every factor's
        entropy, or does not move the picture: from the 5th to the 95th percentile of its codes, the
        mean change of a pixel is below 1/255.

        Args:
            data: Data set with factors.
            n_samples: Number of images; all if there are fewer.
            bins: Number of bins.
            seed: Random seed of the draws.

        Returns:
            D names: `model.latent_names = model.suggest_latent_names(data)`.

        Raises:
            ValueError: If the data have no factor that varies.

        >>> from keras_disent import VAE
        >>> from keras_disent.datasets import Sprites
        >>> VAE((32, 32, 1), 2, "mlp", "mlp").suggest_latent_names(Sprites(32), n_samples=50)
        ('z0', 'z1')
        """
        from keras_disent.models.latent_suggestions import suggest_names  # imports all scores

        return suggest_names(self, data, n_samples, bins, seed)

    # -- pictures in, images out ------------------------------------------------------------------

    def edit(
        self,
        pictures: Any,
        values: Mapping[Any, Any],
        *,
        relative: bool = False,
        batch_size: int = 256,
        dtype: str = "float32",
    ) -> np.ndarray:
        """Encode pictures, set some of their latents, and decode: `edit(picture, {"hue": 1.5})`.

        Values are those of a traversal. A model that rounds codes (`QLAE`, `Tripod`, the classes of
        an `InfoGAN`) decodes the nearest of its values. In a `CausalVAE` the independent part of a
        concept is set, and its effects follow; `intervene` takes values in units of the labels.

        Args:
            pictures: A picture; or several: a list, or an array (n, h, w, c).
            values: `{latent: value}`: latents by name or index; one value, or one for each picture,
                in standard deviations of the prior.
            relative: Whether values are added to those of the pictures.
            batch_size: Number of images at a time.
            dtype: "float32", in [0, 1], or "uint8".

        Returns:
            Edited image (h, w, c) of one picture, or images (n, h, w, c).

        Raises:
            ValueError: For an unknown latent, a value that is not a finite number, or a picture
                that cannot be read.
            TypeError: If something is not a picture.

        Warns:
            UserWarning: If a value is far outside of `latent_ranges`: by more than half of the
                range.

        >>> from keras_disent import VAE
        >>> model = VAE((32, 32, 1), 4, "mlp", "mlp")
        >>> model.latent_names = {0: "hue"}
        >>> model.edit(np.zeros((32, 32, 1)), {"hue": 1.5, "z3": -1}).shape
        (32, 32, 1)
        """
        if not isinstance(values, Mapping):
            raise TypeError(
                "`values` is a dict of latents and their values, such as "
                f"{{{self.latent_names[0]!r}: 1.5}}. Got {type(values).__name__}."
            )
        check_dtype(dtype)
        columns = {
            latent_index(latent, self.latent_names): _column(latent, value)
            for latent, value in values.items()
        }
        images, single = images_of(self, pictures)
        for latent, column in columns.items():
            if column.ndim and len(column) != len(images):
                raise ValueError(
                    f"{self.latent_names[latent]!r} needs one value, or one for each of the "
                    f"{len(images)} pictures. Got {len(column)}."
                )
        codes = codes_of(self, images, batch_size)
        for latent, column in columns.items():
            codes[:, latent] = codes[:, latent] + column if relative else column
            _warn_if_far(self, latent, codes[:, latent])
        edited = self.decode(codes, batch_size, dtype)
        return edited[0] if single else edited

    def interpolate(
        self, a: Any, b: Any, n: int = 9, *, batch_size: int = 256, dtype: str = "float32"
    ) -> np.ndarray:
        """Decode `n` codes on the line from one picture's code to another's.

        Args:
            a, b: Pictures, or codes (D,).
            n: Number of images, at least 2: the first and the last one are the reconstructions.
            batch_size: Number of codes decoded at a time.
            dtype: "float32", in [0, 1], or "uint8".

        Returns:
            Images (n, h, w, c).

        Raises:
            ValueError, TypeError: As `edit`, or if `n` is below 2.

        >>> from keras_disent import VAE
        >>> model = VAE((32, 32, 1), 4, "mlp", "mlp")
        >>> model.interpolate(np.zeros((32, 32, 1)), [0, 1, 0, 1], 5, dtype="uint8").shape
        (5, 32, 32, 1)
        """
        n = checks.check_integer("n", n, at_least=2)
        check_dtype(dtype)
        start, end = code_of(self, a), code_of(self, b)
        weights = np.linspace(0, 1, n, dtype="float32")[:, None]
        return self.decode((1 - weights) * start + weights * end, batch_size, dtype)

    # -- images of a data set by their codes ------------------------------------------------------

    def nearest(
        self, code: Any, images: Any, n: int = 8, *, n_samples: int = 10_000, seed: int = 0
    ) -> np.ndarray:
        """Find the images whose codes are nearest to a code, by Euclidean distance.

        Args:
            code: Code (D,), or a picture.
            images: Images (m, h, w, c), a list of pictures, or a data set.
            n: Number of images to find; all if there are fewer.
            n_samples: Number of images of a data set that are looked at, drawn at random; all if
                there are fewer.
            seed: Random seed of the draw.

        Returns:
            Indices of the images, (n,) int64, the nearest one first.

        Raises:
            ValueError, TypeError: As `edit`.

        >>> from keras_disent import VAE
        >>> images = np.random.default_rng(0).random((20, 32, 32, 1))
        >>> int(VAE((32, 32, 1), 4, "mlp", "mlp").nearest(images[7], images, 3)[0])
        7
        """
        n = checks.check_integer("n", n, at_least=1)
        target = code_of(self, code)
        indices, codes = encoded(self, images, n_samples, np.random.default_rng(seed))
        distances = np.linalg.norm(codes - target, axis=1)
        return indices[np.argsort(distances, kind="stable")[:n]]

    def extremes(
        self, latent: Any, images: Any, n: int = 8, *, n_samples: int = 10_000, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the images with the smallest and with the largest values of a latent.

        Args:
            latent: Name or index.
            images, n, n_samples, seed: As `nearest`.

        Returns:
            Indices of the images with the smallest values, the smallest one first, and of those
            with the largest, the largest one first: two arrays (n,) int64.

        Raises:
            ValueError: For an unknown latent; else as `edit`.
        """
        column = latent_index(latent, self.latent_names)
        n = checks.check_integer("n", n, at_least=1)
        indices, codes = encoded(self, images, n_samples, np.random.default_rng(seed))
        order = np.argsort(codes[:, column], kind="stable")
        return indices[order[:n]], indices[order[::-1][:n]]

    # -- files ------------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)  # type: ignore[misc]
        for name, values in self.latent_measures.items():
            store[name] = values

    def load_own_variables(self, store: Any) -> None:
        arrays = {name: store[name] for name in store.keys()}  # noqa: SIM118
        measures = {
            name: np.asarray(arrays.pop(name), "float32")
            for name in (RANGES, INFORMATION)
            if name in arrays
        }
        super().load_own_variables(arrays)  # type: ignore[misc]
        self.latent_measures = measures


def _column(latent: Any, value: Any) -> np.ndarray:
    """Return the value of a latent, or one for each picture, as finite numbers."""
    try:
        column = to_numpy(value).astype("float32")
    except (TypeError, ValueError):
        column = np.array(np.nan)
    if column.ndim > 1 or not np.isfinite(column).all():
        raise ValueError(f"{latent!r} is set to a finite number. Got {value!r}.")
    return column


def _warn_if_far(model: Any, latent: int, values: np.ndarray) -> None:
    """Warn of values that are outside of the range of the data by more than half of it."""
    if model.latent_ranges is None:
        return
    low, high = model.latent_ranges[latent].tolist()
    far = np.maximum(low - values, values - high)
    if far.max() > (high - low) / 2:
        warnings.warn(
            f"{model.latent_names[latent]!r} = {values[far.argmax()]:.4g} is far outside of the "
            f"data, where it is from {low:.4g} to {high:.4g}: the picture may show anything.",
            stacklevel=outside(),
        )
