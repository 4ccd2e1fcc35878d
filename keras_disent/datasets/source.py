"""The base class of all data sets: images that are read by index, in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from keras_disent.engine.batches import Batches


def check_indices(indices: ArrayLike, size: int) -> np.ndarray:
    """Check indices into `size` images and convert them to int64.

    Args:
        indices: `(n,)` integers of any integer dtype, from 0 to `size - 1`.
        size: Number of images.

    Returns:
        `(n,)` int64.

    Raises:
        TypeError: The indices are not integers.
        ValueError: The indices are not one-dimensional.
        IndexError: An index is out of range; negative indices do not count from the end.

    >>> check_indices([2, 0], 3)
    array([2, 0])
    """
    array = np.asarray(indices)
    if array.size == 0 and not isinstance(indices, np.ndarray):
        array = array.astype(np.int64)  # NumPy gives an empty list a float dtype
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"`indices` needs integers. Got {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(f"`indices` needs one dimension. Got shape {array.shape}.")
    if array.size:
        lowest, highest = array.min(), array.max()
        if lowest < 0 or highest >= size:
            raise IndexError(
                f"`indices` needs values from 0 to {size - 1}. "
                f"Got {lowest if lowest < 0 else highest}."
            )
    return array.astype(np.int64)


def training_labels(data: ImageSource, steps: np.ndarray) -> np.ndarray:
    """Return the steps of factors as training labels, int32.

    Raises:
        ValueError: A value is missing.
    """
    if (steps < 0).any():
        name, count = next(iter(data.gaps.items()))
        raise ValueError(
            f"Training labels need a value of every factor. {count} images have none of "
            f"'{name}': take `data.complete()`, or leave the factor out with `data.only(...)`."
        )
    return steps.astype(np.int32)


class ImageSource(ABC):
    """Base class of all data sets: images by index, with or without labels.

    A subclass implements `__len__` and `images`. The labels of an image, if any, are the steps of
    named factors; see `factors`. A data set with exactly one image for every combination of
    factors is a `GroundTruth`.

    Attributes:
        name: Name of the data set in messages and tables.
        image_shape: `(height, width, channels)`.
        factor_names: Name of each factor; empty without labels.
        factor_sizes: Number of steps of each factor; 1 for a constant factor.
        factor_kinds: Kind of each factor: `"categorical"`, `"ordinal"`, `"circular"`,
            `"continuous"` or `"constant"`. The steps of a continuous factor are the ranks of its
            values.
        stochastic: Whether `observations` of the same index differ from call to call.
        pictures: How picture files became the images (see `PictureSettings`); None for other data.
        files: Names of the pictures of a folder, in the order of the images.
    """

    name: str = "images"
    image_shape: tuple[int, int, int]
    factor_names: tuple[str, ...] = ()
    factor_sizes: tuple[int, ...] = ()
    stochastic: bool = False
    pictures: dict[str, Any] | None = None
    files: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    def __repr__(self) -> str:
        """Return name, number and shape of the images, and the factors with their sizes.

        >>> from keras_disent.datasets import Sprites
        >>> Sprites(32).only("shape", "scale")
        <Marginal 'sprites': 18 images (32, 32, 1), factors shape 3, scale 6>
        """
        from keras_disent.datasets import preview

        return f"<{type(self).__name__} {preview.describe(self)}>"

    def _repr_html_(self) -> str:
        """Return a table of the factors and a row of images, which notebooks show."""
        from keras_disent.datasets import preview

        return preview.as_html(self)

    @abstractmethod
    def images(self, indices: ArrayLike) -> np.ndarray:
        """Return the images at `(n,)` integer indices, uint8 `(n, height, width, channels)`."""

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        """Return images at some indices, with nuisance factors sampled from `rng`.

        `images` always returns the same image for an index. For data sets that are not
        `stochastic`, both methods return the same images.

        Args:
            indices: `(n,)` integers from 0 to `len(self) - 1`.
            rng: Random generator of the nuisance factors.

        Returns:
            uint8 `(n, height, width, channels)`.
        """
        return self.images(indices)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        """Return the steps of all factors at some indices, int64 `(n, factors)`.

        The step of an image without a value is -1; see `gaps`.

        Raises:
            ValueError: The data set has no labels.
        """
        raise ValueError(f"The data set '{self.name}' has images without labels.")

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Value of every step: for each factor's name an array with one value per step."""
        return {
            name: np.arange(size)
            for name, size in zip(self.factor_names, self.factor_sizes, strict=True)
        }

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        """Kind of each factor; by default derived from its values."""
        return tuple(
            "constant" if len(v) == 1 else "ordinal" if v.dtype.kind in "biuf" else "categorical"
            for v in self.factor_values.values()
        )

    @property
    def gaps(self) -> dict[str, int]:
        """Number of images without a value, for each factor that lacks some.

        >>> from keras_disent.datasets import labeled
        >>> labeled(np.zeros((3, 8, 8)), {"n": [1, None, 2], "m": [1, 2, 1]}).gaps
        {'n': 1}
        """
        if not self.factor_names:
            return {}
        counts = np.sum(self.factors(np.arange(len(self))) < 0, axis=0).tolist()
        return {n: count for n, count in zip(self.factor_names, counts, strict=True) if count}

    def complete(self, *names: str) -> ImageSource:
        """Return a view of the images that have a value of each factor.

        Args:
            names: Names of the factors that must have a value; by default all of them.

        Raises:
            ValueError: A name is unknown, or no image is left.

        >>> from keras_disent.datasets import labeled
        >>> data = labeled(np.zeros((3, 8, 8)), {"n": [1, None, 2], "m": [1, 2, 1]})
        >>> len(data.complete()), len(data.complete("m"))
        (2, 3)
        """
        from keras_disent.datasets import parts

        return parts.complete(self, names or self.factor_names)

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """Return the training labels at some indices: by default the factors as int32.

        Raises:
            ValueError: An image has no value of a factor.
        """
        return training_labels(self, self.factors(indices))

    # -- training batches -------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Sample `n` indices for training: by default independent and uniform, int64 `(n,)`."""
        return rng.integers(len(self), size=n)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Sample `n` images for training, uint8 `(n, height, width, channels)`."""
        return self.observations(self.sample(n, rng), rng)

    def draw_labeled(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sample `n` images and their labels for training."""
        indices = self.sample(n, rng)
        return self.observations(indices, rng), self.labels(indices)

    def batches(
        self,
        batch_size: int = 64,
        *,
        seed: int = 0,
        steps: int | None = None,
        labels: bool = False,
    ) -> Batches:
        """Create batches of random images for `fit`, `evaluate` and `predict`.

        Args:
            batch_size: Number of images per batch.
            seed: Random seed of the batches, at least 0.
            steps: Number of batches per epoch; by default `len(self) / batch_size`, rounded up.
            labels: Whether batches are `(images, labels)` instead of images.

        Returns:
            `keras_disent.engine.batches.Batches`, a `keras.utils.PyDataset` of uint8
            `(batch_size, height, width, channels)`.

        >>> from keras_disent.datasets import Sprites
        >>> batches = Sprites().batches(32, seed=1, steps=10)
        >>> len(batches), batches.at(0).shape
        (10, (32, 64, 64, 1))
        """
        from keras_disent.engine.batches import Batches

        if labels:
            self.labels([])  # raises an error if there are no labels
        draw = self.draw_labeled if labels else self.draw
        batches = Batches(draw, len(self), batch_size, seed=seed, steps=steps)
        batches.pictures = self.pictures
        return batches

    # -- views of the same data: see `views`, `grids`, `parts` ------------------------------------

    def resized(self, size: int | tuple[int, int]) -> ImageSource:
        """Return a view with images of another size, cropped to their center.

        Args:
            size: Side of a square image in pixels, or `(height, width)`.

        >>> from keras_disent.datasets import Sprites
        >>> Sprites().resized(28).image_shape
        (28, 28, 1)
        """
        from keras_disent.datasets import pixels, views

        transform = pixels.Resized(size)
        same = self.image_shape[:2] == transform.size
        return self if same else views.transform_images(self, transform)

    def with_channels(self, channels: int) -> ImageSource:
        """Return a view with gray images (1 channel) or color images (3 channels).

        >>> from keras_disent.datasets import Sprites
        >>> Sprites().with_channels(3).image_shape
        (64, 64, 3)
        """
        from keras_disent.datasets import pixels, views

        same = self.image_shape[2] == channels
        return self if same else views.transform_images(self, pixels.Channels(channels))

    def only(self, *names: str) -> ImageSource:
        """Return a view with the labels of some factors only.

        Args:
            names: Names of the factors to keep, in this order.

        Raises:
            ValueError: A name is unknown, or there is none.
        """
        from keras_disent.datasets import views

        return views.Labels(self, names)

    def split(self, test: float = 0.2, *, seed: int = 0) -> tuple[ImageSource, ImageSource]:
        """Split the images at random into a training part and a test part.

        Args:
            test: Proportion of test images, between 0 and 1.
            seed: Random seed of the split.

        Returns:
            training part, test part.

        Raises:
            ValueError: The proportion leaves one of the parts empty.

        >>> from keras_disent.datasets import Sprites
        >>> [len(part) for part in Sprites().split(0.25)]
        [552960, 184320]
        """
        from keras_disent.datasets import parts

        return parts.split(self, test, seed)

    def hold_out(self, steps: Mapping[str, Sequence[Any]]) -> tuple[ImageSource, ImageSource]:
        """Hold out the images in which all listed factors take listed steps.

        With one factor, this is a split by value. With several factors, it is a split by
        combination: training shows each listed step, but never a combination of them.

        Args:
            steps: Held-out steps `{factor: steps}`, as numbers or as names of categories.

        Returns:
            training part, held-out part. A part that is a complete grid is a `GroundTruth`.

        Raises:
            ValueError: A factor or step is unknown, or a part has no images.

        >>> from keras_disent.datasets import Sprites
        >>> train, test = Sprites().hold_out({"shape": ["heart"], "position_x": range(16, 32)})
        >>> len(train), len(test), test.factor_sizes
        (614400, 122880, (1, 6, 40, 16, 32))
        """
        from keras_disent.datasets import parts

        return parts.hold_out(self, steps)
