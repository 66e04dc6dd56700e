"""Which images an epoch shows, in which order: a pure function of seed and epoch, with repeats for rare classes."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.class_counts import images_per_class
from nanogfl.data.readers.coco import DataSet


class EpochOrder:
    """`order(epoch)` gives the index of the image at each of the epoch's positions."""

    def __init__(self, dataset: DataSet, *, seed: int, repeat_threshold: float = 0.0) -> None:
        self._seed = seed
        self.repeats = repeat_factors(dataset, repeat_threshold)
        """(n,) how often an image is shown an epoch, on average"""
        # not above what every epoch has: the sum of the factors, without the rounding of float sums
        self.length = int(np.floor(self.repeats.sum() + 1e-9))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(length,)."""
        random = np.random.default_rng((self._seed, epoch))
        images = np.arange(len(self.repeats))
        if (self.repeats != 1).any():
            # systematic sampling: an image of factor 2.3 is shown twice or three times, and the total stays the same
            ends = np.floor(np.cumsum(self.repeats) + random.random() + 1e-9).astype(np.int64)
            images = np.repeat(images, np.diff(ends, prepend=0))
        return np.asarray(random.permutation(images)[: self.length], dtype=np.int64)


def repeat_factors(dataset: DataSet, threshold: float) -> NDArray[np.float64]:
    """(n,) repeat factor of each image, at least 1: the largest of its classes' max(1, sqrt(threshold / share of images
    that hold the class)). LVIS, arXiv:1908.03195, sec. 3.5 and app. B."""
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
