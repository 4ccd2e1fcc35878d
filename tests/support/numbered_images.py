"""Labeled images that contain their number, and an encoder that looks up codes by it."""

import numpy as np

from keras_disent.datasets import labeled


def numbered(labels, **options):
    """Return a labeled data set whose images contain their number."""
    n = len(next(iter(labels.values())))
    images = np.zeros((n, 4, 4, 1), "uint8")
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    return labeled(images, labels, **options)


class Table:
    """An encoder that looks up codes, with posteriors of small variance; it records the images."""

    def __init__(self, codes):
        self.codes, self.encoded = np.asarray(codes, "float32"), []

    def encode(self, images):
        pixels = images.astype(int)
        numbers = pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0]
        self.encoded.extend(numbers.tolist())
        return self.codes[numbers]

    def posterior_parameters(self, images):
        means = self.encode(images)
        return means, np.full_like(means, -6.0)
