"""The images of an epoch and their order: a pure function of seed and epoch, with repeats for rare classes."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.class_counts import images_per_class
from nanogfl.data.dataset import DataSet


class EpochOrder:
    """The order of images in each epoch. `repeat_threshold`: see `repeat_factors`."""

    def __init__(self, dataset: DataSet, *, seed: int, repeat_threshold: float = 0.0) -> None:
        self._seed = seed
        self.repeats = repeat_factors(dataset, repeat_threshold)
        """(n,) how often each image is shown per epoch, on average"""
        # the sum of the factors, rounded down: every epoch has at least so many; 1e-9 absorbs the rounding of the sum
        self.length = int(np.floor(self.repeats.sum() + 1e-9))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(L,) index of the image at each position of the epoch."""
        random = np.random.default_rng((self._seed, epoch))
        images = np.arange(len(self.repeats))
        if (self.repeats != 1).any():
            # systematic sampling: an image of factor 2.3 is shown two or three times, and the total stays the same
            ends = np.floor(np.cumsum(self.repeats) + random.random() + 1e-9).astype(np.int64)
            images = np.repeat(images, np.diff(ends, prepend=0))
        return np.asarray(random.permutation(images)[: self.length], dtype=np.int64)

    def images(self, start: int, count: int) -> NDArray[np.int64]:
        """(n,) indices of n = `count` images from position `start` on, where the epochs' orders follow each other."""
        first, offset = divmod(start, self.length)
        end = -(-(start + count) // self.length)
        return np.concatenate([self.order(epoch) for epoch in range(first, end)])[offset : offset + count]


def repeat_factors(dataset: DataSet, threshold: float) -> NDArray[np.float64]:
    """(n,) repeat factor of each image: the largest of max(1, sqrt(threshold / share of images that hold the class))
    over its classes. LVIS, arXiv:1908.03195, sec. 3.5 and app. B."""
    factors = np.ones(len(dataset.images))
    if threshold <= 0:
        return factors
    share = images_per_class(dataset) / len(dataset.images)
    of_class = np.sqrt(np.maximum(1.0, threshold / np.maximum(share, 1e-12)))
    for index, image in enumerate(dataset.images):
        labels = image.labels[~image.crowd]
        if len(labels):
            factors[index] = of_class[labels].max()
    return factors
