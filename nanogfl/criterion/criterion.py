"""The training loss: assignment, the three losses of GFL (arXiv:2006.04388), their weights and their means."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.criterion.assign import Assignment, assign_atss
from nanogfl.criterion.losses import distribution_focal_loss, giou_loss, quality_focal_loss
from nanogfl.data.batch import Truth
from nanogfl.model.boxes import box_iou
from nanogfl.model.decode import Grid, decode_boxes
from nanogfl.model.detector import Predictions

LAST_BIN_MARGIN = 0.1  # a target stays this far below the last bin, so that its upper neighbour exists


class Losses(NamedTuple):
    """Scalars. `total` is the weighted sum that is differentiated."""

    total: Tensor
    qfl: Tensor
    giou: Tensor
    dfl: Tensor
    positives: Tensor


def compute_losses(predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig) -> Losses:
    """The loss of a batch; images and batches without objects are fine."""
    assignment = assign_atss(
        grid, truth, len(predictions.cls_logits), candidates=config.atss_candidates, anchor=config.atss_anchor
    )
    return losses_of_assignment(predictions, grid, truth, assignment, config)


def losses_of_assignment(
    predictions: Predictions, grid: Grid, truth: Truth, assignment: Assignment, config: LossConfig
) -> Losses:
    """QFL over all points and classes / positives; GIoU and DFL over positives, weighted by their best class score."""
    logits = predictions.cls_logits.float()
    reg_max = predictions.dist_logits.shape[-1] - 1
    image, point = (assignment.truth_index >= 0).nonzero(as_tuple=True)  # M positives
    owner = assignment.truth_index[image, point]
    target_boxes, points, strides = truth.boxes[owner], grid.points[point], grid.strides[point]

    dist_logits = predictions.dist_logits[image, point]  # (M, 4, R + 1)
    boxes = decode_boxes(dist_logits, Grid(points, strides, ()))
    quality = torch.zeros_like(logits)
    quality[image, point, truth.labels[owner]] = box_iou(boxes.detach(), target_boxes)
    positives = torch.tensor(float(len(owner)), device=logits.device)

    qfl_map = quality_focal_loss(logits, quality, config.beta) * ~assignment.ignored[..., None]
    qfl = qfl_map.sum() / positives.clamp(min=1)

    weight = logits.detach()[image, point].sigmoid().amax(dim=-1)  # (M,)
    weight_sum = weight.sum().clamp(min=1)
    giou = (weight * giou_loss(boxes, target_boxes)).sum() / weight_sum

    distances = torch.cat((points - target_boxes[:, :2], target_boxes[:, 2:] - points), dim=-1) / strides[:, None]
    distances = distances.clamp(0, reg_max - LAST_BIN_MARGIN)
    dfl_sides = distribution_focal_loss(dist_logits.flatten(0, 1), distances.flatten()).view(-1, 4)
    dfl = (weight[:, None] * dfl_sides).sum() / (4 * weight_sum)

    total = config.qfl * qfl + config.giou * giou + config.dfl * dfl
    return Losses(total, qfl, giou, dfl, positives)
