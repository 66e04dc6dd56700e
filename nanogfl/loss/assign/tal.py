"""TAL, the task-aligned assigner of TOOD (arXiv:2108.07755): the points that score and fit an object best."""

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
    """Of the points strictly inside an object the `candidates` with the largest t = sigma^alpha IoU^beta.

    The larger IoU has the larger claim. Quality = t, scaled so that the largest of the object's candidates equals the
    largest IoU of its candidates (whoever gets the points).
    """
    iou = iou_with_predictions(decode_boxes(predictions.box_pred, grid), truth)
    inside = inside_objects(grid, truth)
    # exp, not sigmoid: equal at every place of a tensor, see dsla.py
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
    """base ** exponent; whole exponents by products, which round alike everywhere."""
    if exponent != int(exponent) or not 1 <= exponent <= 16:
        return base.pow(exponent)
    result = base
    for bit in bin(int(exponent))[3:]:  # square and multiply, behind the leading 1
        result = result * result
        if bit == "1":
            result = result * base
    return result
