"""The report on box sides beyond the last bin, counted by hand."""

import pytest
import torch

from nanogfl.config import HeadConfig, LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.reach import measure_reach
from nanogfl.model.boxes.decode import Grid, make_grid

STRIDES = (8, 16, 32, 64)


def reaching(grid, reg_max, bin_width=1.0) -> Grid:
    return grid._replace(head=HeadConfig(reg_max=reg_max, bin_width=bin_width))


def make_truth(boxes, images) -> Truth:
    return Truth(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(len(boxes), dtype=torch.long),
        torch.tensor(images, dtype=torch.long),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
    )


def test_sides_are_counted_by_level_as_a_loop_counts_them(brute_force_atss):
    grid = make_grid((256, 320), STRIDES, 0.5)
    truths = [
        make_truth([[10, 10, 30, 41], [40, 30, 300, 90], [0, 0, 320, 250]], [0, 1, 1]),
        make_truth([], []),
        make_truth([[3, 90, 318, 120]], [0]),
    ]
    expected = {stride: [0, 0] for stride in STRIDES}
    for truth in truths:
        owner, margin = brute_force_atss(grid, truth, 2, 9, 8.0)
        assert margin > 1e-5
        for row in owner:
            for (x, y), stride, index in zip(grid.points.tolist(), grid.strides.tolist(), row, strict=True):
                if index >= 0:
                    left, top, right, bottom = truth.boxes[index].tolist()
                    sides = (x - left, y - top, right - x, bottom - y)
                    expected[stride][0] += 4
                    expected[stride][1] += sum(side > 3 * stride for side in sides)
    report = measure_reach(reaching(grid, 3), truths, LossConfig())
    assert {level.stride: [level.sides, level.longer] for level in report.levels} == expected
    assert sum(longer for _, longer in expected.values()) > 5
    assert report.share == sum(v[1] for v in expected.values()) / sum(v[0] for v in expected.values())


def lost_by_hand(grid, truths, reach, brute_force_atss) -> float:
    """1 - the share of (object, threshold) pairs that the best cut box of the object's points satisfies."""
    best = []
    for truth in truths:
        owner, margin = brute_force_atss(grid, truth, 2, 9, 8.0)
        assert margin > 1e-5
        found = {}
        for image, row in enumerate(owner):
            for (x, y), stride, index in zip(grid.points.tolist(), grid.strides.tolist(), row, strict=True):
                if index >= 0:
                    left, top, right, bottom = truth.boxes[index].tolist()
                    w, h = (
                        sum(min(d, reach * stride) for d in pair)
                        for pair in ((x - left, right - x), (y - top, bottom - y))
                    )
                    iou = w * h / ((right - left) * (bottom - top))
                    found[image, index] = max(found.get((image, index), 0), iou)
        best += found.values()
    return 1 - sum(iou >= (50 + 5 * n) / 100 for iou in best for n in range(10)) / (10 * len(best))


WIDE = [[40, 30, 300, 90], [0, 0, 320, 250]]  # 260 px long and 60 high: its points are on fine levels


def test_what_is_lost_is_the_ap_of_the_best_cut_boxes(brute_force_atss):
    grid = make_grid((256, 320), STRIDES, 0.5)
    truths = [make_truth(WIDE, [0, 1]), make_truth([], []), make_truth([[3, 90, 318, 120], [10, 10, 30, 41]], [0, 1])]
    for reach in (1, 2, 3, 5):
        report = measure_reach(reaching(grid, reach), truths, LossConfig())
        assert report.lost == pytest.approx(lost_by_hand(grid, truths, reach, brute_force_atss), abs=1e-6)
    assert 0 < report.lost < measure_reach(reaching(grid, 3), truths, LossConfig()).lost < 1


def test_the_advice_is_the_least_reg_max_that_loses_hardly_any_ap():
    grid = make_grid((256, 320), STRIDES, 0.5)
    truths = [make_truth(WIDE, [0, 1])]
    report = measure_reach(reaching(grid, 3), truths, LossConfig())
    assert report.matters
    assert str(report).startswith("reg_max 3 reaches 24, 48, 96, 192 px on strides 8, 16, 32, 64: ")
    assert f"set model.head.reg_max to {report.enough}, " in str(report)
    assert measure_reach(reaching(grid, report.enough), truths, LossConfig()).lost <= 0.002
    assert measure_reach(reaching(grid, report.enough - 1), truths, LossConfig()).lost > 0.002
    assert "set model" not in str(measure_reach(reaching(grid, report.enough), truths, LossConfig()))


def test_long_sides_of_points_beside_a_better_one_cost_nothing():
    grid = make_grid((256, 320), STRIDES, 0.5)
    report = measure_reach(reaching(grid, 5), [make_truth([[4, 4, 250, 250]], [0])], LossConfig())
    assert report.share > 0.01
    assert report.lost == 0
    assert report.enough == 5
    assert "set model" not in str(report)


def test_a_hundred_percent_and_none_read_well():
    grid = make_grid((64, 96), (8,), 0.5)
    text = str(measure_reach(reaching(grid, 1), [make_truth([[0, 0, 90, 61]], [0])], LossConfig()))
    assert "reg_max 1 reaches 8 px on strides 8: 100.0% of the assigned box sides are longer (100.0%), " in text
    assert "\n" not in text


@pytest.mark.parametrize("truths", [[], [make_truth([], [])], [make_truth([[13, 13, 15, 15]], [0])]])
def test_without_assigned_points_nothing_is_claimed(truths):
    report = measure_reach(make_grid((64, 96), STRIDES, 0.5), truths, LossConfig())
    assert report.share == 0
    assert str(report).endswith("no point has an object, nothing was measured")


def test_the_assigner_of_the_training_does_not_matter():
    grid, truths = make_grid((64, 96), STRIDES, 0.5), [make_truth([[10, 10, 60, 41]], [0])]
    by_tal, by_atss = (measure_reach(reaching(grid, 2), truths, LossConfig(assigner=name)) for name in ("tal", "atss"))
    assert by_tal == by_atss


def test_narrow_bins_reach_less_far():
    grid, truths = make_grid((256, 320), STRIDES, 0.5), [make_truth([[10, 10, 90, 41], [40, 30, 300, 90]], [0, 0])]
    narrow, whole = (measure_reach(reaching(grid, *n), truths, LossConfig()) for n in ((6, 0.5), (3, 1.0)))
    assert [(level.sides, level.longer) for level in narrow.levels] == [(x.sides, x.longer) for x in whole.levels]
    assert narrow.share == whole.share > 0
    assert narrow.enough >= 2 * whole.enough - 1
    assert str(narrow).startswith("reg_max 6 reaches 24, 48, 96, 192 px")
