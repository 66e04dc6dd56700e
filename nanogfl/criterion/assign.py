"""ATSS (arXiv:1912.02424) for a whole batch at once: one flat list of objects, no loop over images."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.data.batch import Truth
from nanogfl.model.boxes import box_iou
from nanogfl.model.decode import Grid


class Assignment(NamedTuple):
    truth_index: Tensor
    """(B, N) which object of the batch's flat list a point learns; -1: none"""
    ignored: Tensor
    """(B, N) bool: a point without object inside an ignored region, which is not background either"""


def assign_atss(grid: Grid, truth: Truth, batch_size: int, *, candidates: int, anchor: float) -> Assignment:
    """Per level the `candidates` points nearest to an object's centre; those whose square anchor of `anchor` strides
    overlaps it by at least mean + standard deviation and whose point lies strictly inside it are positive.

    A point claimed twice goes to the larger IoU (equal IoU: the earlier object). Equally near points: the
    earlier point of the grid first.
    """
    point_count, device = len(grid.points), grid.points.device
    taken = torch.full((batch_size * point_count,), -1, dtype=torch.long, device=device)
    if len(truth.boxes):
        point = _nearest(grid, truth.boxes, candidates)  # (G, K)
        reach = grid.strides[point][..., None] * (anchor / 2)
        centre = grid.points[point]
        iou = box_iou(torch.cat((centre - reach, centre + reach), dim=-1), truth.boxes[:, None])
        threshold = iou.mean(dim=1, keepdim=True) + iou.std(dim=1, keepdim=True)
        inside = ((centre > truth.boxes[:, None, :2]) & (centre < truth.boxes[:, None, 2:])).all(dim=-1)
        positive = (iou >= threshold) & inside

        row, column = positive.nonzero(as_tuple=True)
        slot = truth.image[row] * point_count + point[row, column]
        claim = iou[row, column]
        best = torch.zeros(len(taken), device=device).scatter_reduce_(0, slot, claim, "amax")
        wins = claim == best[slot]
        first = torch.full_like(taken, len(truth.boxes)).scatter_reduce_(0, slot[wins], row[wins], "amin")
        taken = torch.where(first < len(truth.boxes), first, taken)
    truth_index = taken.view(batch_size, point_count)
    return Assignment(truth_index, _inside_ignored(grid, truth, batch_size) & (truth_index < 0))


def _nearest(grid: Grid, boxes: Tensor, candidates: int) -> Tensor:
    """(G, 4) -> (G, K): on every level the points nearest to each box's centre."""
    # float64, and a millionth of a square pixel a point: equal distances keep the grid's order on every device.
    centre = (boxes[:, :2] + boxes[:, 2:]).double() / 2
    distance = (centre[:, None] - grid.points.double()).square().sum(dim=-1)
    distance = distance + 1e-6 * torch.arange(len(grid.points), device=boxes.device)
    nearest, start = [], 0
    for size in grid.level_sizes:
        level = distance[:, start : start + size]
        nearest.append(level.topk(min(candidates, size), largest=False).indices + start)
        start += size
    return torch.cat(nearest, dim=1)


def _inside_ignored(grid: Grid, truth: Truth, batch_size: int) -> Tensor:
    """(B, N) bool: points inside an ignored region of their image."""
    counts = torch.zeros(batch_size, len(grid.points), device=grid.points.device)
    if len(truth.ignored):
        regions = truth.ignored[:, None]
        inside = ((grid.points > regions[..., :2]) & (grid.points < regions[..., 2:])).all(dim=-1)
        counts.index_add_(0, truth.ignored_image, inside.float())
    return counts > 0
