"""The grid, and decoding of predictions: used by the losses, by evaluation and, traced, by the exported graph."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.deltas import decode_deltas

LEAST_SIGMA = 0.01
"""smallest deviation of a Gaussian side in strides, so that its likelihood is bounded"""


class Grid(NamedTuple):
    """The N points of all levels (fine levels first, row by row), and how to read the predictions at a point."""

    points: Tensor
    """(N, 2) x y in network-input pixels, or (B, N, 2) where each image has its own points"""
    strides: Tensor
    """(N,) or (B, N) in pixels"""
    level_sizes: tuple[int, ...]
    """points of each level, N in all; empty for a selection of points"""
    head: HeadConfig = HeadConfig()
    """says what the predicted numbers mean"""
    anchors: Tensor | None = None
    """(N, 2) or (B, N, 2) width and height in pixels of the anchors around `points`; box deltas only"""

    def at(self, place: Tensor) -> "Grid":
        """The points at the positions `place` (...)."""
        anchors = None if self.anchors is None else self.anchors[place]
        return Grid(self.points[place], self.strides[place], (), self.head, anchors)


def make_grid(hw: tuple[int, int], strides: tuple[int, ...], offset: float) -> Grid:
    """The grid (N, 2) of an input of H x W: points at (x + offset) * stride, ceil(H / stride) x ceil(W / stride) per
    level."""
    points, owners, sizes = [], [], []
    for stride in strides:
        rows, columns = math.ceil(hw[0] / stride), math.ceil(hw[1] / stride)
        y = (torch.arange(rows, dtype=torch.float32) + offset) * stride
        x = (torch.arange(columns, dtype=torch.float32) + offset) * stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2))
        owners.append(torch.full((rows * columns,), float(stride)))
        sizes.append(rows * columns)
    return Grid(torch.cat(points), torch.cat(owners), tuple(sizes))


def expected_bins(dist_logits: Tensor) -> Tensor:
    """(..., R + 1) -> (...): the expectation sum_i i S_i of the distribution, in bins. arXiv:2006.04388, sec. 3.2."""
    bins = torch.arange(dist_logits.shape[-1], dtype=torch.float32, device=dist_logits.device)
    return torch.matmul(dist_logits.float().softmax(dim=-1), bins)


def bin_probabilities(dist_logits: Tensor) -> Tensor:
    """(..., R + 1) -> (..., R + 1): the probability S_i of each bin."""
    return dist_logits.float().softmax(dim=-1)


def decode_boxes(box_pred: Tensor, grid: Grid) -> Tensor:
    """(B, N, 4, P) left top right bottom (deltas: dx dy dw dh) -> (B, N, 4) x1 y1 x2 y2 in network-input pixels, not
    clamped. arXiv:2006.04388, sec. 3.2."""
    if grid.head.box == "deltas":
        assert grid.anchors is not None
        return decode_deltas(box_pred[..., 0], grid.points, grid.anchors)
    distances = side_distances(box_pred, grid.head) * grid.strides.unsqueeze(-1)
    return torch.cat((grid.points - distances[..., :2], grid.points + distances[..., 2:]), dim=-1)


def side_distances(box_pred: Tensor, head: HeadConfig) -> Tensor:
    """(..., P) -> (...): distance from the point to the side in strides, never negative."""
    if not head.bins:
        return soft_positive(box_pred[..., 0])
    bins = expected_bins(box_pred)
    return bins if head.bin_width == 1 else bins * head.bin_width


def gaussian_sigma(box_pred: Tensor) -> Tensor:
    """(..., 2) of box gaussian -> (...): standard deviation of the side in strides."""
    return soft_positive(box_pred[..., 1]) + LEAST_SIGMA


def soft_positive(x: Tensor) -> Tensor:
    """(...) -> (...): softplus, log(1 + e^x), from elementwise operators that every runtime has."""
    x = x.float()
    return x.clamp(min=0) + (1 + (-x.abs()).exp()).log()


def decode_spread(box_pred: Tensor, grid: Grid) -> Tensor | None:
    """(B, N, 4, P) -> (B, N, 4): standard deviation of left, top, right, bottom in pixels; None for a box without."""
    strides = grid.strides.unsqueeze(-1)
    if grid.head.box == "gaussian":
        return gaussian_sigma(box_pred) * strides
    if not grid.head.bins:
        return None
    probabilities = bin_probabilities(box_pred)
    bins = torch.arange(box_pred.shape[-1], dtype=torch.float32, device=box_pred.device)
    mean = torch.matmul(probabilities, bins[:, None])  # (B, N, 4, 1)
    # sum S_i (i - mean)^2 is sum i^2 S_i - mean^2 without the cancellation, which float32 would turn into NaN
    deviation = bins - mean
    variance = torch.matmul(probabilities * deviation * deviation, torch.ones_like(bins))
    spread = variance.sqrt() * strides
    return spread if grid.head.bin_width == 1 else spread * grid.head.bin_width


def decode_scores(cls_logits: Tensor, quality_logits: Tensor | None) -> Tensor:
    """(B, N, C), (B, N) -> (B, N, C): the scores, 0 to 1, times the predicted quality where there is one."""
    scores = cls_logits.float().sigmoid()
    return scores if quality_logits is None else scores * quality_logits.float().sigmoid().unsqueeze(-1)
