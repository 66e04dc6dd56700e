"""The training loss: assignment, the losses of GFL (arXiv:2006.04388) or RetinaNet, weights and means."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.classification import classification_loss
from nanogfl.loss.equalized import Equalizer
from nanogfl.loss.losses import binary_cross_entropy, centerness, giou_loss, side_loss, smooth_l1_loss
from nanogfl.loss.normalisers import mean_over_ranks
from nanogfl.model.boxes.decode import Grid, decode_boxes
from nanogfl.model.boxes.deltas import encode_deltas
from nanogfl.model.detector import Predictions, scored

_LEAST_SIDE = 1e-3  # pixels


class Losses(NamedTuple):
    """Scalars; `total` is the weighted sum that is differentiated."""

    total: Tensor
    cls: Tensor
    """classification"""
    box: Tensor
    """GIoU; with head.box deltas smooth L1 of the offsets"""
    side: Tensor
    """distribution focal loss; with head.box gaussian the negative log likelihood; else 0"""
    quality: Tensor
    """cross entropy of a quality output; 0 without one"""
    positives: Tensor
    """number of positives in this process"""


LOSS_PARTS = Losses._fields[1:-1]
"""the terms of the total"""


def compute_losses(
    predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig, equalizer: Equalizer | None = None
) -> Losses:
    """Assigns a batch and computes its losses, also without any object. `grid` is that of the N predictions."""
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
    """The losses where the auxiliary predictions were assigned and both branches learn.

    `total` is the sum of both, the other fields are the detector's. Both use the focus of the equalizer, which observes
    the detector's logits.
    """
    guide = losses_of_assignment(auxiliary, grid, truth, assignment, config, equalizer)
    losses = losses_of_assignment(
        predictions, grid, truth, assignment, config, equalizer
    )  # last, so that it is the one observed
    return losses._replace(total=losses.total + guide.total)


def losses_of_assignment(
    predictions: Predictions,
    grid: Grid,
    truth: Truth,
    assignment: Assignment,
    config: LossConfig,
    equalizer: Equalizer | None = None,
) -> Losses:
    """The losses of a batch whose assignment is known.

    The classification loss is summed over all points and classes and divided by the number of positives. The box losses
    are weighted means over positives, by default weighted by their best class score. Both divisors are means over all
    processes (loss/normalisers.py).
    """
    head, slots = grid.head, assignment.ignored.numel()
    predictions = scored(predictions, head)
    cls_logits = predictions.cls_logits
    image, point, owner, positive = assignment.image, assignment.point, assignment.owner, assignment.positive
    slot = assignment.slot()
    if not len(truth.boxes):  # pairs that learn nothing point to object 0, which must exist
        nobody = torch.zeros(1, dtype=torch.long, device=slot.device)
        truth = truth._replace(boxes=truth.boxes.new_zeros(1, 4), labels=nobody, image=nobody)

    def by_slot(of_pairs: Tensor) -> Tensor:
        """(P,) -> (B * N,): a sum over slots has the same length and order for any list of objects."""
        return torch.zeros(slots + 1, device=slot.device).scatter(0, slot, of_pairs)[:-1]

    places, target_boxes = grid.at(point), truth.boxes[owner]
    pixels = torch.cat((places.points - target_boxes[:, :2], target_boxes[:, 2:] - places.points), dim=-1)
    quality = centerness(pixels) if head.quality.startswith("centerness") else assignment.quality

    match config.box_weight:
        case "score":
            best_logit = cls_logits.detach()[image, point].amax(dim=-1).float()
            weight = by_slot(best_logit).sigmoid() * by_slot(positive.float())  # (B * N,)
        case "centerness":
            weight = by_slot(centerness(pixels))
        case "none":
            weight = by_slot(positive.float())
    positives = positive.sum().float()
    positives_mean, weight_sum = mean_over_ranks(torch.stack((positives, weight.sum()))).clamp(min=1).unbind()

    labels, guided = truth.labels[owner], head.quality.endswith("guided")
    qfl_points = classification_loss(
        cls_logits, labels, assignment, quality, config, equalizer, guided=guided, positives=positives_mean
    )
    cls = (qfl_points * ~assignment.ignored).sum() / positives_mean

    box_pred = predictions.box_pred[image, point]  # (P, 4, values)
    box = (weight * by_slot(_box_loss(box_pred, places, target_boxes, config))).sum() / weight_sum
    total = config.cls * cls + config.box * box

    side = branch = torch.zeros_like(positives)
    of_sides = side_loss(box_pred, pixels / places.strides[:, None], head)
    if of_sides is not None:
        side = (weight * by_slot(of_sides.sum(dim=1))).sum() / (4 * weight_sum)
        total = total + config.side * side
    if head.has_quality_branch:
        assert predictions.quality_logits is not None
        entropy = binary_cross_entropy(predictions.quality_logits[image, point], quality)
        branch = by_slot(entropy).sum() / positives_mean
        total = total + config.quality * branch
    return Losses(total, cls, box, side, branch, positives)


def _box_loss(box_pred: Tensor, places: Grid, target_boxes: Tensor, config: LossConfig) -> Tensor:
    """Predictions (P, 4, values) at the points of `places`, boxes x1 y1 x2 y2 (P, 4) -> loss (P,)."""
    if places.anchors is None:
        return giou_loss(decode_boxes(box_pred, places), target_boxes)
    # Pairs that are not positive may have an empty box, whose logarithm must not reach the gradient.
    corner = target_boxes[:, :2]
    far_corner = target_boxes[:, 2:].maximum(corner + _LEAST_SIDE)
    target = encode_deltas(torch.cat((corner, far_corner), dim=1), places.points, places.anchors)
    return smooth_l1_loss(box_pred[..., 0], target, config.smooth_l1_beta).sum(dim=1)
