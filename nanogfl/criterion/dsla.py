"""DSLA, the dynamic soft label assigner of NanoDet-Plus: the points that would learn an object most cheaply."""

import torch
from torch import Tensor

from nanogfl.criterion.candidates import (
    Candidates,
    inside_objects,
    iou_with_predictions,
    logits_of_objects,
    lowest,
)
from nanogfl.criterion.qfl import background_qfl
from nanogfl.data.batch import Truth
from nanogfl.model.decode import Grid, decode_boxes
from nanogfl.model.detector import Predictions

COST_BETA = 2.0  # the exponent in the class cost is the assigner's own, not loss.beta
LEAST_IOU = 1e-7


def dsla_candidates(
    predictions: Predictions, grid: Grid, truth: Truth, *, candidates: int, iou_weight: float
) -> Candidates:
    """Of the points strictly inside an object the k cheapest, k = max(1, floor(sum of its `candidates` largest IoUs)).

    Cost = sum over classes of BCE(z, y) |y - sigma|^2 + iou_weight * -log(IoU + 1e-7), y = IoU at the object's class
    and 0 elsewhere. The lower cost has the larger claim; quality = IoU.
    """
    iou = iou_with_predictions(decode_boxes(predictions.box_pred, grid), truth)
    inside = inside_objects(grid, truth)
    # The cost over all classes is the background's, once a point, corrected at the object's class: never G x N x C.
    background = background_qfl(predictions.cls_logits, COST_BETA)[truth.image]
    cost = background + _at_class(logits_of_objects(predictions.cls_logits, truth), iou)
    cost = torch.where(inside, cost - iou_weight * (iou + LEAST_IOU).log(), torch.inf)
    point = lowest(cost, candidates)

    largest = torch.where(inside, iou, 0).topk(point.shape[1], dim=1).values
    count = largest.sum(dim=1, keepdim=True).floor().clamp(min=1)
    wanted = torch.arange(point.shape[1], device=point.device) < count
    return Candidates(point, wanted & inside.gather(1, point), -cost.gather(1, point), iou.gather(1, point))


def _at_class(logits: Tensor, iou: Tensor) -> Tensor:
    """Two (G, N) -> (G, N): the class cost with target IoU less that with target 0."""
    # exp and log1p, not sigmoid and softplus: torch's are equal at every place of a tensor, so that an object costs
    # the same whatever stands behind it in the list.
    cross_entropy = logits.clamp(min=0) + (-logits.abs()).exp().log1p()  # with target 0
    sigma = 1 / (1 + (-logits).exp())
    return (cross_entropy - iou * logits) * (iou - sigma).square() - cross_entropy * sigma.square()
