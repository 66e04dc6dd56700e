"""DSLA, the dynamic soft label assigner of NanoDet-Plus: an object gets the points of least cost."""

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

_COST_BETA = 2.0  # exponent of the class cost; not loss.beta
_LEAST_IOU = 1e-7


def dsla_candidates(
    predictions: Predictions, grid: Grid, truth: Truth, *, candidates: int, iou_weight: float
) -> Candidates:
    """Candidates (G, K) as in NanoDet-Plus: the k points of least cost among those strictly inside any object of the
    image, k = max(1, floor(sum of the object's `candidates` largest IoUs)). They may lie outside of the object itself,
    so that an object between grid points is learned, too.

    Cost = sum over classes of BCE(z, y) |y - sigma|^2 + iou_weight * -log(IoU + 1e-7), with y = IoU at the object's
    class and 0 elsewhere. A point that several objects want goes to the object of the image with the least cost there,
    even if that one does not want it. Quality = IoU.
    """
    iou = iou_with_predictions(decode_boxes(predictions.box_pred, grid), truth)
    inside = inside_objects(grid, truth)
    count, points, pictures = *inside.shape, len(predictions.cls_logits)
    covered = torch.zeros(pictures, points, device=inside.device).index_add(0, truth.image, inside.float()) > 0
    possible = covered[truth.image] & (box_area(truth.boxes) > 0)[:, None]
    # The cost over all classes is that of background, once per point, corrected at the object's class: no G x N x C.
    background = background_qfl(predictions.cls_logits, _COST_BETA)[truth.image]
    cost = background + _at_class(logits_of_objects(predictions.cls_logits, truth), iou)
    cost = torch.where(possible, cost - iou_weight * (iou + _LEAST_IOU).log(), torch.inf)
    point = lowest(cost, candidates)

    largest = torch.where(possible, iou, 0).topk(point.shape[1], dim=1).values
    most = largest.sum(dim=1, keepdim=True).floor().clamp(min=1)
    wanted = (torch.arange(point.shape[1], device=point.device) < most) & possible.gather(1, point)

    # The object of least cost for each point of each image: cost in the upper bits, rank in the lower ones.
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
    """Logits and IoU (G, N) -> (G, N): class cost with target IoU minus that with target 0."""
    # exp and log1p instead of sigmoid and softplus: torch's give equal results at every position of a tensor, so that
    # the cost of an object does not depend on its place in the list.
    cross_entropy = logits.clamp(min=0) + (-logits.abs()).exp().log1p()  # with target 0
    sigma = 1 / (1 + (-logits).exp())
    return (cross_entropy - iou * logits) * (iou - sigma).square() - cross_entropy * sigma.square()
