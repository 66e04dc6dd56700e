"""Smooth L1, the box loss of detectors with anchors: Fast R-CNN, arXiv:1504.08083, eq. 3."""

from torch import Tensor

from nanogfl.loss.entropy import working_type


def smooth_l1_loss(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """Two of one shape -> with d = |predicted - target|: d^2 / (2 beta) below beta, d - beta / 2 from there on.

    The paper has beta 1; with 0 it is plain L1.
    """
    distance = (predicted.to(working_type(predicted)) - target).abs()
    near = distance.clamp(max=beta)  # min(d, beta) (d - min(d, beta) / 2) / beta: both pieces, and no branch
    return near * (distance - near / 2) / beta if beta else distance
