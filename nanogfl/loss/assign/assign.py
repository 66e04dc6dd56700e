"""Assigns grid points to objects for a whole batch at once: one flat list of objects, no loop over images.

No shape depends on the data and nothing waits for the device, so that torch.compile sees one graph.
"""

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.atss import atss_points
from nanogfl.loss.assign.candidates import Assignment, Candidates, canonical_rank, inside_ignored, sortable
from nanogfl.loss.assign.dsla import dsla_candidates
from nanogfl.loss.assign.max_iou import max_iou_assignment
from nanogfl.loss.assign.tal import tal_candidates
from nanogfl.model.boxes.decode import Grid, decode_boxes
from nanogfl.model.boxes.iou import box_iou
from nanogfl.model.detector import Predictions, scored


@torch.no_grad()
def assign(predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig) -> Assignment:
    """Decides what each of the B x N predictions learns, without a gradient. An empty box gets no point.

    A point that several objects want goes to the largest claim, among equal claims to the smaller object, then to the
    lower label and coordinates; the order of the list never matters.
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
        case "max_iou":
            assert grid.anchors is not None
            return max_iou_assignment(grid.points, grid.anchors, truth, batch_size)
    return settle(candidates, grid, truth, batch_size)


@torch.no_grad()
def settle(candidates: Candidates, grid: Grid, truth: Truth, batch_size: int) -> Assignment:
    """Gives each wanted point to one object: candidates of G objects (G, K) -> P = G * K pairs."""
    count, each = candidates.point.shape
    slots, device = batch_size * len(grid.points), grid.points.device
    wanted, point = candidates.wanted.flatten(), candidates.point.flatten()
    row = torch.arange(count, device=device)[:, None].expand(count, each)
    # Where candidates name the owner it does not matter which of the pairs gets the point.
    owner, rank = (row, canonical_rank(truth)[:, None]) if candidates.owner is None else (candidates.owner, row)
    owner = owner.reshape(-1)
    image = truth.image[owner]
    # Claim in the upper bits, rank in the lower ones, larger for the smaller rank: the largest bid wins without ties.
    bid = (sortable(candidates.claim) << 32) | (0xFFFFFFFF - rank)
    bid, target = bid.flatten(), torch.where(wanted, image * len(grid.points) + point, slots)
    least = torch.iinfo(torch.long).min
    best = torch.full((slots + 1,), least, dtype=torch.long, device=device).scatter_reduce(0, target, bid, "amax")
    positive = wanted & (best[target] == bid)

    owned = torch.zeros(slots + 1, dtype=torch.bool, device=device).scatter(0, target, True)[:-1]
    ignored = inside_ignored(grid, truth, batch_size) & ~owned.view(batch_size, len(grid.points))
    return Assignment(image, point, owner, positive, candidates.quality.flatten(), ignored)


def _predicted_iou(predictions: Predictions, grid: Grid, truth: Truth, point: Tensor) -> Tensor:
    """Candidate points (G, K) -> (G, K): IoU of the predicted boxes with the object."""
    box_pred = predictions.box_pred[truth.image[:, None], point].flatten(0, 1)  # (G * K, 4, P)
    boxes = decode_boxes(box_pred, grid.at(point.flatten()))
    return box_iou(boxes.view(*point.shape, 4), truth.boxes[:, None])
