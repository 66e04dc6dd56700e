"""How much the detections in an image are in doubt: the order in which proposed labels are worth correcting. No torch,
no pycocotools."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections


def doubt(detections: Detections, threshold: float) -> float:
    """The doubt of an image, 0 or more.

    A detection's doubt is 1 if its score is the threshold, and falls linearly to 0 at the scores 0 and 1. A proposed
    box (its score is at least `threshold`) adds its relative spread. The image's doubt is the mean over all detections,
    weighted by their scores; 0 without detections.

    `detections`: all that the model delivers, in source pixels; those below the threshold are boxes that may be
    missing. Without spread the scores alone count.
    """
    scores = detections.scores.astype(np.float64)
    if not len(scores):
        return 0.0
    # the slope on each side; a threshold of 0 or 1 has one side only
    below, above = max(threshold, 1e-9), max(1 - threshold, 1e-9)
    each = 1 - np.where(scores < threshold, (threshold - scores) / below, (scores - threshold) / above)
    if detections.spread is not None:
        proposed = scores >= threshold
        each[proposed] += _relative_spread(detections.take(proposed))
    return float((each * scores).sum() / scores.sum())


def _relative_spread(detections: Detections) -> NDArray[np.float64]:
    """(D,) mean over the four sides of spread / extent of the box across that side."""
    assert detections.spread is not None
    sides = (detections.boxes[:, 2:] - detections.boxes[:, :2]).astype(np.float64)
    extents = np.maximum(sides, 1e-6)[:, [0, 1, 0, 1]]  # left and right by the width, top and bottom by the height
    return np.asarray((detections.spread / extents).mean(axis=1))
