"""Anchors around the grid's points: RetinaNet, arXiv:1708.02002, sec. 4."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.model.boxes.decode import make_grid

RATIOS = (0.5, 1.0, 2.0)
"""height / width"""
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
ANCHORS_PER_POINT = len(RATIOS) * len(SCALES)


class Anchors(NamedTuple):
    """The N anchors of all levels: fine levels first, row by row, ANCHORS_PER_POINT at each point."""

    points: Tensor
    """(N, 2) centres x y in network-input pixels"""
    sizes: Tensor
    """(N, 2) width, height in pixels"""
    strides: Tensor
    """(N,) pixels"""
    level_sizes: tuple[int, ...]
    """anchors of each level, N in all"""


def make_anchors(hw: tuple[int, int], strides: tuple[int, ...], offset: float, size: float = 4.0) -> Anchors:
    """Anchors (N, 2) around the points of `make_grid`, of area (size * stride * scale)^2 for every ratio.

    At a point all scales of the first ratio come first, then those of the next: the order of the output channels in the
    published RetinaNets of torchvision and mmdetection.
    """
    grid = make_grid(hw, strides, offset)
    sides = [(scale / math.sqrt(ratio), scale * math.sqrt(ratio)) for ratio in RATIOS for scale in SCALES]
    shapes = size * torch.tensor(sides, dtype=torch.float64)
    return Anchors(
        grid.points.repeat_interleave(ANCHORS_PER_POINT, dim=0),
        (grid.strides[:, None, None] * shapes).float().flatten(0, 1),
        grid.strides.repeat_interleave(ANCHORS_PER_POINT),
        tuple(ANCHORS_PER_POINT * points for points in grid.level_sizes),
    )
