"""Intersection over union of boxes x1 y1 x2 y2, in numpy."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Overlap(NamedTuple):
    sides: NDArray[Any]
    """(..., 2) width and height of the intersection, 0 where the boxes lie apart"""
    intersection: NDArray[Any]
    """(...) its area"""
    union: NDArray[Any]
    """(...) area of the two boxes together, at least 1e-9"""

    @property
    def iou(self) -> NDArray[Any]:
        """(...) intersection over union."""
        return np.asarray(self.intersection / self.union)


def overlap(a: NDArray[Any], b: NDArray[Any]) -> Overlap:
    """How much boxes (..., 4) overlap; the shapes are broadcast, the precision is that of the arrays."""
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    area_a, area_b = ((box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b))
    intersection = sides.prod(axis=-1)
    return Overlap(sides, intersection, np.maximum(area_a + area_b - intersection, 1e-9))
