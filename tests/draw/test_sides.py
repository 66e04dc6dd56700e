"""The picture of distributions: bars lie where the bins lie, lines where the sides lie."""

from itertools import product

import numpy as np
import pytest

from nanogfl.contract.detections import Detections, sides_at
from nanogfl.draw.boxes import class_colour
from nanogfl.draw.panel import BARS, PANEL_WH, TICKS, VIEW_TOP, VIEW_WH, draw_panel, window_around
from nanogfl.draw.sides import explain_picture
from tests.thinned import thinned

INK = [40, 40, 40]


def certain(point, bins, count=8):
    """One detection whose sides are all in these bins."""
    probabilities = np.zeros((1, 4, count), np.float32)
    probabilities[0, range(4), bins] = 1
    return detections(probabilities, [point])


def detections(probabilities, points):
    sides = sides_at(np.asarray(probabilities, np.float32), np.array(points, np.float32))
    count = len(points)
    scores = np.full(count, 0.5, np.float32)
    return Detections(sides.expectation(), scores, np.zeros(count, np.int64), sides.deviation(), sides)


def window_of(found):
    sides = found.sides
    return window_around(
        sides.probabilities[0], sides.origin[0], sides.step[0], sides.expectation()[0], sides.deviation()[0]
    )


def runs(line, colour):
    """(first, last) of each run of pixels of this colour, or the side's line within it."""
    inside = np.concatenate([[0], (line == colour).all(axis=1) | (line == INK).all(axis=1), [0]]).astype(int)
    return list(zip(np.flatnonzero(np.diff(inside) == 1), np.flatnonzero(np.diff(inside) == -1) - 1, strict=True))


def test_bars_lie_where_the_bins_lie_in_the_enlarged_picture():
    found = certain([60, 50, 8], [3, 2, 5, 4])  # x1 36, y1 34, x2 100, y2 82
    window = window_of(found)
    panel = draw_panel(np.full((120, 160, 3), 90, np.uint8), found, 0, ["cat"])
    above = runs(panel[VIEW_TOP - TICKS - 3, : VIEW_WH[0]], class_colour(0))
    beside = runs(panel[VIEW_TOP : VIEW_TOP + VIEW_WH[1], VIEW_WH[0] + TICKS + 3], class_colour(0))
    for bars, start, places in ((above, window.x, (36, 100)), (beside, window.y, (34, 82))):
        assert len(bars) == 2
        for (first, last), place in zip(bars, places, strict=True):
            middle = (place - start) * window.scale
            half = 0.4 * 8 * window.scale  # .8 of the way from bin to bin
            assert (first, last) == pytest.approx((middle - half, middle + half), abs=1.5)


def test_a_bars_length_is_its_probability():
    probabilities = np.zeros((1, 4, 8), np.float32)
    probabilities[0, :, 4] = 0.75
    probabilities[0, :, 6] = 0.25
    panel = draw_panel(np.full((120, 160, 3), 90, np.uint8), detections(probabilities, [[80, 60, 8]]), 0, ["cat"])
    bars = (panel == np.array(class_colour(0))).all(axis=2)
    heights = bars[VIEW_TOP - TICKS - BARS : VIEW_TOP - TICKS, : VIEW_WH[0]].sum(axis=0)
    lengths = bars[VIEW_TOP : VIEW_TOP + VIEW_WH[1], VIEW_WH[0] + TICKS :].sum(axis=1)
    assert set(heights.tolist()) == set(lengths.tolist()) == {0, round(BARS / 3), BARS}


def test_the_line_of_a_side_lies_on_what_is_there_in_the_frame():
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[:, 36:] = 255  # the left side lies between black and white
    panel = draw_panel(frame, certain([60, 50, 8], [3, 2, 5, 4]), 0, ["cat"])
    line = np.flatnonzero((panel[VIEW_TOP - 2, : VIEW_WH[0]] == INK).all(axis=1))
    row = panel[VIEW_TOP + 2, : VIEW_WH[0], 0].astype(int)  # above the box: the frame alone
    edge = np.flatnonzero((row[1:] >= 128) & (row[:-1] < 128))
    assert len(edge) == 1
    assert abs(line[:2].mean() - edge[0]) <= 1.5


def test_neither_side_hides_the_other_where_both_have_probability_at_the_grid_point():
    probabilities = np.zeros((1, 4, 8), np.float32)
    probabilities[0, :, :2] = [[0.6, 0.4], [0.6, 0.4], [0.2, 0.8], [0.2, 0.8]]
    found = detections(probabilities, [[80, 60, 16]])
    panel = draw_panel(np.full((120, 160, 3), 90, np.uint8), found, 0, ["cat"])
    window = window_of(found)
    bars = panel[VIEW_TOP - TICKS - BARS : VIEW_TOP - TICKS, : VIEW_WH[0]]
    for place in (80 - 0.4 * 16, 80 + 0.8 * 16):  # both lines are whole
        middle = round((place - window.x) * window.scale)
        assert (bars[:, middle - 1 : middle + 1] == INK).all(axis=2).any(axis=1).all()
    heights = (bars == np.array(class_colour(0))).all(axis=2).sum(axis=0)
    for place, height in ((79, 0.6), (81, 0.2)):  # bin 0: the left side's bar on the left of the grid point
        assert heights[round((place - window.x) * window.scale)] == round(BARS * height / 0.8)


@pytest.mark.parametrize(
    ("hw", "count"),
    thinned(product([(1, 1), (30, 400), (900, 40), (1500, 2000)], [0, 1, 4, 7]), ((1, 1), 0), ((900, 40), 7)),
)
def test_any_picture_with_any_number_of_boxes_can_be_explained(hw, count):
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (count, 3)) * [hw[1], hw[0], 0] + [0, 0, 32]
    found = detections(rng.dirichlet(np.full(8, 0.3), (count, 4)), points.reshape(count, 3))
    sheet = explain_picture(rng.integers(0, 256, (*hw, 3), dtype=np.uint8), found, ["a name"])
    assert sheet.dtype == np.uint8
    ground = (sheet == np.array(class_colour(0))).all(axis=2)
    titles = 0
    for column in range(20 + 2, sheet.shape[1], PANEL_WH[0]):
        steps = np.diff(np.concatenate([[0], ground[:, column], [0]]).astype(int))
        titles += int((np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1) == 31).sum())
    assert titles == count  # a panel each


@pytest.mark.parametrize("point", [[0, 0, 64], [159, 119, 64], [-40, 60, 8], [80, 60, 0.01]])
def test_a_box_beyond_the_border_or_without_size_can_be_explained(point):
    for bins in ([0, 0, 0, 0], [7, 7, 7, 7], [0, 7, 0, 7]):
        panel = draw_panel(np.full((120, 160, 3), 90, np.uint8), certain(point, bins), 0, ["cat"])
        assert panel.shape == (PANEL_WH[1], PANEL_WH[0], 3)


def test_without_sides_there_is_nothing_to_draw():
    found = certain([60, 50, 8], [3, 2, 5, 4])
    with pytest.raises(ValueError, match="needs detections with sides"):
        explain_picture(np.zeros((20, 30, 3), np.uint8), Detections(found.boxes, found.scores, found.labels), ["cat"])
