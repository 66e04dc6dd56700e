"""Measures, before a training starts, how many box sides are longer than the bins of the head reach."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import settle
from nanogfl.loss.assign.atss import atss_points
from nanogfl.loss.assign.candidates import Candidates
from nanogfl.model.boxes.decode import Grid

ADVISE_ABOVE = 0.01


@dataclass(frozen=True)
class LevelReach:
    """Box sides at the assigned points of one level."""

    stride: float
    sides: int
    """four per point"""
    longer: int
    """those longer than reg_max * bin_width * stride"""


@dataclass(frozen=True)
class ReachReport:
    """The measurement, and the advice that follows from it; str() is a sentence."""

    reg_max: int
    enough: int
    """smallest reg_max with at most ADVISE_ABOVE of the sides longer"""
    levels: tuple[LevelReach, ...]
    bin_width: float = 1.0
    """strides"""

    @property
    def share(self) -> float:
        """Share of all sides that is longer than the bins reach."""
        return sum(level.longer for level in self.levels) / max(1, sum(level.sides for level in self.levels))

    @property
    def ends(self) -> str:
        """The longest side of each level in pixels, as text."""
        return ", ".join(f"{self.reg_max * self.bin_width * level.stride:g}" for level in self.levels)

    def __str__(self) -> str:
        strides = ", ".join(f"{level.stride:g}" for level in self.levels)
        line = f"reg_max {self.reg_max} reaches {self.ends} px on strides {strides}: "
        if not any(level.sides for level in self.levels):
            return line + "no point has an object, nothing was measured"
        by_level = ", ".join(f"{level.longer / level.sides:.1%}" if level.sides else "none" for level in self.levels)
        line += f"{self.share:.1%} of the assigned box sides are longer ({by_level})"
        if self.share > ADVISE_ABOVE:
            line += f"; such boxes are learned too small: set model.head.reg_max to {self.enough}"
        return line


@torch.no_grad()
def measure_reach(grid: Grid, truths: Iterable[Truth], config: LossConfig) -> ReachReport:
    """Measures the head of `grid` on a data set. ATSS assigns, whatever config.assigner is: it needs no predictions."""
    reg_max, bin_width = grid.head.reg_max, grid.head.bin_width
    lengths = [_assigned_sides(grid, truth, config) for truth in truths]  # each (M, 5)
    table = torch.cat(lengths) if lengths else torch.zeros(0, 5)
    strides, sides = table[:, 0], table[:, 1:] / bin_width
    found, start = [], 0
    for size in grid.level_sizes:
        stride = grid.strides[start].item()
        of_level = sides[strides == stride]
        found.append(LevelReach(stride, of_level.numel(), int((of_level > reg_max).sum())))
        start += size
    enough = reg_max
    while sides.numel() and (sides > enough).float().mean() > ADVISE_ABOVE:
        enough += 1
    return ReachReport(reg_max, enough, tuple(found), bin_width)


def _assigned_sides(grid: Grid, truth: Truth, config: LossConfig) -> torch.Tensor:
    """(M, 5): stride of each assigned point and its distances left, top, right, bottom in strides."""
    point, wanted, iou = atss_points(grid, truth.boxes, candidates=config.atss_candidates, anchor=config.atss_anchor)
    images = int(truth.image.max()) + 1 if len(truth.image) else 0
    images = max(images, int(truth.ignored_image.max()) + 1 if len(truth.ignored_image) else 0)
    assignment = settle(Candidates(point, wanted, iou, iou), grid, truth, images)
    taken = assignment.positive
    place = assignment.point[taken]
    points, strides, boxes = grid.points[place], grid.strides[place, None], truth.boxes[assignment.owner[taken]]
    return torch.cat((strides, (points - boxes[:, :2]) / strides, (boxes[:, 2:] - points) / strides), dim=1)
