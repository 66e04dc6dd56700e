"""ATSS in one flat list against a loop over objects, levels and points."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign import assign as assigners
from nanogfl.model.boxes.decode import Grid, make_grid
from nanogfl.model.detector import Predictions
from tests.loss.truth_index import truth_index
from tests.thinned import thinned

STRIDES = (8, 16, 32, 64)


def make_truth(boxes, images, ignored=(), ignored_images=()) -> Truth:
    return Truth(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(len(boxes), dtype=torch.long),
        torch.tensor(images, dtype=torch.long),
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(ignored_images, dtype=torch.long),
    )


class Found(NamedTuple):
    truth_index: torch.Tensor
    ignored: torch.Tensor


def assign(grid: Grid, truth: Truth, batch_size: int, candidates: int = 9, anchor: float = 8.0) -> Found:
    """ATSS whatever is predicted."""
    points = len(grid.points)
    predictions = Predictions(torch.randn(batch_size, points, 2), torch.randn(batch_size, points, 4, 8))
    config = LossConfig(assigner="atss", atss_candidates=candidates, atss_anchor=anchor)
    found = assigners.assign(predictions, grid, truth, config)
    return Found(truth_index(found), found.ignored)


@pytest.mark.parametrize(
    ("whole_numbers", "offset", "anchor"),
    thinned(product((True, False), (0.0, 0.5), (5.0, 8.0)), (True, 0.5, 8.0), (False, 0.5, 5.0), (False, 0.0, 8.0)),
)
def test_random_batches_equal_the_loop(brute_force_atss, whole_numbers, offset, anchor):
    numbers = np.random.default_rng(7)
    compared = positives = shared = 0
    for trial in range(40):
        hw = [(96, 160), (160, 96), (64, 96)][trial % 3]  # 64 x 96 has fewer than 9 points on two levels
        grid = make_grid(hw, STRIDES, offset)
        batch_size, count = 3, int(numbers.integers(0, 9))
        corner = numbers.uniform(0, [hw[1] - 8, hw[0] - 8], (count, 2))
        size = np.exp(numbers.uniform(np.log(3), np.log(90), (count, 2)))
        boxes = np.concatenate([corner, np.minimum(corner + size, [hw[1], hw[0]])], axis=1)
        if whole_numbers:
            boxes = np.round(boxes / 4) * 4  # many equal distances and IoUs
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 4)
        if count > 2:
            boxes[1] = boxes[0] + (
                [2, 0, 2, 0] if whole_numbers else [1, 0, 4, 2]
            )  # two objects that want the same points
        # image 1 of the batch stays empty
        images = [0, 0, *numbers.choice([0, 2], count)][:count]
        truth = make_truth(boxes.tolist(), images)
        expected, margin = brute_force_atss(grid, truth, batch_size, 9, anchor)
        if margin < 1e-5:
            continue  # float32 and float64 may differ on a point whose IoU is the threshold
        compared += 1
        found = assign(grid, truth, batch_size, anchor=anchor)
        assert found.truth_index.tolist() == expected, f"trial {trial}"
        assert not found.ignored.any()
        assert max(expected[1]) == -1
        positives += sum(i >= 0 for row in expected for i in row)
        shared += len({0, 1} & set(expected[0])) == 2
    assert compared >= 30
    assert positives > 200
    assert shared > 5


def test_a_point_claimed_twice_goes_to_the_larger_iou_whatever_the_order():
    grid = make_grid((64, 64), (8,), 0.5)
    fits, loose = [8.0, 8, 56, 56], [4.0, 4, 60, 52]
    for boxes in ([fits, loose], [loose, fits]):
        found = assign(grid, make_truth(boxes, [0, 0]), 1, anchor=6.0).truth_index[0].view(8, 8)
        alone = assign(grid, make_truth([fits], [0]), 1, anchor=6.0).truth_index[0].view(8, 8)
        claimed_twice = (alone == 0) & (
            assign(grid, make_truth([loose], [0]), 1, anchor=6.0).truth_index[0].view(8, 8) == 0
        )
        assert claimed_twice.any()
        for y, x in claimed_twice.nonzero().tolist():
            anchor = [x * 8 + 4 - 24, y * 8 + 4 - 24, x * 8 + 4 + 24, y * 8 + 4 + 24]
            overlap = []
            for box in boxes:
                sides = [min(anchor[k + 2], box[k + 2]) - max(anchor[k], box[k]) for k in (0, 1)]
                both = sides[0] * sides[1]
                overlap.append(both / (48 * 48 + (box[2] - box[0]) * (box[3] - box[1]) - both))
            assert found[y, x] == int(np.argmax(overlap))


def test_equal_objects_leave_the_points_to_the_first():
    grid = make_grid((64, 96), STRIDES, 0.5)
    box = [20.0, 12, 60, 52]
    found = assign(grid, make_truth([box, box], [0, 0]), 1).truth_index
    assert 0 in found
    assert 1 not in found


def test_an_object_between_the_points_gets_none():
    grid = make_grid((64, 96), STRIDES, 0.5)  # points at 4, 12, 20, ... and no nearer
    found = assign(grid, make_truth([[13.0, 13, 19, 19]], [0]), 1)
    assert (found.truth_index == -1).all()


def test_a_point_on_the_border_is_not_inside():
    grid = make_grid((64, 96), (8,), 0.5)
    centre_at_border = [12.0, 4, 28, 20]  # points 12 and 28, 4 and 20 lie on its sides
    found = assign(grid, make_truth([centre_at_border], [0]), 1, anchor=2.0).truth_index[0].view(8, 12)
    assert (found >= 0).nonzero().tolist() == [[1, 2]]  # y 12, x 20


def test_equally_near_points_come_in_the_grids_order():
    """The centre (32, 32) has four points equally near; coarse levels make their IoU exceed the threshold."""
    grid = make_grid((64, 64), (8, 64, 64, 64, 64, 64), 0.5)
    truth = make_truth([[20.0, 20, 44, 44]], [0])
    for candidates, expected in ((1, [27]), (2, [27, 28]), (3, [27, 28, 35])):
        found = assign(grid, truth, 1, candidates=candidates, anchor=3.0).truth_index[0, :64]
        assert (found >= 0).nonzero().flatten().tolist() == expected


def test_ignored_regions_cover_the_points_without_object_of_their_own_image():
    grid = make_grid((64, 96), STRIDES, 0.5)
    region = [0.0, 0, 48, 64]
    truth = make_truth([[8.0, 8, 40, 40]], [0], [region, [90.0, 60, 96, 64]], [0, 1])
    found = assign(grid, truth, 3)
    for point, (x, y) in enumerate(grid.points.tolist()):
        owned = bool(found.truth_index[0, point] >= 0)
        assert bool(found.ignored[0, point]) == (0 < x < 48 and 0 < y < 64 and not owned)
        assert bool(found.ignored[1, point]) == (90 < x < 96 and 60 < y < 64)
    assert (found.truth_index[0] >= 0).any()
    assert not found.ignored[2].any()
