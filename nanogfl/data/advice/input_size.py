"""The input in which the objects of a data set have enough pixels."""

import math
from typing import NamedTuple

import numpy as np

from nanogfl.contract.input_spec import LARGEST_SIDE, InputSpec
from nanogfl.data.arrays import DataIndex

ENOUGH = 24.0
"""pixels at the input: root of the median object's area. COCO's median object has 26 at 320 x 320"""
MOST_ENLARGED = 1.6
"""of a side: an input costs 2.6 times the time then, in training and on the device"""
_MULTIPLE = 32


class InputChoice(NamedTuple):
    hw: tuple[int, int]
    median: float
    """root of the median object's area in pixels at the input that was asked about; 0 without objects"""
    time: float
    """that `hw` takes, relative to that input"""
    held: bool
    """False: the images hold no more pixels than that input, so that a larger one would show no more"""


def enough_input(index: DataIndex, spec: InputSpec) -> InputChoice:
    """The least multiple of `spec.hw`, or `spec.hw` itself, at which the median object has ENOUGH pixels.

    A side grows by MOST_ENLARGED at most, and no further than the images hold pixels.
    """
    sides = index.object_sides(spec)
    if not len(sides):
        return InputChoice(spec.hw, 0.0, 1.0, held=True)
    median = float(np.median(np.sqrt(sides.prod(axis=1))))
    held = float((np.median(index.hw, axis=0) / spec.hw).max())
    factor = max(1.0, min(ENOUGH / max(median, 1e-9), MOST_ENLARGED, held))
    height, width = (min(LARGEST_SIDE, math.ceil(side * factor / _MULTIPLE - 1e-9) * _MULTIPLE) for side in spec.hw)
    time = height * width / (spec.hw[0] * spec.hw[1])
    return InputChoice((height, width), median, time, held > 1)
