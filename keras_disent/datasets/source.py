"""What every data set is: a run of images that is read by whole batches of indices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from keras_disent.engine.batches import Batches


def check_indices(indices: ArrayLike, size: int) -> np.ndarray:
    """Indices into `size` images, as int64.

    Args:
        indices: `(n,)` integers of any integer dtype, from 0 to `size - 1`.
        size: number of images.

    Returns:
        `(n,)` int64.

    Raises:
        TypeError: the indices are not integers.
        ValueError: the indices are not one-dimensional.
        IndexError: an index is out of range; negative ones do not count from the end.

    >>> check_indices([2, 0], 3)
    array([2, 0])
    """
    given = np.asarray(indices)
    if given.size == 0 and not isinstance(indices, np.ndarray):
        given = given.astype(np.int64)  # NumPy takes an empty list for floats
    if not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"`indices` needs integers. Got {given.dtype}.")
    if given.ndim != 1:
        raise ValueError(f"`indices` needs one dimension. Got shape {given.shape}.")
    if given.size:
        lowest, highest = given.min(), given.max()
        if lowest < 0 or highest >= size:
            raise IndexError(
                f"`indices` needs values from 0 to {size - 1}. "
                f"Got {lowest if lowest < 0 else highest}."
            )
    return given.astype(np.int64)


class ImageSource(ABC):
    """Images by index, with labels or without; a subclass gives `len` and `images`.

    Where images have labels, these are steps of named factors: `factors`. If moreover every
    combination of the factors is there, the data set is a `GroundTruth`.

    Attributes:
        name: what messages and tables call the data set.
        image_shape: `(height, width, channels)`.
        factor_names: one name per factor; empty without labels.
        factor_sizes: number of steps of each factor; 1 for a constant one.
        factor_kinds: `"categorical"`, `"ordinal"`, `"circular"`, `"continuous"` or `"constant"` for
            each factor. The steps of a continuous factor are the ranks of its values.
        stochastic: whether `observations` of one index differ from call to call.
    """

    name: str = "images"
    image_shape: tuple[int, int, int]
    factor_names: tuple[str, ...] = ()
    factor_sizes: tuple[int, ...] = ()
    stochastic: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def images(self, indices: ArrayLike) -> np.ndarray:
        """Images at `indices`, `(n,)` integers, as uint8 `(n, height, width, channels)`."""

    def observations(self, indices: ArrayLike, rng: np.random.Generator) -> np.ndarray:
        """Images at some indices, drawn anew where a data set has more than one per index.

        `images` is the same for an index whenever it is called; here what is random comes from
        `rng`. For most data sets the two are the same.
        """
        return self.images(indices)

    def factors(self, indices: ArrayLike) -> np.ndarray:
        """Steps of all factors at some indices, int64 `(n, factors)`.

        Raises:
            ValueError: the data set has no labels.
        """
        raise ValueError(f"The data set '{self.name}' has images without labels.")

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """The real value of every step: for each name an array as long as the factor's size."""
        return {
            name: np.arange(size)
            for name, size in zip(self.factor_names, self.factor_sizes, strict=True)
        }

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        """The kind of each factor: by default what its values tell."""
        return tuple(
            "constant" if len(v) == 1 else "ordinal" if v.dtype.kind in "biuf" else "categorical"
            for v in self.factor_values.values()
        )

    def labels(self, indices: ArrayLike) -> np.ndarray:
        """What a model with labels is trained on: by default the factors as int32."""
        return self.factors(indices).astype(np.int32)

    # -- feeding ----------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` indices to train on: here independent and uniform."""
        return rng.integers(len(self), size=n)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` images to train on, uint8 `(n, height, width, channels)`."""
        return self.observations(self.sample(n, rng), rng)

    def draw_labeled(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw `n` images and their labels."""
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
        """Batches of random images for `fit`, `evaluate` and `predict`.

        Args:
            batch_size: images per batch.
            seed: of the order; not negative.
            steps: batches per epoch; by default as many as hold `len(self)` images.
            labels: give `(images, labels)` instead of images.

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
            self.labels([])  # without labels, said here
        draw = self.draw_labeled if labels else self.draw
        return Batches(draw, len(self), batch_size, seed=seed, steps=steps)

    # -- the same data seen differently: see `views`, `grids`, `parts` ----------------------------

    def resized(self, size: int) -> ImageSource:
        """The same data with images of `size x size` pixels, cut to the square in the middle.

        >>> from keras_disent.datasets import Sprites
        >>> Sprites().resized(28).image_shape
        (28, 28, 1)
        """
        from keras_disent.datasets import pixels, views

        same = self.image_shape[:2] == (size, size)
        return self if same else views.transform_images(self, pixels.Resized(size))

    def with_channels(self, channels: int) -> ImageSource:
        """The same data in gray (1 channel) or color (3 channels).

        >>> from keras_disent.datasets import Sprites
        >>> Sprites().with_channels(3).image_shape
        (64, 64, 3)
        """
        from keras_disent.datasets import pixels, views

        same = self.image_shape[2] == channels
        return self if same else views.transform_images(self, pixels.Channels(channels))

    def only(self, *names: str) -> ImageSource:
        """The same images with some of the labels.

        Raises:
            ValueError: an unknown name, or none.
        """
        from keras_disent.datasets import views

        return views.Labels(self, names)

    def split(self, test: float = 0.2, *, seed: int = 0) -> tuple[ImageSource, ImageSource]:
        """Two parts at random, for training and for testing.

        Args:
            test: share of the second part, between 0 and 1.
            seed: of the choice.

        Raises:
            ValueError: a share that leaves one of the parts empty.

        >>> from keras_disent.datasets import Sprites
        >>> [len(part) for part in Sprites().split(0.25)]
        [552960, 184320]
        """
        from keras_disent.datasets import parts

        return parts.split(self, test, seed)

    def hold_out(self, steps: Mapping[str, Sequence[Any]]) -> tuple[ImageSource, ImageSource]:
        """Two parts by factors: the second has the images in which all factors take given steps.

        With one factor this is a split by value; with several, by combination: the model sees
        each step while it trains, but never these together.

        Args:
            steps: `{factor: steps}`; values that are names also go by name.

        Returns:
            training part, held-out part. A part that is a whole grid is a `GroundTruth`.

        Raises:
            ValueError: an unknown factor or step, or a part without images.

        >>> from keras_disent.datasets import Sprites
        >>> train, test = Sprites().hold_out({"shape": ["heart"], "position_x": range(16, 32)})
        >>> len(train), len(test), test.factor_sizes
        (614400, 122880, (1, 6, 40, 16, 32))
        """
        from keras_disent.datasets import parts

        return parts.hold_out(self, steps)
