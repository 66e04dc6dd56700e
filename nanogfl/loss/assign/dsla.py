"""DSLA, the dynamic soft label assigner of NanoDet-Plus: the points that would learn an object most cheaply."""

import torch
from torch import Tensor

from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import (
    Candidates,
    canonical_rank,
    inside_objects,
    iou_with_predictions,
    logits_of_objects,
    lowest,
    sortable,
)
from nanogfl.loss.qfl import background_qfl
from nanogfl.model.boxes.decode import Grid, decode_boxes
from nanogfl.model.boxes.iou import box_area
from nanogfl.model.detector import Predictions

COST_BETA = 2.0  # the exponent in the class cost is the assigner's own, not loss.beta
LEAST_IOU = 1e-7


def dsla_candidates(
    predictions: Predictions, grid: Grid, truth: Truth, *, candidates: int, iou_weight: float
) -> Candidates:
    """Its author's rule: of the points strictly inside any object of the picture the k cheapest, k = max(1, floor(sum
    of the object's `candidates` largest IoUs)). They may lie outside of the object itself, so that one between grid
    points learns, too.

    Cost = sum over classes of BCE(z, y) |y - sigma|^2 + iou_weight * -log(IoU + 1e-7), y = IoU at the object's class
    and 0 elsewhere. A point that several objects want goes to the object of the picture that it costs least, whether
    that one wants it or not. Quality = IoU.
    """
    iou = iou_with_predictions(decode_boxes(predictions.box_pred, grid), truth)
    inside = inside_objects(grid, truth)
    count, points, pictures = *inside.shape, len(predictions.cls_logits)
    covered = torch.zeros(pictures, points, device=inside.device).index_add(0, truth.image, inside.float()) > 0
    possible = covered[truth.image] & (box_area(truth.boxes) > 0)[:, None]
    # The cost over all classes is the background's, once a point, corrected at the object's class: never G x N x C.
    background = background_qfl(predictions.cls_logits, COST_BETA)[truth.image]
    cost = background + _at_class(logits_of_objects(predictions.cls_logits, truth), iou)
    cost = torch.where(possible, cost - iou_weight * (iou + LEAST_IOU).log(), torch.inf)
    point = lowest(cost, candidates)

    largest = torch.where(possible, iou, 0).topk(point.shape[1], dim=1).values
    most = largest.sum(dim=1, keepdim=True).floor().clamp(min=1)
    wanted = (torch.arange(point.shape[1], device=point.device) < most) & possible.gather(1, point)

    # Whom each point of each picture costs least: cost above, rank below in one number.
    first_slot, rank = truth.image[:, None] * points, canonical_rank(truth)
    bids = (sortable(cost) << 32) | rank[:, None]
    every_slot = (first_slot + torch.arange(points, device=point.device)).flatten()
    none = torch.full((pictures * points,), torch.iinfo(torch.long).max, device=point.device)
    least = none.scatter_reduce(0, every_slot, bids.flatten(), "amin")
    slot = first_slot + point
    cheapest = rank.argsort()[least[slot] & 0xFFFFFFFF]
    claims = torch.zeros(pictures * points, device=point.device).index_add(0, slot.flatten(), wanted.flatten().float())
    alone = torch.arange(count, device=point.device)[:, None].expand(point.shape)
    owner = torch.where(claims[slot] > 1, cheapest, alone)
    return Candidates(point, wanted, -cost.gather(1, point), iou[owner, point], owner)


def _at_class(logits: Tensor, iou: Tensor) -> Tensor:
    """Two (G, N) -> (G, N): the class cost with target IoU less that with target 0."""
    # exp and log1p, not sigmoid and softplus: torch's are equal at every place of a tensor, so that an object costs
    # the same whatever stands behind it in the list.
    cross_entropy = logits.clamp(min=0) + (-logits.abs()).exp().log1p()  # with target 0
    sigma = 1 / (1 + (-logits).exp())
    return (cross_entropy - iou * logits) * (iou - sigma).square() - cross_entropy * sigma.square()
