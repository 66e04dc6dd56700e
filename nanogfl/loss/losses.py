"""The losses: pure and unreduced. Weights and means are in criterion.py only."""

import torch
from torch import Tensor

from nanogfl.loss.entropy import binary_cross_entropy, target_distance, working_type
from nanogfl.model.boxes.iou import box_giou


def quality_focal_loss(logits: Tensor, quality: Tensor, beta: float | Tensor) -> Tensor:
    """logits, quality (0 to 1), one shape -> |y - sigma|^beta BCE(sigma, y) of that shape. arXiv:2006.04388, eq. 5.

    beta: a number, or (C,) for logits (..., C).
    """
    return target_distance(logits, quality).pow(beta) * binary_cross_entropy(logits, quality)


def distribution_focal_loss(dist_logits: Tensor, target: Tensor) -> Tensor:
    """(M, R + 1), (M,) in bins within [0, R) -> (M,). arXiv:2006.04388, eq. 6."""
    log_probabilities = dist_logits.to(working_type(dist_logits)).log_softmax(dim=-1)
    low = target.long()
    weight_high = target - low
    pair = log_probabilities.gather(1, torch.stack((low, low + 1), dim=1))
    return -((1 - weight_high) * pair[:, 0] + weight_high * pair[:, 1])


def giou_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """Two (M, 4) x1 y1 x2 y2 -> (M,): 1 - GIoU, 0 to 2. arXiv:1902.09630."""
    return 1 - box_giou(boxes, truth)
