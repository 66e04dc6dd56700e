"""The classification loss of a batch: targets and formula of each kind."""

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.equalized import Equalizer
from nanogfl.loss.losses import (
    equalized_focal_loss,
    equalized_focal_slope,
    equalized_quality_focal_loss,
    equalized_quality_focal_slope,
    focal_loss,
)
from nanogfl.loss.qfl import sparse_qfl


def classification_loss(
    cls_logits: Tensor,
    label: Tensor,
    assignment: Assignment,
    quality: Tensor,
    config: LossConfig,
    equalizer: Equalizer | None,
    *,
    guided: bool,
    positives: Tensor,
) -> Tensor:
    """Logits (B, N, C), label and quality of P pairs (P,) -> loss (B, N), summed over the classes. Points in ignored
    regions are included.

    The target is 0 but for the class of a positive: there it is the quality for qfl and eqfl, and 1 for fl and efl,
    whose loss is multiplied by the quality if `guided`. efl and eqfl take the focus of each class from the `equalizer`,
    which observes the slopes as they are in the total, divided by `positives` (), the number of positives in the batch.
    """

    def in_total(slope: Tensor) -> Tensor:
        """Slopes (B, N, C) of the losses -> of the mean that criterion.py takes: no ignored points, over positives."""
        return slope * ~assignment.ignored[..., None] / positives

    ones = torch.ones_like(quality)
    pull = 1 + _at_positives(cls_logits, label, assignment, quality - 1) if guided else 1.0
    match config.classification:
        case "qfl":
            places = (assignment.image, assignment.point, label)
            return sparse_qfl(cls_logits, *places, quality, assignment.positive, config.beta)
        case "fl":
            target = _at_positives(cls_logits, label, assignment, ones)
            loss = pull * focal_loss(cls_logits, target, config.alpha, config.gamma)
        case "efl":
            assert equalizer is not None
            gamma, weight = equalizer.focus()
            target = _at_positives(cls_logits, label, assignment, ones)
            loss = pull * equalized_focal_loss(cls_logits, target, config.alpha, gamma, weight)
            with torch.no_grad():
                slope = pull * equalized_focal_slope(cls_logits, target, config.alpha, gamma, weight)
                equalizer.observe(in_total(slope), target)
        case "eqfl":
            assert equalizer is not None
            gamma, weight = equalizer.focus()
            target = _at_positives(cls_logits, label, assignment, quality)
            loss = equalized_quality_focal_loss(cls_logits, target, gamma, weight)
            with torch.no_grad():
                slope = equalized_quality_focal_slope(cls_logits, target, gamma, weight)
                equalizer.observe(in_total(slope), target)
    return loss.sum(dim=-1)


def _at_positives(cls_logits: Tensor, label: Tensor, assignment: Assignment, values: Tensor) -> Tensor:
    """(B, N, C): `values` (P,) at the classes of the positive pairs, 0 elsewhere."""
    classes, count = cls_logits.shape[-1], cls_logits.numel()
    place = torch.where(assignment.positive, assignment.slot() * classes + label, count)
    flat = torch.zeros(count + 1, device=cls_logits.device).scatter(0, place, values)
    return flat[:-1].view(cls_logits.shape)
