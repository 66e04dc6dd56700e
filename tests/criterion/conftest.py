"""ATSS as the paper tells it: one object, one level, one point at a time, in float64."""

import math
from collections.abc import Callable

import pytest
import torch

from nanogfl.data.batch import Truth
from nanogfl.model.decode import Grid


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def slow_atss(
    grid: Grid, truth: Truth, batch_size: int, candidates: int, anchor: float
) -> tuple[list[list[int]], float]:
    """Truth index or -1 for each image and point, and how near the closest candidate came to its threshold."""
    points, strides = grid.points.tolist(), grid.strides.tolist()
    owner = [[-1] * len(points) for _ in range(batch_size)]
    overlap = [[0.0] * len(points) for _ in range(batch_size)]
    margin = math.inf
    for index, (box, image) in enumerate(zip(truth.boxes.tolist(), truth.image.tolist(), strict=True)):
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        chosen, start = [], 0
        for size in grid.level_sizes:
            level = range(start, start + size)
            level = sorted(level, key=lambda p: ((points[p][0] - centre[0]) ** 2 + (points[p][1] - centre[1]) ** 2, p))
            chosen += level[:candidates]
            start += size
        values = []
        for p in chosen:
            (x, y), reach = points[p], strides[p] * anchor / 2
            values.append(iou([x - reach, y - reach, x + reach, y + reach], box))
        mean = sum(values) / len(values)
        threshold = mean + math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        for p, value in zip(chosen, values, strict=True):
            x, y = points[p]
            if not (box[0] < x < box[2] and box[1] < y < box[3]):
                continue
            margin = min(margin, abs(value - threshold))
            if value >= threshold and value > overlap[image][p]:
                owner[image][p], overlap[image][p] = index, value
    return owner, margin


@pytest.fixture(scope="session")
def brute_force_atss() -> Callable[..., tuple[list[list[int]], float]]:
    return slow_atss
