"""The data set and the encoders of the end-to-end reference values."""

import numpy as np


class Toy:
    """Images whose pixels are the factors."""

    def __init__(self, sizes=(3, 6, 8, 5)):
        self.factor_sizes = sizes
        self.factor_names = tuple("abcdef"[: len(sizes)])
        self.image_shape = (1, len(sizes), 1)
        self.served = 0

    def __len__(self):
        return int(np.prod(self.factor_sizes))

    def images(self, indices):
        self.served += len(indices)
        columns = np.unravel_index(indices, self.factor_sizes)
        return np.stack(columns, axis=1).astype("uint8").reshape(-1, *self.image_shape)

    def factors(self, indices):
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1)

    def indices(self, factors):
        return np.ravel_multi_index(factors.T, self.factor_sizes)

    def sample_factors(self, n, rng, fixed=None):
        return rng.integers(self.factor_sizes, size=(n, len(self.factor_sizes)))


def standard(images):
    """Codes that are the factors of `Toy()`, scaled to about one."""
    sizes = np.array([3, 6, 8, 5])
    return (images.reshape(-1, 4) - (sizes - 1) / 2) / sizes


def mixed(weights):
    """The encoder behind the end-to-end reference values; its last latent is all but dead."""

    def encode(images):
        hidden = standard(images) @ np.array(weights)
        hidden[:, 5] = 0.01 * np.sin(37 * images.reshape(-1, 4).sum(axis=1))
        return np.tanh(1.5 * hidden)

    return encode


CLEAN = mixed(
    [
        [1, 0.1, 0, 0, 0.3, 0],
        [0, 1, -0.2, 0, 0.3, 0],
        [0, 0, 1, 0.1, -0.3, 0],
        [0.2, 0, 0, -1, 0.1, 0],
    ]
)
ENTANGLED = mixed(
    [
        [1, 0.5, 0, 0.3, 0.3, 0],
        [0.2, 1, -0.6, 0, 0.3, 0],
        [0, 0.4, 1, 0.5, -0.3, 0],
        [0.5, 0, 0.4, -1, 0.6, 0],
    ]
)


def unrelated(images):
    """Codes fixed for each image, but drawn without regard to its factors."""
    table = np.random.default_rng(5).normal(size=(720, 6))
    return table[np.ravel_multi_index(images.reshape(-1, 4).T, (3, 6, 8, 5))]
