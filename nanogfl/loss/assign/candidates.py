"""What the assigners share: candidate points, the assignment, and orders without ties."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.data.truth import Truth
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_area, box_iou


class Candidates(NamedTuple):
    """K candidate points for each of G objects; K does not depend on the data."""

    point: Tensor
    """(G, K) index into the grid, different within a row"""
    wanted: Tensor
    """(G, K) bool: the object wants the point"""
    claim: Tensor
    """(G, K) float32: among objects that want a point, the largest claim gets it"""
    quality: Tensor
    """(G, K) 0 to 1: what the class learns there"""
    owner: Tensor | None = None
    """(G, K) the object that gets the point, the same in all pairs that want it; None: that of the row"""


def lowest(values: Tensor, count: int) -> Tensor:
    """(G, n) -> (G, min(count, n)): positions of the lowest values of each row, ascending; ties by position."""
    return lowest_places(with_places(values), count)


def with_places(values: Tensor) -> Tensor:
    """(G, n) float32 -> (G, n) int64 keys that sort by value, then by position: no two in a row are equal."""
    return (sortable(values) << 32) | torch.arange(values.shape[1], device=values.device)


def lowest_places(keys: Tensor, count: int) -> Tensor:
    """Keys (G, n) of `with_places` -> (G, min(count, n)): positions of the lowest. Without ties every device's topk
    agrees."""
    return keys.topk(min(count, keys.shape[1]), dim=1, largest=False).values & 0xFFFFFFFF


def sortable(values: Tensor) -> Tensor:
    """float32 of any shape -> int64 of 32 bits in the same order; 0 and -0 are equal."""
    bits = torch.where(values == 0, torch.zeros_like(values), values).view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def strictly_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Points (..., 2) x y and boxes (..., 4), broadcast -> (...) bool."""
    x, y = points[..., 0], points[..., 1]
    return (x > boxes[..., 0]) & (y > boxes[..., 1]) & (x < boxes[..., 2]) & (y < boxes[..., 3])


def inside_objects(grid: Grid, truth: Truth) -> Tensor:
    """(G, N) bool: the point lies strictly inside the object."""
    return strictly_inside(grid.points, truth.boxes[:, None])


def iou_with_predictions(boxes: Tensor, truth: Truth) -> Tensor:
    """Decoded boxes (B, N, 4) -> (G, N): IoU of each object with the boxes of its image."""
    # Coordinates apart in memory, so that the arithmetic runs along N.
    of_objects = boxes.permute(2, 0, 1).contiguous().index_select(1, truth.image)  # (4, G, N)
    return box_iou(of_objects.permute(1, 2, 0), truth.boxes[:, None])


def logits_of_objects(cls_logits: Tensor, truth: Truth) -> Tensor:
    """(B, N, C) -> (G, N) float32: logits of each object's class in its image."""
    return cls_logits[truth.image, :, truth.labels].float()


class Assignment(NamedTuple):
    """P pairs of an object and a point: the G * K candidates, or with anchors one pair per anchor and image."""

    image: Tensor
    """(P,) index into the batch"""
    point: Tensor
    """(P,) index into the grid"""
    owner: Tensor
    """(P,) index of the object in the flat list of the batch"""
    positive: Tensor
    """(P,) bool: the point learns the object; true for at most one pair per image and point"""
    quality: Tensor
    """(P,) 0 to 1: what the class learns there"""
    ignored: Tensor
    """(B, N) bool: a point inside an ignored region without an object, which is not background either"""

    def slot(self) -> Tensor:
        """(P,): image * N + point for a positive pair; B * N, one past the last, for the others."""
        return torch.where(self.positive, self.image * self.ignored.shape[1] + self.point, self.ignored.numel())


def canonical_rank(truth: Truth) -> Tensor:
    """(G,): rank of each object by area, label, x1, y1, x2, y2; equal objects by position."""
    x1, y1, x2, y2 = sortable(truth.boxes).unbind(dim=1)
    last, middle = (x2 << 32) + y2, (x1 << 32) + y1
    first = (sortable(box_area(truth.boxes)) << 32) + truth.labels
    order = last.argsort(stable=True)
    for key in (middle, first):
        order = order[key[order].argsort(stable=True)]
    return order.argsort()


def inside_ignored(grid: Grid, truth: Truth, batch_size: int) -> Tensor:
    """(B, N) bool: the point lies inside an ignored region of the image."""
    inside = strictly_inside(grid.points, truth.ignored[:, None])
    counts = torch.zeros(batch_size, len(grid.points), device=grid.points.device)
    return counts.index_add(0, truth.ignored_image, inside.float()) > 0
