"""Focal loss, arXiv:1708.02002: what is already known counts little."""

from torch import Tensor

from nanogfl.loss.losses import quality_focal_loss


def focal_loss(logits: Tensor, target: Tensor, alpha: float | None, gamma: float | Tensor) -> Tensor:
    """logits, target (0 or 1), one shape -> -alpha_t (1 - p_t)^gamma log p_t of that shape; eq. 5.

    p_t is the probability given to the target. alpha_t is alpha where the target is 1, 1 - alpha where it is 0;
    alpha None: 1 (eq. 4). gamma: a number, or (C,) for logits (..., C).
    """
    # For targets 0 and 1 the distance |y - sigma| is 1 - p_t: without alpha this is the quality focal loss.
    return balance(target, alpha) * quality_focal_loss(logits, target, gamma)


def balance(target: Tensor, alpha: float | None) -> Tensor | float:
    """target (0 or 1) -> alpha_t, as of `focal_loss`."""
    return 1.0 if alpha is None else alpha * target + (1 - alpha) * (1 - target)
