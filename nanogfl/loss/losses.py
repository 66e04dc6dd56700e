"""The losses as pure functions without reduction; criterion.py applies weights and means.

Shapes: M positives, C classes, R + 1 bins, P numbers per side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.decode import gaussian_sigma, side_distances
from nanogfl.model.boxes.iou import box_giou

_LAST_BIN_MARGIN = 0.1  # a target is at least this far below the last bin, so that its upper neighbour exists


def working_type(logits: Tensor) -> torch.dtype:
    """The type to compute in for logits of any shape: float32, and float64 for float64."""
    return torch.promote_types(logits.dtype, torch.float32)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Logits and target (0 to 1) of one shape -> -(1 - y) log(1 - sigma) - y log sigma of that shape."""
    logits, target = logits.to(working_type(logits)), target.to(working_type(logits))
    # torch's own subtracts z from z + log(1 + e^-z), which loses the small loss of a confident logit.
    return -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))


def target_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Logits and target (0 to 1) of one shape -> |y - sigma|, above 0 so that any power has a gradient."""
    logits, target = logits.to(working_type(logits)), target.to(working_type(logits))
    # y - sigma = y (1 - sigma) - (1 - y) sigma, with 1 - sigma = sigmoid(-z), avoids the difference of near numbers: at
    # z = 50 and y = 1 the distance is 2e-22, and its square root has a slope.
    away = target * (-logits).sigmoid() - (1 - target) * logits.sigmoid()
    return away.abs().clamp(min=torch.finfo(logits.dtype).tiny)


def quality_focal_loss(logits: Tensor, quality: Tensor, beta: float | Tensor) -> Tensor:
    """Logits and quality (0 to 1) of one shape -> |y - sigma|^beta BCE(sigma, y). arXiv:2006.04388, eq. 5.

    beta: a number, or (C,) for logits (..., C).
    """
    return target_distance(logits, quality).pow(beta) * binary_cross_entropy(logits, quality)


def distribution_focal_loss(dist_logits: Tensor, target: Tensor) -> Tensor:
    """Logits (M, R + 1), target (M,) in bins within [0, R) -> (M,). arXiv:2006.04388, eq. 6."""
    log_probabilities = dist_logits.to(working_type(dist_logits)).log_softmax(dim=-1)
    low = target.long()
    weight_high = target - low
    pair = log_probabilities.gather(1, torch.stack((low, low + 1), dim=1))
    return -((1 - weight_high) * pair[:, 0] + weight_high * pair[:, 1])


def giou_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """Two (M, 4) x1 y1 x2 y2 -> (M,): 1 - GIoU, 0 to 2. arXiv:1902.09630."""
    return 1 - box_giou(boxes, truth)


def focal_loss(logits: Tensor, target: Tensor, alpha: float | None, gamma: float | Tensor) -> Tensor:
    """Logits and target (0 or 1) of one shape -> -alpha_t (1 - p_t)^gamma log p_t. arXiv:1708.02002, eq. 5.

    p_t is the probability of the target. alpha_t is alpha where the target is 1, and 1 - alpha where it is 0; alpha
    None: 1 (eq. 4). gamma: a number, or (C,) for logits (..., C).
    """
    # For targets 0 and 1, |y - sigma| is 1 - p_t: without alpha this is the quality focal loss.
    return balance(target, alpha) * quality_focal_loss(logits, target, gamma)


def balance(target: Tensor, alpha: float | None) -> Tensor | float:
    """Target (0 or 1) of any shape -> alpha_t of `focal_loss` in that shape."""
    return 1.0 if alpha is None else alpha * target + (1 - alpha) * (1 - target)


def equalized_focal_loss(logits: Tensor, target: Tensor, alpha: float | None, gamma: Tensor, weight: Tensor) -> Tensor:
    """Logits and target (0 or 1) (..., C), gamma and weight (C,) -> -alpha_t w_j (1 - p_t)^gamma_j log p_t (..., C)."""
    return weight * focal_loss(logits, target, alpha, gamma)


def equalized_quality_focal_loss(logits: Tensor, quality: Tensor, gamma: Tensor, weight: Tensor) -> Tensor:
    """Logits and quality (0 to 1) (..., C), gamma and weight (C,) -> w_j |y - sigma|^gamma_j BCE(sigma, y) (..., C)."""
    return weight * quality_focal_loss(logits, quality, gamma)


def equalized_focal_slope(logits: Tensor, target: Tensor, alpha: float | None, gamma: Tensor, weight: Tensor) -> Tensor:
    """The arguments of `equalized_focal_loss` -> the size of its derivative by each logit (..., C)."""
    return balance(target, alpha) * equalized_quality_focal_slope(logits, target, gamma, weight)


def equalized_quality_focal_slope(logits: Tensor, quality: Tensor, gamma: Tensor, weight: Tensor) -> Tensor:
    """The arguments of `equalized_quality_focal_loss` -> the size of its derivative by each logit (..., C)."""
    # With d = |y - sigma| both terms of the derivative, d^gamma d and gamma d^(gamma - 1) sigma (1 - sigma) BCE, have
    # the sign of sigma - y, so that their sizes add up.
    away, entropy = target_distance(logits, quality), binary_cross_entropy(logits, quality)
    logits = logits.to(working_type(logits))
    steepness = logits.sigmoid() * (-logits).sigmoid()
    return weight * away.pow(gamma - 1) * (away.square() + gamma * steepness * entropy)


def smooth_l1_loss(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """Two tensors of one shape -> d^2 / (2 beta) where d = |predicted - target| is below beta, else d - beta / 2.

    Fast R-CNN, arXiv:1504.08083, eq. 3, has beta 1; with 0 it is plain L1.
    """
    distance = (predicted.to(working_type(predicted)) - target).abs()
    near = distance.clamp(max=beta)  # near (d - near / 2) / beta is both pieces without a branch
    return near * (distance - near / 2) / beta if beta else distance


def side_loss(box_pred: Tensor, distances: Tensor, head: HeadConfig) -> Tensor | None:
    """Predictions (M, 4, P), target distances in strides (M, 4) -> loss per side (M, 4); None where there is none."""
    match head.box:
        case "general+dfl":
            target = (distances / head.bin_width).clamp(0, head.reg_max - _LAST_BIN_MARGIN)
            return distribution_focal_loss(box_pred.flatten(0, 1), target.flatten()).view(-1, 4)
        case "gaussian":
            return gaussian_nll(side_distances(box_pred, head), gaussian_sigma(box_pred), distances)
        case "dirac" | "general" | "deltas":
            return None


def gaussian_nll(mean: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Three tensors of one shape -> -log N(target; mean, sigma) of that shape, without the constant log sqrt(2 pi)."""
    return sigma.log() + ((target - mean) / sigma).square() / 2


def centerness(distances: Tensor) -> Tensor:
    """Left top right bottom (..., 4) -> (...): 1 in the middle of a box, 0 on a side and outside. FCOS
    (arXiv:1904.01355), eq. 3: the root of min(l, r) / max(l, r) * min(t, b) / max(t, b)."""
    first, second = distances[..., :2], distances[..., 2:]
    shares = first.minimum(second).clamp(min=0) / first.maximum(second).clamp(min=torch.finfo(distances.dtype).tiny)
    return shares.prod(dim=-1).sqrt()
