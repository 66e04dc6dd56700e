"""ATSS (arXiv:1912.02424): candidates by distance, positives by the overlap of anchors."""

import torch
from torch import Tensor

from nanogfl.loss.assign.candidates import lowest_places, strictly_inside, with_places
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_iou


def atss_points(grid: Grid, boxes: Tensor, *, candidates: int, anchor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (G, 4) -> point (G, K), wanted (G, K) bool, IoU of the point's anchor (G, K).

    Per level the `candidates` points nearest to an object's centre (equally near: the grid's order). Wanted are those
    whose square anchor of `anchor` strides overlaps the object by at least mean + standard deviation and that lie
    strictly inside it.
    """
    point = _nearest(grid, boxes, candidates)
    reach = grid.strides[point][..., None] * (anchor / 2)
    centre = grid.points[point]
    iou = box_iou(torch.cat((centre - reach, centre + reach), dim=-1), boxes[:, None])
    mean = iou.mean(dim=1, keepdim=True)
    # Tensor.std warns of no objects and of one candidate, which has no deviation.
    variance = (iou - mean).square().sum(dim=1, keepdim=True) / max(1, point.shape[1] - 1)
    threshold = mean + variance.sqrt()
    return point, (iou >= threshold) & strictly_inside(centre, boxes[:, None]), iou


def _nearest(grid: Grid, boxes: Tensor, candidates: int) -> Tensor:
    """(G, 4) -> (G, K): on every level the points nearest to each box's centre."""
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    distance = (centre[..., 0] - grid.points[:, 0]).square() + (centre[..., 1] - grid.points[:, 1]).square()
    levels = torch.split(with_places(distance), list(grid.level_sizes), dim=1)
    return torch.cat([lowest_places(level, candidates) for level in levels], dim=1)
