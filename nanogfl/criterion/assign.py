"""Which grid points learn which object, for a whole batch at once: one flat list of objects, no loop over images.

No operator's output shape depends on the data and nothing waits for the device, so that torch.compile sees one graph.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.criterion.atss import atss_points
from nanogfl.criterion.candidates import Candidates, sortable, strictly_inside
from nanogfl.criterion.dsla import dsla_candidates
from nanogfl.criterion.tal import tal_candidates
from nanogfl.data.batch import Truth
from nanogfl.model.boxes import box_area, box_iou
from nanogfl.model.decode import Grid, decode_boxes
from nanogfl.model.detector import Predictions, scored


class Assignment(NamedTuple):
    """P = G * K pairs of an object and a candidate point, K fixed by the configuration and the grid."""

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


@torch.no_grad()
def assign(predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig) -> Assignment:
    """What the predictions should learn; there is no gradient through it. An empty box owns no point.

    A point that several objects want goes to the largest claim, and among equal claims to the smaller object, then to
    the lower label and coordinates: never by the order of the list.
    """
    batch_size, predictions = len(predictions.cls_logits), scored(predictions, grid.head)
    match config.assigner:
        case "atss":
            point, wanted, anchor_iou = atss_points(
                grid, truth.boxes, candidates=config.atss_candidates, anchor=config.atss_anchor
            )
            quality = _predicted_iou(predictions, grid, truth, point)
            candidates = Candidates(point, wanted, anchor_iou, quality)
        case "dsla":
            candidates = dsla_candidates(
                predictions, grid, truth, candidates=config.dsla_candidates, iou_weight=config.dsla_iou_weight
            )
        case "tal":
            candidates = tal_candidates(
                predictions,
                grid,
                truth,
                candidates=config.tal_candidates,
                alpha=config.tal_alpha,
                beta=config.tal_beta,
            )
    return settle(candidates, grid, truth, batch_size)


@torch.no_grad()
def settle(candidates: Candidates, grid: Grid, truth: Truth, batch_size: int) -> Assignment:
    """Gives every point that is wanted to one object."""
    count, each = candidates.point.shape
    slots, device = batch_size * len(grid.points), grid.points.device
    wanted, point = candidates.wanted.flatten(), candidates.point.flatten()
    owner = torch.arange(count, device=device)[:, None].expand(count, each).reshape(-1)
    image = truth.image[owner]
    # Claim above, rank below in one number, larger for the smaller rank: the largest wins, and ties have an answer.
    rank = canonical_rank(truth)[:, None].expand(count, each)
    bid = (sortable(candidates.claim) << 32) | (0xFFFFFFFF - rank)
    bid, target = bid.flatten(), torch.where(wanted, image * len(grid.points) + point, slots)
    least = torch.iinfo(torch.long).min
    best = torch.full((slots + 1,), least, dtype=torch.long, device=device).scatter_reduce(0, target, bid, "amax")
    positive = wanted & (best[target] == bid)

    owned = torch.zeros(slots + 1, dtype=torch.bool, device=device).scatter(0, target, True)[:-1]
    ignored = _inside_ignored(grid, truth, batch_size) & ~owned.view(batch_size, len(grid.points))
    return Assignment(image, point, owner, positive, candidates.quality.flatten(), ignored)


def _predicted_iou(predictions: Predictions, grid: Grid, truth: Truth, point: Tensor) -> Tensor:
    """Candidate points (G, K) -> (G, K): IoU of the boxes predicted there with the object."""
    box_pred = predictions.box_pred[truth.image[:, None], point].flatten(0, 1)  # (G * K, 4, P)
    boxes = decode_boxes(box_pred, grid.at(point.flatten()))
    return box_iou(boxes.view(*point.shape, 4), truth.boxes[:, None])


def canonical_rank(truth: Truth) -> Tensor:
    """(G,) place of every object in the order of area, label, x1, y1, x2, y2; equal objects by their place."""
    x1, y1, x2, y2 = sortable(truth.boxes).unbind(dim=1)
    last, middle = (x2 << 32) + y2, (x1 << 32) + y1
    first = (sortable(box_area(truth.boxes)) << 32) + truth.labels
    order = last.argsort(stable=True)
    for key in (middle, first):
        order = order[key[order].argsort(stable=True)]
    return order.argsort()


def _inside_ignored(grid: Grid, truth: Truth, batch_size: int) -> Tensor:
    """(B, N) bool: points inside an ignored region of their image."""
    inside = strictly_inside(grid.points, truth.ignored[:, None])
    counts = torch.zeros(batch_size, len(grid.points), device=grid.points.device)
    return counts.index_add(0, truth.ignored_image, inside.float()) > 0
