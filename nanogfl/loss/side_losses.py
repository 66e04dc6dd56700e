"""What each side of a box learns beside the box itself, and how central a point lies. Pure and unreduced."""

import torch
from torch import Tensor

from nanogfl.config import HeadConfig
from nanogfl.loss.losses import distribution_focal_loss
from nanogfl.model.boxes.decode import gaussian_sigma, side_distances

LAST_BIN_MARGIN = 0.1  # a target stays this far below the last bin, so that its upper neighbour exists


def side_loss(box_pred: Tensor, distances: Tensor, head: HeadConfig) -> Tensor | None:
    """(M, 4, P), distances of the target's sides in strides (M, 4) -> (M, 4); None of a box that learns no more."""
    match head.box:
        case "general+dfl":
            target = (distances / head.bin_width).clamp(0, head.reg_max - LAST_BIN_MARGIN)
            return distribution_focal_loss(box_pred.flatten(0, 1), target.flatten()).view(-1, 4)
        case "gaussian":
            return gaussian_nll(side_distances(box_pred, head), gaussian_sigma(box_pred), distances)
        case "dirac" | "general" | "deltas":
            return None


def gaussian_nll(mean: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Three of one shape -> -log N(target; mean, sigma) of that shape, without its constant log sqrt(2 pi)."""
    return sigma.log() + ((target - mean) / sigma).square() / 2


def centerness(distances: Tensor) -> Tensor:
    """Left top right bottom (..., 4) -> (...): 1 at the middle, 0 on a side and outside. FCOS, arXiv:1904.01355, eq. 3:
    the root of min(l, r) / max(l, r) * min(t, b) / max(t, b)."""
    first, second = distances[..., :2], distances[..., 2:]
    shares = first.minimum(second).clamp(min=0) / first.maximum(second).clamp(min=torch.finfo(distances.dtype).tiny)
    return shares.prod(dim=-1).sqrt()
