"""Grid and decode, the only definition: the loss differentiates it, evaluation calls it, the ONNX graph traces it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """The N points of all levels, level after level (fine first), row by row."""

    points: Tensor
    """(N, 2) x y in network-input pixels; (B, N, 2) where each picture has points of its own"""
    strides: Tensor
    """(N,) pixels; (B, N) likewise"""
    level_sizes: tuple[int, ...]
    """points of each level; they add up to N; empty where the points are some of a grid's"""


def make_grid(hw: tuple[int, int], strides: tuple[int, ...], offset: float) -> Grid:
    """Points at (x + offset) * stride. A level has ceil(H / stride) x ceil(W / stride) points."""
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
    """(..., R + 1) -> (...): the distribution's expectation sum_i i S_i, in strides. arXiv:2006.04388, sec. 3.2."""
    bins = torch.arange(dist_logits.shape[-1], dtype=torch.float32, device=dist_logits.device)
    return torch.matmul(dist_logits.float().softmax(dim=-1), bins)


def bin_probabilities(dist_logits: Tensor) -> Tensor:
    """(..., R + 1) -> (..., R + 1): the distribution whose expectation `expected_bins` is."""
    return dist_logits.float().softmax(dim=-1)


def decode_boxes(dist_logits: Tensor, grid: Grid) -> Tensor:
    """(B, N, 4, R + 1) left top right bottom -> (B, N, 4) x1 y1 x2 y2 in network-input pixels.

    arXiv:2006.04388, sec. 3.2.
    """
    distances = expected_bins(dist_logits) * grid.strides.unsqueeze(-1)
    return torch.cat((grid.points - distances[..., :2], grid.points + distances[..., 2:]), dim=-1)


def decode_spread(dist_logits: Tensor, grid: Grid) -> Tensor:
    """(B, N, 4, R + 1) -> (B, N, 4): standard deviation of each side's distribution, left top right bottom, pixels."""
    probabilities = dist_logits.float().softmax(dim=-1)
    bins = torch.arange(dist_logits.shape[-1], dtype=torch.float32, device=dist_logits.device)
    mean = torch.matmul(probabilities, bins[:, None])  # (B, N, 4, 1)
    # sum S_i (i - mean)^2 is sum i^2 S_i - mean^2 without the cancellation, which float32 would turn into NaN
    deviation = bins - mean
    variance = torch.matmul(probabilities * deviation * deviation, torch.ones_like(bins))
    return variance.sqrt() * grid.strides.unsqueeze(-1)
