"""Whether the classes have a long tail, and how often to repeat images of the rare ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.class_counts import RARE, images_per_class
from nanogfl.data.dataset import DataSet

LONG_TAIL = 20.0
"""a tail is long from this ratio of the commonest to the rarest class, in images"""
THRESHOLDS = (0.001, 0.05)
"""limits of the suggested repeat_threshold: LVIS's (arXiv:1908.03195), and that of configs/ablations/efl.yaml"""


class Tail(NamedTuple):
    rare: NDArray[np.int64]
    """rising in images: the labels of used classes in at most RARE images"""
    images: NDArray[np.int64]
    """(C,) images with at least one object of the class"""
    ratio: float
    """images of the commonest class over those of the rarest that is used"""
    threshold: float
    """suggested data.repeat_threshold"""


def long_tail(dataset: DataSet) -> Tail | None:
    """The long tail of a training set: classes in at most RARE images where the commonest class lies in LONG_TAIL times
    as many as the rarest that is used. None where there is none; COCO, whose rarest class lies in hundreds, has none.
    """
    counts = images_per_class(dataset)
    used = counts > 0
    rare = np.flatnonzero(used & (counts <= RARE))
    if not len(rare) or counts.max() < LONG_TAIL * counts[used].min():
        return None
    ratio = float(counts.max() / counts[used].min())
    threshold = suggest_threshold(float(np.median(counts[used])) / len(dataset.images))
    return Tail(rare[np.argsort(counts[rare], kind="stable")], counts, ratio, threshold)


def suggest_threshold(median_share: float) -> float:
    """The median class's share of the images, rounded: the rarer half of the classes is shown more often."""
    return float(f"{min(max(median_share, THRESHOLDS[0]), THRESHOLDS[1]):.0e}")
