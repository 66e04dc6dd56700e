"""The training loss: assignment, the three losses of GFL (arXiv:2006.04388), their weights and their means."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.criterion.assign import Assignment, assign
from nanogfl.criterion.classification import classification_loss
from nanogfl.criterion.equalized import Equalizer
from nanogfl.criterion.losses import distribution_focal_loss, giou_loss
from nanogfl.data.batch import Truth
from nanogfl.model.decode import Grid, decode_boxes
from nanogfl.model.detector import Predictions

LAST_BIN_MARGIN = 0.1  # a target stays this far below the last bin, so that its upper neighbour exists


class Losses(NamedTuple):
    """Scalars. `total` is the weighted sum that is differentiated."""

    total: Tensor
    qfl: Tensor
    """the classification's, of whatever kind"""
    giou: Tensor
    dfl: Tensor
    positives: Tensor


def compute_losses(
    predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig, equalizer: Equalizer | None = None
) -> Losses:
    """The loss of a batch; images and batches without objects are fine."""
    assignment = assign(predictions, grid, truth, config)
    return losses_of_assignment(predictions, grid, truth, assignment, config, equalizer)


def assisted_losses(
    predictions: Predictions,
    auxiliary: Predictions,
    grid: Grid,
    truth: Truth,
    assignment: Assignment,
    config: LossConfig,
    equalizer: Equalizer | None = None,
) -> Losses:
    """Both learn what the auxiliary predictions were assigned; `total` is of both, the other fields the detector's.

    The equalizer's focus holds for both; it observes the detector's logits.
    """
    guide = losses_of_assignment(auxiliary, grid, truth, assignment, config, equalizer)
    losses = losses_of_assignment(predictions, grid, truth, assignment, config, equalizer)  # observed last: it counts
    return losses._replace(total=losses.total + guide.total)


def losses_of_assignment(
    predictions: Predictions,
    grid: Grid,
    truth: Truth,
    assignment: Assignment,
    config: LossConfig,
    equalizer: Equalizer | None = None,
) -> Losses:
    """The classification loss over all points and classes / positives; GIoU and DFL over positives, weighted by their
    best class score."""
    cls_logits, dist_logits = predictions.cls_logits, predictions.dist_logits
    reg_max, slots = dist_logits.shape[-1] - 1, assignment.ignored.numel()
    image, point, owner, positive = assignment.image, assignment.point, assignment.owner, assignment.positive
    slot = assignment.slot()

    def by_slot(of_pairs: Tensor) -> Tensor:
        """(P,) -> (B * N,): a sum over slots has the same length and order whatever the list of objects is."""
        return torch.zeros(slots + 1, device=slot.device).scatter(0, slot, of_pairs)[:-1]

    positives = positive.sum().float()
    qfl_points = classification_loss(cls_logits, truth.labels[owner], assignment, config, equalizer)
    qfl = (qfl_points * ~assignment.ignored).sum() / positives.clamp(min=1)

    best_logit = cls_logits.detach()[image, point].amax(dim=-1).float()
    weight = by_slot(best_logit).sigmoid() * by_slot(positive.float())  # (B * N,)
    weight_sum = weight.sum().clamp(min=1)

    points, strides, target_boxes = grid.points[point], grid.strides[point], truth.boxes[owner]
    pair_logits = dist_logits[image, point]  # (P, 4, R + 1)
    boxes = decode_boxes(pair_logits, Grid(points, strides, ()))
    giou = (weight * by_slot(giou_loss(boxes, target_boxes))).sum() / weight_sum

    distances = torch.cat((points - target_boxes[:, :2], target_boxes[:, 2:] - points), dim=-1) / strides[:, None]
    distances = distances.clamp(0, reg_max - LAST_BIN_MARGIN)
    dfl_sides = distribution_focal_loss(pair_logits.flatten(0, 1), distances.flatten()).view(-1, 4)
    dfl = (weight * by_slot(dfl_sides.sum(dim=1))).sum() / (4 * weight_sum)

    total = config.qfl * qfl + config.giou * giou + config.dfl * dfl
    return Losses(total, qfl, giou, dfl, positives)
