"""The distributions behind boxes: what they say of a box, and that they stay with it."""

import numpy as np
import pytest

from nanogfl.contract.detections import Detections, Selection, map_to_source, select, sides_at
from nanogfl.contract.input_spec import InputSpec, place

HW = (64, 96)
SIGN = (-1, -1, 1, 1)


def some_sides(count, seed=0, bins=6):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(bins, 0.5), (count, 4)).astype(np.float32)
    points = np.stack([rng.uniform(0, 96, count), rng.uniform(0, 64, count), rng.choice([8, 16], count)], axis=1)
    return sides_at(probabilities, points.astype(np.float32)), probabilities, points


def by_hand(probabilities, point):
    """[x1, y1, x2, y2] and their deviations in double precision: E[x^2] - E[x]^2 of the places themselves."""
    sides, deviations = [], []
    for side in range(4):
        places = [point[side % 2] + SIGN[side] * index * point[2] for index in range(probabilities.shape[1])]
        mean = sum(float(p) * x for p, x in zip(probabilities[side], places, strict=True))
        square = sum(float(p) * x * x for p, x in zip(probabilities[side], places, strict=True))
        sides.append(mean)
        deviations.append(max(square - mean * mean, 0) ** 0.5)
    return sides, deviations


def as_detections(sides, spread=None):
    count = len(sides.probabilities)
    scores = np.linspace(0.9, 0.1, count).astype(np.float32)
    return Detections(sides.expectation(), scores, np.arange(count), spread, sides)


def test_expectation_and_deviation_are_those_of_the_places_of_the_bins():
    sides, probabilities, points = some_sides(50)
    for row in range(50):
        expected, deviations = by_hand(probabilities[row], points[row])
        assert sides.expectation()[row] == pytest.approx(expected, abs=1e-3)
        assert sides.deviation()[row] == pytest.approx(deviations, abs=1e-2)


def test_a_certain_side_lies_at_its_bin_and_has_no_deviation():
    probabilities = np.zeros((1, 4, 4), np.float32)
    probabilities[0, range(4), [1, 2, 3, 0]] = 1
    sides = sides_at(probabilities, np.array([[40, 30, 8]], np.float32))
    assert sides.expectation().tolist() == [[32, 14, 64, 30]]
    assert sides.deviation().tolist() == [[0, 0, 0, 0]]


def test_sides_stay_with_their_box_when_detections_are_taken():
    sides, _, _ = some_sides(9)
    found = as_detections(sides)
    for kept in (found.take(np.array([5, 0, 7])), found.above(0.5), found.take(found.labels % 2 == 1)):
        assert 0 < len(kept) < 9
        assert np.array_equal(kept.sides.probabilities, sides.probabilities[kept.labels])
        assert np.array_equal(kept.sides.expectation(), kept.boxes)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_sides_come_to_source_pixels_as_boxes_and_spread_do(resize):
    placement = place((300, 150), InputSpec(hw=HW, resize=resize))  # letterbox: 32 x 64 of 96; stretch: both scaled
    sides, _, _ = some_sides(40)
    back = map_to_source(as_detections(sides, sides.deviation()), placement)
    assert back.sides.expectation().clip(0, [150, 300, 150, 300]) == pytest.approx(back.boxes, abs=1e-3)
    assert back.sides.deviation() == pytest.approx(back.spread, rel=1e-4, abs=1e-4)
    assert np.array_equal(back.sides.probabilities, sides.probabilities)
    assert (np.sign(back.sides.step) == SIGN).all()


def test_selection_gives_every_detection_the_sides_of_its_own_point():
    sides, _, _ = some_sides(60, seed=3)
    scores = np.random.default_rng(4).uniform(0, 1, (60, 3)).astype(np.float32)
    boxes = sides.expectation()
    selection = Selection(candidates=40, keep=20)
    found = select(boxes, scores, sides.deviation(), selection, HW, sides)
    plain = select(boxes, scores, sides.deviation(), selection, HW)
    assert len(found) > 10
    assert plain.sides is None
    assert np.array_equal(found.boxes, plain.boxes)
    assert np.array_equal(found.sides.deviation(), found.spread)
    assert np.array_equal(found.sides.expectation().clip(0, [96, 64, 96, 64]).astype(np.float32), found.boxes)
