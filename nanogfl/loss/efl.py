"""Equalized focal losses, arXiv:2201.02593: each class has a focus and a weight of its own, see equalized.py."""

from torch import Tensor

from nanogfl.loss.entropy import binary_cross_entropy, target_distance, working_type
from nanogfl.loss.focal_loss import balance, focal_loss
from nanogfl.loss.losses import quality_focal_loss


def equalized_focal_loss(logits: Tensor, target: Tensor, alpha: float | None, gamma: Tensor, weight: Tensor) -> Tensor:
    """(..., C), target (..., C) 0 or 1, gamma and weight (C,) -> -alpha_t w_j (1 - p_t)^gamma_j log p_t (..., C)."""
    return weight * focal_loss(logits, target, alpha, gamma)


def equalized_quality_focal_loss(logits: Tensor, quality: Tensor, gamma: Tensor, weight: Tensor) -> Tensor:
    """(..., C), quality (..., C) 0 to 1, gamma and weight (C,) -> w_j |y - sigma|^gamma_j BCE(sigma, y) (..., C)."""
    return weight * quality_focal_loss(logits, quality, gamma)


def equalized_focal_slope(logits: Tensor, target: Tensor, alpha: float | None, gamma: Tensor, weight: Tensor) -> Tensor:
    """As `equalized_focal_loss` -> the size of its derivative in every logit, (..., C)."""
    return balance(target, alpha) * equalized_quality_focal_slope(logits, target, gamma, weight)


def equalized_quality_focal_slope(logits: Tensor, quality: Tensor, gamma: Tensor, weight: Tensor) -> Tensor:
    """As `equalized_quality_focal_loss` -> the size of its derivative in every logit, (..., C)."""
    # With d = |y - sigma| both terms of the derivative, d^gamma d and gamma d^(gamma - 1) sigma (1 - sigma) BCE, have
    # the sign of sigma - y: the size of the sum is the sum of the sizes.
    away, entropy = target_distance(logits, quality), binary_cross_entropy(logits, quality)
    logits = logits.to(working_type(logits))
    steepness = logits.sigmoid() * (-logits).sigmoid()
    return weight * away.pow(gamma - 1) * (away.square() + gamma * steepness * entropy)
