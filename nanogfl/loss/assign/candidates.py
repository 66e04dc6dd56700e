"""What the assigners share: candidate points of every object, the assignment itself, and orders that settle ties."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.data.truth import Truth
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_area, box_iou


class Candidates(NamedTuple):
    """K candidate points of each of the G objects; G and K are known without looking at the data."""

    point: Tensor
    """(G, K) in the grid, none twice in a row"""
    wanted: Tensor
    """(G, K) bool: the object claims the point"""
    claim: Tensor
    """(G, K) float32: of several objects that want a point, the largest claim gets it"""
    quality: Tensor
    """(G, K) 0 to 1: what the object's class learns there"""
    owner: Tensor | None = None
    """(G, K) the object that learns the point, the same in all pairs that want it; None: the row's own"""


def lowest(values: Tensor, count: int) -> Tensor:
    """(G, n) -> (G, min(count, n)) positions of a row's lowest values, lowest first; of equal values the earlier."""
    return lowest_places(with_places(values), count)


def with_places(values: Tensor) -> Tensor:
    """(G, n) float32 -> (G, n) int64, no two in a row equal: in the order of the values, then of the places."""
    return (sortable(values) << 32) | torch.arange(values.shape[1], device=values.device)


def lowest_places(keys: Tensor, count: int) -> Tensor:
    """(G, n) of `with_places` -> (G, min(count, n)) places of the lowest. Without ties every device's topk agrees."""
    return keys.topk(min(count, keys.shape[1]), dim=1, largest=False).values & 0xFFFFFFFF


def sortable(values: Tensor) -> Tensor:
    """float32 of any shape -> int64 within 32 bits in the same order; 0 and -0 are equal."""
    bits = torch.where(values == 0, torch.zeros_like(values), values).view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def strictly_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(..., 2) x y and (..., 4) that broadcast -> (...) bool."""
    x, y = points[..., 0], points[..., 1]
    return (x > boxes[..., 0]) & (y > boxes[..., 1]) & (x < boxes[..., 2]) & (y < boxes[..., 3])


def inside_objects(grid: Grid, truth: Truth) -> Tensor:
    """(G, N) bool: the point lies strictly inside the object."""
    return strictly_inside(grid.points, truth.boxes[:, None])


def iou_with_predictions(boxes: Tensor, truth: Truth) -> Tensor:
    """Decoded boxes (B, N, 4) -> (G, N): IoU of every object with the boxes of its own picture."""
    # Coordinate by coordinate in memory: the arithmetic then runs along N.
    of_objects = boxes.permute(2, 0, 1).contiguous().index_select(1, truth.image)  # (4, G, N)
    return box_iou(of_objects.permute(1, 2, 0), truth.boxes[:, None])


def logits_of_objects(cls_logits: Tensor, truth: Truth) -> Tensor:
    """(B, N, C) -> (G, N) float32: of every object's own class in its own picture."""
    return cls_logits[truth.image, :, truth.labels].float()


class Assignment(NamedTuple):
    """P pairs of an object and a point, P known without looking at the data: G * K of the objects' candidates, K fixed
    by the configuration and the grid; with anchors one for every anchor of every image."""

    image: Tensor
    """(P,) position in the batch"""
    point: Tensor
    """(P,) in the grid"""
    owner: Tensor
    """(P,) the pair's object in the batch's flat list"""
    positive: Tensor
    """(P,) bool: the point learns the object; true for one pair of an image and point at most"""
    quality: Tensor
    """(P,) 0 to 1: what the object's class learns there"""
    ignored: Tensor
    """(B, N) bool: a point without object inside an ignored region, which is not background either"""

    def slot(self) -> Tensor:
        """(P,) image * N + point of a positive pair, and B * N, one behind the last, of every other."""
        return torch.where(self.positive, self.image * self.ignored.shape[1] + self.point, self.ignored.numel())


def canonical_rank(truth: Truth) -> Tensor:
    """(G,) place of every object in the order of area, label, x1, y1, x2, y2; equal objects by their place."""
    x1, y1, x2, y2 = sortable(truth.boxes).unbind(dim=1)
    last, middle = (x2 << 32) + y2, (x1 << 32) + y1
    first = (sortable(box_area(truth.boxes)) << 32) + truth.labels
    order = last.argsort(stable=True)
    for key in (middle, first):
        order = order[key[order].argsort(stable=True)]
    return order.argsort()


def inside_ignored(grid: Grid, truth: Truth, batch_size: int) -> Tensor:
    """(B, N) bool: points inside an ignored region of their image."""
    inside = strictly_inside(grid.points, truth.ignored[:, None])
    counts = torch.zeros(batch_size, len(grid.points), device=grid.points.device)
    return counts.index_add(0, truth.ignored_image, inside.float()) > 0
