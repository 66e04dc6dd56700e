"""ATSS (arXiv:1912.02424): candidates by distance, positives by the overlap of anchors."""

import torch
from torch import Tensor

from nanogfl.loss.assign.candidates import lowest_places, strictly_inside, with_places
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_iou


def atss_points(grid: Grid, boxes: Tensor, *, candidates: int, anchor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (G, 4) -> point (G, K), wanted (G, K) bool, IoU of the point's anchor (G, K).

    The K candidates are, per level, the `candidates` points nearest to the object's centre (ties in grid order). Wanted
    are those strictly inside the object whose square anchor of `anchor` strides has an IoU of at least mean + standard
    deviation over the candidates.
    """
    point = _nearest(grid, boxes, candidates)
    reach = grid.strides[point][..., None] * (anchor / 2)
    centre = grid.points[point]
    iou = box_iou(torch.cat((centre - reach, centre + reach), dim=-1), boxes[:, None])
    mean = iou.mean(dim=1, keepdim=True)
    # Tensor.std would warn where there are no objects or one candidate.
    variance = (iou - mean).square().sum(dim=1, keepdim=True) / max(1, point.shape[1] - 1)
    threshold = mean + variance.sqrt()
    return point, (iou >= threshold) & strictly_inside(centre, boxes[:, None]), iou


def _nearest(grid: Grid, boxes: Tensor, candidates: int) -> Tensor:
    """Boxes (G, 4) -> (G, K): the points of each level that are nearest to the centre."""
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    distance = (centre[..., 0] - grid.points[:, 0]).square() + (centre[..., 1] - grid.points[:, 1]).square()
    levels = torch.split(with_places(distance), list(grid.level_sizes), dim=1)
    return torch.cat([lowest_places(level, candidates) for level in levels], dim=1)
