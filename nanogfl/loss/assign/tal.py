"""TAL, the task-aligned assigner of TOOD (arXiv:2108.07755): an object gets the points with the best score and box."""

import torch
from torch import Tensor

from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import (
    Candidates,
    inside_objects,
    iou_with_predictions,
    logits_of_objects,
    lowest,
)
from nanogfl.model.boxes.decode import Grid, decode_boxes
from nanogfl.model.detector import Predictions


def tal_candidates(
    predictions: Predictions, grid: Grid, truth: Truth, *, candidates: int, alpha: float, beta: float
) -> Candidates:
    """Candidates (G, K): the points strictly inside the object with the largest t = sigma^alpha IoU^beta.

    The claim is the IoU. Quality is t, scaled so that its maximum over the object's candidates is their largest IoU,
    whoever gets the points.
    """
    iou = iou_with_predictions(decode_boxes(predictions.box_pred, grid), truth)
    inside = inside_objects(grid, truth)
    # exp instead of sigmoid: equal at every position of a tensor, see dsla.py
    sigma = 1 / (1 + (-logits_of_objects(predictions.cls_logits, truth)).exp())
    metric = torch.where(inside, _power(sigma, alpha) * _power(iou, beta), -1.0)
    point = lowest(-metric, candidates)

    wanted = inside.gather(1, point)
    metric = metric.gather(1, point).clamp(min=0)
    iou = iou.gather(1, point)
    largest_iou = (iou * wanted).amax(dim=1, keepdim=True)
    share = metric / metric.amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return Candidates(point, wanted, iou, share * largest_iou)


def _power(base: Tensor, exponent: float) -> Tensor:
    """(...) -> (...): base ** exponent; whole exponents by products, which round the same on every device."""
    if exponent != int(exponent) or not 1 <= exponent <= 16:
        return base.pow(exponent)
    result = base
    for bit in bin(int(exponent))[3:]:  # square and multiply, after the leading 1
        result = result * result
        if bit == "1":
            result = result * base
    return result
