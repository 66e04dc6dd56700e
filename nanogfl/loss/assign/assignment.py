"""Which grid points learn which object: the answer of every assigner, and what decides between equal claims."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.data.loader import Truth
from nanogfl.loss.assign.candidates import sortable, strictly_inside
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_area


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

    def truth_index(self) -> Tensor:
        """(B, N) which object of the batch's flat list a point learns; -1: none."""
        index = torch.full((self.ignored.numel() + 1,), -1, dtype=torch.long, device=self.image.device)
        index = index.scatter(0, self.slot(), self.owner)
        return index[:-1].view(self.ignored.shape)

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
