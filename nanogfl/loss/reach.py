"""Measures, before a training starts, how many box sides are longer than the bins of the head reach, and what of AP
that can cost."""

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
"""of AP"""
HARDLY_ANY = 0.002
"""of AP; what is left with the advised reg_max"""
_THRESHOLDS = torch.linspace(0.5, 0.95, 10)  # COCO's


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
    """smallest reg_max, from this one up, that loses at most HARDLY_ANY"""
    levels: tuple[LevelReach, ...]
    lost: float
    """1 - AP of a detector whose only fault are sides cut at the reach; of each object's points the best one counts"""
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
        line += f"{self.share:.1%} of the assigned box sides are longer ({by_level}), {self.cost}"
        return f"{line}; {self.advice}" if self.matters else line

    @property
    def cost(self) -> str:
        """`lost` in words, after a comma."""
        return f"which costs up to {self.lost:.3f} AP" if self.lost >= 0.0005 else "which costs no AP"

    @property
    def matters(self) -> bool:
        """It can cost more than ADVISE_ABOVE."""
        return self.lost > ADVISE_ABOVE

    @property
    def advice(self) -> str:
        return (
            f"set model.head.reg_max to {self.enough}, unless the training starts from a detector's weights: they keep"
            " their box sides only with their own reg_max"
        )


@torch.no_grad()
def measure_reach(grid: Grid, truths: Iterable[Truth], config: LossConfig) -> ReachReport:
    """Measures the head of `grid` on a data set. ATSS assigns, whatever config.assigner is: it needs no predictions."""
    reg_max, bin_width = grid.head.reg_max, grid.head.bin_width
    tables, objects = [torch.zeros(0, 6)], 0
    for truth in truths:
        table = _assigned_sides(grid, truth, config)
        table[:, 0] += objects
        tables.append(table)
        objects += len(truth.boxes)
    table = torch.cat(tables)
    owners, strides, sides = table[:, 0].long(), table[:, 1], table[:, 2:] / bin_width
    found, start = [], 0
    for size in grid.level_sizes:
        stride = grid.strides[start].item()
        of_level = sides[strides == stride]
        found.append(LevelReach(stride, of_level.numel(), int((of_level > reg_max).sum())))
        start += size
    enough = reg_max
    while _lost(owners, sides, enough) > HARDLY_ANY:
        enough += 1
    return ReachReport(reg_max, enough, tuple(found), _lost(owners, sides, reg_max), bin_width)


def _lost(owners: torch.Tensor, sides: torch.Tensor, reach: float) -> float:
    """1 - AP of boxes whose sides (M, 4), of the objects `owners` (M,), are cut at `reach`, with the best points on
    top."""
    if not len(owners):
        return 0.0
    cut = sides.clamp(max=reach)
    iou = _areas(cut) / _areas(sides)  # a cut box lies inside the whole one
    best = torch.zeros(int(owners.max()) + 1).scatter_reduce(0, owners, iou, "amax")
    best = best[best > 0]  # an object without points has none to be cut
    return 1 - (best[:, None] >= _THRESHOLDS).float().mean().item()


def _areas(sides: torch.Tensor) -> torch.Tensor:
    """(M, 4) left top right bottom -> (M,)."""
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def _assigned_sides(grid: Grid, truth: Truth, config: LossConfig) -> torch.Tensor:
    """(M, 6): object of each assigned point (its row in `truth`), stride, and distances left, top, right, bottom in
    strides."""
    point, wanted, iou = atss_points(grid, truth.boxes, candidates=config.atss_candidates, anchor=config.atss_anchor)
    images = int(truth.image.max()) + 1 if len(truth.image) else 0
    images = max(images, int(truth.ignored_image.max()) + 1 if len(truth.ignored_image) else 0)
    assignment = settle(Candidates(point, wanted, iou, iou), grid, truth, images)
    taken = assignment.positive
    place = assignment.point[taken]
    owner = assignment.owner[taken]
    points, strides, boxes = grid.points[place], grid.strides[place, None], truth.boxes[owner]
    distances = (points - boxes[:, :2]) / strides, (boxes[:, 2:] - points) / strides
    return torch.cat((owner[:, None], strides, *distances), dim=1)
