"""Grid, boxes and spread on cells that can be counted by hand."""

import math

import numpy as np
import pytest
import torch

from nanogfl.model.boxes.decode import Grid, decode_boxes, decode_spread, expected_bins, make_grid

REG_MAX = 7


def one_hot(*bins: int, reg_max: int = REG_MAX) -> torch.Tensor:
    """Four sides -> logits (1, 1, 4, R + 1) whose distribution is all in one bin a side."""
    logits = torch.full((1, 1, 4, reg_max + 1), -1e4)
    for side, index in enumerate(bins):
        logits[0, 0, side, index] = 1e4
    return logits


def point(x: float, y: float, stride: float) -> Grid:
    return Grid(torch.tensor([[x, y]]), torch.tensor([stride]), (1,))


@pytest.mark.parametrize("stride", [8, 16, 32, 64])
def test_all_mass_in_bin_i_is_exactly_i_strides(stride):
    for index in range(REG_MAX + 1):
        boxes = decode_boxes(one_hot(index, index, index, index), point(100, 50, stride))
        reach = index * stride
        assert boxes[0, 0].tolist() == [100 - reach, 50 - reach, 100 + reach, 50 + reach]


def test_the_sides_come_left_top_right_bottom():
    assert decode_boxes(one_hot(1, 2, 3, 7), point(100, 50, 8))[0, 0].tolist() == [92, 34, 124, 106]


def test_the_expectation_is_the_papers_sum():
    logits = torch.randn(3, 5, 4, 17)
    expected = np.zeros((3, 5, 4))
    for index in np.ndindex(3, 5, 4):
        weights = [math.exp(v) for v in logits[index].tolist()]
        expected[index] = sum(i * w for i, w in enumerate(weights)) / sum(weights)
    np.testing.assert_allclose(expected_bins(logits).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_grid_goes_level_by_level_and_row_by_row_on_an_input_that_is_not_square(offset):
    hw, strides = (64, 96), (8, 16, 32, 64)
    expected, expected_strides, sizes = [], [], []
    for stride in strides:
        before = len(expected)
        for row in range(-(-hw[0] // stride)):
            for column in range(-(-hw[1] // stride)):
                expected.append([(column + offset) * stride, (row + offset) * stride])
                expected_strides.append(stride)
        sizes.append(len(expected) - before)
    grid = make_grid(hw, strides, offset)
    assert grid.points.tolist() == expected
    assert grid.strides.tolist() == expected_strides
    assert grid.level_sizes == tuple(sizes) == (96, 24, 6, 2)


def test_stride_64_rounds_up_at_416():
    assert make_grid((416, 416), (8, 16, 32, 64), 0.5).level_sizes == (2704, 676, 169, 49)


def test_two_equal_bins_spread_by_half_their_distance():
    logits = torch.full((1, 1, 4, REG_MAX + 1), -1e4)
    for side, (a, b) in enumerate([(0, 1), (2, 4), (0, 7), (6, 7)]):
        logits[0, 0, side, [a, b]] = 5.0
    assert decode_spread(logits, point(0, 0, 16))[0, 0].tolist() == pytest.approx([8, 16, 56, 8], rel=1e-6)


def test_equal_logits_spread_as_a_uniform_distribution():
    spread = decode_spread(torch.zeros(1, 1, 4, REG_MAX + 1), point(0, 0, 8))
    assert spread[0, 0].tolist() == pytest.approx([8 * np.std(np.arange(8))] * 4, rel=1e-6)


def test_certain_sides_have_spread_0_and_never_nan():
    assert decode_spread(one_hot(0, 3, 6, 7), point(0, 0, 64))[0, 0].tolist() == [0, 0, 0, 0]
    nearly = torch.randn(1, 1000, 4, REG_MAX + 1) * 30  # almost one-hot: sum i^2 S - mean^2 cancels here
    grid = Grid(torch.zeros(1000, 2), torch.full((1000,), 64.0), (1000,))
    assert torch.isfinite(decode_spread(nearly, grid)).all()
