"""The generalized focal loss: one form that focal loss, quality focal loss and distribution focal loss are cases of."""

import torch
from torch import Tensor

from nanogfl.loss.entropy import working_type


def generalized_focal_loss(
    log_left: Tensor, log_right: Tensor, target: Tensor, left: Tensor | float, right: Tensor | float, beta: float
) -> Tensor:
    """-|y - (l p_l + r p_r)|^beta [(r - y) log p_l + (y - l) log p_r], of the operands' shape. arXiv:2006.04388.

    log_left, log_right: log p_l and log p_r, the probabilities of the values l and r on both sides of the target y,
    l <= y <= r; p_l + p_r = 1, or beta = 0. With l 0, r 1 and sigmoids it is the quality focal loss, with a target of
    0 or 1 focal loss without alpha; with beta 0 and two neighbouring bins of a distribution, distribution focal loss.
    """
    log_left, log_right = log_left.to(working_type(log_left)), log_right.to(working_type(log_right))
    target = target.to(log_left.dtype)
    # y - (l p_l + r p_r), written as a mean of both sides' distances: exact where the target is one of the sides.
    away = (target - left) * log_left.exp() - (right - target) * log_right.exp()
    modulation = away.abs().clamp(min=torch.finfo(away.dtype).tiny).pow(beta)
    return -modulation * ((right - target) * log_left + (target - left) * log_right)
